"""A Markov decision process as data, and what an exact solver answers about it.

Both are plain NumPy in float64: a model is read and checked by people, and exact answers need
the precision. The discount γ of a *question* is not in the model; the `discount` of a
*transition* is (0 where it terminates).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

PROBABILITY_TOLERANCE = 1e-9


class ModelError(ValueError):
    """A model that is not a Markov decision process: the message names the state and action."""


@dataclass(frozen=True, eq=False)
class MDP:
    """A sparse Markov decision process with S states, P state–action pairs and N transitions.

    State s owns the pairs `state_ptr[s]:state_ptr[s + 1]`, and pair p owns the transitions
    `row_ptr[p]:row_ptr[p + 1]`. A state without pairs is terminal: its value is 0, and only
    transitions with discount 0 may lead to it.

    Source: Puterman 1994, ch. 2 (the compressed rows are those of a CSR matrix).

    Raises:
        ModelError: when an array has the wrong length or range, when probabilities are negative,
            not finite or do not sum to one, naming the state and the action.
    """

    state_ptr: Int[np.ndarray, " S+1"]
    """First pair of each state; the last entry is P."""
    action: Int[np.ndarray, " P"]
    """The action's number, which indexes `action_names`. A state's actions are distinct."""
    row_ptr: Int[np.ndarray, " P+1"]
    """First transition of each pair; the last entry is N."""
    next_state: Int[np.ndarray, " N"]
    probability: Float[np.ndarray, " N"]
    reward: Float[np.ndarray, " N"]
    """The reward *of the transition*, r(s, a, s′)."""
    discount: Float[np.ndarray, " N"]
    """0 where the transition terminates, 1 where it goes on; a semi-Markov model's own otherwise."""
    initial: Float[np.ndarray, " S"]
    """The distribution of the first state."""
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    grid: tuple[tuple[int, int] | None, ...] | None = field(default=None, repr=False)
    """Where each state lies on a map, as (row, column), for pictures; None for states off the map."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def num_states(self) -> int:
        return len(self.state_ptr) - 1

    @property
    def num_pairs(self) -> int:
        return len(self.action)

    @property
    def num_transitions(self) -> int:
        return len(self.next_state)

    @property
    def num_actions(self) -> int:
        return len(self.action_names)

    @property
    def pair_state(self) -> Int[np.ndarray, " P"]:
        """The state that owns each pair."""
        return np.repeat(np.arange(self.num_states), np.diff(self.state_ptr))

    @property
    def transition_pair(self) -> Int[np.ndarray, " N"]:
        """The pair that owns each transition."""
        return np.repeat(np.arange(self.num_pairs), np.diff(self.row_ptr))

    @property
    def terminal(self) -> Bool[np.ndarray, " S"]:
        """States that have no actions."""
        return np.diff(self.state_ptr) == 0

    @property
    def legal(self) -> Bool[np.ndarray, "S A"]:
        """Which actions each state has."""
        legal = np.zeros((self.num_states, self.num_actions), bool)
        legal[self.pair_state, self.action] = True
        return legal

    def state(self, name: str | int) -> int:
        """The number of a state given by name (or by its number)."""
        return _number(name, self.state_names, "state")

    def describe(self, pair: int) -> str:
        """'state X, action Y' for messages."""
        state = int(np.searchsorted(self.state_ptr, pair, side="right")) - 1
        return f"state {self.state_names[state]!r}, action {self.action_names[self.action[pair]]!r}"


Outcome = tuple[float, Hashable, float] | tuple[float, Hashable, float, bool]


def mdp(
    transitions: Mapping[Any, Mapping[Any, Sequence[Outcome]]],
    initial: Mapping[Any, float] | Hashable | None = None,
    grid: Mapping[Any, tuple[int, int]] | None = None,
) -> MDP:
    """A model from a dictionary: state → action → outcomes (probability, next state, reward[, terminated]).

    A next state that has no entry of its own (or an empty one) is terminal, and transitions into
    it terminate. This is the layout of Gymnasium's `P`, whose `terminated` flag is honoured.

    Args:
        transitions: the model; states and actions may be any hashable and are named by `str`.
        initial: a first state, a distribution over first states, or None for uniform over the
            states that have actions.
        grid: (row, column) of each state that lies on a map.

    Raises:
        ModelError: as `MDP`, and when `initial` names a state that does not exist.
    """
    states = list(transitions)
    known = set(states)
    for choices in transitions.values():
        for outcomes in choices.values():
            for outcome in outcomes:
                if outcome[1] not in known:
                    known.add(outcome[1])
                    states.append(outcome[1])
    number = {state: i for i, state in enumerate(states)}
    actions = list(dict.fromkeys(a for choices in transitions.values() for a in choices))
    if actions and all(isinstance(a, int | np.integer) for a in actions):
        actions.sort()
    action_number = {a: i for i, a in enumerate(actions)}

    state_ptr, action, row_ptr = [0], [], [0]
    next_state, probability, reward, discount = [], [], [], []
    for state in states:
        for choice, outcomes in transitions.get(state, {}).items():
            action.append(action_number[choice])
            for outcome in outcomes:
                p, target, r = outcome[:3]
                terminated = len(outcome) > 3 and bool(outcome[3])  # type: ignore[misc]
                if p == 0:
                    continue
                next_state.append(number[target])
                probability.append(p)
                reward.append(r)
                discount.append(0.0 if terminated or not transitions.get(target) else 1.0)
            row_ptr.append(len(next_state))
        state_ptr.append(len(action))

    return MDP(
        state_ptr=np.array(state_ptr, np.int64),
        action=np.array(action, np.int64),
        row_ptr=np.array(row_ptr, np.int64),
        next_state=np.array(next_state, np.int64),
        probability=np.array(probability, np.float64),
        reward=np.array(reward, np.float64),
        discount=np.array(discount, np.float64),
        initial=_initial(initial, number, np.diff(state_ptr) > 0),
        state_names=tuple(str(s) for s in states),
        action_names=tuple(str(a) for a in actions),
        grid=None if grid is None else tuple(grid.get(s) for s in states),
    )


def _initial(initial, number: dict[Hashable, int], acting: Bool[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    if initial is None:
        if not acting.any():
            raise ModelError("the model has no state with an action: give at least one state an action")
        return acting / acting.sum()
    weights = np.zeros(len(number))
    for state, p in (initial if isinstance(initial, Mapping) else {initial: 1.0}).items():
        if state not in number:
            raise ModelError(f"initial state {state!r} is not in the model; it has {_some(list(map(str, number)))}")
        weights[number[state]] = p
    return weights


def check(model: MDP) -> None:
    """Raise `ModelError` unless the arrays form a Markov decision process."""
    states, pairs, transitions = model.num_states, model.num_pairs, model.num_transitions
    for name, array, length in [
        ("row_ptr", model.row_ptr, pairs + 1),
        ("probability", model.probability, transitions),
        ("reward", model.reward, transitions),
        ("discount", model.discount, transitions),
        ("initial", model.initial, states),
        ("state_names", model.state_names, states),
    ]:
        if len(array) != length:
            raise ModelError(f"{name} has {len(array)} entries, expected {length}")
    for name, ptr, end in [("state_ptr", model.state_ptr, pairs), ("row_ptr", model.row_ptr, transitions)]:
        if ptr[0] != 0 or ptr[-1] != end or (np.diff(ptr) < 0).any():
            raise ModelError(f"{name} must rise from 0 to {end}, got {ptr[0]} to {ptr[-1]}")
    if transitions and not (0 <= model.next_state.min() and model.next_state.max() < states):
        raise ModelError(
            f"next_state must lie in [0, {states}), got {model.next_state.min()} to {model.next_state.max()}"
        )
    if pairs and not (0 <= model.action.min() and model.action.max() < model.num_actions):
        raise ModelError(
            f"action must lie in [0, {model.num_actions}), got {model.action.min()} to {model.action.max()}"
        )
    owner = model.pair_state
    repeated = np.unique(owner * max(model.num_actions, 1) + model.action, return_counts=True)[1]
    if (repeated > 1).any():
        raise ModelError("a state lists the same action twice: give each of a state's actions once")
    empty = np.diff(model.row_ptr) == 0
    if empty.any():
        raise ModelError(
            f"{model.describe(int(np.argmax(empty)))}: no outcomes; give at least one with positive probability"
        )

    owner = model.transition_pair
    for name, wrong, expected in [
        ("probability", ~(np.isfinite(model.probability) & (model.probability >= 0)), "finite and at least 0"),
        ("reward", ~np.isfinite(model.reward), "finite"),
        ("discount", ~(np.isfinite(model.discount) & (model.discount >= -1) & (model.discount <= 1)), "in [-1, 1]"),
    ]:
        if wrong.any():
            t = int(np.argmax(wrong))
            raise ModelError(
                f"{model.describe(owner[t])}: {name} {getattr(model, name)[t]} on the way to "
                f"{model.state_names[model.next_state[t]]!r}, expected {expected}"
            )
    total = np.bincount(owner, model.probability, minlength=pairs)
    wrong = np.abs(total - 1) > PROBABILITY_TOLERANCE
    if wrong.any():
        p = int(np.argmax(wrong))
        raise ModelError(f"{model.describe(p)}: probabilities sum to {total[p]:.12g}, expected 1")
    stuck = model.terminal[model.next_state] & (model.discount != 0) & (model.probability > 0)
    if stuck.any():
        t = int(np.argmax(stuck))
        raise ModelError(
            f"{model.describe(owner[t])}: goes on to {model.state_names[model.next_state[t]]!r}, which has no "
            "actions; give that state an action or mark the transition as terminated (discount 0)"
        )
    if not (np.isfinite(model.initial).all() and (model.initial >= 0).all() and abs(model.initial.sum() - 1) < 1e-9):
        total = model.initial.sum()
        raise ModelError(f"the initial distribution sums to {total:.12g}, expected 1 with no negative entry")


@dataclass(frozen=True, eq=False)
class Solution:
    """The exact answer to one question about a model, with its certificate.

    `lower ≤ v* ≤ upper` holds for the value asked for (the optimum for a control method, the
    policy's value for an evaluation).
    """

    model: MDP = field(repr=False)
    question_discount: float
    """γ of the question."""
    value: Float[np.ndarray, " S"]
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]
    q: Float[np.ndarray, " P"]
    """The action value of each pair of the model."""
    policy: Float[np.ndarray, " P"]
    """The probability of each pair in its state: for a control method one optimal choice a state."""
    optimal: Bool[np.ndarray, " P"]
    """*All* pairs that tie for the best within the bounds."""
    policy_loss_bound: float
    """No state loses more than this by following `policy` instead of an optimal one."""
    converged: bool
    """Whether the accuracy asked for was reached."""
    sweeps: int
    residuals: tuple[float, ...]
    """Largest change of a value in each sweep or improvement."""
    method: str

    @property
    def start_value(self) -> float:
        """The value's mean over the model's initial distribution."""
        return float(self.model.initial @ self.value)

    def actions(self, state: str | int) -> tuple[str, ...]:
        """The names of *all* optimal actions of a state."""
        s = self.model.state(state)
        pairs = range(self.model.state_ptr[s], self.model.state_ptr[s + 1])
        return tuple(self.model.action_names[self.model.action[p]] for p in pairs if self.optimal[p])

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("state", "value", "lower", "upper", "policy")]
        for s, name in enumerate(self.model.state_names):
            numbers = (f"{x[s]:.6f}" for x in (self.value, self.lower, self.upper))
            rows.append((name, *numbers, " or ".join(self.actions(s)) or "(terminal)"))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(c.ljust(w) if i in (0, 4) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))  # noqa: B905
            for row in rows
        ]
        state = "converged" if self.converged else "NOT converged"
        lines.append(
            f"discount {self.question_discount:g}, {self.method}, {state} after {self.sweeps} sweeps; "
            f"start value {self.start_value:.6f}, policy loses at most {self.policy_loss_bound:.1e}"
        )
        return "\n".join(line.rstrip() for line in lines)


def _number(name: str | int, names: tuple[str, ...], kind: str) -> int:
    if isinstance(name, int | np.integer) and 0 <= name < len(names):
        return int(name)
    if str(name) in names:
        return names.index(str(name))
    raise KeyError(f"no {kind} {name!r}; the model has {_some(list(names))}")


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")
