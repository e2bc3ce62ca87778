"""The optimum where entropy is paid for: by hand, by sweeps, between its limits, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from retorno.bellman import maximum_entropy, solve, uniform
from retorno.core.mdp import MDP, mdp
from retorno.environments.registry import model

FORK = {"fork": {"left": [(1.0, "end", 1.0, True)], "right": [(1.0, "end", 0.0, True)]}}


def test_one_choice_by_hand() -> None:
    answer = maximum_entropy(FORK, discount=0.5, temperature=2.0)
    assert answer.value[0] == pytest.approx(2 * np.log(np.exp(0.5) + 1))
    np.testing.assert_allclose(answer.policy, [1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(0.5))])
    assert answer.converged and answer.lower[0] <= answer.value[0] <= answer.upper[0]


def swept(exact: MDP, discount: float, temperature: float, sweeps: int) -> np.ndarray:
    """Soft value iteration, state by state."""
    value = np.zeros(exact.num_states)
    for _ in range(sweeps):
        q = np.add.reduceat(
            exact.probability * (exact.reward + discount * exact.discount * value[exact.next_state]), exact.row_ptr[:-1]
        )
        for s in range(exact.num_states):
            own = q[exact.state_ptr[s] : exact.state_ptr[s + 1]]
            value[s] = temperature * np.log(np.exp(own / temperature).sum()) if len(own) else 0.0
    return value


@pytest.mark.parametrize("name", ["student", "garnet", "cliff"])
@pytest.mark.parametrize("temperature", [0.5, 5.0])
def test_sweeps_end_within_the_bounds(name: str, temperature: float) -> None:
    exact = model(name)
    answer = maximum_entropy(exact, 0.8, temperature)
    far = 0.8**200 * (np.abs(exact.reward).max() + temperature * np.log(12)) / 0.2 + 1e-11
    value = swept(exact, 0.8, temperature, 200)
    assert (answer.lower - far <= value).all() and (value <= answer.upper + far).all()
    assert answer.converged and (answer.upper - answer.lower).max() < 1e-9


def test_little_entropy_is_the_optimum_and_much_of_one_choice_the_uniform_policy() -> None:
    exact = model("garnet")
    np.testing.assert_allclose(maximum_entropy(exact, 0.9, 1e-4).value, solve(exact, 0.9).value, atol=1e-2)
    np.testing.assert_allclose(maximum_entropy(exact, 0.0, 1e4).policy, uniform(exact), atol=1e-3)


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        maximum_entropy(FORK, 0.9, 0.0)
    with pytest.raises(ValueError, match="take a discount below 1"):
        maximum_entropy(mdp({"here": {"stay": [(1.0, "here", 0.0)]}}), 1.0, 1.0)
    here = mdp({"here": {"stay": [(1.0, "here", 0.0)]}})
    with pytest.raises(ValueError, match="two move in turn"):
        maximum_entropy(dataclasses.replace(here, discount=-here.discount), 0.9, 1.0)
