"""Deep Q-networks.

Mnih et al. 2015; double DQN: van Hasselt, Guez & Silver 2016; n-step returns and prioritised replay
as in Hessel et al. 2018; networks with a memory learn from replayed sequences as in Kapturowski et
al. 2019. What we do differently: windows of rows are replayed from a ring that stores each observation
once, and every period is counted in environment steps. Over a `Table` with plain gradient steps, a
replay of one transition and a target period of 1, this *is* Q-learning.
"""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.counter import Countdown
from retorno.core.hyperparameters import Count, Positive, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec, num_actions, require_windows
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import MLP, ActionValueHead, Activation, NetworkConfig
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.ops.objectives import huber, linear, masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.returns import double_value, greedy_value, n_step_returns, td_error
from retorno.policies.greedy import EpsilonGreedyPolicy
from retorno.replay import Replay, ReplayConfig, UniformReplay, Window, ring, sequence_priority


class DQNLearner(NamedTuple):
    """Everything that changes while DQN learns."""

    network: Policy
    target: Policy
    observations: ObservationNormaliser | None
    """Of the rows lived so far. The replay holds rows raw: they are normalised when they are read, as of today."""
    optimiser: optax.OptState
    replay: Replay
    target_due: Countdown
    clock: Clock


@hyperparameters
class DQN:
    """Deep Q-network (Mnih et al. 2015), double (van Hasselt et al. 2016) by default. Actions: Discrete."""

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
    """Windows in each gradient step."""
    n: Count = 1
    """Rewards in a return before it goes on from an estimate."""
    length: Count = 1
    """Rows of a window that are learnt from: for a network with a memory more than one."""
    burn_in: Whole = 0
    """Rows before a window that a network with a memory reads first, without learning from them."""
    stored_carry: bool = True
    """Keep the memory beside each row for a window to begin with; else it begins with an empty one."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which windows are drawn."""
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
    normalise_observations: bool = False
    """Standardise Box observations by their running mean and variance."""

    def init(self, key: Key[Array, ""], spec: Spec) -> DQNLearner:
        actions = num_actions(spec.action_space, "DQN")
        require_windows(spec, "DQN")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        rows = ring(
            spec.row,
            jnp.int32(0),
            num_envs=spec.num_envs,
            capacity=self.capacity,
            rollout=self.rollout,
            extras=self._kept(network, spec),
            length=self.length + self.n - 1,
            context=self.burn_in if network.context is None else network.context,
        )
        return DQNLearner(
            network=network,
            target=network,
            observations=ObservationNormaliser.start(spec.observation_space) if self.normalise_observations else None,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            replay=self.replay.over(rows),
            target_due=Countdown.start(self.target_period),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: DQNLearner) -> Carry:
        return learner.network.initial_carry()

    def act(
        self, learner: DQNLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        progress, share = learner.clock.progress, self.exploration_fraction
        explored = jnp.where(progress < share, progress / jnp.maximum(share, 1e-9), 1.0)
        epsilon = linear(self.epsilon, self.epsilon_end, explored)
        network = normalised(learner.network, learner.observations)
        heads, after = EpsilonGreedyPolicy(network, epsilon).step(row.obs, row.first, carry)
        policy = heads["policy"].masked(row.legal)
        action = policy.sample(key)
        extras = {"carry": carry, "log_prob": policy.log_prob(action)}
        return action, {name: extras[name] for name in learner.replay.ring.extras}, after

    def policy(self, learner: DQNLearner) -> Policy:
        return EpsilonGreedyPolicy(normalised(learner.network, learner.observations), jnp.float32(0))

    def update(
        self, learner: DQNLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[DQNLearner, Metrics]:
        clock = learner.clock.advance(trajectory)
        due, countdown = learner.target_due.advance(trajectory.transitions.sum(), self.target_period)
        normaliser = learner.observations
        if normaliser is not None:
            normaliser = normaliser.update(jax.tree.map(lambda x: x[:-1], trajectory.steps.obs))
        learner = learner._replace(
            observations=normaliser,
            target=jax.tree.map(lambda new, old: jnp.where(due, new, old), learner.network, learner.target),
            replay=learner.replay.add(trajectory),
            target_due=countdown,
            clock=clock,
        )
        keys = jax.random.split(key, self.gradient_steps)

        def step(i: Array, state: tuple[DQNLearner, Metrics]) -> tuple[DQNLearner, Metrics]:
            learner, metrics = self._gradient_step(state[0], reward, keys[i])
            return learner, jax.tree.map(lambda total, x: total + x / self.gradient_steps, state[1], metrics)

        # A loop of no turns rather than a branch: what a branch gives back, the replay among it, would be copied.
        steps = jnp.where(clock.step.reaches(self.learning_starts), self.gradient_steps, 0)
        return jax.lax.fori_loop(0, steps, step, (learner, {"loss": jnp.float32(0), "q": jnp.float32(0)}))

    def _kept(self, network: Policy, spec: Spec) -> dict[str, PyTree[Any]]:
        """What is kept beside an action, of one row: a relabel's extras, and a memory that only living could tell."""
        carry = {"carry": network.initial_carry()} if network.context is None and self.stored_carry else {}
        asked = () if spec.relabel is None else spec.relabel.extras
        return carry | ({"log_prob": jnp.float32(0)} if "log_prob" in asked else {})

    def _gradient_step(self, learner: DQNLearner, reward: Reward, key: Key[Array, ""]) -> tuple[DQNLearner, Metrics]:
        progress = learner.clock.progress
        window = learner.replay.sample(key, self.batch_size, progress)
        sees = partial(normalised, normaliser=learner.observations)
        loss = lambda network: self._loss(sees(network), sees(learner.target), window, reward)  # noqa: E731
        (_, (metrics, priority)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.network)
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        replay = learner.replay.update(window.index, priority)
        return learner._replace(network=network, optimiser=optimiser, replay=replay), metrics

    def _loss(
        self, network: Policy, target: Policy, window: Window, reward: Reward
    ) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " N"]]]:
        """The windows' mean loss; metrics, and how much there was to learn from each."""
        steps, action, *_ = window.trajectory
        learnt = slice(0, self.length)
        each = lambda f, *x: jax.vmap(jax.vmap(f))(*x)  # noqa: E731
        each_window = lambda f, *x: jax.vmap(f, in_axes=1, out_axes=-1)(*x)  # noqa: E731

        def next_values(of: Policy) -> Float[Array, "T N A"]:
            """The action values of rows 1 … T, in the memory of all rows before them."""
            carry = jax.vmap(of.read, (1, 1, 0))(*_rows(steps, slice(0, 1)), window.carry(of))
            return unroll_batch(of, *_rows(steps, slice(1, None)), carry)["q"]

        q = unroll_batch(network, *_rows(steps, learnt), window.carry(network))["q"]
        next_q, legal = next_values(target), jax.tree.map(lambda x: x[1:], steps.legal)
        if self.double:
            next_value = each(double_value, next_values(network), next_q, legal)
        else:
            next_value = each(greedy_value, next_q, legal)
        y = each_window(
            partial(n_step_returns, n=self.n),
            reward(window.trajectory),
            self.discount * steps.discount[1:],
            next_value,
            steps.last[1:],
        )
        error = each(td_error, q, action[learnt], jax.lax.stop_gradient(y[learnt]))
        losses = window.weight * each(lambda e: huber(e, self.huber), error)
        valid = window.trajectory.transitions[learnt]
        loss, taken = masked_mean(losses, valid), each(lambda q, a: q[a], q, action[learnt])
        return loss, ({"loss": loss, "q": masked_mean(taken, valid)}, each_window(sequence_priority, error, valid))


def _rows(steps: TimeStep, which: slice) -> tuple[PyTree[Any], Bool[Array, "T N"]]:
    """What a network is told of some rows: what is observed, and whether an episode begins."""
    return jax.tree.map(lambda x: x[which], (steps.obs, steps.first))
