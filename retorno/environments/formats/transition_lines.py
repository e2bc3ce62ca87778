"""Transitions by the numbers of states and choices, as model checkers list them, and the model that they are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.core.mdp import MDP, ModelError, Numbered
from retorno.core.numerals import as_float, exactly
from retorno.environments.formats.arrays import from_rows


class TransitionLines(NamedTuple):
    """N transitions, ordered by state, choice and next state; each of these once."""

    decides: bool
    """Whether it is a decision process; else a chain."""
    states: int
    state: Int[np.ndarray, " N"]
    choice: Int[np.ndarray, " N"]
    next_state: Int[np.ndarray, " N"]
    probability: Float[np.ndarray, " N"]
    actions: Mapping[tuple[int, int], str]
    """The action of each (state, choice) that has one."""
    fractions: dict[float, Fraction]
    """What floats stand for, where that is not their shortest decimal."""

    @property
    def new_pair(self) -> Bool[np.ndarray, " N"]:
        """Where a line begins another state or choice."""
        changed = (np.diff(self.state) != 0) | (np.diff(self.choice) != 0)
        return np.append(True, changed)[: len(self.state)]


def ordered(
    decides: bool,
    states: int,
    columns: Sequence[Sequence[int]],
    probability: Sequence[float],
    actions: Mapping[tuple[int, int], str],
    fractions: dict[float, Fraction],
) -> TransitionLines:
    """Lines in order; what a pair leads to several times it leads to with the sum, as PRISM takes it.

    Args:
        decides: whether it is a decision process.
        states: how many there are.
        columns: state, choice and next state of each line.
        probability: of each line.
        actions: the action of each (state, choice) that has one.
        fractions: what floats stand for, to which sums are added.

    Raises:
        ModelError: where a choice is left out.
    """
    arrays = [np.array(column, np.int64) for column in columns]
    order = np.lexsort(arrays[::-1])
    state, choice, to = (array[order] for array in arrays)
    chance = np.array(probability, np.float64)[order]
    first = np.append(True, (np.diff(state) != 0) | (np.diff(choice) != 0) | (np.diff(to) != 0))[: len(state)]
    if not first.all():
        ends = np.append(np.flatnonzero(first), len(chance)).tolist()
        chance = np.array([total(chance[begin:end], fractions) for begin, end in itertools.pairwise(ends)])
        state, choice, to = state[first], choice[first], to[first]
    lines = TransitionLines(decides, states, state, choice, to, chance, actions, fractions)
    state, choice = state[lines.new_pair], choice[lines.new_pair]
    usual = np.arange(len(state)) - np.searchsorted(state, state)
    if (choice != usual).any():
        i = int(np.argmax(choice != usual))
        raise ModelError(f"state {state[i]} has a choice {choice[i]} and no choice {usual[i]}")
    return lines


def total(parts: Sequence[float] | Float[np.ndarray, " n"], fractions: dict[float, Fraction]) -> float:
    """The sum of numbers as they were written: .1 and .2 are .3.

    Args:
        parts: any numbers.
        fractions: what floats stand for, to which the sum is added.

    >>> total([0.1, 0.2], {})
    0.3
    """
    some = [float(x) for x in parts if x]
    return some[0] if len(some) == 1 else as_float(sum(exactly(some, fractions), Fraction(0)), fractions)


def assembled(
    lines: TransitionLines,
    reward: Float[np.ndarray, " N"],
    labels: Mapping[str, Sequence[int]],
    names: Sequence[str] | None,
) -> MDP:
    """The model of transitions and their rewards.

    A state that is labelled "deadlock" and only stays where it is for no reward is terminal: thus PRISM and Storm
    write states without transitions. Those labelled "init" share the start, else it is state 0.

    Args:
        lines: of the model.
        reward: of each line.
        labels: the states that carry each label.
        names: of the states; None for their numbers.

    Raises:
        ModelError: when they are no model.
    """
    ended = np.zeros(lines.states, bool)
    alone = np.bincount(lines.state, minlength=lines.states) == 1
    stays = np.zeros(lines.states, bool)
    stays[lines.state[(lines.state == lines.next_state) & (reward == 0)]] = True
    blocked = np.array(labels.get("deadlock", []), np.int64)
    ended[blocked] = (alone & stays)[blocked]
    kept = (lines.probability > 0) & ~ended[lines.state]
    new = lines.new_pair
    state, choice = lines.state[new], lines.choice[new]
    order = np.cumsum(new) - 1
    acting = ~ended[state]
    counts = np.bincount(order[kept], minlength=len(state))[acting]
    state, choice = state[acting], choice[acting]
    called = [lines.actions.get(place, str(place[1])) for place in zip(state.tolist(), choice.tolist(), strict=True)]
    called = _told_apart(state.tolist(), choice.tolist(), called)
    actions = list(dict.fromkeys(called))
    index = {name: i for i, name in enumerate(actions)}
    first = np.array(labels.get("init") or [0], np.int64)
    initial = np.zeros(lines.states)
    initial[first] = as_float(Fraction(1, len(set(first.tolist()))), lines.fractions)
    carried = {name: np.unique(np.array(own, np.int64)) for name, own in labels.items() if name != "init"}
    if np.array_equal(carried.get("deadlock", []), np.setdiff1d(np.arange(lines.states), state)):
        carried.pop("deadlock", None)  # It says no more than that they are terminal.
    return from_rows(
        np.searchsorted(state, np.arange(lines.states + 1)),
        np.append(0, np.cumsum(counts)),
        lines.next_state[kept],
        lines.probability[kept],
        transition_reward=reward[kept],
        action=np.array([index[name] for name in called], np.int64),
        initial=initial,
        state_names=Numbered(lines.states) if names is None else names,
        action_names=actions,
        labels=carried,
        fractions=lines.fractions,
    )


def _told_apart(state: list[int], choice: list[int], called: list[str]) -> list[str]:
    """Choices of one state that share an action's name (PRISM allows it) get their number added."""
    seen = dict[tuple[int, str], int]()
    for s, name in zip(state, called, strict=True):
        seen[s, name] = seen.get((s, name), 0) + 1
    return [f"{name}#{c}" if seen[s, name] > 1 else name for s, c, name in zip(state, choice, called, strict=True)]
