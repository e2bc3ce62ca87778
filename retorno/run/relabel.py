"""Where rewards come from, when not from the world alone: rewards clipped, rewards for the new."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from gymnasium import Space
from jax import Array, vmap
from jaxtyping import Float, Int, Key

from retorno.core.policy import Metrics, Relabel
from retorno.core.runtime import prepare
from retorno.core.spaces import cardinality, index
from retorno.core.time_step import Trajectory
from retorno.networks.layers import Observed


class ClipRewards(Relabel):
    """Holds every reward within ±`most`, as on Atari. Mnih et al. 2015, "Training details"."""

    most: float = eqx.field(static=True, default=1.0)

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        return jnp.clip(trajectory.steps.reward[1:], -self.most, self.most)


class CountBonus(Relabel):
    """Adds β / √n(s′) for arriving in a state that was arrived in n times. Strehl & Littman 2008 (MBIE-EB).

    States are the elements of a finite observation space.
    """

    counts: Int[Array, " S"]
    weight: float = eqx.field(static=True)
    observed: Observed = eqx.field(static=True)

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        bonus = self.weight / jnp.sqrt(jnp.maximum(self.counts[self._arrived(trajectory)], 1))
        return trajectory.steps.reward[1:] + bonus * trajectory.transitions

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[CountBonus, Metrics]:
        counts = self.counts.at[self._arrived(trajectory)].add(trajectory.transitions)
        return CountBonus(counts, self.weight, self.observed), {}

    def _arrived(self, trajectory: Trajectory) -> Int[Array, "T B"]:
        return vmap(vmap(lambda obs: index(self.observed.space, obs)))(trajectory.steps.obs)[1:]


def count_bonus(space: Space[Any], weight: float = 0.1) -> CountBonus:
    """A bonus for states that were seldom seen.

    Args:
        space: the world's observation space.
        weight: β, the bonus of a first arrival.

    Raises:
        SpaceError: when the space is not finite.
    """
    prepare()
    return CountBonus(jnp.zeros(cardinality(space), jnp.int32), weight, Observed(space))
