"""Estimates of the return: projections by hand, quantiles by brute force, gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.ops.estimates import (
    Atoms,
    Expected,
    Quantiles,
    estimate,
    projection,
    quantile_regression,
    smallest,
    squashed,
    stretched,
)

RNG = np.random.default_rng(0)


def shared_by_hand(atoms: np.ndarray, mass: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Algorithm 1 of Bellemare et al. 2017, one atom after another."""
    width, found = support[1] - support[0], np.zeros(len(support))
    for atom, much in zip(atoms, mass, strict=True):
        b = (np.clip(atom, support[0], support[-1]) - support[0]) / width
        low, high = int(np.floor(b)), int(np.ceil(b))
        found[low] += much * (1 if low == high else high - b)
        found[high] += much * (0 if low == high else b - low)
    return found


def test_a_projection_is_that_of_the_paper() -> None:
    support = np.linspace(-2, 3, 11)
    atoms, mass = np.append(RNG.uniform(-4, 5, 40), support[:3]), RNG.dirichlet(np.ones(43))
    found = projection(jnp.asarray(atoms), jnp.asarray(mass), jnp.asarray(support))
    np.testing.assert_allclose(found, shared_by_hand(atoms, mass, support), atol=1e-6)


def test_within_the_support_the_mean_stays() -> None:
    support, atoms, mass = np.linspace(-1, 1, 5), RNG.uniform(-1, 1, 9), RNG.dirichlet(np.ones(9))
    found = projection(jnp.asarray(atoms), jnp.asarray(mass), jnp.asarray(support))
    np.testing.assert_allclose(found @ support, mass @ atoms, atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_what_quantile_regression_minimises_is_the_quantile(share: float) -> None:
    sample, places = jnp.asarray(RNG.exponential(size=401)), np.linspace(0, 4, 801)
    of_place = lambda place: quantile_regression(place[None], jnp.array([share]), sample, jnp.ones(401), 1e-4)  # noqa: E731
    best = places[int(jnp.argmin(jax.vmap(of_place)(jnp.asarray(places))))]
    assert best == pytest.approx(np.quantile(sample, share), abs=0.02)


def test_the_smallest_are_sorted_where_some_are_equal() -> None:
    x = RNG.integers(0, 9, (20, 13)).astype(np.float32)
    np.testing.assert_array_equal(jax.vmap(lambda each: smallest(each, 10))(jnp.asarray(x)), np.sort(x)[:, :10])


def test_what_is_squashed_is_stretched_back() -> None:
    x = np.concatenate([-np.geomspace(1e-4, 1e6, 30), [0.0], np.geomspace(1e-4, 1e6, 30)]).astype(np.float32)
    np.testing.assert_allclose(stretched(squashed(jnp.asarray(x))), x, rtol=2e-5)


ACTION, TARGET, MASS = jnp.int32(1), np.array([-0.7, 0.35, 2.4]), np.array([0.2, 0.5, 0.3])
SAID: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "mean": (Expected, RNG.normal(size=3)),
    "categorical": (lambda x: Atoms(x, jnp.linspace(-2.0, 2.0, 5)), RNG.normal(size=(3, 5))),
    "quantiles": (lambda x: Quantiles(x, (jnp.arange(4) + 0.5) / 4), RNG.normal(size=(3, 4))),
}


@pytest.mark.parametrize("kind", SAID)
def test_the_gradient_is_that_of_finite_differences(kind: str) -> None:
    made, x = SAID[kind]
    with jax.enable_x64(True):
        loss = lambda x: made(x).loss(ACTION, jnp.asarray(TARGET), jnp.asarray(MASS), 0.8)[0]  # noqa: E731
        found, step = jax.grad(loss)(jnp.asarray(x)), 1e-6
        assert found.dtype == jnp.float64
        for place in np.ndindex(x.shape):
            moved = np.zeros_like(x)
            moved[place] = step
            slope = (loss(jnp.asarray(x + moved)) - loss(jnp.asarray(x - moved))) / (2 * step)
            assert float(found[place]) == pytest.approx(float(slope), abs=1e-7)


def test_an_error_is_what_is_left_to_learn() -> None:
    support, mass = jnp.array([0.0, 1.0, 2.0]), jnp.array([0.25, 0.5, 0.25])
    known = Atoms(jnp.log(mass)[None], support)
    _, error = known.loss(jnp.int32(0), support, mass, 1.0)
    assert float(error) == pytest.approx(0, abs=1e-6)
    _, error = known.loss(jnp.int32(0), support, jnp.array([1.0, 0.0, 0.0]), 1.0)
    assert float(error) == pytest.approx(np.log(4), abs=1e-6)  # the divergence from what is certain
    quantiles = Quantiles(jnp.array([[0.0, 2.0]]), jnp.array([0.25, 0.75]))
    _, error = quantiles.loss(jnp.int32(0), jnp.array([0.0, 4.0]), jnp.array([0.5, 0.5]), 1.0)
    assert float(error) == 1.0
    assert isinstance(estimate(jnp.zeros(2)), Expected) and estimate(quantiles) is quantiles
    np.testing.assert_allclose(known.mean, [1.0])
