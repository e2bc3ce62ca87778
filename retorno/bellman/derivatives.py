"""How a value answers to each number of its model: exact derivatives by one adjoint solve.

With J = μ·v and v = r + M v, the visits d = μ + Mᵀ d give every derivative at once: a change of the
backup by δ changes J by d·δ. So for a transition n of pair p, state s, with g = reward + γ · discount · v(next):

    ∂J/∂reward[n] = d(s) π(p) probability[n]         ∂J/∂probability[n] = d(s) π(p) g[n]
    ∂J/∂discount[n] = d(s) π(p) probability[n] γ v(next)   ∂J/∂γ = Σ_n d(s) π(p) probability[n] discount[n] v(next)
    ∂J/∂π(p) = d(s) q(p), which is the policy gradient theorem.

Cao & Chen 1997 (performance potentials); Sutton et al. 2000, theorem 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from retorno.bellman.occupancy_measure import Initial, start_distribution, visits
from retorno.core.mdp import MDP
from retorno.core.solution import Solution


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The derivatives of J = Σ_s μ(s) v(s), for the policy of a solution held fixed.

    For an optimum they are also the derivatives of the *best* value, since a small change of the
    model does not change what is best (the envelope theorem), except at ties: where `ties` holds, the
    best value has a kink. Then for each number the derivative given here lies between the one-sided
    derivatives from the left and from the right, which are the smallest and the largest over the
    optimal policies (with `minimise`, the other way round).
    """

    model: MDP = field(repr=False)
    question_discount: float
    value: float
    """J itself."""
    reward: Float[np.ndarray, " N"]
    """∂J/∂reward[n]: the expected discounted number of times that transition n is taken."""
    probability: Float[np.ndarray, " N"]
    """∂J/∂probability[n] of the linear system as it stands: the other probabilities stay as they are.

    The sum of a pair's probabilities then leaves 1. To move mass from transition m to n of one
    pair, take the difference of their entries; to raise one and rescale, `renormalised`.
    """
    discount: Float[np.ndarray, " N"]
    """∂J/∂discount[n], the discount of a transition (0 where it terminates)."""
    gamma: float
    """∂J/∂γ, the discount of the question. At γ = 1 it is the derivative from the left."""
    policy: Float[np.ndarray, " P"]
    """∂J/∂π(p), the other probabilities of the policy as they are."""
    ties: Bool[np.ndarray, " S"]
    """States that are visited in which several actions tie for the best. (Of a policy that was only
    evaluated the derivatives are two-sided all the same.)"""
    error: float
    """Σ_s |error of d(s)| is no more than this: so are the errors of `reward`, summed over its entries."""

    @property
    def renormalised(self) -> Float[np.ndarray, " N"]:
        """∂J where probability[n] is raised and its pair's probabilities are divided by their new sum."""
        pair = self.model.transition_pair
        mean = np.bincount(pair, self.model.probability * self.probability, minlength=self.model.num_pairs)
        return self.probability - mean[pair]

    @property
    def differentiable(self) -> bool:
        """Whether these are derivatives of the best value too, two-sided."""
        return not self.ties.any()

    def __str__(self) -> str:
        model = self.model
        owner, pair = model.pair_state, model.transition_pair
        shown = np.argsort(-np.abs(self.reward), kind="stable")[:MOST]
        rows = [("transition", "∂/∂reward", "∂/∂probability")]
        for n in map(int, shown[self.reward[shown] != 0]):
            p = int(pair[n])
            state, action, after = int(owner[p]), int(model.action[p]), int(model.next_state[n])
            name = f"{model.state_names[state]} –{model.action_names[action]}→ {model.state_names[after]}"
            rows.append((name, f"{self.reward[n]:.6g}", f"{self.probability[n]:.6g}"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{a.ljust(widths[0])}  {b.rjust(widths[1])}  {c.rjust(widths[2])}" for a, b, c in rows]
        lines.append(
            f"value {self.value:z.6f}, ∂/∂γ {self.gamma:.6g}, {np.count_nonzero(self.reward)} transitions count"
        )
        if not self.differentiable:
            names = ", ".join(model.state_names[int(s)] for s in np.flatnonzero(self.ties)[:8])
            lines.append(f"ties in {names}: as derivatives of the best value these are one of several")
        return "\n".join(lines)


MOST = 20
"""Transitions that are printed, those that count most first."""


def sensitivity(solution: Solution, initial: Initial = None) -> Sensitivity:
    """The derivative of a value to every reward, probability and discount, for the policy of `solution`.

    Args:
        solution: of `solve` or `evaluate`.
        initial: the state whose value is meant, a distribution [S], or None for the start value.

    Raises:
        ValueError: when at discount 1 the policy does not end from a state that it visits, or its value is infinite.
        KeyError: when there is no such state.

    >>> import retorno as rt
    >>> one = rt.mdp({"s": {"go": [(1.0, "end", 5.0)]}, "end": {}}, initial="s")
    >>> rt.bellman.sensitivity(rt.bellman.solve(one, 0.9)).reward
    array([1.])
    """
    model, gamma = solution.model, solution.question_discount
    start = start_distribution(model, initial)
    visited, error = visits(model, solution.policy, solution.given_discount, start)
    pair = model.transition_pair
    taken = (visited[model.pair_state] * solution.policy)[pair]
    flow = taken * model.probability
    goes_on = (flow > 0) & (gamma * model.discount > 0)
    if not np.isfinite(solution.value[model.next_state[goes_on]]).all():
        raise ValueError("a value that is reached is infinite, so it has no derivatives: ask with a discount below 1")
    next_value = np.where(np.isfinite(solution.value), solution.value, 0.0)[model.next_state]
    backup = model.reward + gamma * model.discount * next_value
    q = np.bincount(pair, model.probability * backup, minlength=model.num_pairs)
    tied = np.bincount(model.pair_state, solution.optimal, minlength=model.num_states) > 1
    return Sensitivity(
        model=model,
        question_discount=gamma,
        value=float(start[start > 0] @ solution.value[start > 0]),
        reward=flow,
        probability=taken * backup,
        discount=flow * gamma * next_value,
        gamma=float(flow @ (model.discount * next_value)),
        policy=visited[model.pair_state] * q,
        ties=tied & (visited > 0),
        error=error,
    )
