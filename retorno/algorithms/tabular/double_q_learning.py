"""Double Q-learning: one table chooses what is best next, the other says what that is worth.

van Hasselt 2010; Sutton & Barto 2018, section 6.7. A maximum over noisy values is too high, because the
noise is chosen with it; of two tables that learn from different steps neither knows the other's
noise. Behaviour follows the mean of both.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Heads, Metrics, Policy, Reward, WithoutMemory
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import ActionValueHead, Head, NetworkConfig, Table, require_no_context, semi_gradient_step
from retorno.ops.returns import double_q_learning_target, td_error
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore
from retorno.policies.schedules import StepSize, step_sizes


class MeanValues(WithoutMemory):
    """Two networks as one: the mean of their action values."""

    first: Policy
    second: Policy

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        one, other = (network.step(obs, first, ())[0]["q"] for network in (self.first, self.second))
        return {"q": (one + other) / 2}, ()


class DoubleQLearner(NamedTuple):
    """Everything that changes while double Q-learning learns."""

    network: Policy
    step_size: StepSize
    twin: Policy
    """The second of the two."""
    twin_step_size: StepSize
    explorer: Explorer
    clock: Clock


@hyperparameters
class DoubleQLearning:
    """Double Q-learning (van Hasselt 2010): no maximum over its own noise. Actions: Discrete."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held, twice."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates; 1 learns from each before the next is chosen."""
    step_size: NonNegative | None = 0.1
    """α; None for 1/n at the nth time that a pair is learnt by the same network."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""

    def init(self, key: Key[Array, ""], spec: Spec) -> DoubleQLearner:
        actions = num_actions(spec.action_space, "double Q-learning")
        first_key, second_key = jax.random.split(key)
        heads: dict[str, Head] = {"q": ActionValueHead(actions)}
        network = self.network.build(first_key, spec.observation_space, heads)
        return DoubleQLearner(
            network=require_no_context(network, "double Q-learning"),
            step_size=step_sizes(self.step_size, spec, actions),
            twin=self.network.build(second_key, spec.observation_space, heads),
            twin_step_size=step_sizes(self.step_size, spec, actions),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: DoubleQLearner) -> Carry:
        return ()

    def act(
        self, learner: DoubleQLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        both = MeanValues(learner.network, learner.twin)
        return explore(both, self.exploration, learner.explorer, row, learner.clock.progress, key), (), carry

    def policy(self, learner: DoubleQLearner) -> Policy:
        return EpsilonGreedyPolicy(MeanValues(learner.network, learner.twin), jnp.float32(0))

    def update(
        self, learner: DoubleQLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[DoubleQLearner, Metrics]:
        counts, progress = trajectory.transitions, learner.clock.progress

        def learn(state: Any, x: tuple[TimeStep, TimeStep, Array, Array]) -> tuple[Any, Float[Array, ""]]:
            row, next_row, action, second = x
            discount = self.discount * next_row.discount
            q = [network.step(row.obs, row.first, ())[0]["q"] for network, _ in state]
            next_q = [network.step(next_row.obs, next_row.first, ())[0]["q"] for network, _ in state]
            learnt, errors = [], []
            for i, (network, step_size) in enumerate(state):
                target = double_q_learning_target(next_row.reward, discount, next_q[i], next_q[1 - i], next_row.legal)
                # The coin says which of the two learns; from a reset, which is no transition, neither does.
                turn = (second == (i == 1)) & ~row.last
                error = jnp.where(turn, td_error(q[i], action, target), 0.0)
                alpha, step_size = step_size.next(self.step_size, self.step_size_end, row.obs, action, progress, turn)
                learnt.append((semi_gradient_step(network, "q", row.obs, action, alpha * error), step_size))
                errors.append(jnp.abs(error))
            return tuple(learnt), errors[0] + errors[1]

        transitions = (*trajectory.rewarded(reward).in_order(), jax.random.bernoulli(key, 0.5, (counts.size,)))
        state = ((learner.network, learner.step_size), (learner.twin, learner.twin_step_size))
        ((network, step_size), (twin, twin_step_size)), errors = jax.lax.scan(learn, state, transitions)
        metrics = {"td_error": errors.sum() / jnp.maximum(counts.sum(), 1)}
        explorer, clock = learner.explorer.update(trajectory), learner.clock.advance(trajectory)
        return DoubleQLearner(network, step_size, twin, twin_step_size, explorer, clock), metrics
