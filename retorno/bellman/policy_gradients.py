"""The policy gradient, exactly: what every method that climbs it by samples is held against.

For a softmax policy π(a|s) ∝ exp θ(o(s), a) over what is observed of a state, and J = Σ_s μ(s) v(s),

    ∂J/∂θ(o, a) = Σ_{s: o(s) = o} d(s) π(a|o) (q(s, a) − v(s)),

with the discounted visits d of `occupancy` (Sutton, McAllester, Singh & Mansour 2000, theorem 1). The
natural gradient F⁻¹∇J, F = Σ_s d(s) Σ_a π(a|s) ∇ln π ∇ln πᵀ, is for a table the advantage itself,
averaged over the states that look alike (Kakade 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from retorno.bellman.control import evaluate
from retorno.bellman.occupancy_measure import Initial, occupancy
from retorno.core.mdp import MDP
from retorno.core.numerals import Number


@dataclass(frozen=True, eq=False)
class PolicyGradient:
    """J of a softmax policy, and which way is up."""

    model: MDP = field(repr=False)
    value: float
    """J."""
    policy: Float[np.ndarray, " P"]
    """π of each state–action pair."""
    gradient: Float[np.ndarray, "O A"]
    """∂J/∂θ; 0 for actions that are not legal."""
    natural: Float[np.ndarray, "O A"]
    """F⁻¹∂J/∂θ: the mean advantage of an action where an observation is made, 0 where none is. (A constant
    added to an observation's row would leave the policy as it is: this is the one with Σ_a π(a|o) · = 0.)"""


def softmax_policy(
    model: MDP, preferences: Float[np.ndarray, "O A"], observed: Sequence[int] | Int[np.ndarray, " S"] | None = None
) -> Float[np.ndarray, " P"]:
    """π(p) ∝ exp θ(o(s), a) over the legal actions of each state.

    Args:
        model: with S states and P state–action pairs.
        preferences: θ, a row for each of O observations, a column for each action.
        observed: the observation of each state; the states themselves unless given. Shape [S].

    Returns:
        The probability of each pair. Shape [P].

    Raises:
        ValueError: when `preferences` has no row for an observation, or no column for an action.

    >>> import numpy as np, retorno as rt
    >>> softmax_policy(rt.environments.student(), np.zeros((5, 5)))[:2]
    array([0.5, 0.5])
    """
    seen = _observed(model, preferences, observed)
    theta = np.asarray(preferences, float)[seen[model.pair_state], model.action]
    top = np.full(model.num_states, -np.inf)
    np.maximum.at(top, model.pair_state, theta)
    weight = np.exp(theta - top[model.pair_state])
    return weight / np.bincount(model.pair_state, weight, minlength=model.num_states)[model.pair_state]


def policy_gradient(
    model: MDP,
    preferences: Float[np.ndarray, "O A"],
    discount: Number,
    initial: Initial = None,
    observed: Sequence[int] | Int[np.ndarray, " S"] | None = None,
    discount_gradient: bool = True,
) -> PolicyGradient:
    r"""The exact gradient of a softmax policy's value.

    .. math:: \nabla_\theta J = \sum_s d_\pi(s) \sum_a q_\pi(s, a)\, \nabla_\theta \pi(a \mid s)

    Args:
        model: with S states.
        preferences: θ, a row for each of O observations (the states themselves unless `observed` is given).
        discount: γ; at 1 the policy has to end.
        initial: a state, a distribution [S], or None for the model's own.
        observed: the number of what is seen in each state [S], where states look alike.
        discount_gradient: False weighs all times alike instead of by γᵗ, as most code does: no function's gradient
            (Nota & Thomas 2020), but what such code follows on average. Its episodes have to end.

    Raises:
        ValueError: as `softmax_policy`, `evaluate` and `occupancy`.
        KeyError: when there is no such state.

    >>> import numpy as np, retorno as rt
    >>> two = rt.mdp({"s": {"left": [(1.0, "end", 1.0)], "right": [(1.0, "end", 0.0)]}, "end": {}}, initial="s")
    >>> policy_gradient(two, np.zeros((2, 2)), discount=1.0).gradient[0]
    array([ 0.25, -0.25])
    """
    policy = softmax_policy(model, preferences, observed)
    seen = _observed(model, preferences, observed)
    solution = evaluate(model, policy, discount)
    lived = occupancy(model, policy, discount if discount_gradient else 1.0, initial)
    # Where the policy never comes q may be infinite, and is not asked.
    pair_visits = lived.pair
    advantage = np.zeros(model.num_pairs)
    np.subtract(solution.q, solution.value[model.pair_state], where=pair_visits > 0, out=advantage)
    shape = np.shape(preferences)
    cell = np.ravel_multi_index((seen[model.pair_state], model.action), shape)
    size = shape[0] * shape[1]
    gradient = np.bincount(cell, pair_visits * advantage, minlength=size)
    made = np.bincount(cell, pair_visits, minlength=size)
    natural = np.divide(gradient, made, out=np.zeros(size), where=made > 0)
    start = lived.initial
    return PolicyGradient(
        model=model,
        value=float(start[start > 0] @ solution.value[start > 0]),
        policy=policy,
        gradient=gradient.reshape(shape),
        natural=natural.reshape(shape),
    )


def _observed(
    model: MDP, preferences: Float[np.ndarray, "O A"], observed: Sequence[int] | Int[np.ndarray, " S"] | None
) -> Int[np.ndarray, " S"]:
    """What is seen in each state."""
    seen = np.arange(model.num_states) if observed is None else np.asarray(observed, np.int64)
    rows, columns = np.shape(preferences)
    if seen.shape != (model.num_states,) or seen.min() < 0 or seen.max() >= rows or columns < model.num_actions:
        raise ValueError(
            f"preferences need a row for each observation and a column for each of {model.num_actions} actions, and "
            f"`observed` a row's number for each of {model.num_states} states: got {rows} × {columns} and "
            f"{seen.shape[0]} numbers up to {seen.max()}"
        )
    return seen
