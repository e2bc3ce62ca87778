"""Running moments: by hand, then against NumPy over all rows at once."""

import jax.numpy as jnp
import numpy as np
import pytest

from retorno.ops.normalisation import Moments, initial_moments


def test_merging_by_hand():
    # Two rows of mean 1 and variance 1, then the rows 4 and 6 (mean 5, variance 1): together mean 3, variance 5.
    seen = Moments(jnp.float32(2), jnp.ones(1), jnp.ones(1)).update(jnp.array([[4.0], [6.0]]), jnp.ones(2, bool))
    np.testing.assert_allclose([seen.count, seen.mean[0], seen.variance[0]], [4, 3, 5], rtol=1e-6)


@pytest.mark.parametrize("sizes", [(50,), (1, 1, 48), (7, 0, 30, 13)])
def test_any_batches_give_the_moments_of_all_rows(sizes):
    rng = np.random.default_rng(0)
    rows, mask = rng.normal([5.0, -100.0], [0.5, 10.0], (50, 2)), rng.random(50) < 0.7
    moments, start = Moments(jnp.float32(0), jnp.zeros(2), jnp.zeros(2)), 0
    mask[0] = True
    for size in sizes:
        part = slice(start, start + size)
        moments, start = moments.update(jnp.asarray(rows[part]), jnp.asarray(mask[part])), start + size
    np.testing.assert_allclose(moments.count, mask.sum())
    np.testing.assert_allclose(moments.mean, rows[mask].mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.variance, rows[mask].var(0), rtol=1e-4)


def test_a_masked_batch_changes_nothing():
    seen = Moments(jnp.float32(3), jnp.array([2.0]), jnp.array([4.0]))
    same = seen.update(jnp.array([[1e6]]), jnp.zeros(1, bool))
    np.testing.assert_array_equal([same.count, same.mean[0], same.variance[0]], [3, 2, 4])


def test_the_start_gives_way_to_the_first_rows():
    rows = jnp.asarray(np.random.default_rng(0).normal(100, 3, (1000, 1)))
    seen = initial_moments(1).update(rows, jnp.ones(1000, bool))
    # One ten-thousandth of a row at 0 and a thousand at 100: 10⁻⁷ · 100² more variance.
    np.testing.assert_allclose(seen.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(seen.variance, rows.var(0) + 1e-3, rtol=1e-3)


def test_standardise_and_scale_by_hand():
    moments = Moments(jnp.float32(9), jnp.array([10.0, 0.0]), jnp.array([4.0, 1.0]))
    x = jnp.array([14.0, -50.0])
    np.testing.assert_allclose(moments.standardise(x), [2, -10], rtol=1e-6)
    np.testing.assert_allclose(moments.scale(x), [7, -10], rtol=1e-6)
    np.testing.assert_allclose(moments.standardise(x, clip=100.0), [2, -50], rtol=1e-6)
