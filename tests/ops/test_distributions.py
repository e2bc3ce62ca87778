"""Distributions over actions against SciPy, by integration and by counting."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from retorno.ops.distributions import (
    Categorical,
    EpsilonGreedy,
    Gaussian,
    MultiCategorical,
    SquashedGaussian,
    log_prob_and_entropy,
)

SAMPLES = 40_000
LOGITS = jnp.array([0.5, -1.0, 2.0, 0.0])
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum()


def draw(distribution: Any, samples: int = SAMPLES) -> np.ndarray:
    """[samples, …] independent draws."""
    keys = jax.random.split(jax.random.key(0), samples)
    return np.asarray(jax.jit(jax.vmap(distribution.sample))(keys))


def assert_frequencies(actions: np.ndarray, probs: np.ndarray) -> None:
    """Counts within four standard errors of their probabilities; what has none never occurs."""
    share = np.bincount(actions, minlength=len(probs)) / len(actions)
    stderr = np.sqrt(probs * (1 - probs) / len(actions))
    assert (np.abs(share - probs) <= 4 * stderr + 1e-9).all(), (share, probs)


def test_categorical_by_hand() -> None:
    fair = Categorical(jnp.log(jnp.array([0.5, 0.25, 0.25])) + 3)
    np.testing.assert_allclose(fair.log_prob(jnp.array(1)), np.log(0.25), rtol=1e-6)
    np.testing.assert_allclose(fair.entropy(), 1.5 * np.log(2), rtol=1e-6)
    assert int(fair.mode()) == 0


def test_categorical_against_scipy() -> None:
    categorical = Categorical(LOGITS)
    np.testing.assert_allclose(jax.vmap(categorical.log_prob)(jnp.arange(4)), np.log(PROBS), rtol=1e-5)
    np.testing.assert_allclose(categorical.entropy(), stats.entropy(PROBS), rtol=1e-5)
    assert_frequencies(draw(categorical), PROBS)


def test_masked_categorical_is_the_renormalised_rest() -> None:
    legal = jnp.array([True, True, False, True])
    masked = Categorical(LOGITS).masked(legal)
    rest = np.where(legal, PROBS, 0) / PROBS[np.asarray(legal)].sum()
    np.testing.assert_allclose(jnp.exp(masked.log_probs()), rest, atol=1e-6)
    np.testing.assert_allclose(masked.entropy(), stats.entropy(rest), rtol=1e-5)
    assert int(masked.mode()) == 0
    assert_frequencies(draw(masked), rest)


def test_an_action_is_judged_among_the_legal_ones() -> None:
    """Two of three equal actions are legal: each has probability 1/2, entropy log 2; without a mask, 1/3 and log 3."""
    thirds = Categorical(jnp.zeros(3))
    masked = log_prob_and_entropy(thirds, jnp.array([True, False, True]), jnp.int32(2))
    assert np.allclose(masked, (-np.log(2), np.log(2)))
    assert np.allclose(log_prob_and_entropy(thirds, None, jnp.int32(2)), (-np.log(3), np.log(3)))


@pytest.mark.parametrize("what", ["log_prob", "entropy"])
def test_masked_gradients_are_finite_and_leave_illegal_actions_alone(what: str) -> None:
    legal = jnp.array([True, False, False, False])

    def answer(logits: jax.Array) -> jax.Array:
        masked = Categorical(logits).masked(legal)
        return masked.log_prob(jnp.array(0)) if what == "log_prob" else masked.entropy()

    np.testing.assert_array_equal(jax.grad(answer)(LOGITS), np.zeros(4))


def test_multi_categorical_is_a_product() -> None:
    parts = MultiCategorical((LOGITS, jnp.array([0.0, 1.0])))
    second = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    np.testing.assert_allclose(parts.log_prob(jnp.array([2, 0])), np.log(PROBS[2] * second[0]), rtol=1e-5)
    np.testing.assert_allclose(parts.entropy(), stats.entropy(np.outer(PROBS, second).ravel()), rtol=1e-5)
    np.testing.assert_array_equal(parts.mode(), [2, 1])
    actions = draw(parts)
    assert_frequencies(actions[:, 0] * 2 + actions[:, 1], np.outer(PROBS, second).ravel())


def test_multi_categorical_has_a_mask_for_each_component() -> None:
    parts = MultiCategorical((LOGITS, jnp.array([0.0, 1.0])))
    legal = (jnp.array([True, False, False, True]), jnp.array([True, False]))
    first, second = (np.exp(Categorical(logits).log_probs()) for logits in parts.masked(legal).logits)
    np.testing.assert_allclose(first, PROBS * [1, 0, 0, 1] / PROBS[[0, 3]].sum(), atol=1e-6)
    np.testing.assert_allclose(second, [1, 0], atol=1e-6)


def test_gaussian_against_scipy() -> None:
    mean, std, action = np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.array([0.3, 1.0])
    gaussian = Gaussian(jnp.asarray(mean), jnp.log(jnp.asarray(std)))
    np.testing.assert_allclose(
        gaussian.log_prob(jnp.asarray(action)), stats.norm(mean, std).logpdf(action).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(gaussian.entropy(), stats.norm(mean, std).entropy().sum(), rtol=1e-5)
    np.testing.assert_array_equal(gaussian.mode(), mean)
    for sample, m, s in zip(draw(gaussian).T, mean, std, strict=True):
        assert stats.kstest(sample, stats.norm(m, s).cdf).pvalue > 1e-4


def squashed(mean: float, std: float) -> SquashedGaussian:
    normal = Gaussian(jnp.array([mean]), jnp.log(jnp.array([std])))
    return SquashedGaussian(normal, jnp.array([-2.0]), jnp.array([1.0]))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (0.7, 0.5), (-1.0, 1.0)])
def test_squashed_gaussian_integrates_to_one(mean: float, std: float) -> None:
    # Substituted y = low + (high − low)(1 + tanh z)/2, so that the grid is fine where the density is.
    z = np.linspace(mean - 6 * std, mean + 6 * std, 4001)
    inside = np.abs(np.tanh(z)) < 1 - 2e-6
    actions = -2 + 3 * (1 + np.tanh(z[inside])) / 2
    density = np.exp(jax.jit(jax.vmap(squashed(mean, std).log_prob))(jnp.asarray(actions[:, None], jnp.float32)))
    assert np.trapezoid(density, actions) == pytest.approx(1, abs=1e-3)


def test_squashed_gaussian_samples_follow_its_density() -> None:
    distribution = squashed(0.7, 0.5)
    actions = draw(distribution)[:, 0]
    assert actions.min() >= -2 and actions.max() <= 1
    unsquashed = np.arctanh(np.clip(2 * (actions + 2) / 3 - 1, -1 + 1e-7, 1 - 1e-7))
    assert stats.kstest(unsquashed, stats.norm(0.7, 0.5).cdf).pvalue > 1e-4
    np.testing.assert_allclose(distribution.mode(), -2 + 3 * (1 + np.tanh([0.7])) / 2, rtol=1e-6)


def test_squashed_gaussian_entropy_is_right_where_it_is_narrow() -> None:
    # Its slope is taken at the mean: exact as σ → 0.
    distribution = squashed(0.7, 0.02)
    log_probs = jax.vmap(distribution.log_prob)(jnp.asarray(draw(distribution)))
    stderr = float(log_probs.std()) / np.sqrt(SAMPLES)
    assert float(distribution.entropy()) == pytest.approx(-float(log_probs.mean()), abs=4 * stderr + 0.02**2)


def test_squashed_gaussian_is_finite_at_its_bounds() -> None:
    def log_prob(mean: jax.Array, action: float) -> jax.Array:
        normal = Gaussian(mean, jnp.zeros(1))
        return SquashedGaussian(normal, jnp.array([-2.0]), jnp.array([1.0])).log_prob(jnp.array([action]))

    for action in (-2.0, 1.0):
        value, slope = jax.value_and_grad(log_prob)(jnp.zeros(1), action)
        assert np.isfinite(value) and np.isfinite(slope).all()


@pytest.mark.parametrize(
    ("q", "legal", "probs"),
    [
        ([1.0, 3.0, 2.0, 0.0], None, [0.05, 0.85, 0.05, 0.05]),
        ([1.0, 3.0, 3.0, 0.0], None, [0.05, 0.45, 0.45, 0.05]),
        ([1.0, 3.0, 2.0, 2.0], [True, False, True, True], [0.2 / 3, 0.0, 0.4 + 0.2 / 3, 0.4 + 0.2 / 3]),
        ([-5.0, 3.0, 2.0, 0.0], [True, False, False, False], [1.0, 0.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 0.0], None, [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_epsilon_greedy_by_hand(q: list[float], legal: list[bool] | None, probs: list[float]) -> None:
    distribution = EpsilonGreedy(jnp.array(q), jnp.float32(0.2)).masked(None if legal is None else jnp.array(legal))
    np.testing.assert_allclose(distribution.probs(), probs, atol=1e-6)
    np.testing.assert_allclose(distribution.entropy(), stats.entropy(probs), atol=1e-6)
    np.testing.assert_allclose(jnp.exp(jax.vmap(distribution.log_prob)(jnp.arange(4))), probs, atol=1e-6)
    assert probs[int(distribution.mode())] == max(probs)
    assert_frequencies(draw(distribution), np.array(probs))


def test_epsilon_greedy_without_exploration_never_errs() -> None:
    distribution = EpsilonGreedy(jnp.array([0.0, -1.0, 1.0]), jnp.float32(0.0))
    assert set(draw(distribution).tolist()) == {2}
