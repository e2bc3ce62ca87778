"""Deep Q-networks.

Mnih et al. 2015; double DQN: van Hasselt, Guez & Silver 2016. What we do differently: rows are
replayed from a ring that stores each observation once, and every period is counted in environment
steps. Over a `Table` with plain gradient steps, a replay of one transition and a target period of
1, this *is* Q-learning.
"""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.counter import Countdown
from retorno.core.hyperparameters import Count, Positive, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions, require_windows
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import MLP, ActionValueHead, Activation, NetworkConfig, require_no_context
from retorno.ops.objectives import huber, linear, masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.returns import double_q_learning_target, q_learning_target, td_error
from retorno.policies.greedy import EpsilonGreedyPolicy
from retorno.replay.ring import Replay, Transitions, empty_replay


class DQNLearner(NamedTuple):
    """Everything that changes while DQN learns."""

    network: Policy
    target: Policy
    optimiser: optax.OptState
    replay: Replay
    target_due: Countdown
    clock: Clock


@hyperparameters
class DQN:
    """Deep Q-network (Mnih et al. 2015), double (van Hasselt et al. 2016) by default. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"batch_size": 4, "capacity": 64, "learning_starts": 8, "target_period": 16}

    SMALL: ClassVar[dict[str, Any]] = {"batch_size": 4, "capacity": 64, "learning_starts": 8, "target_period": 16}
    network: NetworkConfig = field(
        default_factory=lambda: MLP(hidden=(64, 64), activation=Activation.relu, orthogonal=False)
    )
    """The action values' network."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 4
    """Interactions of each environment between two updates."""
    gradient_steps: Count = 1
    """Gradient steps in each update."""
    batch_size: Count = 32
    """Transitions in each gradient step."""
    capacity: Count = 100_000
    """Transitions that the replay holds."""
    learning_starts: Whole = 1_000
    """Environment steps before the first gradient step."""
    target_period: Count = 1_000
    """Environment steps between two copies of the network to the target."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-4, max_gradient_norm=10.0))
    """How a gradient becomes a step."""
    discount: UnitInterval = 0.99
    """γ"""
    epsilon: UnitInterval = 1.0
    """Probability of a random action at the start."""
    epsilon_end: UnitInterval = 0.05
    """Probability of a random action after `exploration_fraction`."""
    exploration_fraction: UnitInterval = 0.1
    """The share of the run in which ε falls, in a straight line."""
    double: bool = True
    """Let the online network choose the action that the target network judges."""
    huber: Positive = 1.0
    """Errors beyond this size count linearly; inf for half the square."""

    def init(self, key: Key[Array, ""], spec: Spec) -> DQNLearner:
        actions = num_actions(spec.action_space, "DQN")
        require_windows(spec, "DQN")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        return DQNLearner(
            network=require_no_context(network, "DQN"),
            target=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            replay=empty_replay(spec.row, jnp.int32(0), spec.num_envs, self.capacity, self.rollout),
            target_due=Countdown.start(self.target_period),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: DQNLearner) -> Carry:
        return ()

    def act(
        self, learner: DQNLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        progress, share = learner.clock.progress, self.exploration_fraction
        explored = jnp.where(progress < share, progress / jnp.maximum(share, 1e-9), 1.0)
        epsilon = linear(self.epsilon, self.epsilon_end, explored)
        heads, carry = EpsilonGreedyPolicy(learner.network, epsilon).step(row.obs, row.first, carry)
        return heads["policy"].masked(row.legal).sample(key), (), carry

    def policy(self, learner: DQNLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: DQNLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[DQNLearner, Metrics]:
        clock = learner.clock.advance(trajectory)
        replay = learner.replay.add(trajectory)
        due, countdown = learner.target_due.advance(trajectory.transitions.sum(), self.target_period)
        target = jax.tree.map(lambda new, old: jnp.where(due, new, old), learner.network, learner.target)
        keys = jax.random.split(key, self.gradient_steps)
        step = partial(self._gradient_step, target, replay, reward, clock)
        learn = lambda state: jax.lax.scan(step, state, keys)  # noqa: E731
        wait = lambda state: (state, jnp.zeros((self.gradient_steps, 2)))  # noqa: E731
        # The replay is only read in there: what a branch gives back may be copied.
        state = (learner.network, learner.optimiser)
        (network, optimiser), metrics = jax.lax.cond(clock.step.reaches(self.learning_starts), learn, wait, state)
        loss, q = metrics.mean(0)
        return DQNLearner(network, target, optimiser, replay, countdown, clock), {"loss": loss, "q": q}

    def _gradient_step(
        self,
        target: Policy,
        replay: Replay,
        reward: Reward,
        clock: Clock,
        state: tuple[Policy, optax.OptState],
        key: Key[Array, ""],
    ) -> tuple[tuple[Policy, optax.OptState], Float[Array, " 2"]]:
        network, optimiser = state
        batch = replay.sample(key, self.batch_size).rewarded(reward)
        (loss, q), gradient = jax.value_and_grad(self._loss, has_aux=True)(network, target, batch)
        return descend(self.optimiser, network, gradient, optimiser, clock.progress), jnp.stack([loss, q])

    def _loss(self, network: Policy, target: Policy, batch: Transitions) -> tuple[Float[Array, ""], Float[Array, ""]]:
        def values(of: Policy, row: TimeStep) -> Float[Array, " A"]:
            return of.step(row.obs, row.first, ())[0]["q"]

        def error(row: TimeStep, action: Array, next_row: TimeStep) -> tuple[Array, Array]:
            q, next_q = values(network, row), values(target, next_row)
            discount = self.discount * next_row.discount
            if self.double:
                choosing = values(network, next_row)
                y = double_q_learning_target(next_row.reward, discount, choosing, next_q, next_row.legal)
            else:
                y = q_learning_target(next_row.reward, discount, next_q, next_row.legal)
            return td_error(q, action, jax.lax.stop_gradient(y)), q[action]

        errors, q = jax.vmap(error)(batch.row, batch.action, batch.next_row)
        losses = jax.vmap(lambda e: huber(e, self.huber))(errors)
        return masked_mean(losses, batch.counts), masked_mean(q, batch.counts)
