"""How far learnt policies are from the exact optimum, where a world has an exact model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float

from retorno import bellman
from retorno.core.environment import World
from retorno.core.mdp import MDP, Solution
from retorno.core.policy import Policy
from retorno.run.evaluate import interval95


@dataclass(frozen=True)
class Regret:
    """What each policy's start value lacks of the best one; both are exact."""

    discount: float
    """γ of the question."""
    optimum: float
    values: tuple[float, ...]
    """The start value of each policy."""

    @property
    def regrets(self) -> np.ndarray:
        """One for each policy."""
        return self.optimum - np.array(self.values)

    @property
    def mean(self) -> float:
        return float(self.regrets.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """Over policies; NaN for one."""
        return interval95(self.regrets)

    def as_row(self) -> dict[str, Any]:
        """What `--json` holds."""
        return {
            "mean": self.mean,
            "ci95": list(self.ci95),
            "optimum": self.optimum,
            "values": list(self.values),
            "discount": self.discount,
        }

    def __str__(self) -> str:
        (low, high), count = self.ci95, len(self.values)
        interval = f", 95% interval {low:.6f} to {high:.6f} over {count} seeds," if count > 1 else ""
        return f"regret {self.mean:.6f}{interval} against the exact optimum {self.optimum:.6f} at γ = {self.discount:g}"


def observes_states(world: World, model: MDP) -> bool:
    """Whether the world shows the number of the model's state, so that a policy is one of the model's."""
    seen, done = world.observation_space, world.action_space
    return (
        isinstance(seen, spaces.Discrete)
        and isinstance(done, spaces.Discrete)
        and (int(seen.n), int(done.n)) == (model.num_states, model.num_actions)
        and seen.start == done.start == 0
    )


def regret(policies: list[Policy], model: MDP, discount: float, greedy: bool = True) -> Regret:
    """The exact regret of memoryless policies that see the model's states. Time limits are left out.

    Raises:
        ValueError: at discount 1 for a policy that need not end.
    """
    best = bellman.solve(model, discount)
    values = (policy_value(policy, model, best, greedy) for policy in policies)
    return Regret(discount, best.start_value, tuple(answer.start_value for answer in values))


def policy_value(policy: Policy, model: MDP, best: Solution, greedy: bool = True) -> Solution:
    """The exact value of a learnt policy where it acts; what it would do in states that it never enters is not asked.

    Raises:
        ValueError: at discount 1 when it need not end.
    """
    chances = probabilities(policy, model, greedy)
    visited = entered(model, chances)[model.pair_state]
    return bellman.evaluate(model, np.where(visited, chances, best.policy), best.question_discount)


def probabilities(policy: Policy, model: MDP, greedy: bool = True) -> Float[np.ndarray, " P"]:
    """How probable each pair of the model is in its state under a learnt policy."""
    legal = jnp.asarray(model.legal | model.terminal[:, None])
    actions = jnp.arange(model.num_actions)

    def chances(state: Any, legal: Any) -> Any:
        choice = policy.step(state, jnp.array(False), policy.initial_carry())[0]["policy"].masked(legal)
        return actions == choice.mode() if greedy else jnp.exp(jax.vmap(choice.log_prob)(actions))

    table = np.asarray(jax.jit(jax.vmap(chances))(jnp.arange(model.num_states), legal), np.float64)
    pairs = table[model.pair_state, model.action]
    total = np.bincount(model.pair_state, pairs, minlength=model.num_states)
    return pairs / total[model.pair_state]


def entered(model: MDP, chances: Float[np.ndarray, " P"]) -> Bool[np.ndarray, " S"]:
    """States in which a policy acts sooner or later."""
    pair = model.transition_pair
    open_way = (chances[pair] > 0) & (model.probability > 0) & (model.discount != 0)
    owner = model.pair_state[pair]
    reached = model.initial > 0
    while True:
        further = reached.copy()
        further[model.next_state[open_way & reached[owner]]] = True
        if (further == reached).all():
            return reached
        reached = further
