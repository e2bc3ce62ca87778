"""A model in fractions: its backup, which states end, and linear systems solved without rounding.

The floats of a model are taken literally as the fractions that they are, and each pair's
probabilities are divided by their exact sum. Linear systems are solved without fractions
inside (Bareiss 1968).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import lcm

import numpy as np
from jaxtyping import Float

from retorno.core.mdp import MDP, ModelError

Exact = Fraction | float
"""A fraction, or one of the floats −inf, inf and nan."""


@dataclass(frozen=True)
class FractionalBackup:
    """q[p] = reward[p] + Σ_n going[p][n] v[n] in fractions."""

    pairs: list[range]
    """Of each state."""
    reward: list[Fraction]
    going: list[dict[int, Fraction]]
    """The states that a pair goes on to, each with its discounted probability, which is positive."""
    ends: list[bool]
    """Whether a pair may end: its row of `going` sums to less than 1."""


def rows_of(model: MDP, gamma: Fraction, sign: int) -> FractionalBackup:
    if (model.discount < 0).any():
        pair = int(model.transition_pair[np.argmax(model.discount < 0)])
        raise ModelError(f"{model.describe(pair)}: a negative discount; only discounts in [0, 1] can be solved here")
    ptr, row_ptr = model.state_ptr.tolist(), model.row_ptr.tolist()
    target, chance = model.next_state.tolist(), model.probability.tolist()
    reward, discount = model.reward.tolist(), model.discount.tolist()
    rows = FractionalBackup([range(a, b) for a, b in pairwise(ptr)], [], [], [])
    for first, last in pairwise(row_ptr):
        share = normalised(chance[first:last])
        mean, going = Fraction(0), {}
        for t, p in zip(range(first, last), share, strict=True):
            mean += p * Fraction(reward[t])
            weight = p * Fraction(discount[t]) * gamma
            if weight:
                going[target[t]] = going.get(target[t], Fraction(0)) + weight
        rows.reward.append(sign * mean)
        rows.going.append(going)
        rows.ends.append(sum(going.values()) < 1)
    return rows


def chain_of(rows: FractionalBackup, chances: Float[np.ndarray, " P"]) -> tuple[FractionalBackup, dict[int, int]]:
    """The rows of a stochastic policy, one pair a state: (rows, the pair of each state that acts)."""
    chain = FractionalBackup([range(s, s + 1) for s in range(len(rows.pairs))], [], [], [])
    for share in shares(rows, chances):
        going: dict[int, Fraction] = {}
        for p, chance in share:
            for n, w in rows.going[p].items():
                going[n] = going.get(n, Fraction(0)) + chance * w
        chain.reward.append(sum((chance * rows.reward[p] for p, chance in share), Fraction(0)))
        chain.going.append(going)
        chain.ends.append(sum(going.values()) < 1)
    return chain, {s: s for s, pairs in enumerate(rows.pairs) if pairs}


def shares(rows: FractionalBackup, chances: Float[np.ndarray, " P"]) -> list[list[tuple[int, Fraction]]]:
    """The pairs that a policy may take in each state, each with its exact probability."""
    shares = []
    for pairs in rows.pairs:
        taken = [p for p in pairs if chances[p] > 0]
        shares.append(list(zip(taken, normalised([float(chances[p]) for p in taken]), strict=True)))
    return shares


def normalised(chances: list[float]) -> list[Fraction]:
    shares = [Fraction(p) for p in chances]
    total = sum(shares)
    return shares if total == 1 else [p / total for p in shares]


def action_value(rows: FractionalBackup, pair: int, value: Sequence[Exact]) -> Exact:
    total = rows.reward[pair]
    worst: float | None = None
    for n, w in rows.going[pair].items():
        v = value[n]
        if isinstance(v, Fraction):
            total += w * v
        elif worst is None or not v > worst:  # nan and −inf outweigh inf: what may never end has no value at all
            worst = v
    return total if worst is None else worst


def idle_states(rows: FractionalBackup) -> set[int]:
    """The states from which no choice ever earns anything or ends."""
    busy = {s for s, pairs in enumerate(rows.pairs) if any(rows.reward[p] or rows.ends[p] for p in pairs)}
    acting = {s for s, pairs in enumerate(rows.pairs) if pairs}
    while True:
        more = {s for s in acting - busy if any(rows.going[p].keys() & busy for p in rows.pairs[s])}
        if not more:
            return acting - busy
        busy |= more


def without(rows: FractionalBackup, ended: set[int]) -> FractionalBackup:
    """The same with some states as the end."""
    if not ended:
        return rows
    pairs = [range(0) if s in ended else own for s, own in enumerate(rows.pairs)]
    going = [{n: w for n, w in row.items() if n not in ended} for row in rows.going]
    ends = [e or len(short) < len(row) for e, short, row in zip(rows.ends, going, rows.going, strict=True)]
    return FractionalBackup(pairs, rows.reward, going, ends)


def ending_choice(rows: FractionalBackup) -> dict[int, int]:
    """A pair for each state that can be sure to end, which does. De Alfaro 1997: almost-sure reachability."""
    sure = {s for s, pairs in enumerate(rows.pairs) if pairs}
    while True:
        choice: dict[int, int] = {}
        grown = True
        while grown:
            grown = False
            for s in sure - choice.keys():
                for p in rows.pairs[s]:
                    going = rows.going[p].keys()
                    if going <= sure and (rows.ends[p] or going & choice.keys()):
                        choice[s], grown = p, True
                        break
        if len(choice) == len(sure):
            return choice
        sure = set(choice)


def can_reach(rows: FractionalBackup, goal: set[int], among: dict[int, int]) -> set[int]:
    """The states of `among` that some of their pairs, leading only to such states, may take to `goal`."""
    found = set(goal)
    while True:
        more = {
            s
            for s in among.keys() - found
            if any(rows.going[p].keys() <= among.keys() and rows.going[p].keys() & found for p in rows.pairs[s])
        }
        if not more:
            return found
        found |= more


def recurrent(rows: FractionalBackup, choice: dict[int, int]) -> list[list[int]]:
    """The sets of states that a policy, once there, never leaves and always comes back to."""
    reach = {s: sum(1 << n for n in rows.going[p]) | 1 << s for s, p in choice.items()}
    for k in choice:
        for s in choice:
            if reach[s] >> k & 1:
                reach[s] |= reach[k]
    leaky = sum(1 << s for s, p in choice.items() if rows.ends[p])
    classes: dict[int, list[int]] = {}
    for s in choice:
        if not reach[s] & leaky and all(reach[n] >> s & 1 for n in choice if reach[s] >> n & 1):
            classes.setdefault(reach[s], []).append(s)
    return list(classes.values())


def through(rows: FractionalBackup, choice: dict[int, int], sides: list[list[Fraction]]) -> list[list[Fraction]]:
    """Solve (I − M) x = side over the states of `choice`, which the policy leaves in the end."""
    place = {s: i for i, s in enumerate(choice)}
    table = []
    for (s, p), side in zip(choice.items(), sides, strict=True):
        row = [Fraction(0)] * len(choice)
        row[place[s]] += 1
        for n, w in rows.going[p].items():
            if n in place:
                row[place[n]] -= w
        table.append([*row, *side])
    return eliminate(table, len(choice))


def eliminate(table: list[list[Fraction]], n: int) -> list[list[Fraction]]:
    """Solve a system given as n rows of n coefficients and the right sides, in whole numbers.

    Bareiss 1968: every division below is exact, and no number outgrows the determinant's bound.
    """
    whole = []
    for row in table:
        scale = lcm(*(x.denominator for x in row))
        whole.append([x.numerator * (scale // x.denominator) for x in row])
    before = 1
    for k in range(n):
        swap = next(i for i in range(k, n) if whole[i][k])
        whole[k], whole[swap] = whole[swap], whole[k]
        top = whole[k]
        pivot = top[k]
        for i in range(k + 1, n):
            row = whole[i]
            factor = row[k]
            if factor:
                row[k + 1 :] = [
                    (pivot * a - factor * b) // before for a, b in zip(row[k + 1 :], top[k + 1 :], strict=True)
                ]
            else:
                row[k + 1 :] = [pivot * a // before for a in row[k + 1 :]]
        before = pivot
    # By Cramer's rule the solutions times the determinant, now the last pivot, are whole.
    scaled: list[list[int]] = [[]] * n
    for i in reversed(range(n)):
        row = whole[i]
        scaled[i] = [
            (side * before - sum(row[j] * scaled[j][c] for j in range(i + 1, n) if row[j])) // row[i]
            for c, side in enumerate(row[n:])
        ]
    return [[Fraction(x, before) for x in row] for row in scaled]
