"""How probably some states are reached, and what is earned until then, in fractions. See `reachability`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from retorno.bellman.evaluation import Policy, exact_probabilities
from retorno.bellman.fractional import Exact
from retorno.bellman.rational import RationalSolution, evaluate_exactly, mean_at_start, solve_exactly
from retorno.bellman.reachability import Decided, ReachQuestion
from retorno.bellman.solve_monitor import Progress
from retorno.core.mdp import MDP, Modelled, model_of


@dataclass(frozen=True, eq=False)
class RationalReachability:
    """The probability to reach some states, and what is earned until then: lists of fractions, one a state."""

    model: MDP = field(repr=False)
    target: Bool[np.ndarray, " S"]
    """The states that are to be reached."""
    most: list[Exact]
    """The largest probability that any policy has; that of the policy, where one was asked about."""
    least: list[Exact]
    """The smallest one; the same, where a policy was asked about or nothing is to be chosen."""
    reward: list[Exact]
    """What is earned until then, best among the policies that are sure to reach it; infinite as in `Reachability`."""
    policy: Float[np.ndarray, " P"]
    """One of those that reach it with the largest probability."""
    minimise: bool = False
    """Whether rewards are costs."""

    def start(self, values: list[Exact]) -> Exact:
        """The mean of one of these lists over the model's initial distribution."""
        return mean_at_start(self.model, values)


def _above_0(chance: Fraction) -> float:
    """A probability as a float, which is 0 only where it is none: of one that float64 cannot hold, the least."""
    return float(chance) or float(np.nextafter(0.0, 1.0)) * (chance > 0)


def reach_exactly(
    model: Modelled,
    target: str | Bool[np.ndarray, " S"],
    policy: Policy | None = None,
    *,
    minimise: bool = False,
    seconds: float | None = None,
    watch: Callable[[Progress], object] | None = None,
) -> RationalReachability:
    r"""`reach` in fractions, without any rounding.

    .. math:: P_{\max}(s) = \max_\pi \Pr_\pi(\exists t: S_t \in T \mid S_0 = s)

    Args:
        model: with S states and P state–action pairs; its numbers stand for what was written, as in `solve_exactly`.
        target: T: a label, the name of a state, or a mask. Shape [S].
        policy: as in `evaluate_exactly`; None for the best and the worst of all.
        minimise: whether rewards are costs, of which the least are best.
        seconds: how long each of the at most three solves may take; a policy's value takes one linear system.
        watch: as in `solve_exactly`.

    Raises:
        KeyError: as `reach`.
        ModelError: as `reach`.
        ValueError: as `reach`.
        TimeoutError: as `solve_exactly`.

    >>> import retorno as rt
    >>> found = reach_exactly(rt.environments.random_walk(5), "right end", rt.bellman.uniform)
    >>> [str(p) for p in found.most]
    ['1/6', '1/3', '1/2', '2/3', '5/6', '0', '1']
    """
    model = model_of(model)
    exact = None if policy is None else exact_probabilities(model, policy)
    question = ReachQuestion.of(model, target, None if exact is None else np.array([_above_0(x) for x in exact]))
    if exact is None and not question.chooses:
        exact = [Fraction(1)] * model.num_pairs

    def answer(cut: MDP, kept: Bool[np.ndarray, " P"], minimise: bool) -> RationalSolution:
        if exact is None:
            limits: dict[str, Any] = {"seconds": seconds, "watch": watch}
            return solve_exactly(cut, 1, minimise=minimise, must_end=True, **limits)
        return evaluate_exactly(cut, [exact[p] for p in np.flatnonzero(kept)], 1, must_end=True)

    def probability(sets: Decided, minimise: bool) -> tuple[list[Exact], Float[np.ndarray, " P"]]:
        cut, kept = question.probability(sets)
        taken = np.zeros(model.num_pairs)
        taken[model.state_ptr[:-1][~model.terminal]] = 1.0
        values: list[Exact] = [Fraction(int(x)) for x in sets.certain]
        if cut is not None:
            found = answer(cut, kept, minimise)
            taken[kept] = found.policy
            for s in np.flatnonzero(~cut.terminal):
                values[s] = found.value[s]
        return values, taken

    most, taken = probability(question.most(), minimise=False)
    least = probability(question.least(), minimise=True)[0] if question.chooses else most
    cut, kept = question.reward()
    reward: list[Exact] = [Fraction(0) if sure else np.inf if minimise else -np.inf for sure in question.surely]
    if cut is not None:
        acting, endless = np.flatnonzero(~cut.terminal), -np.inf if minimise else np.inf
        try:
            value = answer(cut, kept, minimise).value
        except ValueError:  # As much as one likes can be collected, from every state.
            value = [endless] * model.num_states
        for s in acting:
            reward[s] = value[s]
    taken = question.towards_it(taken)
    return RationalReachability(model, question.meant, most, least, reward, taken, minimise)
