"""Models of one shape: nothing that is there changes, and what is lived side by side is what is lived alone."""

from __future__ import annotations

import numpy as np
import pytest

from retorno import bellman
from retorno.algorithms import TD
from retorno.environments.registry import model
from retorno.environments.sampled_world import sampled
from retorno.environments.stacked import of_one_shape, padded, stacked
from retorno.figures.chapter_5 import sticking
from retorno.figures.prediction import interval, under
from retorno.run.probe import probe

NAMES = ("random_walk", "random_walk_19", "garnet", "student")


def test_padded_models_have_the_same_values() -> None:
    models = [model(name) for name in NAMES]
    larger = padded(models)
    assert {(each.num_states, each.num_actions) for each in larger} == {(21, 5)}
    for plain, wide in zip(models, larger, strict=True):
        exact, same = (bellman.solve(each, 0.9).value for each in (plain, wide))
        np.testing.assert_allclose(same[: len(exact)], exact, atol=1e-9)
        np.testing.assert_array_equal(same[len(exact) :], 0)


def learnt(run, trajectory):
    return {"value": run.learner.network.tables["value"][:, 0], "reward": trajectory.steps.reward}


def test_what_is_lived_side_by_side_is_what_is_lived_alone() -> None:
    """To the bit, where the worlds have the same actions: among others, another number of them draws otherwise."""
    walks = [model("random_walk"), model("random_walk_19")]
    together = probe(TD(), stacked(of_one_shape(walks)), 400, learnt, seeds=(3, 5), every=100, side_by_side=True)
    for i, walk in enumerate(walks):
        alone = probe(TD(), sampled(walk), 400, learnt, seeds=(3, 5), every=100)
        np.testing.assert_array_equal(together["reward"][i], alone["reward"])
        np.testing.assert_array_equal(together["value"][i][..., : walk.num_states], alone["value"])


@pytest.mark.parametrize("name", ["blackjack", "garnet", "random_walk"])
def test_a_policys_process_has_the_policys_values(name: str) -> None:
    decisions = model(name)
    chances = bellman.uniform(decisions)
    if name == "blackjack":
        chances = sticking(decisions)[decisions.pair_state, decisions.action]
    process = under(decisions, chances)
    assert process.num_pairs == (~decisions.terminal).sum()
    exact, same = (bellman.evaluate(m, p, 0.9).value for m, p in ((decisions, chances), (process, bellman.uniform)))
    np.testing.assert_allclose(same, exact, atol=1e-9)


def test_errors_by_hand() -> None:
    """Two seeds, two states: off by 1 and 3, and by −1 and 1; the second state counts three times as much."""
    off, until, weight = np.array([[1.0, -1.0], [3.0, 1.0]]), np.array([10.0, 20.0]), np.array([0.25, 0.75])
    bias, deviation, rms, steps = interval(off, until, weight)
    # Mean 2 and 0, standard deviation 1 and 1.
    assert (bias[0], deviation[0], rms[0], steps[0]) == pytest.approx((1.0, 1.0, np.sqrt(2), 15))
    for middle, low, high in (bias, deviation, rms, steps):
        assert low <= max(middle, low) <= high
