"""An algorithm for real numbers alone, as somebody would write their own: under every law by existing."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Float

from retorno.core.hyperparameters import hyperparameters
from retorno.core.policy import Policy
from retorno.core.spaces import SpaceError, Spec
from retorno.ops.distributions import Gaussian


class SameEverywhere(Policy):
    """Draws from one normal distribution, whatever is seen."""

    mean: Float[Array, " D"]

    @property
    def context(self) -> int:
        return 0

    def initial_carry(self) -> Any:
        return ()

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        return {"policy": Gaussian(self.mean, jnp.full_like(self.mean, -1.0))}, carry


@hyperparameters
class BoxOnly:
    """REINFORCE without a state: the mean moves towards actions that paid more than usual. Actions: Box."""

    num_envs: int = 4
    rollout: int = 8

    def init(self, key: Any, spec: Spec) -> SameEverywhere:
        if not isinstance(spec.action_space, spaces.Box):
            raise SpaceError(f"BoxOnly acts by real numbers (Box), got {spec.action_space}")
        return SameEverywhere(jnp.zeros(spec.action_space.shape))

    def initial_carry(self, learner: SameEverywhere) -> Any:
        return ()

    def act(self, learner: SameEverywhere, row: Any, carry: Any, key: Any) -> Any:
        return learner.step(row.obs, row.first, carry)[0]["policy"].sample(key), (), ()

    def update(self, learner: SameEverywhere, trajectory: Any, reward: Any, key: Any) -> Any:
        paid, counts = reward(trajectory), trajectory.transitions
        usual = jnp.where(counts, paid, 0).sum() / jnp.maximum(counts.sum(), 1)
        better = jnp.where(counts, paid - usual, 0)[..., None]
        return SameEverywhere(learner.mean + 0.1 * (better * (trajectory.action - learner.mean)).mean((0, 1))), {}

    def policy(self, learner: SameEverywhere) -> Policy:
        return learner
