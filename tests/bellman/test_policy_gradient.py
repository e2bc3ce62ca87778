"""The exact policy gradient: against finite differences, the Fisher matrix, and the book's corridor."""

from __future__ import annotations

import numpy as np
import pytest

from retorno.bellman import evaluate, occupancy, policy_gradient, softmax_policy, solve
from retorno.environments.registry import model
from retorno.environments.textbook.lecture import random_walk, student

GENERATOR = np.random.default_rng(0)


def value(exact, theta, discount, observed=None):
    return evaluate(exact, softmax_policy(exact, theta, observed), discount).start_value


def differences(exact, theta, discount, observed=None, h=1e-5):
    """∂J/∂θ by central differences."""
    found = np.zeros_like(theta)
    for i in np.ndindex(*theta.shape):
        step = np.zeros_like(theta)
        step[i] = h
        up, down = (value(exact, theta + sign * step, discount, observed) for sign in (1, -1))
        found[i] = (up - down) / (2 * h)
    return found


@pytest.mark.parametrize(
    ("name", "discount"), [("student", 1.0), ("student", 0.8), ("garnet", 0.9), ("short_corridor", 1.0)]
)
def test_it_is_the_slope_of_the_value(name, discount):
    exact = model(name)
    theta = GENERATOR.normal(size=(exact.num_states, exact.num_actions))
    answer = policy_gradient(exact, theta, discount)
    assert answer.value == pytest.approx(value(exact, theta, discount))
    np.testing.assert_allclose(answer.gradient, differences(exact, theta, discount), atol=1e-6)
    # A constant added to a row changes nothing.
    np.testing.assert_allclose(answer.gradient.sum(1), 0, atol=1e-9)


def test_states_that_look_alike_share_their_gradient():
    exact, observed = model("short_corridor"), [0, 0, 0, 0]
    theta = np.array([[0.3, -0.2]])
    answer = policy_gradient(exact, theta, 1.0, observed=observed)
    np.testing.assert_allclose(answer.gradient, differences(exact, theta, 1.0, observed), atol=1e-5)


def test_the_corridors_best_policy_has_no_gradient():
    """Sutton & Barto 2018, example 13.1: p = 2 − √2 = .585786, value −11.6569."""
    exact, right = model("short_corridor"), 2 - np.sqrt(2)
    names = list(exact.action_names)
    theta = np.zeros((1, 2))
    theta[0, names.index("right")] = np.log(right / (1 - right))
    answer = policy_gradient(exact, theta, 1.0, observed=[0, 0, 0, 0])
    assert answer.value == pytest.approx(-11.656854, abs=1e-6)
    np.testing.assert_allclose(answer.gradient, 0, atol=1e-9)


def test_the_natural_gradient_solves_fishers_equation():
    exact, discount = student(), 0.9
    theta = GENERATOR.normal(size=(exact.num_states, exact.num_actions))
    answer, lived = policy_gradient(exact, theta, discount), occupancy(exact, softmax_policy(exact, theta), discount)
    fisher = np.zeros((theta.size, theta.size))
    for p in range(exact.num_pairs):
        score = np.zeros_like(theta)
        inside = exact.pair_state == exact.pair_state[p]
        score[exact.pair_state[p], exact.action[inside]] = -answer.policy[inside]
        score[exact.pair_state[p], exact.action[p]] += 1
        fisher += lived.pair[p] * np.outer(score, score)
    np.testing.assert_allclose(fisher @ answer.natural.reshape(-1), answer.gradient.reshape(-1), atol=1e-9)
    # Natural steps of any size improve every state, as those of policy iteration do: mirror ascent.
    for size in (0.1, 1.0, 10.0):
        better = evaluate(exact, softmax_policy(exact, theta + size * answer.natural), discount).value
        assert (better >= evaluate(exact, answer.policy, discount).value - 1e-9).all()


def test_climbing_it_finds_the_best_policy():
    exact, discount = student(), 0.9
    theta = np.zeros((exact.num_states, exact.num_actions))
    for _ in range(200):
        theta += 0.5 * policy_gradient(exact, theta, discount).natural
    assert policy_gradient(exact, theta, discount).value == pytest.approx(solve(exact, discount).start_value, abs=1e-6)


def test_without_the_discount_all_times_count_alike():
    """One state, n steps: the sum of advantages is weighed by visits, not by γᵗ visits."""
    exact = student()
    theta = GENERATOR.normal(size=(exact.num_states, exact.num_actions))
    plain = policy_gradient(exact, theta, 0.8, discount_gradient=False)
    answer = policy_gradient(exact, theta, 0.8)
    np.testing.assert_allclose(plain.natural, answer.natural)
    assert np.abs(plain.gradient).sum() > np.abs(answer.gradient).sum()


@pytest.mark.parametrize(("shape", "observed"), [((3, 2), None), ((7, 1), None), ((1, 2), [0] * 6 + [1])])
def test_it_says_what_does_not_fit(shape, observed):
    with pytest.raises(ValueError, match="preferences need a row"):
        policy_gradient(random_walk(5), np.zeros(shape), 0.9, observed=observed)
