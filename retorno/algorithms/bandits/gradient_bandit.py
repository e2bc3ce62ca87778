"""The gradient bandit: preferences that climb the gradient of the expected reward.

Sutton & Barto 2018, section 2.8. With π the softmax of the preferences H,

    H(a) ← H(a) + α (R − R̄)(1[a = A] − π(a)),

which in expectation is the gradient of Σ π(a) q(a), whatever the baseline R̄. Each observation of a
finite space is a bandit of its own; what comes after a reward is not looked at.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import CategoricalHead, Table, TableNetwork, ValueHead, semi_gradient_step
from retorno.ops.bandits import preference_gradient
from retorno.ops.objectives import linear
from retorno.policies.schedules import StepSize, step_sizes


class GradientBanditLearner(NamedTuple):
    """Everything that changes while the gradient bandit learns."""

    network: TableNetwork
    """Heads "policy", the preferences, and "value", the mean reward R̄."""
    averaging: StepSize
    clock: Clock


@hyperparameters
class GradientBandit:
    """Gradient bandit (Sutton & Barto 2018, section 2.8). Actions: Discrete."""

    num_envs: Count = 1
    """Environments that act side by side; their rewards are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    step_size: NonNegative = 0.1
    """α"""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    baseline: bool = True
    """Compare rewards with their mean so far, this one included; without, with 0: same direction, more noise."""

    def init(self, key: Key[Array, ""], spec: Spec) -> GradientBanditLearner:
        actions = num_actions(spec.action_space, "the gradient bandit")
        heads = {"policy": CategoricalHead(actions), "value": ValueHead()}
        network = Table().build(key, spec.observation_space, heads)
        return GradientBanditLearner(network, step_sizes(None, spec, 1), Clock.start(spec.steps))

    def initial_carry(self, learner: GradientBanditLearner) -> Carry:
        return ()

    def act(
        self, learner: GradientBanditLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.network.step(row.obs, row.first, ())[0]["policy"].masked(row.legal).sample(key), (), carry

    def policy(self, learner: GradientBanditLearner) -> Policy:
        return learner.network

    def update(
        self, learner: GradientBanditLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[GradientBanditLearner, Metrics]:
        alpha = linear(self.step_size, self.step_size_end, learner.clock.progress)

        def learn(
            state: tuple[TableNetwork, StepSize], x: tuple[TimeStep, TimeStep, Array]
        ) -> tuple[tuple[TableNetwork, StepSize], Float[Array, ""]]:
            (network, averaging), (row, next_row, action) = state, x
            rate, averaging = averaging.next(None, None, row.obs, jnp.int32(0), learner.clock.progress, ~row.last)
            error = next_row.reward - network.step(row.obs, row.first, ())[0]["value"]
            network = semi_gradient_step(network, "value", row.obs, None, jnp.where(row.last, 0.0, rate * error))
            heads = network.step(row.obs, row.first, ())[0]
            advantage = next_row.reward - (heads["value"] if self.baseline else 0.0)
            direction = preference_gradient(heads["policy"].masked(row.legal).probs(), action, advantage)
            change = jnp.where(row.last, 0.0, alpha * direction)
            return (network.add("policy", row.obs, change), averaging), jnp.abs(error)

        state = (learner.network, learner.averaging)
        (network, averaging), errors = jax.lax.scan(learn, state, trajectory.rewarded(reward).in_order())
        counts = trajectory.transitions
        metrics = {"reward_error": (errors * counts.reshape(-1)).sum() / jnp.maximum(counts.sum(), 1)}
        return GradientBanditLearner(network, averaging, learner.clock.advance(trajectory)), metrics
