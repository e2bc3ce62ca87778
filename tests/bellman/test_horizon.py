"""Backward induction: by hand, against a twin in fractions, and at size."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import discounts, models, random_policy

from retorno.bellman import uniform
from retorno.bellman.horizon import evaluate_horizon, finite_horizon
from retorno.core.mdp import mdp
from retorno.core.numerals import as_fraction
from retorno.environments import garnet, student
from retorno.environments.grids.gridworlds import example_4_1


def twin(model, horizon, discount, policy=None, final=None, best=max):
    """Values [T+1][S] in fractions; the best ones without a policy [P]."""
    values = [
        [Fraction(0) if model.terminal[s] or final is None else Fraction(final[s]) for s in range(len(model.terminal))]
    ]
    for _ in range(horizon):
        after, row = values[0], []
        for s in range(model.num_states):
            q = []
            pairs = range(model.state_ptr[s], model.state_ptr[s + 1])
            for p in pairs:
                outcomes = range(model.row_ptr[p], model.row_ptr[p + 1])
                total = sum(Fraction(float(model.probability[t])) for t in outcomes)
                q.append(Fraction(0))
                for t in outcomes:
                    going = as_fraction(discount) * Fraction(float(model.discount[t])) * after[model.next_state[t]]
                    q[-1] += Fraction(float(model.probability[t])) / total * (Fraction(float(model.reward[t])) + going)
            if policy is None:
                row.append(best(q, default=Fraction(0)))
            else:
                chances = [Fraction(float(policy[p])) for p in pairs]
                row.append(sum((c * x for c, x in zip(chances, q, strict=True)), Fraction(0)) / (sum(chances) or 1))
        values.insert(0, row)
    return values


def assert_bounds(answer, exact):
    lower, upper = answer.lower, answer.upper
    assert (lower <= answer.value).all() and (answer.value <= upper).all()
    for t, row in enumerate(exact):
        for s, v in enumerate(row):
            assert Fraction(float(lower[t, s])) <= v <= Fraction(float(upper[t, s]))


def test_the_student_with_few_steps() -> None:
    """With one step left the pub (+1) does not tempt; with three, C1 sees the exam's 10."""
    model = student()
    answer = finite_horizon(model, 3)
    c1, c2, c3 = (model.state(name) for name in ("C1", "C2", "C3"))
    assert answer.value[:, c3].tolist() == [10, 10, 10, 0]
    assert answer.value[:, c2].tolist() == [8, 8, 0, 0]
    assert answer.value[:, c1].tolist() == [6, -1, -1, 0]
    assert answer.actions(2, "C2") == ("sleep",) and answer.actions(1, "C2") == ("study",)
    assert answer.actions(0, "C1") == ("study",)
    # One step: 'facebook' −1. Two: quitting afterwards costs nothing, studying leads to C2's 0 at −2.
    assert answer.actions(2, "C1") == answer.actions(1, "C1") == ("facebook",)
    with pytest.raises(IndexError, match="0 to 2, got 3"):
        answer.actions(3, "C1")


def test_the_gridworld_of_example_4_1_after_ten_sweeps() -> None:
    """Sutton & Barto 2018, figure 4.1, k = 10."""
    model = example_4_1()
    row = evaluate_horizon(model, uniform, 10).value[0][: model.num_states]
    assert {-6.14, -8.35, -8.97} <= set(np.round(row, 2).tolist())


def test_final_values_and_costs() -> None:
    model = mdp({"a": {"stay": [(1.0, "a", 1.0)], "go": [(1.0, "b", 3.0)]}, "b": {"stay": [(1.0, "b", 2.0)]}})
    most = finite_horizon(model, 2, final=[10.0, 0.0])
    assert most.value.tolist() == [[12, 4], [11, 2], [10, 0]]
    least = finite_horizon(model, 2, minimise=True, final=[10.0, 0.0])
    assert least.value.tolist() == [[4, 4], [3, 2], [10, 0]]
    assert least.actions(0, "a") == ("stay",) and least.actions(1, "a") == ("go",)
    assert finite_horizon(model, 0, final=[1.0, 2.0]).value.tolist() == [[1, 2]]
    again = finite_horizon(model, 1, final=finite_horizon(model, 1, final=[10.0, 0.0]).value[0])
    assert again.value[0].tolist() == most.value[0].tolist()


def test_a_final_value_that_nothing_would_earn_is_refused() -> None:
    """Selling ends, so that a final value of what is sold would never be seen."""
    hold = mdp({"hold": {"sell": [(1.0, "sold", 0.0)], "wait": [(1.0, "hold", 0.0)]}}, initial="hold")
    for ask in (finite_horizon, partial(evaluate_horizon, policy=[1, 0])):
        with pytest.raises(ValueError, match="final value of state 'sold': got 100, and an episode has ended there"):
            ask(hold, horizon=2, final=[1.0, 100.0])
    paid = mdp({"hold": {"sell": [(1.0, "sold", 100.0)], "wait": [(1.0, "hold", 0.0)]}}, initial="hold")
    assert finite_horizon(paid, 2, final=[1.0, 0.0]).value[0].tolist() == [100, 0]


def test_what_has_ended_is_worth_nothing() -> None:
    model = mdp({"a": {"go": [(1.0, "end", 1.0)]}})
    answer = finite_horizon(model, 2, final=[5.0, 0.0])
    assert answer.value.tolist() == [[1, 0], [1, 0], [5, 0]]
    assert answer.policy.tolist() == [[0, -1], [0, -1]]


@settings(max_examples=150, deadline=None)
@given(models(), discounts(), st.integers(0, 12), st.booleans())
def test_the_best_value_is_bounded(model, discount, horizon, minimise) -> None:
    final = np.where(model.terminal, 0.0, np.linspace(-1, 1, model.num_states))
    answer = finite_horizon(model, horizon, discount, minimise=minimise, final=final)
    best = min if minimise else max
    assert_bounds(answer, twin(model, horizon, discount, final=final.tolist(), best=best))
    kept = evaluate_horizon(model, answer.action, horizon, discount, final=final)
    # What is returned earns what was promised: its own bounds and those of the best overlap from the right side.
    assert ((kept.lower <= answer.upper) & (kept.upper >= answer.lower)).all()
    chosen = answer.policy[:, ~model.terminal]
    assert np.take_along_axis(answer.optimal, chosen, axis=1).all()


@settings(max_examples=200, deadline=None)
@given(models(), discounts(), st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_a_policys_value_is_bounded(model, discount, horizon, seed) -> None:
    policy = random_policy(np.random.default_rng(seed), model)
    answer = evaluate_horizon(model, policy, horizon, discount)
    assert_bounds(answer, twin(model, horizon, discount, policy))


@settings(max_examples=200, deadline=None)
@given(models(chances="quarters", rewards="whole", fractional=False), st.integers(1, 6))
def test_ties_are_all_told(model, horizon) -> None:
    """In whole numbers nothing is rounded, so that the ties are those of the fractions."""
    exact = twin(model, horizon, 1.0)
    answer = finite_horizon(model, horizon)
    for t in range(horizon):
        ahead = finite_horizon(model, 1, final=[float(v) for v in exact[t + 1]])
        assert (answer.optimal[t] >= ahead.optimal[0]).all()
        best = [float(v) for v in exact[t]]
        assert answer.value[t].tolist() == best


def test_a_policy_for_each_time() -> None:
    model = mdp({"a": {"x": [(1.0, "a", 1.0)], "y": [(1.0, "a", 10.0)]}})
    assert evaluate_horizon(model, np.array([[0], [1]]), 2).value[:, 0].tolist() == [11, 10, 0]
    assert evaluate_horizon(model, np.array([[0.5, 0.5], [1.0, 0.0]]), 2).value[:, 0].tolist() == [6.5, 1, 0]
    with pytest.raises(ValueError, match="for 2 steps, the horizon is 3"):
        evaluate_horizon(model, np.array([[0], [1]]), 3)


def test_the_table() -> None:
    text = str(finite_horizon(student(), 20))
    assert text.splitlines()[0].split() == ["state", "t=0", "t=1", "t=2", "t=3", "t=4", "t=5", "t=19", "t=20"]
    assert "10.000000 study" in text and "20 steps, discount 1, backward induction" in text


def test_bad_questions() -> None:
    with pytest.raises(ValueError, match="0 or more, got -1"):
        finite_horizon(student(), -1)
    with pytest.raises(ValueError, match="one value per state"):
        finite_horizon(student(), 1, final=[0.0])
    with pytest.raises(ValueError, match="got nan, expected a finite number"):
        finite_horizon(student(), 1, final=[np.nan] * student().num_states)
    with pytest.raises(ValueError, match="final value of state 'Sleep': got 9, and an episode has ended there"):
        finite_horizon(student(), 1, final=[0, 0, 0, 0, 9])
    with pytest.raises(MemoryError, match=r"1,000,000,000,000 steps of 5 states .* need 96.0 TB"):
        finite_horizon(student(), 10**12)


def test_a_hundred_thousand_states() -> None:
    model = garnet(100_000, 4, 5, seed=0)
    answer = finite_horizon(model, 20, 0.99)
    assert answer.error.max() < 1e-11  # 20 steps, each of some ten roundings of values near 20
