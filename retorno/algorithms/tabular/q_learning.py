"""Q-learning: learn the best action values from whatever was done.

Watkins 1989; Sutton & Barto 2018, section 6.5. Over a table it is the textbook's method; over a
network the same line moves the parameters along ∇q (semi-gradient, without replay or target).
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Between, Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import ActionValueHead, NetworkConfig, Table, require_no_context, semi_gradient_step
from retorno.ops.returns import q_learning_target, td_error
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore
from retorno.policies.schedules import StepSize, step_sizes


class QLearner(NamedTuple):
    """Everything that changes while Q-learning learns."""

    network: Policy
    step_size: StepSize
    explorer: Explorer
    clock: Clock


@hyperparameters
class QLearning:
    """Q-learning (Watkins 1989). Actions: Discrete."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates; 1 learns from each before the next is chosen."""
    step_size: Annotated[NonNegative | None, Between(0.01, 1.0, log=True)] = 0.1
    """α; None for 1/n at the nth visit of a pair, which makes the value the average of its targets."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""

    def init(self, key: Key[Array, ""], spec: Spec) -> QLearner:
        actions = num_actions(spec.action_space, "Q-learning")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        return QLearner(
            network=require_no_context(network, "Q-learning"),
            step_size=step_sizes(self.step_size, spec, actions),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: QLearner) -> Carry:
        return ()

    def act(
        self, learner: QLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return explore(learner.network, self.exploration, learner.explorer, row, learner.clock.progress, key), (), carry

    def policy(self, learner: QLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: QLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[QLearner, Metrics]:
        counts, progress = trajectory.transitions, learner.clock.progress

        def learn(
            state: tuple[Policy, StepSize], x: tuple[TimeStep, TimeStep, Array]
        ) -> tuple[tuple[Policy, StepSize], Float[Array, ""]]:
            (network, step_size), (row, next_row, action) = state, x
            q, next_q = (network.step(r.obs, r.first, ())[0]["q"] for r in (row, next_row))
            target = q_learning_target(next_row.reward, self.discount * next_row.discount, next_q, next_row.legal)
            # A reset is no transition: nothing is learnt from it.
            error = jnp.where(row.last, 0.0, td_error(q, action, target))
            alpha, step_size = step_size.next(self.step_size, self.step_size_end, row.obs, action, progress, ~row.last)
            return (semi_gradient_step(network, "q", row.obs, action, alpha * error), step_size), jnp.abs(error)

        (network, step_size), errors = jax.lax.scan(
            learn, (learner.network, learner.step_size), trajectory.rewarded(reward).in_order()
        )
        metrics = {"td_error": errors.sum() / jnp.maximum(counts.sum(), 1)}
        explorer = learner.explorer.update(trajectory)
        return QLearner(network, step_size, explorer, learner.clock.advance(trajectory)), metrics
