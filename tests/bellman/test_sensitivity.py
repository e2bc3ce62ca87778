"""Derivatives: by hand, against finite differences of exact fractions, and one-sided at ties."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from models import models, random_policy

from retorno.bellman import evaluate, solve, uniform
from retorno.bellman.derivatives import sensitivity
from retorno.bellman.rational import evaluate_exactly
from retorno.core.mdp import MDP, mdp
from retorno.environments.textbook.lecture import student

STEP = Fraction(1, 10**9)


def exact_value(model: MDP, policy: np.ndarray, discount: Fraction, reward, probability, going) -> Fraction:
    """The start value of the literal linear system in fractions, by elimination."""
    n = model.num_states
    table = [[Fraction(int(i == j)) for j in range(n)] + [Fraction(0)] for i in range(n)]
    for pair, state in enumerate(model.pair_state):
        for k in range(model.row_ptr[pair], model.row_ptr[pair + 1]):
            chance = Fraction(policy[pair]) * probability[k]
            table[state][model.next_state[k]] -= chance * discount * going[k]
            table[state][n] += chance * reward[k]
    for i in range(n):
        pivot = next(j for j in range(i, n) if table[j][i])
        table[i], table[pivot] = table[pivot], table[i]
        table[i] = [x / table[i][i] for x in table[i]]
        for j in range(n):
            if j != i and table[j][i]:
                table[j] = [a - table[j][i] * b for a, b in zip(table[j], table[i], strict=True)]
    return sum((Fraction(w) * row[n] for w, row in zip(model.initial, table, strict=True)), Fraction(0))


def differences(model: MDP, policy: np.ndarray, discount: float):
    """Central differences of every number, in fractions: (reward, probability, discount, γ)."""
    arrays = [[Fraction(x) for x in a] for a in (model.reward, model.probability, model.discount)]

    def value(which: int, n: int, step: Fraction) -> Fraction:
        changed = [list(a) for a in arrays]
        gamma = Fraction(discount)
        if which == 3:
            gamma += step
        else:
            changed[which][n] += step
        return exact_value(model, policy, gamma, *changed)

    def central(which: int, n: int = 0) -> float:
        return float((value(which, n, STEP) - value(which, n, -STEP)) / (2 * STEP))

    return [[central(w, n) for n in range(model.num_transitions)] for w in range(3)] + [central(3)]


def test_a_coin_by_hand() -> None:
    # v = (p r + q e) / (1 − γ p) with p = q = ½, r = 1, e = 4, γ = 1: v = 5, two visits.
    coin = mdp({"a": {"toss": [(0.5, "a", 1.0), (0.5, "end", 4.0)]}})
    found = sensitivity(evaluate(coin, uniform, 1.0))
    assert found.value == pytest.approx(5)
    assert found.reward == pytest.approx([1, 1])  # d · probability
    assert found.probability == pytest.approx([2 * (1 + 5), 2 * 4])
    assert found.renormalised == pytest.approx([2, -2])  # v = p/q + 4: mass from q to p at a rate of ½ each.
    assert found.gamma == pytest.approx(2 * 0.5 * 5)
    assert found.discount == pytest.approx([5, 0])


def test_the_student_at_its_best() -> None:
    found = sensitivity(solve(student(), 1.0), "C1")
    # C1 –study→ C2 –study→ C3 –study→ Sleep, each once: 6 = −2 − 2 + 10.
    assert found.reward.sum() == pytest.approx(3) and found.differentiable
    assert found.gamma == pytest.approx(8 + 10)
    assert "value 6.000000" in str(found) and "3 transitions count" in str(found)


@settings(max_examples=12, deadline=None)
@given(models(most_states=4, most_actions=2, chances="quarters", rewards="whole"))
def test_all_derivatives_are_those_of_the_rational_twin(model: MDP) -> None:
    policy = random_policy(np.random.default_rng(1), model)
    for discount in (0.5, 0.875):
        answer = evaluate(model, policy, discount)
        found = sensitivity(answer)
        exact = evaluate_exactly(model, policy, discount)
        assert found.value == pytest.approx(float(np.dot(model.initial, [float(v) for v in exact.value])), abs=1e-9)
        reward, probability, going, gamma = differences(model, policy, discount)
        assert found.reward == pytest.approx(reward, abs=1e-7)
        assert found.probability == pytest.approx(probability, abs=1e-7)
        assert found.discount == pytest.approx(going, abs=1e-7)
        assert found.gamma == pytest.approx(gamma, abs=1e-7)


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_finite_differences_of_the_solver(discount: float) -> None:
    model, step = student(), 1e-5
    base = sensitivity(evaluate(model, uniform, discount), "C2")

    def value(changed: MDP, gamma: float = discount) -> float:
        return float(evaluate(changed, uniform, gamma).value[model.state("C2")])

    for n in range(model.num_transitions):
        bump = step * np.eye(1, model.num_transitions, n)[0]
        up, down = (value(replace(model, reward=model.reward + sign * bump)) for sign in (1, -1))
        assert base.reward[n] == pytest.approx((up - down) / (2 * step), abs=1e-7)
        raised = model.probability + bump
        scaled = raised / np.bincount(model.transition_pair, raised)[model.transition_pair]
        rise = (value(replace(model, probability=scaled)) - base.value) / step
        assert base.renormalised[n] == pytest.approx(rise, abs=1e-3)
    slope = (base.value - value(model, discount - step)) / step
    assert base.gamma == pytest.approx(slope, abs=1e-3)


def test_the_policy_gradient() -> None:
    # Mass from one action to another of the same state: the difference of their entries.
    model, step = student(), 1e-6
    policy = uniform(model)
    base = sensitivity(evaluate(model, policy, 0.9))
    shifted = policy.copy()
    shifted[2:4] += step, -step  # C1: facebook, study.
    rise = (evaluate(model, shifted, 0.9).start_value - base.value) / step
    assert base.policy[2] - base.policy[3] == pytest.approx(rise, abs=1e-4)


def test_a_tie_is_told_and_lies_between_the_one_sided_derivatives() -> None:
    # max(left, right) with both 1: left derivative 0, right derivative 1 with respect to either.
    def fork(left: float) -> MDP:
        return mdp({"a": {"left": [(1, "end", left)], "right": [(1, "end", 1.0)]}})

    found = sensitivity(solve(fork(1.0), 0.9))
    assert found.ties[0] and not found.differentiable and "ties in a" in str(found)
    rising, falling = ((solve(fork(1 + h), 0.9).start_value - 1) / h for h in (1e-3, -1e-3))
    assert (falling, rising) == (pytest.approx(0), pytest.approx(1))
    assert falling - 1e-9 <= found.reward[0] <= rising + 1e-9
    apart = sensitivity(solve(fork(0.5), 0.9))
    assert apart.differentiable and apart.reward == pytest.approx([0, 1])
