"""LinUCB: rewards that are linear in what is seen, and the arm whose upper confidence bound is highest.

Li, Chu, Langford & Schapire 2010, "A contextual-bandit approach to personalized news article
recommendation", algorithm 1 (disjoint linear models): a ridge regression for each arm, whose inverse
matrix moves by one rank a pull. Over a finite space observations are one-hot, so it is UCB on a table.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, Positive, hyperparameters
from retorno.core.policy import Carry, Heads, Metrics, Policy, Reward, WithoutMemory
from retorno.core.spaces import HashableSpace, Spec, encode, num_actions, width
from retorno.core.time_step import TimeStep, Trajectory
from retorno.ops.bandits import add_to_inverse, confidence_bound
from retorno.ops.distributions import EpsilonGreedy
from retorno.policies import EpsilonGreedyPolicy


class Ridge(WithoutMemory):
    """A ridge regression of each arm's reward: the head "q" is θ̂·x with θ̂ = A⁻¹ b."""

    inverse: Float[Array, "A d d"]
    target: Float[Array, "A d"]
    """b"""
    observed: HashableSpace = eqx.field(static=True)

    def weights(self) -> Float[Array, "A d"]:
        """θ̂ of each arm."""
        return jnp.einsum("aij,aj->ai", self.inverse, self.target)

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        return {"q": self.weights() @ encode(self.observed.space, obs)}, ()


class LinUCBLearner(NamedTuple):
    """Everything that changes while LinUCB learns."""

    network: Ridge


@hyperparameters
class LinUCB:
    """LinUCB (Li, Chu, Langford & Schapire 2010). Actions: Discrete."""

    NAME: ClassVar[str] = "linucb"

    num_envs: Count = 1
    """Environments that act side by side; their rewards are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    confidence: NonNegative = 1.0
    """α: how many standard deviations the bound lies above the estimate, in units of the rewards' noise."""
    ridge: Positive = 1.0
    """λ: how strongly weights are drawn to 0."""

    def init(self, key: Key[Array, ""], spec: Spec) -> LinUCBLearner:
        actions, size = num_actions(spec.action_space, "LinUCB"), width(spec.observation_space)
        inverse = jnp.broadcast_to(jnp.eye(size) / self.ridge, (actions, size, size))
        return LinUCBLearner(Ridge(inverse, jnp.zeros((actions, size)), HashableSpace(spec.observation_space)))

    def initial_carry(self, learner: LinUCBLearner) -> Carry:
        return ()

    def act(
        self, learner: LinUCBLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        x = encode(learner.network.observed.space, row.obs)
        bound = jax.vmap(lambda mean, inverse: confidence_bound(x, mean, inverse, self.confidence))(
            learner.network.weights(), learner.network.inverse
        )
        return EpsilonGreedy(bound, jnp.float32(0)).masked(row.legal).sample(key), (), carry

    def policy(self, learner: LinUCBLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: LinUCBLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[LinUCBLearner, Metrics]:
        def learn(network: Ridge, x: tuple[TimeStep, TimeStep, Array]) -> tuple[Ridge, Float[Array, ""]]:
            row, next_row, action = x
            error = next_row.reward - network.step(row.obs, row.first, ())[0]["q"][action]
            # A reset is no pull: a context of zeros says nothing.
            seen = jnp.where(row.last, 0.0, encode(network.observed.space, row.obs))
            inverse = network.inverse.at[action].set(add_to_inverse(network.inverse[action], seen))
            target = network.target.at[action].add(next_row.reward * seen)
            return Ridge(inverse, target, network.observed), jnp.where(row.last, 0.0, jnp.abs(error))

        network, errors = jax.lax.scan(learn, learner.network, trajectory.rewarded(reward).in_order())
        metrics = {"reward_error": errors.sum() / jnp.maximum(trajectory.transitions.sum(), 1)}
        return LinUCBLearner(network), metrics
