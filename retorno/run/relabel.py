"""Where rewards come from, when not from the world alone: rewards clipped, rewards for the new."""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
from jax import Array, vmap
from jaxtyping import Float, Int, Key

from retorno.core.counter import Counter
from retorno.core.policy import Metrics, Relabel
from retorno.core.registry import Registry
from retorno.core.spaces import HashableSpace, Spec, cardinality, index
from retorno.core.time_step import Trajectory

RELABELS = Registry()
"""Every relabel by the name that the command line gives it."""

register = RELABELS.register


@register
class ClipRewards(Relabel):
    """Rewards held within a range, as on Atari (Mnih et al. 2015, "Training details")."""

    most: float = eqx.field(static=True, default=1.0)
    """The largest reward, and with a minus the smallest."""

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        return jnp.clip(trajectory.steps.reward[1:], -self.most, self.most)


@register
@dataclass(frozen=True)
class CountBonus:
    """A bonus for arriving where one seldom was (Strehl & Littman 2008, MBIE-EB). Observations: finite."""

    weight: float = 0.1
    """β, the bonus of a first arrival."""

    def build(self, key: Key[Array, ""], spec: Spec) -> Arrivals:
        space = spec.observation_space
        return Arrivals(Counter.zeros(cardinality(space)), jnp.float32(self.weight), HashableSpace(space))


class Arrivals(Relabel):
    """Adds β / √n(s′) for arriving in a state in which one has arrived n times by now, this time included."""

    counts: Counter
    """[S]"""
    weight: Float[Array, ""]
    observed: HashableSpace = eqx.field(static=True)

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        bonus = self.weight / jnp.sqrt(jnp.maximum(self.counts.at(self._arrived(trajectory)).size, 1))
        return trajectory.steps.reward[1:] + bonus * trajectory.transitions

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[Arrivals, Metrics]:
        counts = self.counts.plus_at(self._arrived(trajectory), trajectory.transitions)
        return Arrivals(counts, self.weight, self.observed), {}

    def _arrived(self, trajectory: Trajectory) -> Int[Array, "T B"]:
        return vmap(vmap(lambda obs: index(self.observed.space, obs)))(trajectory.steps.obs)[1:]
