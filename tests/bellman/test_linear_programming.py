"""Both linear programs against fractions, each other and the lecture."""

from fractions import Fraction
from math import inf, isinf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import discounts, models

from retorno import bellman
from retorno.bellman.linear_programs import linear_programming, occupancy_program
from retorno.bellman.rational import solve_exactly
from retorno.core.mdp import mdp
from retorno.environments import garnet, student
from retorno.environments.grids.lakes import frozen_lake


def test_the_student() -> None:
    model = student()
    answer = bellman.solve(model, 1.0, method=linear_programming)
    assert answer.converged and answer.method == "linear programming"
    by_name = dict(zip(model.state_names, answer.value, strict=True))
    assert [round(by_name[name], 9) for name in ("Facebook", "C1", "C2", "C3")] == [6, 6, 8, 10]


def test_the_students_visits() -> None:
    """From C1 the best student studies three times and passes: one visit of each class, worth 6."""
    model = student()
    visits, value = occupancy_program(model, 1.0, "C1")
    assert value == pytest.approx(6) == visits.start_value
    by_name = dict(zip(model.state_names, visits.state, strict=True))
    assert [round(by_name[name], 9) for name in ("Facebook", "C1", "C2", "C3", "Sleep")] == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("discount", [0.9, 0.99, 1.0])
def test_frozen_lake(discount) -> None:
    expected = {0.9: 0.068891, 0.99: 0.542026, 1.0: 14 / 17}[discount]
    answer = bellman.solve(frozen_lake(), discount, method=linear_programming)
    assert answer.converged and answer.value[0] == pytest.approx(expected, abs=1e-6)
    assert occupancy_program(frozen_lake(), discount, 0)[1] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(models(), discounts(), st.booleans())
def test_no_bound_is_violated(model, discount, minimise) -> None:
    try:
        exact = solve_exactly(model, discount, minimise=minimise)
    except ValueError:
        with pytest.raises(ValueError, match=r"never terminates|pays for ever"):
            bellman.solve(model, discount, method=linear_programming, minimise=minimise)
        return
    answer = bellman.solve(model, discount, method=linear_programming, minimise=minimise)
    for low, v, high in zip(answer.lower, exact.value, answer.upper, strict=True):
        if isnan(v):
            assert isnan(low) and isnan(high)
        elif isinf(v):
            assert low == v == high or low == -inf or high == inf
        else:
            assert (low == -inf or Fraction(float(low)) <= v) and (high == inf or v <= Fraction(float(high)))


@settings(max_examples=200, deadline=None)
@given(models(chances="quarters", rewards="whole"), st.sampled_from([0.0, 0.3, 0.9, 0.99]))
def test_the_dual_is_worth_the_best_value(model, discount) -> None:
    exact = solve_exactly(model, discount).value
    visits, value = occupancy_program(model, discount)
    best = float(sum(Fraction(float(m)) * v for m, v in zip(model.initial, exact, strict=True)))
    assert value == pytest.approx(best, abs=1e-6) and visits.start_value == pytest.approx(best, abs=1e-6)
    # The visits balance: what is in a state came from the start or from where it was before.
    weight = visits.pair[model.transition_pair] * model.probability * model.discount * discount
    into = model.initial + np.bincount(model.next_state, weight, minlength=model.num_states)
    np.testing.assert_allclose(np.where(model.terminal, 0, into), visits.state, atol=1e-9)


def test_a_larger_model() -> None:
    model = garnet(300, 3, 4, seed=0)
    answer = bellman.solve(model, 0.99, method=linear_programming)
    other = bellman.solve(model, 0.99, method=bellman.policy_iteration)
    assert answer.converged
    np.testing.assert_allclose(answer.value, other.value, atol=1e-9)


def test_no_best_occupancy() -> None:
    rich = mdp({"a": {"stay": [(1.0, "a", 1.0)], "stop": [(1.0, "end", 0.0)]}})
    poor = mdp({"a": {"stay": [(1.0, "a", -1.0)]}})
    for model in (rich, poor):
        with pytest.raises(ValueError, match="no best occupancy at discount 1"):
            occupancy_program(model, 1.0)
        assert occupancy_program(model, 0.5)[1] == pytest.approx(2 if model is rich else -2)
