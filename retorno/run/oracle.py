"""How far learnt policies are from the exact optimum, where a world has an exact model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float

from retorno import bellman
from retorno.core import constants
from retorno.core.environment import World
from retorno.core.graph import reached
from retorno.core.mdp import MDP
from retorno.core.numerals import plain
from retorno.core.policy import Policy
from retorno.core.runtime import IN_HASTE
from retorno.core.solution import Solution
from retorno.ops.intervals import interval95
from retorno.run.policy_folder import SavedPolicy

ROUNDING = 1e-6
"""How much better than the best, of its value, a policy may be found by rounding: more would be a defect."""


@dataclass(frozen=True)
class Regret:
    """What each policy's start value lacks of the best one, which is exact."""

    discount: float
    """γ of the question."""
    optimum: float
    values: tuple[float, ...]
    """The start value of each policy."""
    exact: bool = True
    """Whether those are exact too; else they are mean returns of episodes."""

    @property
    def regrets(self) -> np.ndarray:
        """One for each policy."""
        lacking = self.optimum - np.array(self.values)
        rounding = ROUNDING * max(1.0, abs(self.optimum))
        return np.where((-rounding < lacking) & (lacking < 0), 0.0, lacking) if self.exact else lacking

    @property
    def mean(self) -> float:
        return float(self.regrets.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """Over policies; NaN for one. No exact regret is negative, and none in its interval."""
        low, high = interval95(self.regrets)
        return (max(low, 0.0), high) if self.exact and self.regrets.min() >= 0 and low < 0 else (low, high)

    def as_row(self) -> dict[str, Any]:
        """What `--json` holds."""
        return {
            "mean": self.mean,
            "ci95": list(self.ci95),
            "optimum": self.optimum,
            "values": list(self.values),
            "discount": self.discount,
            "exact": self.exact,
        }

    def __str__(self) -> str:
        (low, high), count = self.ci95, len(self.values)
        interval = f", 95% interval {low:z.6f} to {high:z.6f} over {count} seeds," if count > 1 else ""
        kind = "regret" if self.exact else "estimated regret"
        optimum = f"the exact optimum {self.optimum:z.6f} at γ = {plain(self.discount)}"
        return f"{kind} {self.mean:z.6f}{interval} against {optimum}"


def observes_states(world: World | SavedPolicy, model: MDP) -> bool:
    """Whether the world shows the number of the model's state, so that a policy is one of the model's.

    Args:
        world: which observes numbers, or not; or a policy that was kept from it.
        model: with S states and A actions.

    >>> from retorno.environments.registry import model, native
    >>> [observes_states(native(name), model("cliff")) for name in ("cliff", "CartPole-v1")]
    [True, False]
    """
    seen, done = world.observation_space, world.action_space
    return (
        isinstance(seen, spaces.Discrete)
        and isinstance(done, spaces.Discrete)
        and (int(seen.n), int(done.n)) == (model.num_states, model.num_actions)
        and int(seen.start) == int(done.start) == 0
    )


def regret(policies: Sequence[Policy], best: Solution, greedy: bool = True) -> Regret:
    """The exact regret of policies of context 0 that see the model's states. Time limits are left out.

    Args:
        policies: one for each seed.
        best: the optimum, from `bellman.solve`.
        greedy: whether a policy takes its best action or is drawn from.

    Raises:
        ValueError: at discount 1 for a policy that may go on for ever and earn.

    >>> from retorno import bellman
    >>> from retorno.environments.registry import model, native
    >>> from retorno.policies import Uniform
    >>> world = native("student")
    >>> anyone = Uniform().build(world.observation_space, world.action_space)
    >>> regret([anyone], bellman.solve(model("student"), 1.0), greedy=False).optimum
    6.0
    """
    values = (policy_value(policy, best, greedy).start_value for policy in policies)
    return Regret(best.question_discount, best.start_value, tuple(values))


def policy_value(policy: Policy, best: Solution, greedy: bool = True) -> Solution:
    """The exact value of a learnt policy where it acts; what it would do in states that it never enters is not asked.

    Raises:
        ValueError: at discount 1 when it may go on for ever and earn.

    Args:
        policy: of context 0, which sees the model's states.
        best: the optimum, from `bellman.solve`: its model and its γ.
        greedy: whether the policy takes its best action or is drawn from.
    """
    model = best.model
    chances = action_chances(policy, model, greedy)
    visited = entered(model, chances)[model.pair_state]
    chances = np.where(visited, chances, best.policy)
    found = bellman.evaluate(model, chances, best.given_discount, must_end=best.must_end)
    if not np.isfinite(found.start_value):
        never = [str(model.state_names[int(s)]) for s in np.flatnonzero(~np.isfinite(found.value))]
        more = f" (with {len(never) - 1:,} more)" if len(never) > 1 else ""
        raise ValueError(
            f"the policy goes in circles: from state {never[0]!r}{more} it never ends, and its value has no bound"
        )
    return found


def action_chances(policy: Policy, model: MDP, greedy: bool = True) -> Float[np.ndarray, " P"]:
    """How probably a policy takes each pair of a model in its state.

    Args:
        policy: of context 0, which sees the model's states.
        model: with P pairs.
        greedy: whether the policy takes its best action or is drawn from.

    >>> from retorno.environments.registry import model, native
    >>> from retorno.policies import Uniform
    >>> world = native("student")
    >>> anyone = Uniform().build(world.observation_space, world.action_space)
    >>> action_chances(anyone, model("student"), greedy=False).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    legal = jnp.asarray(model.legal | model.terminal[:, None])
    chances = np.asarray(_chances(policy, legal, greedy), np.float64)[model.pair_state, model.action]
    return chances / np.bincount(model.pair_state, chances, minlength=model.num_states)[model.pair_state]


@partial(constants.jit, static_argnames="greedy", compiler_options=IN_HASTE)
def _chances(policy: Policy, legal: Bool[Array, "S A"], greedy: bool) -> Float[Array, "S A"]:
    """How probable each action is in each state."""
    states, actions = jnp.arange(legal.shape[0]), jnp.arange(legal.shape[1])

    def of_state(state: Array, legal: Bool[Array, " A"]) -> Float[Array, " A"]:
        choice = policy.step(state, jnp.array(False), policy.initial_carry())[0]["policy"].masked(legal)
        return (actions == choice.mode()).astype(float) if greedy else jnp.exp(jax.vmap(choice.log_prob)(actions))

    return jax.vmap(of_state)(states, legal)


def entered(model: MDP, chances: Float[np.ndarray, " P"]) -> Bool[np.ndarray, " S"]:
    """States in which a policy acts sooner or later.

    Args:
        model: with S states and P pairs.
        chances: the policy. Shape [P].

    Returns:
        Shape [S].

    >>> from retorno.environments.registry import model
    >>> entered(model("random_walk"), np.eye(2)[model("random_walk").action][:, 0])
    array([ True,  True,  True, False, False, False, False])
    """
    pair = model.transition_pair
    open_way = (chances[pair] > 0) & (model.probability > 0) & (model.discount != 0)
    owner = model.pair_state[pair]
    return reached(owner[open_way], model.next_state[open_way], np.flatnonzero(model.initial > 0), model.num_states)
