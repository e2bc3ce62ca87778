"""Occupancy: by hand, against powers of the transition matrix, and the identity of primal and dual."""

import numpy as np
import pytest
from hypothesis import given, settings
from models import models, random_policy

from retorno.bellman import evaluate, solve, uniform
from retorno.bellman.evaluation import iterative
from retorno.bellman.occupancy_measure import occupancy
from retorno.core.mdp import MDP, mdp
from retorno.environments.textbook.garnet import garnet
from retorno.environments.textbook.lecture import random_walk, student


def by_powers(model: MDP, policy: np.ndarray, discount: float, start: np.ndarray, steps: int = 4000) -> np.ndarray:
    """Σ_t μ Mᵗ, with M made by hand, entry by entry."""
    matrix = np.zeros((model.num_states, model.num_states))
    for pair, state in enumerate(model.pair_state):
        for n in range(model.row_ptr[pair], model.row_ptr[pair + 1]):
            matrix[state, model.next_state[n]] += policy[pair] * model.probability[n] * discount * model.discount[n]
    total, passed = np.zeros(model.num_states), np.where(model.terminal, 0, start)
    for _ in range(steps):
        total, passed = total + passed, passed @ matrix
    return total


def test_a_coin_by_hand() -> None:
    # Two visits to a in the mean, and the visit that ends it pays 4.
    coin = mdp({"a": {"toss": [(0.5, "a", 1.0), (0.5, "end", 4.0)]}})
    found = occupancy(coin, uniform, 1.0)
    assert found.state == pytest.approx([2, 0]) and found.total == pytest.approx(2)
    assert found.start_value == pytest.approx(5) and found.ending == pytest.approx([0, 1])
    assert found.state_distribution == pytest.approx([1, 0])
    half = occupancy(coin, uniform, 0.5)
    assert half.state == pytest.approx([4 / 3, 0]) and half.error < 1e-12


def test_nothing_terminates_so_the_total_is_the_horizon() -> None:
    model = garnet(30, 3, 4, seed=1)
    found = occupancy(model, uniform, 0.97)
    assert found.total == pytest.approx(1 / 0.03) and found.pair_distribution.sum() == pytest.approx(1)


def test_where_the_walk_ends_is_its_value() -> None:
    walk = random_walk()
    found = occupancy(walk, uniform, 1.0, "B")
    assert found.ending[[walk.state("left end"), walk.state("right end")]] == pytest.approx([4 / 6, 2 / 6])
    assert found.total == pytest.approx(2 * 4)  # The duration of the gambler's ruin, k (n − k).


def test_only_states_that_are_reached_must_end() -> None:
    model = mdp({"a": {"go": [(1, "end", 1.0)]}, "b": {"stay": [(1, "b", 1.0)]}}, initial="a")
    assert occupancy(model, uniform, 1.0).state == pytest.approx([1, 0, 0])
    with pytest.raises(ValueError, match="'b' never terminates"):
        occupancy(model, uniform, 1.0, "b")


def test_starts() -> None:
    model = student()
    assert occupancy(model, uniform, 0.9, "C3").initial.tolist() == [0, 0, 0, 1, 0]
    assert occupancy(model, uniform, 0.9, 3).state == pytest.approx(occupancy(model, uniform, 0.9, "C3").state)
    asleep = occupancy(model, uniform, 0.9, "Sleep")
    assert not asleep.state.any() and asleep.start_value == 0
    with pytest.raises(ValueError, match="no action is ever taken"):
        _ = asleep.state_distribution
    with pytest.raises(ValueError, match="distribution over the 5 states"):
        occupancy(model, uniform, 0.9, [0.5, 0.6, 0, 0, 0])
    with pytest.raises(KeyError, match="no state 'C4'"):
        occupancy(model, uniform, 0.9, "C4")


@settings(max_examples=60, deadline=None)
@given(models())
def test_the_value_is_the_occupancy_times_the_reward(model: MDP) -> None:
    policy = random_policy(np.random.default_rng(0), model)
    for discount in (0.0, 0.5, 0.9):
        value = evaluate(model, policy, discount)
        found = occupancy(model, policy, discount)
        scale = np.abs(model.reward).max()
        assert found.start_value == pytest.approx(value.start_value, rel=1e-9, abs=1e-9 * scale)
        assert np.abs(found.state - by_powers(model, policy, discount, model.initial)).sum() <= found.error + 1e-12
        assert found.error < 1e-10


def test_sweeps_agree_with_elimination(monkeypatch) -> None:
    for model, discount in ((garnet(200, 3, 4, seed=2), 0.95), (random_walk(19), 1.0)):
        direct = occupancy(model, uniform, discount)
        monkeypatch.setattr("retorno.bellman.occupancy_measure.suited", lambda backup, precise: iterative)
        swept = occupancy(model, uniform, discount)
        monkeypatch.undo()
        assert np.abs(direct.state - swept.state).sum() <= direct.error + swept.error < 1e-9


def test_the_best_policys_occupancy_solves_the_dual() -> None:
    # Flow in = flow out, nothing negative, and the objective is the best start value.
    model = student()
    best = solve(model, 0.9)
    found = occupancy(model, best.policy, 0.9)
    inflow = np.bincount(
        model.next_state,
        found.pair[model.transition_pair] * model.probability * model.discount * 0.9,
        minlength=model.num_states,
    )
    out = np.bincount(model.pair_state, found.pair, minlength=model.num_states)
    assert (found.pair >= 0).all() and out == pytest.approx(model.initial + inflow)
    assert found.start_value == pytest.approx(best.start_value)
