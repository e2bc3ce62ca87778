"""Where rewards come from, when not from the world alone: clipped, for the new, for staying near a reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import equinox as eqx
import jax.numpy as jnp
from jax import Array, tree, vmap
from jaxtyping import Float, Int, Key

from retorno.core.counter import Counter
from retorno.core.policy import Carry, Metrics, Policy, Relabel, initial_carries, unroll_batch
from retorno.core.registry import Registry
from retorno.core.spaces import HashableSpace, Spec, cardinality, index
from retorno.core.time_step import Trajectory
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.objectives import masked_mean

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


@register
@dataclass(frozen=True)
class ReferenceKL:
    """Takes β (log π − log π_ref) off each choice's reward: what is learnt stays near a reference policy.

    Ziegler et al. 2019, "Fine-tuning language models from human preferences", eq. 2. Its mean over the choices is
    reported as "kl".
    """

    weight: float = 0.1
    """β"""
    reference: NetworkConfig = field(default_factory=MLP)
    """The reference: `Pretrained` where it was learnt before. A fresh network chooses nearly uniformly."""

    def build(self, key: Key[Array, ""], spec: Spec) -> NearReference:
        heads = {"policy": policy_head(spec.action_space)}
        network = self.reference.build(key, spec.observation_space, heads)
        empty = initial_carries(network, spec.num_envs)
        return NearReference(network, empty, empty, jnp.float32(self.weight))


class NearReference(Relabel):
    """Takes off what leads away from a reference, whose memory follows the rows."""

    reference: Policy
    before: Carry
    """[B], the reference's memory before the newest rollout."""
    after: Carry
    """[B], and before the next one."""
    weight: Float[Array, ""]

    @property
    def context(self) -> int | None:
        return self.reference.context

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        return trajectory.steps.reward[1:] - self.weight * self._log_ratio(trajectory)

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[NearReference, Metrics]:
        obs, first = tree.map(lambda x: x[:-1], (trajectory.steps.obs, trajectory.steps.first))
        after = vmap(self.reference.read, in_axes=(1, 1, 0))(obs, first, self.after)
        moved = replace(self, before=self.after, after=after)
        return moved, {"kl": masked_mean(moved._log_ratio(trajectory), trajectory.choices)}

    def _log_ratio(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        """Log π − log π_ref of what was chosen; 0 where there was nothing to choose."""
        if "log_prob" not in trajectory.extras:
            raise ValueError("ReferenceKL needs an algorithm that records log_prob of its actions, such as PPO")
        rows = tree.map(lambda x: x[:-1], trajectory.steps)
        policy = unroll_batch(self.reference, rows.obs, rows.first, self.before)["policy"]
        log_prob = vmap(vmap(lambda policy, legal, action: policy.masked(legal).log_prob(action)))
        apart = trajectory.extras["log_prob"] - log_prob(policy, rows.legal, trajectory.action)
        return jnp.where(trajectory.choices, apart, 0.0)
