"""What a picture shows of an answer: the values of a model's states, and which of its pairs are marked."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from retorno.core.mdp import MDP
from retorno.core.solution import Solution
from retorno.plots.style import PlotError


@runtime_checkable
class Answer(Protocol):
    """What is drawn: a `Solution`, or a learner's `Greedy`."""

    @property
    def model(self) -> MDP: ...
    @property
    def value(self) -> Float[np.ndarray, " S"]: ...
    @property
    def optimal(self) -> Bool[np.ndarray, " P"]: ...


class Greedy(NamedTuple):
    """What learned action values say about a model."""

    model: MDP
    value: Float[np.ndarray, " S"]
    optimal: Bool[np.ndarray, " P"]


def greedy(model: MDP, q: Float[np.ndarray | Array, "S A"], tolerance: float = 1e-6) -> Greedy:
    """The value and the best actions that a table of learned action values stands for.

    Args:
        model: with S states and A action names.
        q: the table, by state and action number. Entries of actions that a state lacks are not read.
        tolerance: actions this close to the state's best tie with it, relative to the largest |q|.

    Raises:
        PlotError: when the table has another shape.
    """
    q = np.asarray(q, float)
    if q.shape != (model.num_states, model.num_actions):
        raise PlotError(
            f"action values of shape {q.shape} do not fit the model: expected {(model.num_states, model.num_actions)}, "
            "states × actions"
        )
    pairs = q[model.pair_state, model.action]
    value = np.full(model.num_states, -np.inf)
    np.maximum.at(value, model.pair_state, pairs)
    value[model.terminal] = 0
    near = tolerance * max(1.0, float(np.abs(pairs).max(initial=0)))
    return Greedy(model, value, pairs >= value[model.pair_state] - near)


def evaluated(answer: Answer) -> bool:
    """Whether a given policy was evaluated, and nothing was looked for."""
    return isinstance(answer, Solution) and answer.evaluated


def shown_pairs(answer: Answer) -> Bool[np.ndarray, " P"]:
    """The pairs that a picture marks: those of a policy that was evaluated, else all that tie for the best.

    Args:
        answer: with P pairs.
    """
    return answer.shown if isinstance(answer, Solution) else answer.optimal


def marked_actions(answer: Answer) -> list[list[int]]:
    """Of each state the numbers of the actions that a picture marks; none where the value is not known."""
    model, marked = answer.model, shown_pairs(answer)
    found: list[list[int]] = [[] for _ in range(model.num_states)]
    for p in np.flatnonzero(marked & np.isfinite(answer.value[model.pair_state])):
        found[int(model.pair_state[p])].append(int(model.action[p]))
    return found
