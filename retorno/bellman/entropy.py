r"""The optimum where entropy is worth something: what soft methods approach, exactly.

A unit of the policy's entropy pays a temperature τ beside every reward. The best value is the only fixed point of

.. math:: v(s) = \tau \log \sum_a \exp\left( q(s, a) / \tau \right), \qquad
          q(s, a) = \sum_{s'} p(s' \mid s, a) \bigl[r + \gamma v(s')\bigr],

and the policy that reaches it is π(a|s) ∝ exp(q(s, a)/τ). Ziebart 2010, chapter 6; Haarnoja, Tang, Abbeel & Levine
2017, theorem 1. Like the backup with a maximum it moves by no more than the discounted change of what it is given, so
the same bounds hold. Policies are improved with exact evaluations between, which is Newton's method here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from retorno.bellman.backup import Backup, backup_of
from retorno.bellman.bounds import extrapolate
from retorno.bellman.evaluation import suited
from retorno.bellman.solve_monitor import SolveMonitor
from retorno.core.mdp import MDP, Modelled, model_of
from retorno.core.numerals import Number

MOST_IMPROVEMENTS = 1_000


@dataclass(frozen=True, eq=False)
class EntropySolution:
    """The best values where entropy counts, with their bounds, and the policy that reaches them."""

    model: MDP = field(repr=False)
    discount: float
    """γ of the question."""
    temperature: float
    """τ, what a unit of entropy is worth in rewards."""
    value: Float[np.ndarray, " S"] = field(repr=False)
    lower: Float[np.ndarray, " S"] = field(repr=False)
    upper: Float[np.ndarray, " S"] = field(repr=False)
    q: Float[np.ndarray, " P"] = field(repr=False)
    """Of each pair: what it pays and what follows, the entropy of later choices among it."""
    policy: Float[np.ndarray, " P"] = field(repr=False)
    """π ∝ exp(q/τ), the probability of each pair in its state."""
    improvements: int
    """Policies that were evaluated."""
    converged: bool
    """Whether the accuracy asked for was reached."""

    @property
    def start_value(self) -> float:
        """The value's mean over the model's initial distribution."""
        return float(self.model.initial @ self.value)


def maximum_entropy(model: Modelled, discount: Number, temperature: float, accuracy: float = 1e-6) -> EntropySolution:
    r"""The best value of each state where each unit of entropy is paid for, and the only policy that reaches it.

    .. math:: v_*(s) = \max_\pi \mathbb{E}_\pi \Bigl[ \sum_t \gamma^t
              \bigl( r_{t+1} + \tau H(\pi(\cdot \mid s_t)) \bigr) \Bigr]

    Args:
        model: with S states and P state–action pairs; or the dictionary that describes it, as of `mdp`.
        discount: γ in [0, 1]; at 1 only of a model in which every step may end, since entropy pays for going on.
        temperature: τ, positive; near 0 the answer nears that of `solve`.
        accuracy: the width of the bounds at which the answer counts as `converged`.

    Returns:
        The value with `lower ≤ v ≤ upper`, rounding counted in, action values and the policy.

    Raises:
        ValueError: when the temperature is not positive, or the backup does not contract.

    >>> import retorno as rt
    >>> answer = maximum_entropy(rt.environments.student(), discount=0.9, temperature=0.5)
    >>> bool((answer.value >= rt.bellman.solve(answer.model, 0.9).value).all()), answer.converged
    (True, True)
    """
    model = model_of(model)
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}: solve answers without entropy")
    if (model.discount < 0).any():
        raise ValueError(
            "two move in turn in this model, and of whom the entropy should count is not said: see minimax"
        )
    backup = backup_of(model, discount)
    if not backup.contracts:
        raise ValueError(
            f"at discount {float(discount):g} a choice that goes on for ever is paid for its entropy without end: take "
            "a discount below 1"
        )
    value, width = np.zeros(backup.num_states), np.inf
    monitor = SolveMonitor(accuracy)
    lower, upper, improvements = value, value, 0
    while improvements < MOST_IMPROVEMENTS:
        improvements += 1
        policy, entropy = _choice(backup, backup.q(value), temperature)
        evaluated = backup.under(policy)
        evaluated = dataclasses.replace(evaluated, reward=evaluated.reward + temperature * entropy)
        value = suited(evaluated, precise=True)(evaluated, monitor.inside(0.0)).value
        lower, upper = _bounds(backup, value, temperature)
        before, width = width, float((upper - lower).max(initial=0.0))
        # Near the end Newton's steps square the error: one that no longer halves it is rounding.
        if width <= accuracy and width > before / 2:
            break
    value = np.clip(value, lower, upper)
    q = backup.q(value)

    def everywhere(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " S"]:
        full = np.zeros(model.num_states)
        full[~model.terminal] = x
        return full

    return EntropySolution(
        model=model,
        discount=float(discount),
        temperature=float(temperature),
        value=everywhere(value),
        lower=everywhere(lower),
        upper=everywhere(upper),
        q=q,
        policy=_choice(backup, q, temperature)[0],
        improvements=improvements,
        converged=width <= accuracy,
    )


def _choice(
    backup: Backup, q: Float[np.ndarray, " P"], temperature: float
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " n"]]:
    """π ∝ exp(q/τ), and its entropy in each state."""
    log_policy = (q - _soft_maximum(backup, q, temperature)[backup.owner]) / temperature
    policy = np.exp(log_policy)
    policy /= np.add.reduceat(policy, backup.ptr[:-1])[backup.owner]
    return policy, -np.add.reduceat(policy * log_policy, backup.ptr[:-1])


def _soft_maximum(backup: Backup, q: Float[np.ndarray, " P"], temperature: float) -> Float[np.ndarray, " n"]:
    """The soft maximum τ log Σ exp(q/τ) of each state."""
    best = backup.best(q)
    return best + temperature * np.log(np.add.reduceat(np.exp((q - best[backup.owner]) / temperature), backup.ptr[:-1]))


def _bounds(
    backup: Backup, value: Float[np.ndarray, " n"], temperature: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """From one backup, and what it is rounded by: exponentials and logarithms to a few ulp, a sum of A terms to A."""
    change, noise = backup.change(value)
    gain = _soft_maximum(backup, change, temperature)
    most = int(np.diff(backup.ptr).max())
    noise += 2.0**-50 * (float(np.abs(change).max()) + temperature * (most + np.log(most) + 1))
    below, above = extrapolate(backup, value, gain, noise)
    return value + gain + below, value + gain + above
