"""Average rewards in rational numbers, by multichain policy iteration. Puterman 1994, section 9.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from retorno.bellman.evaluation import Policy, probabilities
from retorno.bellman.fractional import (
    FractionalBackup,
    action_value,
    chain_of,
    eliminate,
    normalised,
    recurrent,
    rows_of,
    shares,
    through,
)
from retorno.bellman.semi_markov import Duration, checked
from retorno.core.mdp import MDP


@dataclass(frozen=True, eq=False)
class RationalAverage:
    """The average reward of each state in fractions."""

    gain: list[Fraction]
    """[S]: the reward per step (per unit of time), for ever."""
    bias: list[Fraction]
    """[S]: 0 at the first state of each recurrent class."""
    policy: Int[np.ndarray, " S"]
    """A best pair of each state, −1 where it is terminal."""


def average_exactly(model: MDP, *, minimise: bool = False, duration: Duration | None = None) -> RationalAverage:
    """The best average reward from each state, by multichain policy iteration. Puterman 1994, section 9.2.

    What ends earns nothing for ever after; a transition's discount is the probability that it does not end.

    Args:
        model: with S states, P pairs and N transitions.
        minimise: whether rewards are costs.
        duration: expected time that a transition [N] or a pair [P] takes (a semi-Markov model); 1 without.

    Raises:
        ValueError: when `duration` has another length, or is not positive and finite.

    >>> import retorno as rt
    >>> ring = rt.mdp({"a": {"on": [(1.0, "b", 0.0)]}, "b": {"on": [(1.0, "a", 3.0)]}}, initial="a")
    >>> [str(gain) for gain in average_exactly(ring).gain]
    ['3/2', '3/2']
    """
    rows = rows_of(model, Fraction(1), -1 if minimise else 1)
    time = _durations(model, duration)
    choice = {s: pairs[0] for s, pairs in enumerate(rows.pairs) if pairs}
    while True:
        gain, bias = gain_and_bias(rows, choice, time)
        onwards = [sum((w * gain[n] for n, w in row.items()), Fraction(0)) for row in rows.going]
        improved = dict(choice)
        for s in choice:
            best = max(rows.pairs[s], key=lambda p: onwards[p])
            if onwards[best] > gain[s]:
                improved[s] = best
        if improved == choice:
            for s in choice:
                q = {p: action_value(rows, p, bias) - time[p] * gain[s] for p in rows.pairs[s] if onwards[p] == gain[s]}
                best = max(q, key=lambda p: q[p])
                if q[best] > bias[s]:
                    improved[s] = best
        if improved == choice:
            sign = -1 if minimise else 1
            policy = np.array([choice.get(s, -1) for s in range(model.num_states)], np.int64)
            return RationalAverage([sign * g for g in gain], [sign * h for h in bias], policy)
        choice = improved


def evaluate_average_exactly(model: MDP, policy: Policy, *, duration: Duration | None = None) -> RationalAverage:
    """A policy's average reward as fractions. Arguments as in `average_exactly` and `evaluate`.

    `policy` of the answer is that of `average_exactly` only for a deterministic one, else −1.

    >>> import retorno as rt
    >>> ring = rt.mdp({"a": {"on": [(1.0, "b", 0.0)]}, "b": {"on": [(1.0, "a", 3.0)]}}, initial="a")
    >>> [str(gain) for gain in evaluate_average_exactly(ring, rt.bellman.uniform).gain]
    ['3/2', '3/2']
    """
    chances = probabilities(model, policy)
    rows = rows_of(model, Fraction(1), 1)
    chain, choice = chain_of(rows, chances)
    time = _durations(model, duration)
    mean = [sum((c * time[p] for p, c in share), Fraction(0)) for share in shares(rows, chances)]
    gain, bias = gain_and_bias(chain, choice, mean)
    taken = np.array([max(pairs, key=lambda p: chances[p] == 1, default=-1) for pairs in rows.pairs], np.int64)
    taken[(taken >= 0) & (chances[taken] != 1)] = -1
    return RationalAverage(gain, bias, taken)


def gain_and_bias(
    rows: FractionalBackup, choice: dict[int, int], time: Sequence[Fraction]
) -> tuple[list[Fraction], list[Fraction]]:
    """A policy's gain g and bias h: g = Pg and h + time·g = r + Ph, with h 0 at the first state of each class.

    Puterman 1994, section 8.2: first the classes, each with one gain, then what leads to them.
    """
    gain, bias = [Fraction(0)] * len(rows.pairs), [Fraction(0)] * len(rows.pairs)
    settled: set[int] = set()
    for states in recurrent(rows, choice):
        place = {s: i for i, s in enumerate(states)}
        table = []
        for s in states:
            row = [Fraction(0)] * len(states)
            row[place[s]] += 1
            for n, w in rows.going[choice[s]].items():
                row[place[n]] -= w
            row[0] = time[choice[s]]  # the first state's bias is 0: its column is the gain's
            table.append([*row, rows.reward[choice[s]]])
        solved = [x for (x,) in eliminate(table, len(states))]
        for s, h in zip(states, [Fraction(0), *solved[1:]], strict=True):
            gain[s], bias[s] = solved[0], h
        settled |= set(states)
    passing = {s: p for s, p in choice.items() if s not in settled}

    def arriving(x: list[Fraction], p: int) -> Fraction:
        return sum((w * x[n] for n, w in rows.going[p].items() if n in settled), Fraction(0))

    for s, (g,) in zip(passing, through(rows, passing, [[arriving(gain, p)] for p in passing.values()]), strict=True):
        gain[s] = g
    sides = [[rows.reward[p] - time[p] * gain[s] + arriving(bias, p)] for s, p in passing.items()]
    for s, (h,) in zip(passing, through(rows, passing, sides), strict=True):
        bias[s] = h
    return gain, bias


def _durations(model: MDP, duration: Duration | None) -> list[Fraction]:
    """The expected time of each pair."""
    if duration is None:
        return [Fraction(1)] * model.num_pairs
    given = checked(model, duration)
    if len(given) == model.num_pairs:  # As many transitions as pairs means one each, so both readings agree.
        return [Fraction(x) for x in given.tolist()]
    ptr, chance, times = model.row_ptr.tolist(), model.probability.tolist(), given.tolist()
    spans = [slice(a, b) for a, b in pairwise(ptr)]
    return [
        sum((p * Fraction(x) for p, x in zip(normalised(chance[at]), times[at], strict=True)), Fraction(0))
        for at in spans
    ]
