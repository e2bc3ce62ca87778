"""The exact value of a policy. Sutton & Barto 2018, section 4.1; Puterman 1994, section 6.1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from retorno.bellman.backup import Backup, backup_of, ending_choice
from retorno.bellman.bounds import extrapolate, weighted
from retorno.core.mdp import MDP, Solution

Policy = Float[np.ndarray, " P"] | Int[np.ndarray, " S"] | Sequence[int] | Callable[[MDP], Float[np.ndarray, " P"]]
"""A probability per pair [P] (floats), an action number per state [S] (integers), or a function of the model."""


SMALL = 1_000
"""Up to this many states a linear system is solved at once, whatever the model."""


class Evaluated(NamedTuple):
    """A policy's value and its bounds, over the states that act."""

    value: Float[np.ndarray, " n"]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    residuals: tuple[float, ...]

    @property
    def width(self) -> float:
        return float((self.upper - self.lower).max())


Method = Callable[[Backup, float], Evaluated]
"""Evaluates a backup with one pair a state, to an accuracy."""


def evaluate(
    model: MDP, policy: Policy, discount: float, *, accuracy: float = 1e-9, method: Method | None = None
) -> Solution:
    """The value of a policy: v = (I − γP)⁻¹ r.

    At discount 1 the policy has to end with probability one from every state.

    Args:
        model: with S states and P state–action pairs.
        policy: probabilities [P] (floats), action numbers [S] (integers, ignored for terminal
            states), or a function of the model such as `uniform`.
        discount: γ in [0, 1].
        accuracy: the width of the bounds at which an answer counts as `converged`.
        method: `closed_form` (the default up to 1,000 states) or `iterative` (above).

    Returns:
        The policy's value with `lower ≤ v ≤ upper` [S]. `optimal` marks the pairs that tie for the
        best against this value: those that a policy improvement may choose.

    Raises:
        ValueError: when the discount is outside [0, 1], the policy is not one of this model, or, at
            discount 1, a state never terminates (named).
    """
    backup = backup_of(model, discount)
    method = method or suited(backup)
    chances = probabilities(model, policy)
    chosen = backup.under(chances)
    require_end(chosen, "under this policy")
    answer = method(chosen, accuracy)
    name = method.__name__.replace("_", " ")
    return solution(model, discount, backup, answer, chances, optimum=None, accuracy=accuracy, method=name)


def uniform(model: MDP) -> Float[np.ndarray, " P"]:
    """The policy that takes each of a state's actions with the same probability."""
    counts = np.diff(model.state_ptr)
    return np.repeat(1 / np.maximum(counts, 1), counts)


def closed_form(backup: Backup, accuracy: float) -> Evaluated:
    """Solve (I − M) v = r by sparse elimination. The bounds are as narrow as rounding lets them be.

    Quick for chains and maps of any size; in models that lead from anywhere to anywhere the
    factors fill up, and a few thousand states take long.
    """
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    sides = np.stack([backup.reward, np.ones(backup.num_states)], axis=1)
    value, time = splu(csc_array(eye_array(backup.num_states) - backup.matrix)).solve(sides).T
    return Evaluated(value, *weighted(backup, value, time), (float(np.abs(backup.q(value) - value).max()),))


def iterative(backup: Backup, accuracy: float) -> Evaluated:
    """Sweep v ← r + M v from 0 until the bounds meet, or until only rounding is left to change."""
    value, time, residuals = np.zeros(backup.num_states), np.zeros(backup.num_states), []
    while True:
        new = backup.q(value)
        residuals.append(float(np.abs(new - value).max()))
        if backup.contracts:
            below, above = extrapolate(backup, value, new)
            lower, upper = new + below, new + above
        else:
            time = np.asarray(1 + backup.matrix @ time)
            lower, upper = weighted(backup, new, time)
        answer = Evaluated((lower + upper) / 2 if backup.contracts else new, lower, upper, tuple(residuals))
        if answer.width <= accuracy or (residuals[-1] <= backup.noise(new) and answer.width < np.inf):
            return answer
        value = new


def suited(backup: Backup) -> Method:
    """`closed_form` where it is quick whatever the model, `iterative` above."""
    return closed_form if backup.num_states <= SMALL else iterative


def probabilities(model: MDP, policy: Policy) -> Float[np.ndarray, " P"]:
    """Any policy that `evaluate` takes, as a probability per pair.

    Raises:
        ValueError: naming the state where it is not a policy of this model.
    """
    given = np.asarray(policy(model) if callable(policy) else policy)
    owner = model.pair_state
    if np.issubdtype(given.dtype, np.integer):
        if given.shape != (model.num_states,):
            raise ValueError(f"a policy of action numbers needs one per state [{model.num_states}], got {given.shape}")
        chances = (model.action == given[owner]).astype(float)
        expected = "the number of one of its actions"
    else:
        if given.shape != (model.num_pairs,):
            raise ValueError(
                f"a policy of probabilities needs one per pair [{model.num_pairs}], got {given.shape}: "
                "pass integers to choose one action per state"
            )
        chances = given.astype(float)
        expected = "probabilities that are not negative and sum to 1"
    total = np.bincount(owner, chances, minlength=model.num_states)
    wrong = ~model.terminal & ~(np.abs(total - 1) <= 1e-9)
    wrong[owner[~(chances >= 0)]] = True
    if wrong.any():
        s = int(np.argmax(wrong))
        got = given[s] if given.shape == (model.num_states,) else chances[owner == s]
        raise ValueError(f"policy in state {model.state_names[s]!r}: got {got}, expected {expected}")
    return chances


def require_end(backup: Backup, who: str) -> Int[np.ndarray, " n"]:
    """A choice per state that ends with probability one.

    Raises:
        ValueError: when a state never terminates, naming it.
    """
    choice, endless = ending_choice(backup)
    if endless.any():
        raise ValueError(
            f"state {backup.names[int(np.argmax(endless))]!r} never terminates {who}, so its return at discount 1 "
            "is an endless sum: ask with a discount below 1, or mark the transitions that end as terminated"
        )
    return choice


def solution(
    model: MDP,
    discount: float,
    backup: Backup,
    answer: Evaluated,
    policy: Float[np.ndarray, " P"],
    optimum: Float[np.ndarray, " n"] | None,
    accuracy: float,
    method: str,
) -> Solution:
    """Join an answer over the acting states to one over all. `optimum` bounds the best value from above."""

    def everywhere(value: Float[np.ndarray, " n"]) -> Float[np.ndarray, " S"]:
        full = np.zeros(model.num_states)
        full[~model.terminal] = value
        return full

    q = backup.q(answer.value)
    high, low = backup.q(answer.upper), backup.q(answer.lower)
    slack = backup.noise(answer.value)
    if optimum is None and backup.contracts:
        new = backup.best(high)
        optimum = new + extrapolate(backup, answer.upper, new)[1]
    loss = np.inf if optimum is None else max(float((optimum - answer.lower).max()), 0.0)
    return Solution(
        model=model,
        question_discount=discount,
        value=everywhere(answer.value),
        lower=everywhere(answer.lower),
        upper=everywhere(answer.upper),
        q=q,
        policy=policy,
        optimal=high + 2 * slack >= backup.best(low)[backup.owner],
        policy_loss_bound=loss,
        converged=answer.width <= accuracy,
        sweeps=len(answer.residuals),
        residuals=answer.residuals,
        method=method,
    )
