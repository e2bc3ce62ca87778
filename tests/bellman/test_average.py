"""Average reward: by hand, the book's access control, and bounds against fractions on hundreds of models."""

from fractions import Fraction
from functools import partial
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import models, random_model, random_policy

from retorno.bellman.average import (
    average_reward,
    evaluate_average,
    multichain_policy_iteration,
    relative_value_iteration,
)
from retorno.bellman.evaluation import uniform
from retorno.bellman.rational_average import average_exactly, evaluate_average_exactly
from retorno.core.mdp import MDP, mdp
from retorno.environments import garnet, student

METHODS = [None, multichain_policy_iteration, relative_value_iteration]


def access_control() -> MDP:
    """Sutton & Barto 2018, example 10.2: ten servers, customers of priority 1, 2, 4 and 8 at the head of a queue."""
    model = {}
    for free in range(11):
        for paid in (1, 2, 4, 8):
            model[free, paid] = {}
            for action in ("reject", "accept")[: 1 + (free > 0)]:
                taken = action == "accept"
                busy = 10 - free + taken
                model[free, paid][action] = [
                    (comb(busy, k) * 0.06**k * 0.94 ** (busy - k) / 4, (10 - busy + k, n), float(taken * paid))
                    for k in range(busy + 1)
                    for n in (1, 2, 4, 8)
                ]
    return mdp(model)


def times_of(model: MDP, seed: int) -> np.ndarray | None:
    """No durations, one per pair or one per transition."""
    generator = np.random.default_rng(seed)
    size = [None, model.num_pairs, model.num_transitions][seed % 3]
    return None if size is None else 0.1 + 3 * generator.random(size)


def assert_bounds(answer, exact) -> None:
    assert (answer.lower <= answer.gain).all() and (answer.gain <= answer.upper).all()
    for low, gain, high in zip(answer.lower, exact.gain, answer.upper, strict=True):
        assert Fraction(float(low)) <= gain <= Fraction(float(high))


@pytest.mark.parametrize("method", METHODS)
def test_access_control(method) -> None:
    answer = average_reward(access_control(), accuracy=1e-7, method=method)
    assert answer.converged and answer.unichain
    np.testing.assert_allclose(answer.gain, 2.74764, atol=5e-6)
    # Those who pay 4 or 8 are always let in, those who pay 2 while four servers are free, those who pay 1 never.
    accepted = {name for name in answer.model.state_names if answer.actions(name) == ("accept",)}
    assert accepted == {f"({n}, {paid})" for paid, least in ((2, 4), (4, 1), (8, 1)) for n in range(least, 11)}


@pytest.mark.parametrize("method", METHODS)
def test_by_hand(method) -> None:
    """Two loops of period two; the poorer one can be left, at even odds for the richer one or the end."""
    model = mdp(
        {
            "a": {"on": [(1.0, "b", 1.0)], "leave": [(0.5, "c", 0.0), (0.5, "end", 0.0)]},
            "b": {"on": [(1.0, "a", 0.0)]},
            "c": {"on": [(1.0, "d", 6.0)]},
            "d": {"on": [(1.0, "c", 0.0)]},
        }
    )
    most = average_reward(model, method=method)
    np.testing.assert_allclose(most.gain, [1.5, 1.5, 3, 3, 0], atol=1e-6)
    assert most.actions("a") == ("leave",) and most.classes.tolist() == [-1, -1, 0, 0, -1]
    assert most.ends and not most.unichain and "multichain (1 recurrent classes, or it ends)" in str(most)
    least = average_reward(model, minimise=True, method=method)
    np.testing.assert_allclose(least.gain, [0.5, 0.5, 3, 3, 0], atol=1e-6)
    assert least.actions("a") == ("on",) and sorted(set(least.classes)) == [-1, 0, 1]
    np.testing.assert_allclose(least.bias[:4], [0.25, -0.25, 1.5, -1.5], atol=1e-5)
    np.testing.assert_allclose(least.stationary, [0.5, 0.5, 0.5, 0.5, 0], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_by_time(method) -> None:
    """A machine pays 5 in 2 hours or 6 in 3: by the step the second is better, by the hour the first."""
    model = mdp({"run": {"fast": [(1.0, "run", 5.0)], "slow": [(1.0, "run", 6.0)]}})
    assert average_reward(model, method=method).actions("run") == ("slow",)
    by_hour = average_reward(model, duration=np.array([2.0, 3.0]), method=method)
    assert by_hour.actions("run") == ("fast",)
    np.testing.assert_allclose(by_hour.gain, 2.5, atol=1e-6)


def test_what_ends_earns_nothing_for_ever_after() -> None:
    answer = average_reward(student())
    assert answer.gain.tolist() == [0] * 5 and answer.ends and answer.unichain
    # The bias is then the total reward, which the lecture's figure shows.
    by_name = dict(zip(answer.model.state_names, answer.bias, strict=True))
    assert by_name["C1"] == pytest.approx(6) and by_name["C3"] == pytest.approx(10)


def test_all_actions_that_tie() -> None:
    model = mdp({"a": {"x": [(1.0, "a", 1.0)], "y": [(1.0, "b", 3.0)]}, "b": {"z": [(1.0, "a", -1.0)]}})
    answer = average_reward(model)
    assert answer.actions("a") == ("x", "y")
    np.testing.assert_allclose(answer.gain, 1, atol=1e-12)


def test_a_long_cycle_settles() -> None:
    """Forty states one after the other: as periodic as can be."""
    model = mdp({i: {"on": [(1.0, (i + 1) % 40, float(i == 0))]} for i in range(40)})
    answer = average_reward(model, method=relative_value_iteration)
    assert answer.converged
    np.testing.assert_allclose(answer.gain, 1 / 40, atol=1e-6)
    half = average_reward(model, method=partial(relative_value_iteration, step=0.5))
    assert half.converged and half.sweeps < answer.sweeps and half.method == "relative value iteration"


@settings(max_examples=150, deadline=None)
@given(models(), st.sampled_from(METHODS), st.booleans(), st.integers(0, 2**32 - 1))
def test_no_bound_is_violated(model, method, minimise, seed) -> None:
    duration = times_of(model, seed)
    exact = average_exactly(model, minimise=minimise, duration=duration)
    answer = average_reward(model, minimise=minimise, duration=duration, method=method, sweeps=3000)
    assert_bounds(answer, exact)
    enough = max(1e-6, 1e-9 * float(np.abs(answer.gain).max()))
    assert answer.converged == (answer.policy_loss_bound <= enough)
    earned = evaluate_average_exactly(model, answer.policy, duration=duration).gain
    loss = Fraction(answer.policy_loss_bound)
    assert all(abs(a - b) <= loss for a, b in zip(earned, exact.gain, strict=True))
    assert answer.optimal[answer.policy > 0].all()


@settings(max_examples=100, deadline=None)
@given(models(), st.integers(0, 2**32 - 1))
def test_a_policys_bounds(model, seed) -> None:
    duration = times_of(model, seed)
    policy = random_policy(np.random.default_rng(seed), model)
    answer = evaluate_average(model, policy, duration=duration)
    assert_bounds(answer, evaluate_average_exactly(model, policy, duration=duration))


@settings(max_examples=150, deadline=None)
@given(
    models(chances="quarters", rewards="whole", fractional=False),
    st.sampled_from([None, multichain_policy_iteration]),
    st.integers(0, 2**32 - 1),
)
def test_it_converges_where_numbers_are_of_one_size(model, method, seed) -> None:
    answer = average_reward(model, duration=times_of(model, seed), method=method)
    assert answer.converged and answer.policy_loss_bound < 1e-9


@settings(max_examples=150, deadline=None)
@given(models(chances="quarters", rewards="whole", fractional=False), st.integers(0, 2**32 - 1))
def test_gain_bias_and_stationary_distribution_solve_their_equations(model, seed) -> None:
    policy = random_policy(np.random.default_rng(seed), model)
    duration = times_of(model, seed)
    answer = evaluate_average(model, policy, duration=duration)
    step = np.zeros((model.num_states, model.num_states))
    weight = policy[model.transition_pair] * model.probability
    owner = model.pair_state[model.transition_pair]
    np.add.at(step, (owner, model.next_state), weight * model.discount)
    reward = np.bincount(owner, weight * model.reward, minlength=model.num_states)
    if duration is None:
        spent = ~model.terminal
    elif len(duration) == model.num_pairs:
        spent = np.bincount(model.pair_state, policy * duration, minlength=model.num_states)
    else:
        spent = np.bincount(owner, weight * duration, minlength=model.num_states)
    size = 1 + np.abs(answer.bias).max()
    np.testing.assert_allclose(step @ answer.gain, answer.gain, atol=1e-9)
    np.testing.assert_allclose(answer.bias + answer.gain * spent, reward + step @ answer.bias, atol=1e-9 * size)
    for each in range(answer.classes.max() + 1):
        share = np.where(answer.classes == each, answer.stationary, 0)
        assert share.sum() == pytest.approx(1)
        np.testing.assert_allclose(share @ step, share, atol=1e-9)
        assert share @ answer.bias == pytest.approx(0, abs=1e-9 * size)
        assert share @ reward / (share @ spent) == pytest.approx(answer.gain[answer.classes == each][0], abs=1e-9)
    assert (answer.stationary[answer.classes < 0] == 0).all()


def test_methods_agree_on_larger_models() -> None:
    generator = np.random.default_rng(1)
    for _ in range(10):
        model = garnet(200, 3, 3, seed=int(generator.integers(1000)))
        exact, swept = (average_reward(model, method=method) for method in METHODS[1:])
        assert exact.converged and swept.converged
        assert (exact.lower <= swept.upper).all() and (swept.lower <= exact.upper).all()


def test_a_large_model() -> None:
    model = garnet(20_000, 3, 4, seed=0)
    answer = average_reward(model)
    assert answer.converged and answer.unichain and answer.method == "relative value iteration"
    kept = evaluate_average(model, answer.policy)
    assert kept.converged and (kept.lower <= answer.upper).all() and (kept.upper >= answer.lower).all()
    at_random = evaluate_average(model, uniform)
    assert (at_random.gain < answer.gain).all() and at_random.stationary.sum() == pytest.approx(1)


def test_it_stops_when_told() -> None:
    model = garnet(50, 3, 3, seed=0)
    answer = average_reward(model, method=relative_value_iteration, sweeps=3)
    assert answer.sweeps == 3 and not answer.converged and np.isfinite(answer.policy_loss_bound)
    assert_bounds(answer, average_exactly(model))


def test_bad_questions() -> None:
    model = random_model(np.random.default_rng(0))
    with pytest.raises(ValueError, match="positive and finite"):
        average_reward(model, duration=np.zeros(model.num_pairs))
    with pytest.raises(ValueError, match="one time per transition"):
        average_reward(model, duration=np.ones(model.num_transitions + 1))
    with pytest.raises(ValueError, match="policy in state"):
        evaluate_average(student(), np.zeros(student().num_pairs))


def test_the_table() -> None:
    text = str(average_reward(mdp({"a": {"x": [(1.0, "b", 1.0)]}, "b": {"y": [(1.0, "a", 0.0)]}})))
    assert text.splitlines()[0].split() == ["state", "gain", "lower", "upper", "bias", "class", "policy"]
    assert "average reward, unichain, multichain policy iteration, converged" in text and "0.500000" in text
