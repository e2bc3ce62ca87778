"""Probabilities to reach states, and what is earned until then: by hand, and against policies one by one."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import models

from retorno import bellman
from retorno.bellman.rational_reachability import reach_exactly
from retorno.bellman.reachability import reach
from retorno.core.mdp import ModelError, mdp
from retorno.environments.textbook.lecture import random_walk, student


def test_the_random_walk_by_hand():
    walk = random_walk(5)
    found = reach(walk, "right end", bellman.uniform)
    assert found.most.value[:5] == pytest.approx(np.arange(1, 6) / 6) and found.converged
    assert found.most is found.least and found.most.start(walk)[0] == pytest.approx(0.5)
    assert np.isneginf(found.reward.value[:6]).all() and found.reward.value[6] == 0  # left may come first


def test_a_choice_between_risk_and_delay():
    model = mdp(
        {
            "s": {"risk": [(0.5, "goal", 4.0), (0.5, "pit", 0.0)], "slow": [(0.9, "s", -1.0), (0.1, "goal", -1.0)]},
            "pit": {"stay": [(1.0, "pit", 7.0)]},
            "goal": {"on": [(1.0, "s", 99.0)]},
        },
        initial="s",
    )
    found = reach(model, "goal")
    names = list(model.state_names)
    most, least = (dict(zip(names, x.value, strict=True)) for x in (found.most, found.least))
    assert most == pytest.approx({"s": 1, "goal": 1, "pit": 0}) and least == pytest.approx(
        {"s": 0.5, "goal": 1, "pit": 0}
    )
    reward = dict(zip(names, found.reward.value, strict=True))
    assert reward == pytest.approx({"s": -10, "goal": 0, "pit": -np.inf})  # never by the risk, which may not arrive
    assert found.policy[model.pair_state == 0].tolist() == [0, 1]
    assert (found.most.lower <= found.most.value).all() and (found.most.value <= found.most.upper).all()


def test_an_end_on_the_way_into_a_state_reaches_it_and_another_does_not():
    model = mdp({"a": {"go": [(0.25, "b", 1.0, True), (0.75, "c", 2.0, True)]}, "b": {"x": [(1, "a", 0)]}, "c": {}})
    assert reach(model, "b").most.value.tolist() == [0.25, 1, 0]
    both = reach(model, np.array([False, True, True]))
    assert both.most.value.tolist() == [1, 1, 1] and both.reward.value.tolist() == pytest.approx([1.75, 0, 0])


def test_fractions_by_hand():
    walk = random_walk(5)
    found = reach_exactly(walk, "right end", bellman.uniform)
    assert [*map(str, found.most)] == ["1/6", "1/3", "1/2", "2/3", "5/6", "0", "1"] and found.start(found.most) == 0.5
    third = Fraction(1, 3)
    risk = [(third, "goal", 4), (1 - third, "pit", 0)]
    model = mdp({"s": {"risk": risk, "slow": [(third, "goal", -1), (1 - third, "s", -1)]}, "goal": {}, "pit": {}})
    best = reach_exactly(model, "goal")
    assert best.most == [1, 1, 0] and best.least == [third, 1, 0]
    assert best.reward == [-3, 0, -np.inf] and best.policy.tolist() == [0, 1]
    mixed = reach_exactly(model, "goal", {"s": {"risk": third, "slow": 1 - third}})
    assert mixed.most[0] == Fraction(3, 5) and mixed.least is mixed.most  # x = 1/9 + 2/9 + (4/9) x
    loop = mdp({"s": {"round": [(1, "s", 1)], "stop": [(1, "goal", 0)]}, "goal": {}})
    assert (
        reach_exactly(loop, "goal").reward == [np.inf, 0] and reach_exactly(loop, "goal", minimise=True).reward[0] == 0
    )


@settings(max_examples=30, deadline=None)
@given(models(chances="quarters", rewards="whole", fractional=False), st.data())
def test_bounds_hold_the_fractions(model, data):
    meant = np.array(data.draw(st.lists(st.booleans(), min_size=model.num_states, max_size=model.num_states)))
    minimise = data.draw(st.booleans())
    for policy in (None, bellman.uniform):
        found, exact = (ask(model, meant, policy, minimise=minimise) for ask in (reach, reach_exactly))
        for name in ("most", "least", "reward"):
            _, lower, upper = getattr(found, name)
            for low, value, high in zip(lower, getattr(exact, name), upper, strict=True):
                assert low <= value <= high


def test_costs_and_the_student():
    found = reach(student(), "Sleep", minimise=True)
    assert found.most.value.tolist() == [1] * 5 and found.least.value[0] == 0  # Facebook for ever
    assert np.isneginf(found.reward.value[:4]).all() and found.reward.value[4] == 0  # and each round there costs −1
    ended = bellman.solve(student(), 1.0)
    assert reach(student(), "Sleep").reward.value == pytest.approx(ended.value)


def test_to_wait_on_the_way_for_nothing_is_not_to_arrive():
    model = mdp({"s": {"wait": [(1.0, "s", 0.0)], "go": [(1.0, "goal", -1.0)]}, "goal": {}}, initial="s")
    found = reach(model, "goal")
    assert found.reward.value.tolist() == [-1, 0] and found.least.value.tolist() == [0, 1]
    assert reach(model, "goal", np.array([0.5, 0.5])).reward.value.tolist() == pytest.approx([-1, 0])


def test_what_cannot_be_asked():
    with pytest.raises(KeyError, match="no label 'goal' in the model, and no state of that name; it has no labels"):
        reach(student(), "goal")
    half = bellman.discounted_by_time(student(), 0.5, np.ones(student().num_pairs))
    with pytest.raises(ModelError, match=r"the discount 0.5 is neither 0 nor 1"):
        reach(half, "Sleep")
    with pytest.raises(ValueError, match="one truth for each of 5 states"):
        reach(student(), np.array([True]))


def chain_probability(model, meant, chosen, sweeps):
    """Of one action in each state, by sweeps from 0."""
    x = meant.astype(float)
    for _ in range(sweeps):
        arrived = np.where(meant[model.next_state], 1.0, np.where(model.discount == 0, 0.0, x[model.next_state]))
        q = np.bincount(model.transition_pair, model.probability * arrived, minlength=model.num_pairs)
        x = np.where(meant, 1.0, np.where(model.terminal, 0.0, q[np.maximum(chosen, 0)]))
    return x


@settings(max_examples=25, deadline=None)
@given(models(chances="quarters", fractional=False), st.data())
def test_against_every_policy(model, data):
    meant = np.array(data.draw(st.lists(st.booleans(), min_size=model.num_states, max_size=model.num_states)))
    found = reach(model, meant, accuracy=1e-9)
    options = [range(a, b) if b > a else [-1] for a, b in itertools.pairwise(model.state_ptr.tolist())]
    if np.prod([len(option) for option in options]) > 32:
        return
    values = np.array([chain_probability(model, meant, np.array(c), 200) for c in itertools.product(*options)])
    assert found.most.value == pytest.approx(values.max(axis=0), abs=1e-3)
    assert found.least.value == pytest.approx(values.min(axis=0), abs=1e-3)
    assert ((found.reward.value == -np.inf) == (values.max(axis=0) < 1 - 1e-3)).all()
    taken = reach(model, meant, found.policy, accuracy=1e-9)
    assert taken.most.value == pytest.approx(found.most.value, abs=1e-6)


@pytest.mark.parametrize("n", [1_000, 200_000])
def test_a_long_chain(n):
    from retorno.environments.formats import from_rows

    state = np.arange(n)
    chain = from_rows(np.append(state, [n, n]), np.arange(n + 1), state + 1, np.ones(n), pair_reward=np.ones(n))
    found = reach(chain, str(n))
    assert (found.least.lower > 1 - 1e-6).all() and found.reward.value[0] == pytest.approx(n)
    back = np.stack([state + 1, np.maximum(state - 1, 0)], 1).reshape(-1)  # Nothing is sure to end, and all may.
    two = from_rows(
        np.append(2 * state, [2 * n] * 2), np.arange(2 * n + 1), back, np.ones(2 * n), pair_reward=-1 + 0 * back
    )
    found = reach(two, str(n))
    assert (found.least.upper[:-1] == 0).all() and (found.most.lower > 1 - 1e-6).all()
    assert found.reward.value[0] == pytest.approx(-n)
