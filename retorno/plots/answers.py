"""What a picture shows of an answer: the values of a model's states, and which of its pairs are marked."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from retorno.bellman.average import AverageSolution
from retorno.bellman.horizon import HorizonSolution
from retorno.bellman.rational import RationalSolution
from retorno.core.mdp import MDP
from retorno.core.solution import Solution
from retorno.plots.style import PlotError, number


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


class Drawn(NamedTuple):
    """Values and marked actions of an answer of another kind, and what has to be said above its picture."""

    model: MDP
    value: Float[np.ndarray, " S"]
    optimal: Bool[np.ndarray, " P"]
    evaluated: bool
    title: str = ""


def as_drawn(answer: Answer | RationalSolution | AverageSolution | HorizonSolution) -> Answer:
    """What a picture shows of an exact answer of any kind.

    Of fractions the nearest floats; of an average reward the bias, or where states differ in it the gain; of a horizon
    the values and actions with all steps to go.

    Args:
        answer: of any criterion.
    """
    match answer:
        case RationalSolution():
            marked = answer.policy > 0 if answer.evaluated else answer.optimal
            return Drawn(answer.model, np.array([float(x) for x in answer.value]), marked, answer.evaluated)
        case HorizonSolution():
            steps = f"{answer.horizon} step{'s' * (answer.horizon > 1)} to go"
            marked = answer.optimal[0]
            if answer.evaluated and answer.chances is not None:
                marked = answer.chances[0] > 0
            return Drawn(answer.model, answer.value[0], marked, answer.evaluated, f"with {steps}")
        case AverageSolution():
            marked = answer.policy > 0 if answer.evaluated else answer.optimal
            unit = "step" if (answer.time == 1).all() else "unit of time"
            if np.ptp(answer.gain) > answer.policy_loss_bound:
                title, value = f"values are gains: the reward of a {unit}, for ever, from there", answer.gain
            else:
                title = f"a {unit} earns {number(answer.start_gain)} for ever; values are what states earn beyond"
                value = answer.bias
            return Drawn(answer.model, value, marked, answer.evaluated, title)
    return answer


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
    return getattr(answer, "evaluated", False)


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
