"""Exact answers in rational numbers, for models of up to about fifty states: no rounding, so no bounds.

The floats of a model are taken literally as the fractions that they are, and each pair's
probabilities are divided by their exact sum. Policy iteration then ends at the best policy
itself (Howard 1960; Puterman 1994, sections 6.4 and 9.2). Linear systems are solved without
fractions inside (Bareiss 1968). This is what every other method is held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import inf, lcm, nan

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.evaluation import Policy, probabilities
from retorno.core.mdp import MDP, ModelError

Exact = Fraction | float
"""A fraction, or one of the floats −inf, inf and nan."""


@dataclass(frozen=True, eq=False)
class RationalSolution:
    """The answer to a question about a model in fractions; lists, since no array holds them."""

    model: MDP = field(repr=False)
    discount: Fraction
    """γ of the question."""
    value: list[Exact]
    """[S]; −inf, inf or nan where `solve_exactly` and `evaluate_exactly` say."""
    q: list[Exact]
    """[P]"""
    optimal: Bool[np.ndarray, " P"]
    """The pairs whose action value equals the largest of their state (the smallest when minimising), exactly."""
    policy: Int[np.ndarray, " S"]
    """A best pair of each state; −1 where the state is terminal or its value infinite."""

    def __str__(self) -> str:
        rows = [("state", "value", "exactly")]
        for name, value in zip(self.model.state_names, self.value, strict=True):
            rows.append((str(name), _decimal(value), str(value)))
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(f"{name.ljust(widths[0])}  {x.rjust(widths[1])}  {exact}" for name, x, exact in rows)


@dataclass(frozen=True, eq=False)
class RationalAverage:
    """The average reward of each state in fractions."""

    gain: list[Fraction]
    """[S]: the reward per step (per unit of time), for ever."""
    bias: list[Fraction]
    """[S]: 0 at the first state of each recurrent class."""
    policy: Int[np.ndarray, " S"]
    """A best pair of each state, −1 where it is terminal."""


def solve_exactly(model: MDP, discount: Fraction | float | str, *, minimise: bool = False) -> RationalSolution:
    """The best value of each state, and all pairs that tie for it, as fractions.

    At discount 1 the best is meant among the policies that end with probability one. Where there
    are none, as from a state that cannot be sure to end, the value is −inf for a maximiser; where
    they can collect as much as they like before they end, it is inf. (inf and −inf for a minimiser.)
    States from which nothing is ever earned whatever is done count as the end.

    Args:
        model: with S states and P state–action pairs.
        discount: γ in [0, 1]: a float is taken literally, "0.9" and "9/10" are nine tenths.
        minimise: whether rewards are costs.

    Raises:
        ValueError: when the discount is outside [0, 1].
        ModelError: when a transition has a negative discount.
    """
    gamma = _discount(discount)
    whole = _rows(model, gamma, -1 if minimise else 1)
    idle = _idle(whole)
    rows = _without(whole, idle)
    choice = _ending_choice(rows)
    value: list[Exact] = [-inf if pairs else Fraction(0) for pairs in rows.pairs]
    while choice:
        for s, v in zip(choice, _solve_policy(rows, choice), strict=True):
            value[s] = v
        improved = dict(choice)
        for s in choice:
            q = {p: _q(rows, p, value) for p in rows.pairs[s] if rows.going[p].keys() <= choice.keys()}
            best = max(q, key=lambda p: q[p])
            if q[best] > value[s]:
                improved[s] = best
        if improved == choice:
            break
        endless = _recurrent(rows, improved)
        if endless:
            # Every change was for the better, so what goes round pays: all that can reach it collect without limit.
            rich = _can_reach(rows, set().union(*endless), choice)
            for s in rich:
                value[s] = inf
            choice = {s: p for s, p in choice.items() if s not in rich}
        else:
            choice = improved
    q = [_q(whole, p, value) for p in range(model.num_pairs)]
    optimal = np.array([q[p] == value[s] for s, pairs in enumerate(whole.pairs) for p in pairs], bool)
    sign = -1 if minimise else 1
    choice |= {s: whole.pairs[s][0] for s in idle}
    policy = np.array([choice.get(s, -1) for s in range(model.num_states)], np.int64)
    return RationalSolution(model, gamma, [sign * v for v in value], [sign * x for x in q], optimal, policy)


def evaluate_exactly(model: MDP, policy: Policy, discount: Fraction | float | str) -> RationalSolution:
    """The value of a policy as fractions. `policy` is as in `evaluate`; its probabilities are normalised exactly.

    At discount 1 the value is nan where the policy may go on for ever and earn, and where that can be
    reached: its return is an endless sum. `optimal` marks the largest action values against this policy.

    Raises:
        ValueError: as `evaluate`, but not for a policy that never ends.
    """
    gamma = _discount(discount)
    rows = _rows(model, gamma, 1)
    chain, choice = _chain(rows, probabilities(model, policy))
    idle = _idle(chain)
    chain, choice = _without(chain, idle), {s: p for s, p in choice.items() if s not in idle}
    stuck = _can_reach(chain, set().union(*_recurrent(chain, choice)), choice)
    ending = {s: p for s, p in choice.items() if s not in stuck}
    value: list[Exact] = [Fraction(0) for _ in rows.pairs]
    for s in stuck:
        value[s] = nan
    for s, v in zip(ending, _solve_policy(chain, ending), strict=True):
        value[s] = v
    q = [_q(rows, p, value) for p in range(model.num_pairs)]
    best = [max((q[p] for p in pairs), default=Fraction(0)) for pairs in rows.pairs]
    optimal = np.array([q[p] == best[s] for s, pairs in enumerate(rows.pairs) for p in pairs], bool)
    first = np.array([max(pairs, key=lambda p: q[p], default=-1) for pairs in rows.pairs], np.int64)
    return RationalSolution(model, gamma, value, q, optimal, first)


def average_exactly(
    model: MDP, *, minimise: bool = False, duration: Float[np.ndarray, " N|P"] | None = None
) -> RationalAverage:
    """The best average reward from each state, by multichain policy iteration. Puterman 1994, section 9.2.

    What ends earns nothing for ever after; a transition's discount is the probability that it does not end.

    Args:
        model: with S states, P pairs and N transitions.
        minimise: whether rewards are costs.
        duration: expected time that a transition [N] or a pair [P] takes (a semi-Markov model); 1 without.

    Raises:
        ValueError: when `duration` has another length, or is not positive and finite.
    """
    rows = _rows(model, Fraction(1), -1 if minimise else 1)
    time = _durations(model, duration)
    choice = {s: pairs[0] for s, pairs in enumerate(rows.pairs) if pairs}
    while True:
        gain, bias = _gain_and_bias(rows, choice, time)
        onwards = [sum((w * gain[n] for n, w in row.items()), Fraction(0)) for row in rows.going]
        improved = dict(choice)
        for s in choice:
            best = max(rows.pairs[s], key=lambda p: onwards[p])
            if onwards[best] > gain[s]:
                improved[s] = best
        if improved == choice:
            for s in choice:
                q = {p: _q(rows, p, bias) - time[p] * gain[s] for p in rows.pairs[s] if onwards[p] == gain[s]}
                best = max(q, key=lambda p: q[p])
                if q[best] > bias[s]:
                    improved[s] = best
        if improved == choice:
            sign = -1 if minimise else 1
            policy = np.array([choice.get(s, -1) for s in range(model.num_states)], np.int64)
            return RationalAverage([sign * g for g in gain], [sign * h for h in bias], policy)
        choice = improved


def evaluate_average_exactly(
    model: MDP, policy: Policy, *, duration: Float[np.ndarray, " N|P"] | None = None
) -> RationalAverage:
    """A policy's average reward as fractions. Arguments as in `average_exactly` and `evaluate`.

    `policy` of the answer is that of `average_exactly` only for a deterministic one, else −1.
    """
    chances = probabilities(model, policy)
    rows = _rows(model, Fraction(1), 1)
    chain, choice = _chain(rows, chances)
    time = _durations(model, duration)
    mean = [sum((c * time[p] for p, c in share), Fraction(0)) for share in _shares(rows, chances)]
    gain, bias = _gain_and_bias(chain, choice, mean)
    taken = np.array([max(pairs, key=lambda p: chances[p] == 1, default=-1) for pairs in rows.pairs], np.int64)
    taken[(taken >= 0) & (chances[taken] != 1)] = -1
    return RationalAverage(gain, bias, taken)


@dataclass(frozen=True)
class _Rows:
    """q[p] = reward[p] + Σ_n going[p][n] v[n] in fractions."""

    pairs: list[range]
    """Of each state."""
    reward: list[Fraction]
    going: list[dict[int, Fraction]]
    """The states that a pair goes on to, each with its discounted probability, which is positive."""
    ends: list[bool]
    """Whether a pair may end: its row of `going` sums to less than 1."""


def _rows(model: MDP, gamma: Fraction, sign: int) -> _Rows:
    if (model.discount < 0).any():
        pair = int(model.transition_pair[np.argmax(model.discount < 0)])
        raise ModelError(f"{model.describe(pair)}: a negative discount; only discounts in [0, 1] can be solved here")
    ptr, row_ptr = model.state_ptr.tolist(), model.row_ptr.tolist()
    target, chance = model.next_state.tolist(), model.probability.tolist()
    reward, discount = model.reward.tolist(), model.discount.tolist()
    rows = _Rows([range(a, b) for a, b in pairwise(ptr)], [], [], [])
    for first, last in pairwise(row_ptr):
        share = _normalised(chance[first:last])
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


def _chain(rows: _Rows, chances: Float[np.ndarray, " P"]) -> tuple[_Rows, dict[int, int]]:
    """The rows of a stochastic policy, one pair a state: (rows, the pair of each state that acts)."""
    chain = _Rows([range(s, s + 1) for s in range(len(rows.pairs))], [], [], [])
    for share in _shares(rows, chances):
        going: dict[int, Fraction] = {}
        for p, chance in share:
            for n, w in rows.going[p].items():
                going[n] = going.get(n, Fraction(0)) + chance * w
        chain.reward.append(sum((chance * rows.reward[p] for p, chance in share), Fraction(0)))
        chain.going.append(going)
        chain.ends.append(sum(going.values()) < 1)
    return chain, {s: s for s, pairs in enumerate(rows.pairs) if pairs}


def _shares(rows: _Rows, chances: Float[np.ndarray, " P"]) -> list[list[tuple[int, Fraction]]]:
    """The pairs that a policy may take in each state, each with its exact probability."""
    shares = []
    for pairs in rows.pairs:
        taken = [p for p in pairs if chances[p] > 0]
        shares.append(list(zip(taken, _normalised([float(chances[p]) for p in taken]), strict=True)))
    return shares


def _normalised(chances: list[float]) -> list[Fraction]:
    shares = [Fraction(p) for p in chances]
    total = sum(shares)
    return shares if total == 1 else [p / total for p in shares]


def _durations(model: MDP, duration: Float[np.ndarray, " N|P"] | None) -> list[Fraction]:
    """The expected time of each pair."""
    if duration is None:
        return [Fraction(1)] * model.num_pairs
    given = np.asarray(duration, float)
    if given.shape not in ((model.num_transitions,), (model.num_pairs,)):
        raise ValueError(
            f"duration needs one time per transition [{model.num_transitions}] or per pair [{model.num_pairs}], "
            f"got {given.shape}"
        )
    if not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"durations must be positive and finite, got {given.min()} to {given.max()}")
    if len(given) == model.num_pairs:  # as many transitions as pairs means one each, so both readings agree
        return [Fraction(x) for x in given.tolist()]
    ptr, chance, times = model.row_ptr.tolist(), model.probability.tolist(), given.tolist()
    spans = [slice(a, b) for a, b in pairwise(ptr)]
    return [
        sum((p * Fraction(x) for p, x in zip(_normalised(chance[at]), times[at], strict=True)), Fraction(0))
        for at in spans
    ]


def _discount(discount: Fraction | float | str) -> Fraction:
    gamma = Fraction(discount)
    if not 0 <= gamma <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    return gamma


def _q(rows: _Rows, pair: int, value: Sequence[Exact]) -> Exact:
    total = rows.reward[pair]
    worst: float | None = None
    for n, w in rows.going[pair].items():
        v = value[n]
        if isinstance(v, Fraction):
            total += w * v
        elif worst is None or not v > worst:  # nan and −inf outweigh inf: what may never end has no value at all
            worst = v
    return total if worst is None else worst


def _idle(rows: _Rows) -> set[int]:
    """The states from which no choice ever earns anything or ends."""
    busy = {s for s, pairs in enumerate(rows.pairs) if any(rows.reward[p] or rows.ends[p] for p in pairs)}
    acting = {s for s, pairs in enumerate(rows.pairs) if pairs}
    while True:
        more = {s for s in acting - busy if any(rows.going[p].keys() & busy for p in rows.pairs[s])}
        if not more:
            return acting - busy
        busy |= more


def _without(rows: _Rows, ended: set[int]) -> _Rows:
    """The same with some states as the end."""
    if not ended:
        return rows
    pairs = [range(0) if s in ended else own for s, own in enumerate(rows.pairs)]
    going = [{n: w for n, w in row.items() if n not in ended} for row in rows.going]
    ends = [e or len(short) < len(row) for e, short, row in zip(rows.ends, going, rows.going, strict=True)]
    return _Rows(pairs, rows.reward, going, ends)


def _ending_choice(rows: _Rows) -> dict[int, int]:
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


def _can_reach(rows: _Rows, goal: set[int], among: dict[int, int]) -> set[int]:
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


def _recurrent(rows: _Rows, choice: dict[int, int]) -> list[list[int]]:
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


def _solve_policy(rows: _Rows, choice: dict[int, int]) -> list[Fraction]:
    """The value of a policy that ends, in the order of `choice`."""
    return [x for (x,) in _through(rows, choice, [[rows.reward[p]] for p in choice.values()])]


def _gain_and_bias(
    rows: _Rows, choice: dict[int, int], time: Sequence[Fraction]
) -> tuple[list[Fraction], list[Fraction]]:
    """A policy's gain g and bias h: g = Pg and h + time·g = r + Ph, with h 0 at the first state of each class.

    Puterman 1994, section 8.2: first the classes, each with one gain, then what leads to them.
    """
    gain, bias = [Fraction(0)] * len(rows.pairs), [Fraction(0)] * len(rows.pairs)
    settled: set[int] = set()
    for states in _recurrent(rows, choice):
        place = {s: i for i, s in enumerate(states)}
        table = []
        for s in states:
            row = [Fraction(0)] * len(states)
            row[place[s]] += 1
            for n, w in rows.going[choice[s]].items():
                row[place[n]] -= w
            row[0] = time[choice[s]]  # the first state's bias is 0: its column is the gain's
            table.append([*row, rows.reward[choice[s]]])
        solved = [x for (x,) in _eliminate(table, len(states))]
        for s, h in zip(states, [Fraction(0), *solved[1:]], strict=True):
            gain[s], bias[s] = solved[0], h
        settled |= set(states)
    passing = {s: p for s, p in choice.items() if s not in settled}

    def arriving(x: list[Fraction], p: int) -> Fraction:
        return sum((w * x[n] for n, w in rows.going[p].items() if n in settled), Fraction(0))

    for s, (g,) in zip(passing, _through(rows, passing, [[arriving(gain, p)] for p in passing.values()]), strict=True):
        gain[s] = g
    sides = [[rows.reward[p] - time[p] * gain[s] + arriving(bias, p)] for s, p in passing.items()]
    for s, (h,) in zip(passing, _through(rows, passing, sides), strict=True):
        bias[s] = h
    return gain, bias


def _through(rows: _Rows, choice: dict[int, int], sides: list[list[Fraction]]) -> list[list[Fraction]]:
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
    return _eliminate(table, len(choice))


def _eliminate(table: list[list[Fraction]], n: int) -> list[list[Fraction]]:
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


def _decimal(value: Exact) -> str:
    try:
        return f"{float(value):.6f}"
    except OverflowError:
        return "inf" if value > 0 else "-inf"
