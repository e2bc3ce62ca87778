"""The best of n: its law, its distance and the weights of samples, against all that can be drawn."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from retorno.ops.best_of_n import best_of_n_kl, best_of_n_log_prob, best_of_n_weights

PROBS = np.array([0.1, 0.3, 0.2, 0.25, 0.15])
SCORES = np.array([1.0, -2.0, 1.0, 0.5, 3.0])


@pytest.mark.parametrize("n", [1, 2, 4])
def test_its_law_is_that_of_all_draws(n: int) -> None:
    expected = np.zeros(5)
    for drawn in itertools.product(range(5), repeat=n):
        scores = SCORES[list(drawn)]
        best = [answer for answer, score in zip(drawn, scores, strict=True) if score == scores.max()]
        for answer in best:
            expected[answer] += PROBS[list(drawn)].prod() / len(best)
    found = best_of_n_log_prob(jnp.log(PROBS), jnp.asarray(SCORES), n)
    np.testing.assert_allclose(np.exp(found), expected, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_weights_are_those_of_all_that_can_be_drawn(n: int) -> None:
    expected = np.zeros(5)
    subsets = list(itertools.combinations(range(5), n))
    for drawn in subsets:
        best = [answer for answer in drawn if SCORES[answer] == SCORES[list(drawn)].max()]
        expected[best] += 1 / len(best) / len(subsets)
    np.testing.assert_allclose(best_of_n_weights(SCORES, n), expected, atol=1e-12)


def test_its_distance_is_at_most_what_is_said_and_nearly_that_of_many_answers() -> None:
    def apart(probs: np.ndarray, scores: np.ndarray, n: int) -> float:
        law = np.asarray(best_of_n_log_prob(jnp.log(probs), jnp.asarray(scores), n), np.float64)
        return float((np.exp(law) * (law - np.log(probs))).sum())

    for n in (2, 4, 16):
        assert 0 < apart(PROBS, SCORES, n) < best_of_n_kl(n)
    assert best_of_n_kl(1) == 0
    # Of 5,000 answers that are equally likely and all differ, the mass of each is what is missing.
    assert apart(np.full(5000, 1 / 5000), np.arange(5000.0), 4) == pytest.approx(best_of_n_kl(4), abs=2e-3)
