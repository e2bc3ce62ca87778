"""A model in fractions: its backup, which states end, and linear systems solved without rounding.

A model's floats stand for what was written (`MDP.fractions`, else their shortest decimals), and each pair's
probabilities are divided by their exact sum. The arithmetic is FLINT's, whose systems are solved by p-adic
lifting (Dixon 1982).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import inf, lcm, nan
from typing import Any

import numpy as np
from flint import fmpq, fmpz_mat
from jaxtyping import Bool, Int

from retorno.core.graph import end_components
from retorno.core.mdp import MDP, ModelError

Exact = Fraction | float
"""A fraction, or one of the floats −inf, inf and nan."""
ZERO, ONE = fmpq(0), fmpq(1)


@dataclass(frozen=True)
class FractionalBackup:
    """q[p] = reward[p] + Σ_n going[p][n] v[n] in fractions."""

    pairs: list[Sequence[int]]
    """Of each state."""
    reward: list[fmpq]
    going: list[dict[int, fmpq]]
    """The states that a pair goes on to, each with its discounted probability, which is positive."""
    ends: list[bool]
    """Whether a pair may end: its row of `going` sums to less than 1."""
    resting: dict[int, int] = field(default_factory=dict)
    """Pairs that stand for staying for ever and earning nothing, each with a pair of the model that does."""

    @cached_property
    def owner(self) -> list[int]:
        """The state of each pair; −1 of what is no pair of any."""
        owner = [-1] * len(self.reward)
        for s, pairs in enumerate(self.pairs):
            for p in pairs:
                owner[p] = s
        return owner

    @cached_property
    def leading(self) -> list[list[int]]:
        """The pairs that may lead to each state."""
        leading: list[list[int]] = [[] for _ in self.pairs]
        for p, s in enumerate(self.owner):
            if s >= 0:
                for n in self.going[p]:
                    leading[n].append(p)
        return leading

    @property
    def acting(self) -> set[int]:
        """The states that have pairs."""
        return {s for s, pairs in enumerate(self.pairs) if pairs}


def rows_of(model: MDP, gamma: Fraction, sign: int) -> FractionalBackup:
    """The backup of a model under γ, with rewards times ±1.

    Raises:
        ModelError: when a transition has a negative discount.
    """
    if (model.discount < 0).any():
        pair = int(model.transition_pair[np.argmax(model.discount < 0)])
        raise ModelError(f"{model.describe(pair)}: a negative discount; only discounts in [0, 1] can be solved here")
    ptr, row_ptr, target = model.state_ptr.tolist(), model.row_ptr.tolist(), model.next_state.tolist()
    chance, reward, discount = (
        [flint(x) for x in model.exactly(numbers.tolist())]
        for numbers in (model.probability, model.reward, model.discount)
    )
    factor = flint(gamma)
    rows = FractionalBackup([range(a, b) for a, b in pairwise(ptr)], [], [], [])
    for first, last in pairwise(row_ptr):
        mean, left, going = ZERO, ONE, {}
        for t, p in zip(range(first, last), normalised(chance[first:last]), strict=True):
            if not p:
                continue
            mean += p * reward[t]
            weight = p * discount[t] * factor
            if weight:
                left -= weight
                going[target[t]] = going.get(target[t], ZERO) + weight
        rows.reward.append(sign * mean)
        rows.going.append(going)
        rows.ends.append(left > 0)
    return rows


def flint(x: Fraction | int) -> fmpq:
    """A fraction for FLINT."""
    return fmpq(x.numerator, x.denominator)


def fraction(x: Any) -> Any:
    """A number of FLINT's as Python has it; infinities as they are."""
    return x if isinstance(x, float) else Fraction(int(x.p), int(x.q))


def chain_of(rows: FractionalBackup, chances: Sequence[Fraction]) -> tuple[FractionalBackup, dict[int, int]]:
    """The rows of a stochastic policy, one pair a state: (rows, the pair of each state that acts)."""
    own = [range(s, s + 1) if pairs else range(0) for s, pairs in enumerate(rows.pairs)]
    chain = FractionalBackup(list(own), [], [], [])
    for share in shares(rows, chances):
        going: dict[int, fmpq] = {}
        for p, chance in share:
            for n, w in rows.going[p].items():
                going[n] = going.get(n, ZERO) + chance * w
        chain.reward.append(sum((chance * rows.reward[p] for p, chance in share), ZERO))
        chain.going.append(going)
        chain.ends.append(sum(going.values(), ZERO) < 1)
    return chain, {s: s for s, pairs in enumerate(rows.pairs) if pairs}


def shares(rows: FractionalBackup, chances: Sequence[Fraction]) -> list[list[tuple[int, fmpq]]]:
    """The pairs that a policy may take in each state, each with its exact probability."""
    found = []
    for pairs in rows.pairs:
        taken = [p for p in pairs if chances[p] > 0]
        found.append(list(zip(taken, normalised([flint(chances[p]) for p in taken]), strict=True)))
    return found


def normalised(chances: list[fmpq]) -> list[fmpq]:
    """The same divided by their sum."""
    total = sum(chances, ZERO)
    return chances if total == 1 else [p / total for p in chances]


def action_value(rows: FractionalBackup, pair: int, value: Sequence[fmpq | float]) -> fmpq | float:
    """What a pair earns, and what follows."""
    total = rows.reward[pair]
    worst: float | None = None
    for n, w in rows.going[pair].items():
        v = value[n]
        if not isinstance(v, float):
            total += w * v
        elif worst is None or not v > worst:  # nan and −inf outweigh inf: what may never end has no value at all
            worst = v
    return total if worst is None else worst


def mean_of(rows: FractionalBackup, pair: int, value: Sequence[fmpq]) -> fmpq:
    """What follows a pair."""
    return sum((w * value[n] for n, w in rows.going[pair].items()), ZERO)


def reaching(rows: FractionalBackup, goal: Collection[int], pairs: Collection[int] | None = None) -> set[int]:
    """The states from which some pair after pair, of these (of all), may come to `goal`, which is among them."""
    found, waiting = set(goal), list(goal)
    while waiting:
        for p in rows.leading[waiting.pop()]:
            s = rows.owner[p]
            if s not in found and (pairs is None or p in pairs):
                found.add(s)
                waiting.append(s)
    return found


def idle_states(rows: FractionalBackup) -> set[int]:
    """The states from which no choice ever earns anything or ends."""
    busy = {s for s, pairs in enumerate(rows.pairs) if any(rows.reward[p] or rows.ends[p] for p in pairs)}
    return rows.acting - reaching(rows, busy)


def without(rows: FractionalBackup, ended: Collection[int]) -> FractionalBackup:
    """The same with some states as the end."""
    if not ended:
        return rows
    pairs = [() if s in ended else own for s, own in enumerate(rows.pairs)]
    going = [{n: w for n, w in row.items() if n not in ended} for row in rows.going]
    ends = [e or len(short) < len(row) for e, short, row in zip(rows.ends, going, rows.going, strict=True)]
    return FractionalBackup(pairs, rows.reward, going, ends, rows.resting)


def staying(rows: FractionalBackup, inner: Iterable[int]) -> list[tuple[list[int], list[int]]]:
    """Maximal end components of these pairs, none of which ends: (their states, the pairs that stay) of each."""
    kept = list(inner)
    if not kept:
        return []
    owner: Int[np.ndarray, " k"] = np.array([rows.owner[p] for p in kept])
    at = np.repeat(np.arange(len(kept)), [len(rows.going[p]) for p in kept])
    target = np.array([n for p in kept for n in rows.going[p]])
    label, stays = end_components(owner, at, target, np.ones(len(kept), bool), len(rows.pairs))
    found: dict[int, tuple[list[int], list[int]]] = {}
    for k in np.flatnonzero(stays).tolist():
        states, pairs = found.setdefault(int(label[owner[k]]), ([], []))
        pairs.append(kept[k])
        if rows.owner[kept[k]] not in states[-1:]:
            states.append(rows.owner[kept[k]])
    return list(found.values())


def with_rests(rows: FractionalBackup) -> FractionalBackup:
    """The same with one more pair wherever one can stay for ever and earn nothing: it ends, and pays nothing."""
    idle = (p for s in rows.acting for p in rows.pairs[s] if not rows.reward[p] and not rows.ends[p])
    pairs, reward, going = list(rows.pairs), list(rows.reward), list(rows.going)
    resting = dict[int, int]()
    for _, inner in staying(rows, idle):
        for s, p in {rows.owner[p]: p for p in reversed(inner)}.items():
            resting[len(reward)] = p
            pairs[s] = (*pairs[s], len(reward))
            reward.append(ZERO)
            going.append({})
    if not resting:
        return rows
    return FractionalBackup(pairs, reward, going, rows.ends + [True] * len(resting), resting)


def ending_choice(rows: FractionalBackup) -> dict[int, int]:
    """A pair for each state that can be sure to end, which does. De Alfaro 1997: almost-sure reachability."""
    sure = rows.acting
    while True:
        choice: dict[int, int] = {}
        kept = {p for s in sure for p in rows.pairs[s] if rows.going[p].keys() <= sure}
        waiting = [p for s in sure for p in rows.pairs[s] if p in kept and rows.ends[p]]
        while waiting:
            later = []
            for p in waiting:
                s = rows.owner[p]
                if s not in choice:
                    choice[s] = p
                    later += [before for before in rows.leading[s] if before in kept]
            waiting = later
        if len(choice) == len(sure):
            return choice
        sure = set(choice)


def recurrent(rows: FractionalBackup, choice: Mapping[int, int]) -> list[list[int]]:
    """The sets of states that a policy, once there, never leaves and always comes back to."""
    from retorno.core.graph import graph_of, strong_components

    states = list(choice)
    if not states:
        return []
    place = {s: i for i, s in enumerate(states)}
    edges = [(place[s], place[n]) for s, p in choice.items() for n in rows.going[p] if n in place]
    leaves: Bool[np.ndarray, " n"] = np.array(
        [rows.ends[p] or not rows.going[p].keys() <= place.keys() for p in choice.values()]
    )
    source, target = np.array(edges, np.int64).reshape(-1, 2).T
    label = strong_components(graph_of(source, target, len(states)))[1]
    leaves[source[label[source] != label[target]]] = True
    open_ones = set(label[leaves].tolist())
    found: dict[int, list[int]] = {}
    for s, at in zip(states, label.tolist(), strict=True):
        if at not in open_ones:
            found.setdefault(at, []).append(s)
    return list(found.values())


def through(rows: FractionalBackup, choice: Mapping[int, int], sides: Sequence[Sequence[fmpq]]) -> list[list[fmpq]]:
    """Solve (I − M) x = side over the states of `choice`, which the policy leaves in the end."""
    place = {s: i for i, s in enumerate(choice)}
    table = []
    for s, p in choice.items():
        row = {place[s]: ONE}
        for n, w in rows.going[p].items():
            if n in place:
                row[place[n]] = row.get(place[n], ZERO) - w
        table.append(row)
    return solved(table, sides)


def solved(table: Sequence[Mapping[int, fmpq]], sides: Sequence[Sequence[fmpq]]) -> list[list[fmpq]]:
    """Solve a system given as rows of coefficients and right sides.

    Args:
        table: n rows, each a coefficient by its column.
        sides: n rows of right sides.

    Raises:
        ZeroDivisionError: when it is singular.

    >>> solved([{0: fmpq(2)}, {0: fmpq(1), 1: fmpq(1)}], [[fmpq(1)], [fmpq(1)]])
    [[1/2], [1/2]]
    """
    n, width = len(table), len(sides[0]) if sides else 0
    if not n:
        return []
    matrix, right = fmpz_mat(n, n), fmpz_mat(n, width)
    for i, (row, side) in enumerate(zip(table, sides, strict=True)):
        scale = lcm(*(int(x.q) for x in (*row.values(), *side)))
        for j, x in row.items():
            matrix[i, j] = x.p * (scale // int(x.q))
        for j, x in enumerate(side):
            right[i, j] = x.p * (scale // int(x.q))
    found = matrix.solve(right)
    return [[found[i, j] for j in range(width)] for i in range(n)]


def best_gain(rows: FractionalBackup, states: Sequence[int], pairs: Collection[int]) -> fmpq:
    """The best average reward within an end component."""
    own = [[p for p in rows.pairs[s] if p in pairs] if s in set(states) else () for s in range(len(rows.pairs))]
    inside = FractionalBackup(list(own), rows.reward, rows.going, rows.ends)
    gain, _, _ = best_average(inside, [ONE] * len(rows.reward))
    return max(gain[s] for s in states)


def best_average(rows: FractionalBackup, time: Sequence[fmpq]) -> tuple[list[fmpq], list[fmpq], dict[int, int]]:
    """(gain, bias, policy) by multichain policy iteration. Puterman 1994, section 9.2."""
    choice = {s: pairs[0] for s, pairs in enumerate(rows.pairs) if pairs}
    while True:
        gain, bias = gain_and_bias(rows, choice, time)
        onwards = {p: mean_of(rows, p, gain) for s in choice for p in rows.pairs[s]}
        improved = dict(choice)
        for s in choice:
            best = max(rows.pairs[s], key=lambda p: onwards[p])
            if onwards[best] > gain[s]:
                improved[s] = best
        if improved == choice:
            for s in choice:
                level = [p for p in rows.pairs[s] if onwards[p] == gain[s]]
                q = {p: rows.reward[p] + mean_of(rows, p, bias) - time[p] * gain[s] for p in level}
                best = max(q, key=lambda p: q[p])
                if q[best] > bias[s]:
                    improved[s] = best
        if improved == choice:
            return gain, bias, choice
        choice = improved


def gain_and_bias(
    rows: FractionalBackup, choice: Mapping[int, int], time: Sequence[fmpq]
) -> tuple[list[fmpq], list[fmpq]]:
    """A policy's gain g and bias h: g = Pg and h + time·g = r + Ph, with h 0 at the first state of each class.

    Puterman 1994, section 8.2: first the classes, each with one gain, then what leads to them.
    """
    gain, bias = [ZERO] * len(rows.pairs), [ZERO] * len(rows.pairs)
    settled: set[int] = set()
    for states in recurrent(rows, choice):
        place = {s: i for i, s in enumerate(states)}
        table = []
        for s in states:
            row = {place[s]: ONE}
            for n, w in rows.going[choice[s]].items():
                row[place[n]] = row.get(place[n], ZERO) - w
            row[0] = time[choice[s]]  # the first state's bias is 0: its column is the gain's
            table.append(row)
        found = [x for (x,) in solved(table, [[rows.reward[choice[s]]] for s in states])]
        for s, h in zip(states, [ZERO, *found[1:]], strict=True):
            gain[s], bias[s] = found[0], h
        settled |= set(states)
    passing = {s: p for s, p in choice.items() if s not in settled}

    def arriving(x: list[fmpq], p: int) -> fmpq:
        return sum((w * x[n] for n, w in rows.going[p].items() if n in settled), ZERO)

    for s, (g,) in zip(passing, through(rows, passing, [[arriving(gain, p)] for p in passing.values()]), strict=True):
        gain[s] = g
    sides = [[rows.reward[p] - time[p] * gain[s] + arriving(bias, p)] for s, p in passing.items()]
    for s, (h,) in zip(passing, through(rows, passing, sides), strict=True):
        bias[s] = h
    return gain, bias


def without_end(rows: FractionalBackup, dead: Collection[int]) -> tuple[set[int], set[int]]:
    """Where a return never settles: (states that collect without limit, states for which it has no limit at all).

    Of the states `dead`, from which no policy is sure to end or to earn nothing any more. From those in neither
    set what is earned falls without limit.
    """
    components = staying(rows, [p for s in rows.acting for p in rows.pairs[s] if not rows.ends[p]])
    gains = [(states, best_gain(rows, states, set(pairs))) for states, pairs in components if {*states} & {*dead}]
    rich = {s for states, gain in gains if gain > 0 for s in states}
    if rich:
        rich = {*ending_choice(without(rows, rich)), *rich} & {*dead}
    level = {s for states, gain in gains if gain == 0 for s in states} - rich
    if level:
        level = ({*ending_choice(without(rows, rich | level)), *level} & {*dead}) - rich
    return rich, level


def limit(gain: fmpq) -> float:
    """What the sum of rewards with this mean tends to; nan where it only goes up and down."""
    return inf if gain > 0 else -inf if gain < 0 else nan
