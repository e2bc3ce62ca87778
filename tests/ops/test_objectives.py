"""Losses, worked by hand, then by their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.ops.objectives import (
    clipped_policy_gradient,
    clipped_value_error,
    huber,
    least,
    linear,
    masked_mean,
    masked_standardise,
    masked_variance,
    policy_gradient,
)


@pytest.mark.parametrize(
    ("error", "delta", "loss", "slope"),
    [(0.5, 1.0, 0.125, 0.5), (-3.0, 1.0, 2.5, -1.0), (3.0, 2.0, 4.0, 2.0), (-3.0, float("inf"), 4.5, -3.0)],
)
def test_huber_by_hand(error, delta, loss, slope):
    value, gradient = jax.value_and_grad(lambda e: huber(e, delta))(error)
    np.testing.assert_allclose([value, gradient], [loss, slope])


def test_policy_gradient_raises_a_good_action():
    """∇(−A log π) = A (π − 1) for the action's own logit. Sutton & Barto 2018, eq. 13.9 with a softmax."""
    logits = jnp.array([0.0, 1.0, -1.0])
    gradient = jax.grad(lambda z: policy_gradient(jax.nn.log_softmax(z)[1], jnp.float32(2)))(logits)
    np.testing.assert_allclose(gradient, 2 * (jax.nn.softmax(logits) - jnp.array([0, 1, 0])), rtol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.5, 2.0, -2.4, 0.0),  # good and already likelier: clipped at 1.2
        (0.5, 2.0, -1.0, -2.0),  # good but less likely: counts in full
        (0.5, -2.0, 1.6, 0.0),  # bad and already less likely: clipped at .8
        (1.5, -2.0, 3.0, 2.0),  # bad but likelier: counts in full
    ],
)
def test_clipped_policy_gradient_by_hand(ratio, advantage, loss, slope):
    value, gradient = jax.value_and_grad(lambda r: clipped_policy_gradient(r, advantage, 0.2))(ratio)
    np.testing.assert_allclose([value, gradient], [loss, slope], rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "target", "loss"),
    [(1.1, 3.0, 3.61), (2.0, 3.0, 3.24), (2.0, 0.0, 4.0), (0.0, 1.0, 1.0)],
)
def test_clipped_value_error_by_hand(value, target, loss):
    """The old value is 1, the clip .2: the larger of the error and the clipped one's."""
    np.testing.assert_allclose(clipped_value_error(value, 1.0, target, 0.2), loss, rtol=1e-5)
    np.testing.assert_allclose(clipped_value_error(value, 1.0, target, jnp.inf), (value - target) ** 2, rtol=1e-5)


def test_the_least_of_several_is_one_of_them_with_its_gradient():
    """Where several say the same, too: the first."""
    judged = jnp.asarray([[1.0, 2.0, -jnp.inf, 7.0], [3.0, 2.0, 0.0, -1.0]])
    assert (least(judged) == judged.min(0)).all()
    gradient = jax.grad(lambda q: least(q).sum())(judged)
    np.testing.assert_array_equal(gradient, [[1, 1, 1, 0], [0, 0, 0, 1]])
    assert jax.grad(least)(judged[:, 3])[1] == 1


def test_masked_moments_equal_those_of_the_rest():
    rng = np.random.default_rng(0)
    x, mask = rng.normal(3, 2, (6, 4)), rng.random((6, 4)) < 0.5
    kept = x[mask]
    wild, mask = jnp.asarray(np.where(mask, x, np.nan)), jnp.asarray(mask)  # what is masked may be anything
    np.testing.assert_allclose(masked_mean(wild, mask), kept.mean(), rtol=1e-5)
    np.testing.assert_allclose(masked_variance(wild, mask), kept.var(), rtol=1e-5)
    standard = np.asarray(masked_standardise(wild, mask))[mask]
    np.testing.assert_allclose(standard, (kept - kept.mean()) / kept.std(), rtol=1e-4)


def test_the_mean_of_nothing_is_zero():
    assert masked_mean(jnp.ones(3), jnp.zeros(3, bool)) == 0


def test_a_straight_line_by_hand():
    assert [float(linear(1.0, 0.0, jnp.float32(p))) for p in (0, 0.25, 1)] == [1, 0.75, 0]
    assert float(linear(0.5, None, jnp.float32(0.9))) == 0.5
