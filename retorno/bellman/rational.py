"""Exact answers in rational numbers, for models of up to about fifty states: no rounding, so no bounds.

Policy iteration over fractions ends at the best policy itself (Howard 1960; Puterman 1994, section 6.4).
This is what every other method is held against.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, nan

import numpy as np
from jaxtyping import Bool, Int

from retorno.bellman.evaluation import Policy, probabilities
from retorno.bellman.fractional import (
    Exact,
    FractionalBackup,
    action_value,
    can_reach,
    chain_of,
    ending_choice,
    idle_states,
    recurrent,
    rows_of,
    through,
    without,
)
from retorno.core.mdp import MDP


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

    >>> import retorno as rt
    >>> [str(value) for value in solve_exactly(rt.environments.student(), 1).value]
    ['6', '6', '8', '10', '0']
    """
    gamma = _discount(discount)
    whole = rows_of(model, gamma, -1 if minimise else 1)
    idle = idle_states(whole)
    rows = without(whole, idle)
    choice = ending_choice(rows)
    value: list[Exact] = [-inf if pairs else Fraction(0) for pairs in rows.pairs]
    while choice:
        for s, v in zip(choice, _solve_policy(rows, choice), strict=True):
            value[s] = v
        improved = dict(choice)
        for s in choice:
            q = {p: action_value(rows, p, value) for p in rows.pairs[s] if rows.going[p].keys() <= choice.keys()}
            best = max(q, key=lambda p: q[p])
            if q[best] > value[s]:
                improved[s] = best
        if improved == choice:
            break
        endless = recurrent(rows, improved)
        if endless:
            # Every change was for the better, so what goes round pays: all that can reach it collect without limit.
            rich = can_reach(rows, set().union(*endless), choice)
            for s in rich:
                value[s] = inf
            choice = {s: p for s, p in choice.items() if s not in rich}
        else:
            choice = improved
    q = [action_value(whole, p, value) for p in range(model.num_pairs)]
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

    >>> import retorno as rt
    >>> [str(value) for value in evaluate_exactly(rt.environments.random_walk(3), rt.bellman.uniform, 1).value]
    ['1/4', '1/2', '3/4', '0', '0']
    """
    gamma = _discount(discount)
    rows = rows_of(model, gamma, 1)
    chain, choice = chain_of(rows, probabilities(model, policy))
    idle = idle_states(chain)
    chain, choice = without(chain, idle), {s: p for s, p in choice.items() if s not in idle}
    stuck = can_reach(chain, set().union(*recurrent(chain, choice)), choice)
    ending = {s: p for s, p in choice.items() if s not in stuck}
    value: list[Exact] = [Fraction(0) for _ in rows.pairs]
    for s in stuck:
        value[s] = nan
    for s, v in zip(ending, _solve_policy(chain, ending), strict=True):
        value[s] = v
    q = [action_value(rows, p, value) for p in range(model.num_pairs)]
    best = [max((q[p] for p in pairs), default=Fraction(0)) for pairs in rows.pairs]
    optimal = np.array([q[p] == best[s] for s, pairs in enumerate(rows.pairs) for p in pairs], bool)
    first = np.array([max(pairs, key=lambda p: q[p], default=-1) for pairs in rows.pairs], np.int64)
    return RationalSolution(model, gamma, value, q, optimal, first)


def _solve_policy(rows: FractionalBackup, choice: dict[int, int]) -> list[Fraction]:
    """The value of a policy that ends, in the order of `choice`."""
    return [x for (x,) in through(rows, choice, [[rows.reward[p]] for p in choice.values()])]


def _discount(discount: Fraction | float | str) -> Fraction:
    gamma = Fraction(discount)
    if not 0 <= gamma <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    return gamma


def _decimal(value: Exact) -> str:
    try:
        return f"{float(value):.6f}"
    except OverflowError:
        return "inf" if value > 0 else "-inf"
