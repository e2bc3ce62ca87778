"""Exact answers in rational numbers, for models of up to about two thousand states: no rounding, so no bounds.

Policy iteration over fractions ends at the best policy itself (Howard 1960; Puterman 1994, section 6.4).
This is what every other method is held against. It begins with the policy that is best in floating point, so
that few systems are solved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, lcm
from typing import Any

import numpy as np
from flint import fmpq
from jaxtyping import Bool, Float

from retorno.bellman.control import solve
from retorno.bellman.evaluation import Policy, exact_probabilities
from retorno.bellman.fractional import (
    ZERO,
    Exact,
    FractionalBackup,
    action_value,
    chain_of,
    ending_choice,
    fraction,
    idle_states,
    limit,
    reaching,
    recurrent,
    rows_of,
    through,
    with_rests,
    without,
    without_end,
)
from retorno.bellman.proper_policies import endless_sum, never_ends
from retorno.bellman.solve_monitor import Progress, SolveMonitor
from retorno.bellman.ties import that_end
from retorno.core.mdp import MDP, Modelled, model_of
from retorno.core.numerals import Number, as_fraction
from retorno.core.solution import asked, told_actions

STARTED = 20
"""From so many states on the policy that is best in floating point is looked for first."""


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
    """The pairs whose action value equals the largest of their state (the smallest when minimising), exactly, and
    that some best policy takes; of a policy that was evaluated, those that an improvement may choose."""
    policy: Float[np.ndarray, " P"]
    """The probability of each pair in its state: one best choice a state (any, where its value is infinite), or the
    policy that was evaluated."""
    minimise: bool = False
    """Whether the least return is the best."""
    must_end: bool = False
    """Whether, at discount 1, only policies count that end with probability one."""
    evaluated: bool = False
    """Whether `policy` was given, and the value is that policy's."""

    @property
    def start_value(self) -> Exact:
        """The value's mean over the model's initial distribution."""
        return mean_at_start(self.model, self.value)

    def told(self, state: str | int) -> str:
        """What a table says of a state's actions: what the evaluated policy does, or all that tie for the best."""
        return told_actions(self.model, self.model.state(state), self.policy if self.evaluated else self.optimal)

    def __str__(self) -> str:
        rows = [("state", "value", "exactly", "policy")]
        for s, (name, value) in enumerate(zip(self.model.state_names, self.value, strict=True)):
            rows.append((str(name), _decimal(value), str(value), self.told(s)))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{n.ljust(widths[0])}  {x.rjust(widths[1])}  {e.ljust(widths[2])}  {p}" for n, x, e, p in rows]
        start = self.start_value
        question = f"discount {self.discount}" if self.discount < 1 else asked(1.0, self.must_end)
        lines.append(f"{question}, in fractions; start value {_decimal(start)}, exactly {start}")
        return "\n".join(line.rstrip() for line in lines)


def mean_at_start(model: MDP, value: Sequence[Exact]) -> Exact:
    """The mean of values [S] over the model's initial distribution."""
    possible = np.flatnonzero(model.initial).tolist()
    weights = model.exactly(model.initial[possible])
    values = [value[s] for s in possible]
    parts = (v if isinstance(v, float) else v * w / sum(weights) for v, w in zip(values, weights, strict=True))
    return sum(parts, Fraction(0))


def solve_exactly(
    model: Modelled,
    discount: Number | str,
    *,
    minimise: bool = False,
    must_end: bool = False,
    seconds: float | None = None,
    watch: Callable[[Progress], object] | None = None,
) -> RationalSolution:
    """The best value of each state, and all pairs that tie for it, as fractions.

    At discount 1 the question is that of `solve`, and so are infinite values. Whether a sum goes on for
    ever is decided here without rounding; nan says that it has no limit, but goes up and down.

    Args:
        model: with S states and P state–action pairs. Its floats stand for the decimals that were written, and for
            the fractions that it holds (`MDP.fractions`).
        discount: γ in [0, 1]: 0.9, "0.9" and "9/10" are nine tenths.
        minimise: whether rewards are costs.
        must_end: at discount 1, whether only policies count that end with probability one.
        seconds: how long it may take, to within one linear system.
        watch: as in `solve`; told after each improvement.

    Raises:
        ValueError: when the discount is outside [0, 1]; when no state has a finite value, naming one.
        ModelError: when a transition has a negative discount.
        TimeoutError: when time is up, or `watch` says so.

    >>> import retorno as rt
    >>> [str(value) for value in solve_exactly(rt.environments.student(), 1).value]
    ['6', '6', '8', '10', '0']
    """
    model, gamma, sign = model_of(model), _discount(discount), -1 if minimise else 1
    monitor = SolveMonitor(0.0, most_seconds=inf if seconds is None else seconds, watch=watch)
    whole = rows_of(model, gamma, sign)
    idle = idle_states(whole)
    rows = without(whole, idle)
    rows = rows if must_end else with_rests(rows)
    choice = ending_choice(rows)
    value: list[Any] = [-inf if pairs else ZERO for pairs in rows.pairs]
    rich, level = (set(), set()) if must_end else without_end(rows, rows.acting - choice.keys())
    for s in level:
        value[s] = limit(ZERO)
    choice = _begun(model, float(gamma), rows, choice, minimise, must_end)
    choice = _but_rich(rows, choice, rich, value)
    whole_numbers = _in_whole_numbers(rows, choice)
    while choice:
        for s, v in zip(choice, _solve_policy(rows, choice), strict=True):
            value[s] = v
        improved = _improved(whole_numbers, choice, value)
        stop = monitor.record(sum(improved[s] != p for s, p in choice.items()))
        if improved == choice:
            break
        if stop:
            raise TimeoutError(
                f"no exact answer within {monitor.seconds:.0f} s, after {len(monitor.residuals)} improvements: allow "
                "more time, or ask for one with bounds (`solve`)"
            )
        endless = recurrent(rows, improved)
        # Every change was for the better, so what goes round pays: all that can reach it collect without limit.
        choice = _but_rich(rows, choice, set().union(*endless), value) if endless else improved
        whole_numbers = _in_whole_numbers(rows, choice) if endless else whole_numbers
    _require_finite(model, value, "under any policy" if must_end else "")
    q = [action_value(whole, p, value) for p in range(model.num_pairs)]
    optimal = np.array([q[p] == value[s] != -inf for s, pairs in enumerate(whole.pairs) for p in pairs], bool)
    if gamma == 1:
        optimal = _that_end(rows, value, optimal)
    taken = _without_rests(rows, choice) | {s: whole.pairs[s][0] for s in whole.acting - choice.keys()}
    policy = np.zeros(model.num_pairs)
    policy[list(taken.values())] = 1.0
    exact, backups = ([fraction(sign * x) for x in numbers] for numbers in (value, q))
    return RationalSolution(model, gamma, exact, backups, optimal, policy, minimise, must_end)


def evaluate_exactly(
    model: Modelled, policy: Policy, discount: Number | str, *, must_end: bool = False
) -> RationalSolution:
    """The value of a policy as fractions. `policy` is as in `evaluate`; its probabilities are normalised exactly.

    At discount 1 the question is that of `evaluate`, and so are infinite values; nan says that what is
    earned has no limit, but goes up and down, or both up and down without limit. `optimal` marks the largest
    action values against this policy.

    Args:
        model: with S states and P state–action pairs.
        policy: its probabilities may be fractions, by name: {state: {action: Fraction(1, 3), …}}.
        discount: γ in [0, 1], as in `solve_exactly`.
        must_end: at discount 1, whether a policy that may never end is worth −inf.

    Raises:
        ValueError: as `evaluate`.

    >>> import retorno as rt
    >>> [str(value) for value in evaluate_exactly(rt.environments.random_walk(3), rt.bellman.uniform, 1).value]
    ['1/4', '1/2', '3/4', '0', '0']
    """
    model, gamma = model_of(model), _discount(discount)
    rows = rows_of(model, gamma, 1)
    chances = exact_probabilities(model, policy)
    chain, choice = chain_of(rows, chances)
    idle = idle_states(rows if must_end else chain)
    chain, choice = without(chain, idle), {s: p for s, p in choice.items() if s not in idle}
    value: list[Any] = [ZERO for _ in rows.pairs]
    for states in recurrent(chain, choice):
        to = -inf if must_end else limit(_gain(chain, choice, states))
        for s in reaching(chain, states):
            # Both up and down without limit, each with a chance, is no number.
            value[s] = to if not isinstance(value[s], float) else value[s] + to
            choice.pop(s, None)
    for s, v in zip(choice, _solve_policy(chain, choice), strict=True):
        value[s] = v
    _require_finite(model, value, "under this policy" if must_end else "")
    q = [action_value(rows, p, value) for p in range(model.num_pairs)]
    best = [_largest([q[p] for p in pairs]) for pairs in rows.pairs]
    optimal = np.array([q[p] == best[s] for s, pairs in enumerate(rows.pairs) for p in pairs], bool)
    shown = np.array([float(x) for x in chances])
    exact, backups = ([fraction(x) for x in numbers] for numbers in (value, q))
    return RationalSolution(model, gamma, exact, backups, optimal, shown, must_end=must_end, evaluated=True)


def _largest(values: list[fmpq | float]) -> fmpq | float | None:
    """The largest number; None where there is none but −inf and nan."""
    return inf if inf in values else max((x for x in values if not isinstance(x, float)), default=None)


Whole = dict[int, tuple[int, list[tuple[int, int, list[tuple[int, int]]]]]]
"""Of each state one denominator and its pairs: (pair, reward, next states and probabilities), in whole numbers."""


def _in_whole_numbers(rows: FractionalBackup, choice: Mapping[int, int]) -> Whole:
    """The pairs that lead to states of `choice` alone."""
    found: Whole = {}
    for s in choice:
        pairs = [p for p in rows.pairs[s] if rows.going[p].keys() <= choice.keys()]
        scale = lcm(*(int(x.q) for p in pairs for x in (rows.reward[p], *rows.going[p].values())))

        def over(x: fmpq, scale: int = scale) -> int:
            return int(x.p) * (scale // int(x.q))

        found[s] = scale, [(p, over(rows.reward[p]), [(n, over(w)) for n, w in rows.going[p].items()]) for p in pairs]
    return found


def _improved(whole: Whole, choice: Mapping[int, int], value: list[Any]) -> dict[int, int]:
    """The greedy policy, with the old pair where that is as good: all values over one denominator are compared."""
    common = lcm(*(int(value[s].q) for s in choice))
    worth = {s: int(value[s].p) * (common // int(value[s].q)) for s in choice}
    improved = dict(choice)
    for s in choice:
        scale, pairs = whole[s]
        best = worth[s] * scale
        for p, reward, going in pairs:
            q = reward * common if reward else 0
            for n, w in going:
                q += w * worth[n]
            if q > best:
                best, improved[s] = q, p
    return improved


def _begun(
    model: MDP,
    discount: float,
    rows: FractionalBackup,
    choice: dict[int, int],
    minimise: bool,
    must_end: bool,
) -> dict[int, int]:
    """The policy that is best in floating point, where it ends, else `choice`."""
    if len(choice) < STARTED:
        return choice
    try:
        found = solve(model, discount, minimise=minimise, must_end=must_end, seconds=10.0).policy
    except ValueError:
        return choice
    rests = {rows.owner[p]: p for p in rows.resting}
    taken = {s: next(p for p in rows.pairs[s] if p < len(found) and found[p] == 1) for s in choice}
    for states in recurrent(rows, taken):
        taken |= {s: rests[s] for s in states if s in rests}
    ended = all(rows.going[p].keys() <= taken.keys() for p in taken.values()) and not recurrent(rows, taken)
    return taken if ended else choice


def _but_rich(rows: FractionalBackup, choice: Mapping[int, int], rich: set[int], value: list[Any]) -> dict[int, int]:
    """The choice of the states that cannot collect without limit; the value of the others is infinite."""
    safe = {p for s in choice for p in rows.pairs[s] if rows.going[p].keys() <= choice.keys() | rich}
    more = reaching(rows, rich, safe)
    for s in more:
        value[s] = inf
    return {s: p for s, p in choice.items() if s not in more}


def _without_rests(rows: FractionalBackup, choice: Mapping[int, int]) -> dict[int, int]:
    """The choice with a model's own pairs: where one of a set of states rests, all that earn nothing with it do."""
    resting = {s for s, p in choice.items() if p in rows.resting}
    rests = {rows.owner[p]: inner for p, inner in rows.resting.items()}
    waiting = list(resting)
    while waiting:
        for n in rows.going[rests[waiting.pop()]]:
            if n not in resting:
                resting.add(n)
                waiting.append(n)
    return {s: rests[s] if s in resting else p for s, p in choice.items()}


def _that_end(rows: FractionalBackup, value: list[Any], optimal: Bool[np.ndarray, " P"]) -> Bool[np.ndarray, " P"]:
    """The optimal pairs without those after which nothing that is promised is ever earned."""
    known = [s >= 0 and not isinstance(value[s], float) for s in rows.owner]
    ties = np.append(optimal, np.array([not value[rows.owner[p]] for p in rows.resting], bool)) & np.array(known)
    at = np.repeat(np.arange(len(known)), [len(row) for row in rows.going])
    target = np.array([n for row in rows.going for n in row], np.int64)
    good = that_end(np.array(rows.owner), at, target, ties, np.array(rows.ends), len(rows.pairs))
    rest = np.array([not rows.reward[p] and not rows.ends[p] for p in range(len(optimal))])
    free = {rows.owner[p] for p in rows.resting if not value[rows.owner[p]]}
    rest &= np.array([rows.owner[p] in free and rows.going[p].keys() <= free for p in range(len(optimal))])
    return optimal & (good[: len(optimal)] | rest | ~np.array(known[: len(optimal)]))


def _gain(chain: FractionalBackup, choice: Mapping[int, int], states: list[int]) -> fmpq:
    """The average reward of a recurrent class."""
    from retorno.bellman.fractional import ONE, gain_and_bias

    return gain_and_bias(chain, {s: choice[s] for s in states}, [ONE] * len(chain.reward))[0][states[0]]


def _require_finite(model: MDP, value: list[Any], who: str) -> None:
    """Raise where no state that acts has a finite value; `who` should have ended, if it must."""
    acting = np.flatnonzero(~model.terminal).tolist()
    if acting and all(isinstance(value[s], float) for s in acting):
        names = [model.state_names[s] for s in acting]
        raise ValueError(never_ends(names, who) if who else endless_sum(names, float(value[acting[0]])))


def _solve_policy(rows: FractionalBackup, choice: Mapping[int, int]) -> list[fmpq]:
    """The value of a policy that ends, in the order of `choice`."""
    return [x for (x,) in through(rows, choice, [[rows.reward[p]] for p in choice.values()])]


def _discount(discount: Number | str) -> Fraction:
    gamma = as_fraction(discount)
    if not 0 <= gamma <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    return gamma


def _decimal(value: Exact) -> str:
    try:
        return f"{float(value):z.6f}"
    except OverflowError:
        return "inf" if value > 0 else "-inf"
