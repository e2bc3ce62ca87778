"""Twin delayed deep deterministic policy gradient, and the method that it mends.

Fujimoto, van Hoof & Meger 2018 (TD3); Lillicrap et al. 2016 (DDPG); the gradient is that of Silver et al. 2014. What we
do differently: windows of rows are replayed from a ring that stores each observation once, and one `update` learns from
single transitions and, with a memory, from sequences.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.counter import Countdown
from retorno.core.hyperparameters import (
    BatchSize,
    Between,
    Count,
    Discount,
    NonNegative,
    TargetStep,
    UnitInterval,
    Whole,
    hyperparameters,
    preset,
)
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec, require_bounded, require_one_player, require_windows
from retorno.core.time_step import Clock, TimeStep, Trajectory, before_and_after, one_after_another
from retorno.networks import MLP, Activation, Critics, DeterministicHead, NetworkConfig, ValueHead, critics
from retorno.networks.network import longest_context
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.ops.distributions import smoothed, uniform_sample
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend, polyak
from retorno.ops.returns import backup
from retorno.replay import ReplayConfig, UniformReplay, ring, sequence_priority
from retorno.replay.learning import (
    Lesson,
    actor_memory,
    critics_memory,
    gradient_steps,
    lesson,
    next_heads,
    recorded,
)


class TD3Learner(NamedTuple):
    """Everything that changes while TD3 learns."""

    actor: Policy
    critics: Critics
    target_actor: Policy
    target: Critics
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    observations: ObservationNormaliser | None
    replay: Any
    """A `Replay`; () where what was recorded is learnt from."""
    actor_due: Countdown
    clock: Clock


@hyperparameters
class TwinDelayed(abc.ABC):
    """What is learnt from rows and how, wherever the rows come from."""

    network: NetworkConfig = field(
        default_factory=lambda: MLP(hidden=(400, 300), activation=Activation.relu, orthogonal=False)
    )
    """The actor's network."""
    critic_network: NetworkConfig | None = None
    """Each critic's network; None for one like the actor's."""
    critics: Count = 2
    """Critics, the least of which is believed."""
    actor_period: Count = 2
    """Gradient steps of the critics to one of the actor and of all targets."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3))
    """How a gradient becomes a step, of the actor."""
    critic_optimiser: Optimiser | None = None
    """The same of the critics; None for as the actor's."""
    target_step: TargetStep = 0.005
    """τ, how far targets follow at each of the actor's steps."""
    discount: Discount = 0.99
    """γ"""
    target_noise: NonNegative = 0.2
    """Standard deviation of the normal noise on the target's actions, which are within [−1, 1], so that values are
    alike where actions are."""
    target_noise_clip: NonNegative = 0.5
    """How far that noise reaches."""
    normalise_observations: bool = False
    """Standardise Box observations by their mean and variance."""

    @abc.abstractmethod
    def _actor_loss(self, q: Float[Array, "L N"], action: Float[Array, "L N D"], rows: Lesson) -> Float[Array, ""]:
        """What the actor descends, of its actions and what the first critic says of them."""

    def _begin(self, key: Key[Array, ""], spec: Spec) -> TD3Learner:
        """Without a replay."""
        name = type(self).__name__
        require_one_player(spec, name, "it learns the value of its own actions alone")
        space, observed = require_bounded(spec.action_space, name), spec.observation_space
        for_actor, for_critics = jax.random.split(key)
        actor = self.network.build(for_actor, observed, {"policy": DeterministicHead(math.prod(space.shape))})
        judges = self.critic_network or self.network
        judging = critics(for_critics, judges, self.critics, ValueHead(), observed, space)
        begin = lambda optimiser, of: optimiser.build().init(of)  # noqa: E731
        return TD3Learner(
            actor=actor,
            critics=judging,
            target_actor=actor,
            target=judging,
            actor_optimiser=begin(self.optimiser, actor),
            critic_optimiser=begin(self.critic_optimiser or self.optimiser, judging),
            observations=ObservationNormaliser.start(observed) if self.normalise_observations else None,
            replay=(),
            actor_due=Countdown.start(self.actor_period),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: TD3Learner) -> Carry:
        return learner.actor.initial_carry()

    def policy(self, learner: TD3Learner) -> Policy:
        return normalised(learner.actor, learner.observations)

    def _learn(
        self,
        learner: TD3Learner,
        rows: Lesson,
        memory: Callable[[Policy], Carry],
        weight: Float[Array, " N"],
        key: Key[Array, ""],
    ) -> tuple[TD3Learner, Metrics, Float[Array, " N"]]:
        """One gradient step of the critics and, where it is due, of the actor.

        Args:
            learner: as it is before.
            rows: what is learnt from.
            memory: an actor's before the first of them. Shapes [N].
            weight: of each stretch. Shape [N].
            key: the target's noise follows from it.

        Returns:
            The learner after it, metrics, and how much there was to learn from each stretch.
        """
        progress = learner.clock.progress
        target = self._target(learner, rows, memory(learner.target_actor), key)
        carry = critics_memory(learner.critics, rows)
        loss = lambda critics: self._critic_loss(critics, rows, carry, target, weight)  # noqa: E731
        (error_loss, (q, priority)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.critics)
        improved, state = descend(
            self.critic_optimiser or self.optimiser, learner.critics, gradient, learner.critic_optimiser, progress
        )
        due, countdown = learner.actor_due.advance(jnp.int32(1), self.actor_period)
        learner = learner._replace(critics=improved, critic_optimiser=state, actor_due=countdown)
        improve = lambda: self._actor_step(learner, rows, memory(learner.actor))  # noqa: E731
        stay = lambda: (learner.actor, learner.actor_optimiser, learner.target_actor, learner.target)  # noqa: E731
        changed = improve() if self.actor_period == 1 else jax.lax.cond(due, improve, stay)
        names = ("actor", "actor_optimiser", "target_actor", "target")
        learner = learner._replace(**dict(zip(names, changed, strict=True)))
        return learner, {"loss": error_loss, "q": q}, priority

    def _target(self, learner: TD3Learner, rows: Lesson, memory: Carry, key: Key[Array, ""]) -> Float[Array, "L N"]:
        """The target r + γ min Q′(s′, π′(s′) + ε) of each transition. Fujimoto et al. 2018, eq. 14, with clipped ε."""
        steps, (_, after) = rows.steps, before_and_after(rows.steps)
        best = next_heads(learner.target_actor, steps, memory)["policy"].action
        action = smoothed(best, self.target_noise, self.target_noise_clip, key)
        carry = learner.target.before(steps.obs, steps.first, rows.padded_action, critics_memory(learner.target, rows))
        q = _judged(learner.target, after, action, jax.tree.map(lambda x: x[1:], carry))
        return jax.lax.stop_gradient(backup(rows.reward, self.discount * after.discount, q.min(-1)))

    def _critic_loss(
        self,
        critics: Critics,
        rows: Lesson,
        carry: Carry,
        target: Float[Array, "L N"],
        weight: Float[Array, " N"],
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Float[Array, " N"]]]:
        """The mean loss; the mean of what they say, and how much there was to learn from each window."""
        now, _ = before_and_after(rows.steps)
        q = critics.taken(now.obs, now.first, rows.action, carry)
        losses = 0.5 * jnp.square(q - target).sum(0)
        priority = jax.vmap(sequence_priority, in_axes=1)(q.mean(0) - target, rows.transitions)
        return masked_mean(weight * losses, rows.transitions), (masked_mean(q.mean(0), rows.transitions), priority)

    def _actor_step(
        self, learner: TD3Learner, rows: Lesson, memory: Carry
    ) -> tuple[Policy, optax.OptState, Policy, Critics]:
        """One step of the actor, and of the targets after both."""
        progress, critics, (now, _) = learner.clock.progress, learner.critics, before_and_after(rows.steps)
        first = Critics(critics.members[:1], critics.finite)
        carry = first.before(now.obs, now.first, rows.action, critics_memory(first, rows))

        def loss(actor: Policy) -> Float[Array, ""]:
            action = unroll_batch(actor, now.obs, now.first, memory)["policy"].action
            return self._actor_loss(_judged(first, now, action, carry)[..., 0], action, rows)

        actor, state = descend(
            self.optimiser, learner.actor, jax.grad(loss)(learner.actor), learner.actor_optimiser, progress
        )
        target_actor = polyak(learner.target_actor, actor, self.target_step)
        return actor, state, target_actor, polyak(learner.target, critics, self.target_step)


@hyperparameters
class TD3(TwinDelayed):
    """Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018). Actions: Box with bounds."""

    SMALL: ClassVar[dict[str, Any]] = {"batch_size": 4, "capacity": 64, "learning_starts": 8, "gradient_steps": 1}

    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    gradient_steps: Count = 1
    """Gradient steps in each update."""
    batch_size: BatchSize = 256
    """Windows in each gradient step."""
    length: Count = 1
    """Rows of a window that are learnt from: for a network with a memory more than one."""
    burn_in: Whole = 0
    """Rows before those that a network with a memory reads first, without learning from them."""
    stored_carry: bool = True
    """Keep the actor's memory beside each row for a window to begin with; else, as the critics', an empty one."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which windows are drawn."""
    capacity: Count = 1_000_000
    """Transitions that the replay holds."""
    learning_starts: Whole = 100
    """Environment steps before the first gradient step, with actions drawn evenly."""
    noise: Annotated[NonNegative, Between(0.0, 0.5)] = 0.1
    """Standard deviation of the normal noise on actions, which are within [−1, 1]."""
    noise_kept: UnitInterval = 0.0
    """What is left of a step's noise in the next one of the episode, to which that one's is added: a process of
    Ornstein and Uhlenbeck (Lillicrap et al. 2016), which pushes the same way for a while; 0 for noise drawn anew."""

    def init(self, key: Key[Array, ""], spec: Spec) -> TD3Learner:
        require_windows(spec, "TD3")
        learner = self._begin(key, spec)
        read = self._read(learner)
        rows = ring(
            spec.row,
            jnp.zeros(spec.action_space.shape),
            num_envs=spec.num_envs,
            capacity=self.capacity,
            rollout=self.rollout,
            extras=_without_probability(recorded(learner.actor, spec, self.stored_carry)),
            length=read + self.length,
            learnt=range(read, read + self.length),
        )
        return learner._replace(replay=self.replay.over(rows))

    def initial_carry(self, learner: TD3Learner) -> Carry:
        return learner.actor.initial_carry(), jnp.zeros(learner.replay.ring.action.shape[2:])

    def act(
        self, learner: TD3Learner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        memory, noise = carry
        heads, after = self.policy(learner).step(row.obs, row.first, memory)
        for_noise, for_start = jax.random.split(key)
        best = heads["policy"].mode()
        kept = jnp.where(row.first, 0.0, self.noise_kept)
        noise = kept * noise + self.noise * jax.random.normal(for_noise, best.shape)
        evenly, _ = uniform_sample(heads["policy"], for_start)
        noisy = jnp.clip(best + noise, -1.0, 1.0)
        action = jnp.where(learner.clock.step.reaches(self.learning_starts), noisy, evenly)
        extras = {"carry": memory}
        return action, {name: extras[name] for name in learner.replay.ring.extras}, (after, noise)

    def update(
        self, learner: TD3Learner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[TD3Learner, Metrics]:
        observations, clock = learner.observations, learner.clock.advance(trajectory)
        if observations is not None:
            observations = observations.update(jax.tree.map(lambda x: x[:-1], trajectory.steps.obs))
        learner = learner._replace(observations=observations, replay=learner.replay.add(trajectory), clock=clock)
        step = lambda learner, key: self._gradient_step(learner, reward, key)  # noqa: E731
        return gradient_steps(step, learner, self.gradient_steps, clock.step.reaches(self.learning_starts), key)

    def _gradient_step(self, learner: TD3Learner, reward: Reward, key: Key[Array, ""]) -> tuple[TD3Learner, Metrics]:
        for_window, for_target = jax.random.split(key)
        window = learner.replay.sample(for_window, self.batch_size, learner.clock.progress)
        rows = lesson(window.trajectory, self._read(learner), reward, learner.observations)
        memory = lambda actor: actor_memory(actor, window, rows, learner.observations)  # noqa: E731
        learner, metrics, priority = self._learn(learner, rows, memory, window.weight, for_target)
        return learner._replace(replay=learner.replay.update(window.index, priority)), metrics

    def _actor_loss(self, q: Float[Array, "L N"], action: Float[Array, "L N D"], rows: Lesson) -> Float[Array, ""]:
        """Down from the first critic's values: up them. Eq. 1."""
        return -masked_mean(q, rows.transitions)

    def _read(self, learner: TD3Learner) -> int:
        """Rows of a window that are only read."""
        context = longest_context(learner.actor, *learner.critics.members)
        return self.burn_in if context is None else context


def DDPG(**settings: Any) -> TD3:
    """Deep deterministic policy gradient (Lillicrap et al. 2016): one critic, no noise in targets. Actions: Box."""
    return preset(TD3, settings, critics=1, actor_period=1, target_noise=0.0)


def _judged(critics: Critics, rows: TimeStep, action: Float[Array, "L N D"], carry: Carry) -> Float[Array, "L N K"]:
    """What actions on rows [L, N] are worth to each critic."""
    judge = lambda row, action, carry: critics(row.obs, row.first, action, carry)  # noqa: E731
    q = jax.vmap(judge)(*one_after_another((rows, action, carry)))
    return q.reshape(*rows.last.shape, -1)


def _without_probability(extras: dict[str, PyTree[Any]]) -> dict[str, PyTree[Any]]:
    """Clipped noise puts mass on the bounds: there is no density to record."""
    return {name: x for name, x in extras.items() if name != "log_prob"}
