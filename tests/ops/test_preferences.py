"""Likelihoods of rankings: against enumeration, and against each other where they are one."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.ops.preferences import (
    bradley_terry,
    comparison,
    ordered_logistic,
    plackett_luce,
    preferred,
    told_apart,
)

SCORES = jnp.array([0.3, -1.2, 2.0, 0.9])


@pytest.mark.parametrize("mistakes", [0.0, 0.3])
def test_the_rankings_of_plackett_and_luce_are_a_distribution(mistakes: float) -> None:
    rankings = jnp.array(list(itertools.permutations(range(4))))
    losses = jax.vmap(lambda rank: plackett_luce(SCORES, rank, mistakes))(rankings)
    # Each loss is a mean over the three choices that are made.
    np.testing.assert_allclose(jnp.exp(-3 * losses).sum(), 1.0, rtol=1e-5)


def test_a_partial_ranking_is_the_sum_over_the_orders_of_what_is_left() -> None:
    best_two = [r for r in itertools.permutations(range(4)) if r[2] == 0 and r[0] == 1]
    whole = sum(float(jnp.exp(-3 * plackett_luce(SCORES, jnp.array(rank)))) for rank in best_two)
    partial = float(jnp.exp(-2 * plackett_luce(SCORES, jnp.array([1, 2, 0, 2]))))
    assert whole == pytest.approx(partial, rel=1e-5)


def test_of_two_answers_all_likelihoods_are_one() -> None:
    for rank in ([0, 1], [1, 0]):
        pair = jnp.array(rank)
        expected = -jax.nn.log_sigmoid((SCORES[0] - SCORES[1]) * (1 if rank == [0, 1] else -1))
        np.testing.assert_allclose(bradley_terry(SCORES[:2], pair), expected, rtol=1e-6)
        np.testing.assert_allclose(plackett_luce(SCORES[:2], pair), expected, rtol=1e-6)
        said = comparison(SCORES[:2], jnp.float32(rank[1]), 0.1)
        np.testing.assert_allclose(plackett_luce(SCORES[:2], pair, 0.1), said, rtol=1e-6)


def test_what_was_not_ranked_and_what_ties_says_nothing() -> None:
    for loss in (bradley_terry, plackett_luce):
        ranked = loss(SCORES[:3], jnp.array([0, 1, 2]))
        np.testing.assert_allclose(loss(SCORES, jnp.array([0, 1, 2, -1])), ranked, rtol=1e-6)
        assert loss(SCORES, jnp.array([1, 1, 1, -1])) == 0
        slope = jax.grad(loss)(SCORES, jnp.array([0, 1, 2, -1]))
        assert slope[3] == 0 and jnp.isfinite(slope).all()
        assert (jax.grad(loss)(SCORES, jnp.array([0, 0, 0, 0])) == 0).all()


def test_a_labeller_who_errs_bounds_the_loss() -> None:
    far = jnp.array([-200.0, 200.0])
    np.testing.assert_allclose(bradley_terry(far, jnp.array([0, 1]), 0.1), -jnp.log(0.05), rtol=1e-5)
    assert jnp.isfinite(jax.grad(bradley_terry)(far, jnp.array([0, 1]))).all()
    assert float(jax.grad(bradley_terry)(far, jnp.array([0, 1]), 0.1)[0]) == pytest.approx(0, abs=1e-6)


def test_pairs_are_counted_once_and_in_one_direction() -> None:
    pairs = preferred(jnp.array([2, 0, 1, 1]))
    assert not (pairs & pairs.T).any()
    assert pairs.sum() == 5
    alike, of = told_apart(-jnp.array([2.0, 0.0, 1.0, 1.0]), jnp.array([2, 0, 1, 1]))
    assert (alike, of) == (5, 5)


@pytest.mark.parametrize("score", [-90.0, 0.3, 90.0])
def test_all_levels_of_a_rating_share_what_is_likely(score: float) -> None:
    """Each has what lies between its cuts; also where that is nothing there is a slope."""
    cuts, levels = jnp.array([-1.0, 0.0, 2.0]), jnp.arange(4)
    between = jnp.diff(jax.nn.sigmoid(jnp.array([-jnp.inf, -1.0, 0.0, 2.0, jnp.inf]) - score))
    for mistakes in (0.0, 0.1):
        losses = lambda score, cuts, e=mistakes: jax.vmap(lambda k: ordered_logistic(score, cuts, k, e))(levels)  # noqa: E731
        chance = jnp.exp(-losses(jnp.float32(score), cuts))
        np.testing.assert_allclose(chance, (1 - mistakes) * between + mistakes / 4, atol=1e-6)
        slopes = jax.jacobian(losses, (0, 1))(jnp.float32(score), cuts)
        assert all(np.isfinite(each).all() for each in slopes)
