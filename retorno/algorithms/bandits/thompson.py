"""Thompson sampling: draw what each arm may be worth from what is believed of it, and take the best draw.

Thompson 1933; Russo, Van Roy, Kazerouni, Osband & Wen 2018, "A tutorial on Thompson sampling". An arm is
drawn as best exactly as often as it is believed to be the best, so nothing has to be tuned. Each
observation of a finite space is a bandit of its own; what comes after a reward is not looked at.

Both beliefs are a mean that moves to each reward by 1/(strength + 1), where `strength` counts the
pulls and what the prior is worth in pulls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, Positive, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.scalar import Scalar
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import TimeStep, Trajectory
from retorno.networks import ActionValueHead, Table, TableNetwork, semi_gradient_step
from retorno.ops.distributions import EpsilonGreedy
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.schedules import Visits, visits


class Beliefs(NamedTuple):
    """Everything that changes while Thompson sampling learns."""

    network: TableNetwork
    """The head "q": what each arm is worth on average, as is believed."""
    visited: Visits


def _beliefs(mean: Scalar, spec: Spec, key: Key[Array, ""]) -> Beliefs:
    """Before the first pull."""
    actions = num_actions(spec.action_space, "Thompson sampling")
    network = Table(mean).build(key, spec.observation_space, {"q": ActionValueHead(actions)})  # type: ignore[arg-type]
    return Beliefs(network, visits(spec, actions))


def _learn(
    learner: Beliefs,
    trajectory: Trajectory,
    prior: Scalar,
    keys: Key[Array, " N"],
    seen: Callable[[Float[Array, ""], Key[Array, ""]], Float[Array, ""]],
) -> tuple[Beliefs, Metrics]:
    """Move each mean to what was `seen` of each reward."""

    def learn(
        state: Beliefs, x: tuple[tuple[TimeStep, TimeStep, Array], Key[Array, ""]]
    ) -> tuple[Beliefs, Float[Array, ""]]:
        (network, visited), ((row, next_row, action), key) = state, x
        error = seen(next_row.reward, key) - network.step(row.obs, row.first, ())[0]["q"][action]
        strength = prior + visited.at(row.obs)[action]
        network = semi_gradient_step(network, "q", row.obs, action, jnp.where(row.last, 0.0, error / (strength + 1)))
        return Beliefs(network, visited.add(row.obs, action, ~row.last)), jnp.where(row.last, 0.0, jnp.abs(error))

    learner, errors = jax.lax.scan(learn, learner, (trajectory.in_order(), keys))
    return learner, {"reward_error": errors.sum() / jnp.maximum(trajectory.transitions.sum(), 1)}


@hyperparameters
class GaussianThompson:
    """Thompson sampling for rewards N(mean, σ²) with a normal prior (Russo et al. 2018). Actions: Discrete."""

    NAME: ClassVar[str] = "thompson_gaussian"

    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    prior_mean: float = 0.0
    """What an arm is believed to be worth before the first pull."""
    prior_deviation: Positive = 1.0
    """Standard deviation of that belief."""
    deviation: Positive = 1.0
    """σ, the standard deviation of an arm's rewards, which is taken as known."""

    @property
    def _prior(self) -> Scalar:
        """What the prior is worth in pulls."""
        return (self.deviation / self.prior_deviation) ** 2

    def init(self, key: Key[Array, ""], spec: Spec) -> Beliefs:
        return _beliefs(self.prior_mean, spec, key)

    def initial_carry(self, learner: Beliefs) -> Carry:
        return ()

    def act(self, learner: Beliefs, row: TimeStep, carry: Carry, key: Key[Array, ""]) -> tuple[Any, PyTree[Any], Carry]:
        mean = learner.network.step(row.obs, row.first, ())[0]["q"]
        deviation = self.deviation / jnp.sqrt(self._prior + learner.visited.at(row.obs))
        drawn = mean + deviation * jax.random.normal(key, mean.shape)
        return EpsilonGreedy(drawn, jnp.float32(0)).masked(row.legal).mode(), (), carry

    def policy(self, learner: Beliefs) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: Beliefs, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[Beliefs, Metrics]:
        keys = jax.random.split(key, trajectory.transitions.size)
        return _learn(learner, trajectory.rewarded(reward), self._prior, keys, lambda reward, key: reward)


@hyperparameters
class BernoulliThompson:
    """Thompson sampling for rewards of 1 or 0 with a beta prior (Thompson 1933). Actions: Discrete."""

    NAME: ClassVar[str] = "thompson_bernoulli"

    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    successes: Positive = 1.0
    """α of the prior: pulls that are imagined to have paid before the first; 1 and 1 is a uniform belief."""
    failures: Positive = 1.0
    """β of the prior: those imagined to have paid nothing."""
    lowest: float = 0.0
    """The reward that counts as nothing."""
    highest: float = 1.0
    """The reward that counts as 1; one between is taken for 1 as often as it is near it (Agrawal & Goyal 2012)."""

    def __post_init__(self) -> None:
        if not self.lowest < self.highest:
            raise ValueError(f"rewards lie between two numbers, got lowest={self.lowest} and highest={self.highest}")

    @property
    def _prior(self) -> Scalar:
        """What the prior is worth in pulls."""
        return self.successes + self.failures

    def init(self, key: Key[Array, ""], spec: Spec) -> Beliefs:
        chance = self.successes / self._prior
        return _beliefs(self.lowest + chance * (self.highest - self.lowest), spec, key)

    def initial_carry(self, learner: Beliefs) -> Carry:
        return ()

    def act(self, learner: Beliefs, row: TimeStep, carry: Carry, key: Key[Array, ""]) -> tuple[Any, PyTree[Any], Carry]:
        mean = learner.network.step(row.obs, row.first, ())[0]["q"]
        strength = self._prior + learner.visited.at(row.obs)
        # Rounding must not take the belief's last doubt.
        chance = jnp.clip((mean - self.lowest) / (self.highest - self.lowest), 1e-6, 1 - 1e-6)
        drawn = jax.random.beta(key, chance * strength, (1 - chance) * strength)
        return EpsilonGreedy(drawn, jnp.float32(0)).masked(row.legal).mode(), (), carry

    def policy(self, learner: Beliefs) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: Beliefs, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[Beliefs, Metrics]:
        scale = self.highest - self.lowest

        def seen(reward: Float[Array, ""], key: Key[Array, ""]) -> Float[Array, ""]:
            return self.lowest + scale * jax.random.bernoulli(key, (reward - self.lowest) / scale)

        return _learn(
            learner, trajectory.rewarded(reward), self._prior, jax.random.split(key, trajectory.transitions.size), seen
        )
