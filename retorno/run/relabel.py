"""Where rewards come from, when not from the world alone: clipped, for the new, for staying near a reference.

Several are `InTurn`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, tree, vmap
from jaxtyping import Float, Key

from retorno.core.policy import Carry, Metrics, Policy, Relabel, RelabelConfig, initial_carries, unroll_batch
from retorno.core.registry import Registry
from retorno.core.spaces import Spec
from retorno.core.time_step import Trajectory
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.objectives import masked_mean
from retorno.run.adversary import GAIL as GAIL
from retorno.run.curiosity import ICM as ICM
from retorno.run.curiosity import RND as RND
from retorno.run.curiosity import Arrivals as Arrivals
from retorno.run.curiosity import CountBonus as CountBonus
from retorno.run.curiosity import HashBonus as HashBonus

Settings = TypeVar("Settings", RelabelConfig, RelabelConfig | None)

RELABELS = Registry((CountBonus, HashBonus, RND, ICM, GAIL))
"""Every relabel by the name that the command line gives it."""

register = RELABELS.register


def as_recorded(relabel: Settings, folder: Path) -> Settings:
    """Settings that were read from a run's folder, if they may be used.

    Raises:
        OwnCodeError: when they name a file that was not named in this process: none is run because a folder says so.

    Args:
        relabel: as it was read; None where the world alone pays.
        folder: the run's, which may have been moved.
    """
    again = getattr(relabel, "recorded", None)
    return relabel if again is None else again(folder)


@register
class ClipRewards(Relabel):
    """Rewards held within a range, as on Atari (Mnih et al. 2015, "Training details")."""

    most: float = eqx.field(static=True, default=1.0)
    """The largest reward, and with a minus the smallest."""

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        return jnp.clip(trajectory.steps.reward[1:], -self.most, self.most)


@register
@dataclass(frozen=True)
class ReferenceKL:
    """Takes β (log π − log π_ref) off each choice's reward: what is learnt stays near a reference policy.

    Ziegler et al. 2019, "Fine-tuning language models from human preferences", eq. 2, and their section 2.2 for the β
    that adapts. Reported are its mean over the choices as "kl", the sum over an episode as "episode_kl", and β.
    """

    weight: float = 0.1
    """β; where it adapts, the first one."""
    reference: NetworkConfig = field(default_factory=MLP)
    """The reference: `Pretrained` where it was learnt before. A fresh network chooses nearly uniformly."""
    target: float | None = None
    """The KL of an episode, in nats, towards which β adapts, by 20% at most for as many episodes as `horizon` says;
    None for a β that stays. Ziegler et al. began at .15 and aimed at 6."""
    horizon: float = 10_000
    """Episodes in which β adapts."""
    limit: float = 20.0
    """Nats for each choice, on average, beyond which the run stops: so far away nothing is left of the reference."""

    def __post_init__(self) -> None:
        if self.target is not None and not self.target > 0:
            raise ValueError(f"target must be positive, in nats an episode, got {self.target}: try 6, or None")
        if not (self.horizon > 0 and self.limit > 0):
            raise ValueError(f"horizon and limit must be positive, got {self.horizon} and {self.limit}")

    def build(self, key: Key[Array, ""], spec: Spec) -> NearReference:
        heads = {"policy": policy_head(spec.action_space)}
        network = self.reference.build(key, spec.observation_space, heads)
        empty = None if spec.whole else initial_carries(network, spec.num_envs)
        weight = jnp.float32(self.weight)
        return NearReference(network, empty, empty, weight, weight, self.target, self.horizon, self.limit)


class NearReference(Relabel):
    """Takes off what leads away from a reference, whose memory follows the rows."""

    reference: Policy
    before: Carry | None
    """[B], the reference's memory before the newest rollout; None where each rollout begins all episodes anew."""
    after: Carry | None
    """[B], and before the next one."""
    weight: Float[Array, ""]
    """β, for the newest rollout."""
    next_weight: Float[Array, ""]
    """And for the next one, which what is seen now has adapted."""
    target: float | None = eqx.field(static=True)
    horizon: float = eqx.field(static=True)
    limit: float = eqx.field(static=True)

    @property
    def context(self) -> int | None:
        return self.reference.context

    @property
    def extras(self) -> tuple[str, ...]:
        return ("log_prob",)

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        return trajectory.steps.reward[1:] - self.weight * self._log_ratio(trajectory)

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[NearReference, Metrics]:
        after = self.after
        if after is not None:
            obs, first = tree.map(lambda x: x[:-1], (trajectory.steps.obs, trajectory.steps.first))
            after = vmap(self.reference.read, in_axes=(1, 1, 0))(obs, first, after)
        moved = replace(self, before=self.after, after=after, weight=self.next_weight)
        apart = moved._log_ratio(trajectory)
        episodes = (trajectory.transitions & trajectory.steps.last[1:]).sum()
        mean, whole = masked_mean(apart, trajectory.choices), apart.sum() / jnp.maximum(episodes, 1)
        if self.target is not None:
            error = jnp.clip(whole / self.target - 1, -0.2, 0.2)
            moved = replace(moved, next_weight=self.next_weight * (1 + error * episodes / self.horizon))
        within = jnp.where(mean <= self.limit, mean, jnp.inf)
        return moved, {"kl": within, "episode_kl": whole, "kl_weight": moved.weight}

    def objective(self, metrics: Metrics, before: Float[Array, ""] | None) -> Float[Array, ""] | None:
        """What was to be large, less the distance's cost to an episode."""
        return None if before is None else before - metrics["kl_weight"] * metrics["episode_kl"]

    def trouble(self, metric: str) -> str | None:
        if metric != "kl":
            return None
        return (
            f"what is learnt went further from its reference than {self.limit:g} nats a choice (the KL's limit), where "
            "nothing is left of what the reference knew: a larger weight or a target for it, a smaller learning rate "
            "or fewer epochs keep it near"
        )

    def _log_ratio(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        """Log π − log π_ref of what was chosen; 0 where there was nothing to choose."""
        steps = trajectory.steps
        # All rows, the last as well, as whatever else reads the rollout does: what is alike is computed once.
        heads = unroll_batch(self.reference, steps.obs, steps.first, self.before)
        policy, rows = tree.map(lambda x: x[:-1], (heads["policy"], steps))
        log_prob, _ = log_probs_and_entropies(policy, rows.legal, trajectory.action)
        apart = trajectory.extras["log_prob"] - log_prob
        return jnp.where(trajectory.choices, apart, 0.0)


@register
@dataclass(frozen=True)
class InTurn:
    """Several relabels, one after another: each judges what those before it have said.

    As a score of whole texts, from which `ReferenceKL` then takes what leads away from a reference.
    """

    relabels: tuple[RelabelConfig, ...] = ()
    """The settings of each, in order."""

    def recorded(self, folder: Path) -> InTurn:
        """As a run recorded it; see `as_recorded`."""
        return InTurn(tuple(as_recorded(each, folder) for each in self.relabels))

    def build(self, key: Key[Array, ""], spec: Spec) -> Successive:
        keys = jax.random.split(key, max(len(self.relabels), 1))
        return Successive(tuple(each.build(k, spec) for each, k in zip(self.relabels, keys, strict=False)))


class Successive(Relabel):
    """Relabels that stand one after another."""

    parts: tuple[Relabel, ...]

    @property
    def context(self) -> int | None:
        contexts = [part.context for part in self.parts]
        return None if None in contexts else max(contexts, default=0)  # pyright: ignore[reportArgumentType]

    @property
    def extras(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.parts for name in part.extras))

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        for part in self.parts:
            trajectory = trajectory.rewarded(part.reward)
        return trajectory.steps.reward[1:]

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[Successive, Metrics]:
        learnt, told = [], {}
        for part, k in zip(self.parts, jax.random.split(key, max(len(self.parts), 1)), strict=False):
            after, metrics = part.learn(trajectory, k)
            trajectory = trajectory.rewarded(after.reward)
            learnt.append(after)
            told |= metrics
        return Successive(tuple(learnt)), told

    def objective(self, metrics: Metrics, before: Float[Array, ""] | None) -> Float[Array, ""] | None:
        for part in self.parts:
            before = part.objective(metrics, before)
        return before

    def trouble(self, metric: str) -> str | None:
        return next(filter(None, (part.trouble(metric) for part in self.parts)), None)
