"""A Markov decision process as data.

Plain NumPy in float64: a model is read and checked by people, and exact answers need the precision.
The discount γ of a *question* is not in the model; the `discount` of a *transition* is (0 where it
terminates).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, SupportsIndex, overload, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.core.notebook import MOST_ROWS, as_table
from retorno.core.numerals import as_float, divided, exactly

PROBABILITY_TOLERANCE = 1e-9


class ModelError(ValueError):
    """A model that is not a Markov decision process: the message names the state and action."""


class ProbabilitySumError(ModelError):
    """Probabilities of a pair that do not sum to 1; `off` is the largest distance among all pairs."""

    def __init__(self, message: str, off: float) -> None:
        self.off = off
        super().__init__(message)


@dataclass(frozen=True)
class Numbered(Sequence[str]):
    """The names "0", "1", …: those of a model too large, or too plain, to have its own. Stores none."""

    count: int

    def __len__(self) -> int:
        return self.count

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | tuple[str, ...]:
        numbers = range(self.count)[index]
        return str(numbers) if isinstance(numbers, int) else tuple(map(str, numbers))

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """The number that a name stands for."""
        stop = self.count if stop is None else stop
        if value.isdecimal() and str(int(value)) == value and start <= int(value) < stop:
            return int(value)
        raise ValueError(f"{value!r} is not one of the numbers from {start} to {stop - 1}")


@dataclass(frozen=True, eq=False)
class Selected(Sequence[str]):
    """Some of a model's names, looked up when they are needed."""

    names: Sequence[str]
    numbers: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(str(self.names[s]) for s in self.numbers[index])
        return str(self.names[int(self.numbers[index])])


class MapKey(NamedTuple):
    """How a model's map is read, where its rows and columns are no places or its arrows no moves."""

    rows: str = ""
    """What the rows count, such as "cars at the first location"; "" where the map shows places."""
    columns: str = ""
    row_names: tuple[str, ...] = ()
    """Of each row, from the top; "" for none."""
    column_names: tuple[str, ...] = ()
    blocks: tuple[tuple[str, int, int], ...] = ()
    """Maps that stand side by side in this one: each one's title, its first column and the one after its last."""
    actions: str = ""
    """What the actions' numbers or arrows mean, such as "cars moved over night"."""
    headings: tuple[tuple[int, int], ...] = ()
    """(rows, columns) of each action's arrow, where arrows are no moves."""
    note: str = ""
    """Which states the map shows, where not all of them."""


@dataclass(frozen=True, eq=False)
class MDP:
    """A sparse Markov decision process with S states, P state–action pairs and N transitions.

    State s owns the pairs `state_ptr[s]:state_ptr[s + 1]`, and pair p owns the transitions
    `row_ptr[p]:row_ptr[p + 1]`. A state without pairs is terminal: its value is 0, and only
    transitions with discount 0 may lead to it.

    Arrays are taken as they are, of any integer type and any layout, and never copied: a large
    model's `next_state` is best int32, and a discount of 1 everywhere `np.broadcast_to(1.0, N)`,
    which takes no memory. Only probabilities that sum to one up to 1e-9, but not up to rounding,
    are replaced by normalised ones.

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
    state_names: Sequence[str]
    action_names: Sequence[str]
    grid: tuple[tuple[int, int] | None, ...] | None = field(default=None, repr=False)
    """Where each state lies on a map, as (row, column), for pictures; None for states off the map."""
    labels: Mapping[str, Int[np.ndarray, " _"]] = field(default_factory=dict, repr=False)
    """The numbers of the states that carry each label, such as "goal"."""
    fractions: Mapping[float, Fraction] = field(default_factory=dict, repr=False)
    """What some of the numbers stand for, 1/3 for .3333333333333333: for exact answers. Every other number stands for
    its shortest decimal, 0.7 for seven tenths."""
    map_key: MapKey | None = field(default=None, repr=False)
    """How the map is read; None where it shows places and actions are moves."""

    def __post_init__(self) -> None:
        off = check(self)
        if off is not None:
            fractions = dict(self.fractions)
            object.__setattr__(self, "probability", divided(self.probability, self.row_ptr, off, fractions))
            object.__setattr__(self, "fractions", fractions)

    def __repr__(self) -> str:
        names = ", ".join(map(str, self.state_names[:4])) + (", …" if self.num_states > 4 else "")
        return (
            f"<MDP of {self.num_states:,} states ({names}), {self.num_pairs:,} pairs of a state and an action, "
            f"{self.num_transitions:,} transitions>"
        )

    def _repr_html_(self) -> str:
        shown = range(min(self.num_transitions, MOST_ROWS + 1))
        pairs = np.searchsorted(self.row_ptr, shown, side="right") - 1
        states = np.searchsorted(self.state_ptr, pairs, side="right") - 1
        rows = [
            (
                self.state_names[int(s)],
                self.action_names[int(self.action[p])],
                f"{self.probability[n]:.6g}",
                f"{self.reward[n]:.6g}",
                self.state_names[int(self.next_state[n])] + (" (ends)" if self.discount[n] == 0 else ""),
            )
            for n, p, s in zip(shown, pairs, states, strict=True)
        ]
        return as_table(("state", "action", "probability", "reward", "next state"), rows, repr(self).strip("<>"))

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
    def has_map(self) -> bool:
        """Whether some state lies on a map."""
        return self.grid is not None and any(self.grid)

    @property
    def legal(self) -> Bool[np.ndarray, "S A"]:
        """Which actions each state has."""
        legal = np.zeros((self.num_states, self.num_actions), bool)
        legal[self.pair_state, self.action] = True
        return legal

    def state(self, name: str | int | np.integer) -> int:
        """The number of a state given by name (or by its number)."""
        return _number(name, self.state_names, "state")

    def labelled(self, name: str) -> Bool[np.ndarray, " S"]:
        """The states that carry a label; where there is no such label, the state that is called so.

        Raises:
            KeyError: when there is neither.
        """
        found = np.zeros(self.num_states, bool)
        if name in self.labels:
            found[self.labels[name]] = True
            return found
        try:
            found[self.state_names.index(name)] = True
        except ValueError:
            known = f"its labels are {_some(list(self.labels))}" if self.labels else "it has no labels"
            raise KeyError(f"no label {name!r} in the model, and no state of that name; {known}") from None
        return found

    def exactly(self, values: Iterable[float]) -> list[Fraction]:
        """What some of the model's numbers stand for: its `fractions`, else their shortest decimals."""
        return exactly((float(x) for x in values), self.fractions)

    def describe(self, pair: int | np.integer) -> str:
        """'state X, action Y' for messages."""
        state = int(np.searchsorted(self.state_ptr, pair, side="right")) - 1
        return f"state {self.state_names[state]!r}, action {self.action_names[self.action[pair]]!r}"


Number = float | Fraction | Decimal
Outcome = tuple[Number, Hashable, Number] | tuple[Number, Hashable, Number, bool]


def mdp(
    transitions: Mapping[Any, Mapping[Any, Sequence[Outcome]]],
    initial: Mapping[Any, Number] | Hashable | None = None,
    grid: Mapping[Any, tuple[int, int]] | None = None,
    labels: Mapping[str, Iterable[Any]] | None = None,
    map_key: MapKey | None = None,
) -> MDP:
    """A model from a dictionary: state → action → outcomes (probability, next state, reward[, terminated]).

    A next state that has no entry of its own (or an empty one) is terminal, and transitions into
    it terminate. This is the layout of Gymnasium's `P`, whose `terminated` flag is honoured.

    Numbers may be `Fraction` and `Decimal` as well: exact answers take them as they are, and a float as the
    decimal that was written.

    Args:
        transitions: the model; states and actions may be any hashable and are named by `str`.
        initial: a first state, a distribution over first states, or None for uniform over the
            states that have actions.
        grid: (row, column) of each state that lies on a map.
        labels: the states that carry each label; states that the model does not have are left out.
        map_key: how the map is read, where its rows and columns are no places.

    Raises:
        ModelError: as `MDP`, and when `initial` names a state that does not exist.
    """
    fractions: dict[float, Fraction] = {}
    table = _checked_table(transitions)
    states = list(table)
    known = set(states)
    for choices in table.values():
        for outcomes in choices.values():
            for _, target, *_ in outcomes:
                if target not in known:
                    known.add(target)
                    states.append(target)
    number = {state: i for i, state in enumerate(states)}
    actions = list(dict.fromkeys(a for choices in table.values() for a in choices))
    if actions and all(isinstance(a, int | np.integer) for a in actions):
        actions.sort()  # type: ignore[reportCallIssue]
    action_number = {a: i for i, a in enumerate(actions)}

    state_ptr, action, row_ptr = [0], [], [0]
    next_state, probability, reward, discount = [], [], [], []
    for state in states:
        for choice, outcomes in table.get(state, {}).items():
            action.append(action_number[choice])
            for p, target, r, terminated in outcomes:
                if p == 0:
                    continue
                next_state.append(number[target])
                probability.append(as_float(p, fractions))
                reward.append(as_float(r, fractions))
                discount.append(0.0 if terminated or not table.get(target) else 1.0)
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
        initial=_initial(initial, number, np.diff(state_ptr) > 0, fractions),
        state_names=tuple(str(s) for s in states),
        action_names=tuple(str(a) for a in actions),
        grid=None if grid is None else tuple(grid.get(s) for s in states),
        labels={
            label: np.array(sorted(number[s] for s in carrying if s in number), np.int64)
            for label, carrying in (labels or {}).items()
        },
        fractions=fractions,
        map_key=map_key,
    )


def from_table(
    table: Mapping[Any, Mapping[Any, Sequence[Any]]],
    initial: Mapping[Any, Number] | Any = None,
    grid: Mapping[Any, tuple[int, int]] | None = None,
) -> MDP:
    """A model from the table `P` of Gymnasium's toy texts, whose ends are not absorbing.

    A state that is only ever entered by transitions that terminate becomes terminal; the others all stay, those
    that no episode reaches too.

    Args:
        table: state → action → (probability, next state, reward, terminated).
        initial: as in `mdp`.
        grid: as in `mdp`.

    Raises:
        ModelError: as `mdp`.
    """
    if isinstance(initial, Mapping):
        passed = {state for state, p in initial.items() if p > 0}
    else:
        passed = set() if initial is None else {initial}
    entered = set()
    for state, choices in table.items():
        for outcomes in choices.values():
            for p, target, _, terminated in outcomes:
                if p > 0 and target != state:
                    (entered if terminated else passed).add(target)
    terminal = entered - passed
    return mdp({s: {} if s in terminal else choices for s, choices in table.items()}, initial, grid)


@runtime_checkable
class Tabled(Protocol):
    """An environment that may carry its model as a table `P`, as Gymnasium's toy texts do."""

    @property
    def unwrapped(self) -> Any: ...


Modelled = MDP | Mapping[Any, Any] | Tabled
"""What `model_of` makes a model of."""


def model_of(given: Any) -> MDP:
    """The model that is plainly meant: an MDP, a dictionary of one, or a Gymnasium environment that carries its table.

    Args:
        given: any of these.

    Raises:
        TypeError: for anything else, with what to write instead.
        ModelError: as `mdp`.
    """
    if isinstance(given, MDP):
        return given
    if isinstance(given, Mapping):
        return mdp(given)
    inner = getattr(given, "unwrapped", given)
    if isinstance(table := getattr(inner, "P", None), Mapping):
        start = getattr(inner, "initial_state_distrib", None)
        return from_table(table, None if start is None else {s: p for s, p in enumerate(start) if p > 0})
    if isinstance(given, str):
        hint = f"`rt.solve({given!r}, …)` takes names, `rt.environments.load(file)` reads one"
    elif callable(given):
        hint = "call it first, if it makes one"
    else:
        hint = "a world that is only acted in has none; `rt.environments.enumerated` makes one of what may happen there"
    raise TypeError(f"expected a model (an MDP), got {given!r:.60}: {hint}")


_Table = dict[Hashable, dict[Hashable, list[tuple[Number, Hashable, Number, bool]]]]


def _checked_table(transitions: Any) -> _Table:
    """The same with four parts to every outcome.

    Raises:
        ModelError: with the state and action where it is no table of outcomes.
    """
    if not isinstance(transitions, Mapping):
        raise ModelError(f"expected a dictionary state → action → outcomes, got {type(transitions).__name__}")
    table: _Table = {}
    for state, choices in transitions.items():
        if not isinstance(choices, Mapping):
            raise ModelError(f"state {state!r}: expected a dictionary action → outcomes, got {choices!r:.80}")
        table[state] = {}
        for choice, outcomes in choices.items():
            where = f"state {state!r}, action {choice!r}"
            if isinstance(outcomes, str) or not isinstance(outcomes, Iterable):
                raise ModelError(f"{where}: expected a list of outcomes, got {outcomes!r:.80}")
            table[state][choice] = [checked_outcome(outcome, where) for outcome in outcomes]
    return table


def checked_outcome(outcome: Any, where: str) -> tuple[Number, Hashable, Number, bool]:
    """An outcome with its four parts; its numbers are floats, fractions or decimals.

    Raises:
        ModelError: where it is none.
    """
    try:
        probability, target, reward, *more = outcome
        (terminated,) = more or [False]
        made = (_number_of(probability), target, _number_of(reward), bool(terminated))
    except (TypeError, ValueError):
        raise ModelError(
            f"{where}: expected outcomes (probability, next state, reward[, terminated]), got {outcome!r:.80}"
        ) from None
    check_hashable(target, where)
    return made


def _number_of(given: Any) -> Number:
    """A fraction or a decimal as it is, a whole number that float64 cannot hold as a fraction; else a float."""
    if isinstance(given, Fraction | Decimal):
        return given
    return Fraction(given) if isinstance(given, int) and abs(given) > 2**53 else float(given)


def check_hashable(state: Any, where: str) -> None:
    """Raise unless it can name a state."""
    try:
        hash(state)
    except TypeError:
        raise ModelError(
            f"{where}: the state {state!r:.80} cannot be hashed; use numbers, text and tuples, no lists or arrays"
        ) from None


def _initial(
    initial, number: dict[Hashable, int], acting: Bool[np.ndarray, " S"], fractions: dict[float, Fraction]
) -> Float[np.ndarray, " S"]:
    if initial is None:
        if not acting.any():
            raise ModelError("the model has no state with an action: give at least one state an action")
        return acting / acting.sum()
    weights = np.zeros(len(number))
    for state, p in (initial if isinstance(initial, Mapping) else {initial: 1.0}).items():
        if state not in number:
            raise ModelError(f"initial state {state!r} is not in the model; it has {_some(list(map(str, number)))}")
        weights[number[state]] = as_float(p, fractions)
    return weights


def check(model: MDP) -> Bool[np.ndarray, " P"] | None:
    """Raise `ModelError` unless the arrays form a Markov decision process.

    Returns:
        The pairs whose probabilities sum to 1 up to the tolerance, and not up to rounding; None where there are none.
    """
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
    _within("next_state", model.next_state, states)
    _within("action", model.action, model.num_actions)
    for name, carriers in model.labels.items():
        _within(f"the states labelled {name!r}", carriers, states)
    rises = np.diff(model.action) > 0
    rises[model.state_ptr[1:-1][(model.state_ptr[1:-1] > 0) & (model.state_ptr[1:-1] < pairs)] - 1] = True
    if not rises.all():
        owner = model.pair_state
        repeated = np.unique(owner * np.int64(model.num_actions) + model.action, return_counts=True)[1]
        if (repeated > 1).any():
            raise ModelError("a state lists the same action twice: give each of a state's actions once")
    outcomes = np.diff(model.row_ptr)
    if pairs and outcomes.min() == 0:
        raise ModelError(
            f"{model.describe(int(np.argmin(outcomes)))}: no outcomes; give at least one with positive probability"
        )
    for name, least, most, expected in [
        ("probability", 0.0, _LARGEST, "finite and at least 0"),
        ("reward", -_LARGEST, _LARGEST, "finite"),
        ("discount", -1.0, 1.0, "in [-1, 1]"),
    ]:
        array = getattr(model, name)
        # A NaN is both the least and the largest, so one comparison of each is enough.
        if transitions and not (array.min() >= least and array.max() <= most):
            t = int(np.argmax(~((array >= least) & (array <= most))))
            raise ModelError(
                f"{_of_transition(model, t)}: {name} {array[t]} on the way to "
                f"{model.state_names[model.next_state[t]]!r}, expected {expected}"
            )
    total = np.add.reduceat(model.probability, model.row_ptr[:-1]) if pairs else np.ones(0)
    off = max(float(total.max(initial=1.0)) - 1, 1 - float(total.min(initial=1.0)))
    if off > PROBABILITY_TOLERANCE:
        p = int(np.argmax(np.abs(total - 1) > PROBABILITY_TOLERANCE))
        raise ProbabilitySumError(f"{model.describe(p)}: probabilities sum to {total[p]:.12g}, expected 1", off)
    if model.terminal.any():
        stuck = model.terminal[model.next_state] & (model.discount != 0) & (model.probability > 0)
        if stuck.any():
            t = int(np.argmax(stuck))
            raise ModelError(
                f"{_of_transition(model, t)}: goes on to {model.state_names[model.next_state[t]]!r}, which has no "
                "actions; give that state an action or mark the transition as terminated (discount 0)"
            )
    if not (np.isfinite(model.initial).all() and (model.initial >= 0).all() and abs(model.initial.sum() - 1) < 1e-9):
        raise ModelError(
            f"the initial distribution sums to {model.initial.sum():.12g}, expected 1 with no negative entry"
        )
    rounding = (outcomes.max(initial=0) + 1) * 2.0**-53
    return np.abs(total - 1) > rounding if off > rounding else None


_LARGEST = np.finfo(np.float64).max


def _within(name: str, index: Int[np.ndarray, " n"], end: int) -> None:
    if len(index) and not (index.min() >= 0 and index.max() < end):
        raise ModelError(f"{name} must lie in [0, {end}), got {index.min()} to {index.max()}")


def _of_transition(model: MDP, transition: int) -> str:
    return model.describe(int(np.searchsorted(model.row_ptr, transition, side="right")) - 1)


def _number(name: str | int | np.integer, names: Sequence[str], kind: str) -> int:
    if isinstance(name, int | np.integer) and 0 <= name < len(names):
        return int(name)
    try:
        return names.index(str(name))
    except ValueError:
        raise KeyError(f"no {kind} {name!r}; the model has {_some(names)}") from None


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")
