"""What may stand between collect and update: rewards clipped, rewards for the new."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from gymnasium import Space
from jax import Array, vmap
from jaxtyping import Int

from retorno.core.policy import Relabel
from retorno.core.spaces import cardinality, index
from retorno.core.time_step import Trajectory
from retorno.networks.layers import Observed


class ClipRewards(Relabel):
    """Holds every reward within ±`most`, as on Atari. Mnih et al. 2015, "Training details"."""

    most: float = eqx.field(static=True, default=1.0)

    def __call__(self, trajectory: Trajectory) -> tuple[Trajectory, Relabel]:
        return _with_rewards(trajectory, jnp.clip(trajectory.steps.reward, -self.most, self.most)), self


class CountBonus(Relabel):
    """Adds β / √n(s′) for arriving in a state for the nth time. Strehl & Littman 2008 (MBIE-EB).

    States are the elements of a finite observation space.
    """

    counts: Int[Array, " S"]
    weight: float = eqx.field(static=True)
    observed: Observed = eqx.field(static=True)

    def __call__(self, trajectory: Trajectory) -> tuple[Trajectory, Relabel]:
        steps = trajectory.steps
        arrived = vmap(vmap(lambda obs: index(self.observed.space, obs)))(steps.obs)[1:]
        counts = self.counts.at[arrived].add(trajectory.transitions)
        bonus = self.weight / jnp.sqrt(jnp.maximum(counts[arrived], 1)) * trajectory.transitions
        reward = steps.reward.at[1:].add(bonus)
        return _with_rewards(trajectory, reward), CountBonus(counts, self.weight, self.observed)


def count_bonus(space: Space[Any], weight: float = 0.1) -> CountBonus:
    """A bonus for states that were seldom seen.

    Args:
        space: the world's observation space.
        weight: β, the bonus of a first arrival.

    Raises:
        SpaceError: when the space is not finite.
    """
    return CountBonus(jnp.zeros(cardinality(space), jnp.int32), weight, Observed(space))


def _with_rewards(trajectory: Trajectory, reward: Array) -> Trajectory:
    return trajectory._replace(steps=trajectory.steps._replace(reward=reward))
