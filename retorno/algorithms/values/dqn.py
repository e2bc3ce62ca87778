"""Deep Q-networks, and all that was added to them.

Mnih et al. 2015; double DQN: van Hasselt, Guez & Silver 2016; duelling streams: Wang et al. 2016; noise on weights:
Fortunato et al. 2018; distributions of the return: Bellemare et al. 2017 (C51), Dabney et al. 2018 (QR-DQN, IQN);
n-step returns, prioritised replay and all together as in Hessel et al. 2018 (Rainbow); networks with a memory learn
from replayed sequences as in Kapturowski et al. 2019 (R2D2). Each is a setting of its own, and the presets are some
settings together. What we do differently: windows of rows are replayed from a ring that stores each observation once,
and every period is counted in environment steps. Over a `Table` with plain gradient steps, a replay of one transition
and a target period of 1, this *is* Q-learning.
"""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.counter import Countdown
from retorno.core.hyperparameters import (
    Among,
    BatchSize,
    Between,
    Count,
    Discount,
    Positive,
    UnitInterval,
    Whole,
    hyperparameters,
    preset,
)
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec, num_actions, require_windows
from retorno.core.time_step import Clock, TimeStep, Trajectory, allowed
from retorno.networks import GRU, MLP, Activation, NetworkConfig
from retorno.networks.chance import drawn
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.networks.returns import (
    Categorical,
    Duelling,
    ImplicitQuantiles,
    Mean,
    QuantileRegression,
    Returns,
    with_noise,
)
from retorno.ops.estimates import Estimate, estimate, squashed, stretched
from retorno.ops.objectives import linear, masked_mean
from retorno.ops.optimisers import Adam, Optimiser, averaging_step, descend, polyak
from retorno.ops.returns import n_step_returns
from retorno.policies.greedy import EpsilonGreedyPolicy
from retorno.replay import Proportional, Replay, ReplayConfig, UniformReplay, Window, ring, sequence_priority
from retorno.replay.learning import gradient_steps, next_heads, recorded


class DQNLearner(NamedTuple):
    """Everything that changes while DQN learns."""

    network: Policy
    target: Policy
    average: Policy | None
    """The network with its weights averaged over what was lived lately; None where none is asked for."""
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
    returns: Returns = field(default_factory=Mean)
    """What is learnt of the return after each action: its mean, or its distribution."""
    duelling: Whole = 0
    """Units of the hidden layer of two streams, of what all actions share and of what each adds; 0 for one layer."""
    noisy: bool = False
    """Explore by noise on the weights of all layers but the first, whose size is learnt."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 4
    """Interactions of each environment between two updates."""
    gradient_steps: Count = 1
    """Gradient steps in each update."""
    batch_size: BatchSize = 32
    """Windows in each gradient step."""
    n: Annotated[Count, Among((1, 3, 5))] = 1
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
    target_period: Annotated[Count, Between(10, 10_000, log=True)] = 1_000
    """Environment steps between two copies of the network to the target."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-4, max_gradient_norm=10.0))
    """How a gradient becomes a step."""
    discount: Discount = 0.99
    """γ"""
    epsilon: UnitInterval = 1.0
    """Probability of a random action at the start."""
    epsilon_end: Annotated[UnitInterval, Between(0.01, 0.2)] = 0.05
    """Probability of a random action after `exploration_fraction`."""
    exploration_fraction: Annotated[UnitInterval, Between(0.05, 0.5)] = 0.1
    """The share of the run in which ε falls, in a straight line."""
    double: bool = True
    """Let the online network choose the action that the target network judges."""
    huber: Positive = 1.0
    """Errors beyond this size count linearly; inf for half the square. Of categorical returns there are none."""
    squash: bool = False
    """Learn returns squashed, near ±√, so that one step size fits small and large ones."""
    average: UnitInterval | None = 0.1
    """The policy after training has weights averaged over about this last share of what was lived: the newest ones
    swing between good policies and bad ones. None for these."""
    normalise_observations: bool = False
    """Standardise Box observations by their running mean and variance."""

    def init(self, key: Key[Array, ""], spec: Spec) -> DQNLearner:
        actions = num_actions(spec.action_space, "DQN")
        require_windows(spec, "DQN")
        head = self.returns.head(actions)
        heads = {"q": Duelling(head, actions, self.duelling) if self.duelling else head}
        network = self.network.build(key, spec.observation_space, heads)
        network = with_noise(network) if self.noisy else network
        rows = ring(
            spec.row,
            jnp.int32(0),
            num_envs=spec.num_envs,
            capacity=self.capacity,
            rollout=self.rollout,
            extras=recorded(network, spec, self.stored_carry),
            length=self.length + self.n - 1,
            learnt=range(self.length),
            context=self.burn_in if network.context is None else network.context,
        )
        return DQNLearner(
            network=network,
            target=network,
            average=None if self.average is None else network,
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
        network = learner.network
        if self.noisy:
            network = drawn(network, jax.random.fold_in(key, 1))
        heads, after = EpsilonGreedyPolicy(normalised(network, learner.observations), epsilon).step(
            row.obs, row.first, carry
        )
        policy = heads["policy"].masked(row.legal)
        action = policy.sample(key)
        extras = {"carry": carry, "log_prob": policy.log_prob(action)}
        return action, {name: extras[name] for name in learner.replay.ring.extras}, after

    def policy(self, learner: DQNLearner) -> Policy:
        network = learner.network if learner.average is None else learner.average
        return EpsilonGreedyPolicy(normalised(network, learner.observations), jnp.float32(0))

    def update(
        self, learner: DQNLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[DQNLearner, Metrics]:
        clock = learner.clock.advance(trajectory)
        lived = trajectory.transitions.sum()
        due, countdown = learner.target_due.advance(lived, self.target_period)
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
        step = lambda learner, key: self._gradient_step(learner, reward, key)  # noqa: E731
        ready = clock.step.reaches(self.learning_starts)
        learner, metrics = gradient_steps(step, learner, self.gradient_steps, ready, key)
        if learner.average is not None and self.average is not None:
            follow = averaging_step(lived.astype(jnp.float32), clock.step.size, self.average)
            learner = learner._replace(average=polyak(learner.average, learner.network, follow))
        return learner, metrics

    def _gradient_step(self, learner: DQNLearner, reward: Reward, key: Key[Array, ""]) -> tuple[DQNLearner, Metrics]:
        progress = learner.clock.progress
        for_window, for_network, for_target, for_choice = jax.random.split(key, 4)
        window = learner.replay.sample(for_window, self.batch_size, progress)
        sees = lambda network, key: normalised(drawn(network, key), learner.observations)  # noqa: E731
        target = self._target(
            sees(learner.target, for_target), sees(learner.network, for_choice), window, reward(window.trajectory)
        )
        loss = lambda network: self._loss(sees(network, for_network), window, *target)  # noqa: E731
        (_, (metrics, priority)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.network)
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        replay = learner.replay.update(window.index, priority)
        return learner._replace(network=network, optimiser=optimiser, replay=replay), metrics

    def _target(
        self, target: Policy, online: Policy, window: Window, reward: Float[Array, "T N"]
    ) -> tuple[Float[Array, "L N M"], Float[Array, "L N M"]]:
        """Where the returns of the windows' transitions lie, as M atoms, and how likely each is."""
        steps = window.trajectory.steps

        def after(policy: Policy) -> Estimate:
            """Of rows 1 … T, in the memory of all rows before them."""
            return estimate(next_heads(policy, steps, window.carry(policy))["q"])

        judged = after(target)
        choosing = after(online).mean if self.double else judged.mean
        legal = jax.tree.map(lambda x: x[1:], steps.legal)
        best = _each(lambda q, legal: jnp.argmax(allowed(legal, q)), choosing, legal)
        atoms, mass = (_each(lambda x, a: x[a], x, best) for x in (judged.atoms, judged.mass))
        if self.squash:
            atoms = stretched(atoms)

        def n_steps(reward: Array, discount: Array, after: Float[Array, "T N M"]) -> Float[Array, "L N M"]:
            of_stream = partial(n_step_returns, n=self.n)
            of_atom = jax.vmap(of_stream, in_axes=1, out_axes=1)
            said = jax.vmap(of_atom, in_axes=(None, None, 2, None), out_axes=2)(reward, discount, after, steps.last[1:])
            return said[: self.length]

        # What lies n steps on, and how likely that is there.
        atoms = n_steps(reward, self.discount * steps.discount[1:], atoms)
        mass = n_steps(jnp.zeros_like(reward), jnp.ones_like(reward), mass)
        return jax.lax.stop_gradient((squashed(atoms) if self.squash else atoms, mass))

    def _loss(
        self, network: Policy, window: Window, atoms: Float[Array, "L N M"], mass: Float[Array, "L N M"]
    ) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " N"]]]:
        """The windows' mean loss; metrics, and how much there was to learn from each."""
        learnt = jax.tree.map(lambda x: x[: self.length], window.trajectory.steps)
        action, valid = window.trajectory.action[: self.length], window.trajectory.transitions[: self.length]
        said = estimate(unroll_batch(network, learnt.obs, learnt.first, window.carry(network))["q"])
        losses, error = _each(lambda said, *target: said.loss(*target, self.huber), said, action, atoms, mass)
        loss, taken = masked_mean(window.weight * losses, valid), _each(lambda q, a: q[a], said.mean, action)
        priority = jax.vmap(sequence_priority, in_axes=1)(error, valid)
        return loss, ({"loss": loss, "q": masked_mean(taken, valid)}, priority)


def C51(**settings: Any) -> DQN:
    """Categorical DQN (Bellemare, Dabney & Munos 2017): chances of 51 returns. Actions: Discrete."""
    return preset(DQN, settings, returns=Categorical(), double=False)


def QRDQN(**settings: Any) -> DQN:
    """DQN by quantile regression (Dabney, Rowland, Bellemare & Munos 2018). Actions: Discrete."""
    return preset(DQN, settings, returns=QuantileRegression(), double=False)


def IQN(**settings: Any) -> DQN:
    """Implicit quantile networks (Dabney, Ostrovski, Silver & Munos 2018). Actions: Discrete."""
    return preset(DQN, settings, returns=ImplicitQuantiles(), double=False)


def Rainbow(**settings: Any) -> DQN:
    """Rainbow (Hessel et al. 2018): double, duelling, noisy, categorical, n-step, prioritised. Actions: Discrete."""
    together = {"returns": Categorical(), "duelling": 64, "noisy": True, "n": 3, "replay": Proportional(alpha=0.5)}
    return preset(DQN, settings, **together, epsilon=0.0, epsilon_end=0.0)


def R2D2(**settings: Any) -> DQN:
    """Recurrent replay of sequences (Kapturowski et al. 2019), from one ε for all environments. Actions: Discrete."""
    memory = {"network": GRU(), "length": 40, "burn_in": 20, "stored_carry": True, "squash": True, "n": 5}
    return preset(DQN, settings, **memory, duelling=64, replay=Proportional(alpha=0.9, beta=0.6), num_envs=8)


def _each(f: Any, *rows: Any) -> Any:
    """Of each row [T, N]."""
    return jax.vmap(jax.vmap(f))(*rows)
