"""TD3 with behaviour cloning: the policy climbs the critic, and is held to what was done.

Fujimoto & Gu 2021, "A minimalist approach to offline reinforcement learning". Of TD3 it changes one line, the actor's
loss (eq. 3 and 5), and standardises observations:

    L = −λ Q(s, π(s)) + (π(s) − a)²,        λ = α / mean |Q(s, π(s))|
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.counter import Countdown
from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec, require_bounded, require_one_player
from retorno.core.time_step import Clock, TimeStep, Trajectory, before_and_after
from retorno.environments.recordings import require_recorded
from retorno.networks import (
    MLP,
    Activation,
    Critics,
    DeterministicHead,
    NetworkConfig,
    ValueHead,
    critics,
    require_no_context,
)
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.ops.distributions import smoothed
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend, polyak
from retorno.ops.returns import backup


class TD3BCLearner(NamedTuple):
    """Everything that changes while TD3 with behaviour cloning learns."""

    actor: Policy
    critics: Critics
    target_actor: Policy
    target: Critics
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    observations: ObservationNormaliser | None
    actor_due: Countdown
    clock: Clock


@hyperparameters
class TD3BC:
    """TD3 with behaviour cloning (Fujimoto & Gu 2021). Worlds: recorded ones. Actions: Box with bounds."""

    NAME: ClassVar[str] = "td3_bc"
    RECORDED: ClassVar[str] = "demonstrations"

    network: NetworkConfig = field(
        default_factory=lambda: MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False)
    )
    """Of the actor and each critic."""
    num_envs: Count = 8
    """Columns of what was recorded in each gradient step: each is an episode, or several short ones."""
    actor_period: Count = 2
    """Gradient steps of the critics to one of the actor and of all targets."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4))
    """How a gradient becomes a step."""
    climb: NonNegative = 2.5
    """α, the weight of the critic beside cloning: 0 clones alone."""
    target_step: UnitInterval = 0.005
    """τ, how far targets follow at each of the actor's steps."""
    target_noise: NonNegative = 0.2
    """Standard deviation of the noise on the target's actions, which are within [−1, 1]."""
    target_noise_clip: NonNegative = 0.5
    """How far that noise reaches."""
    discount: UnitInterval = 0.99
    """γ"""
    normalise_observations: bool = True
    """Standardise Box observations by what was recorded."""

    @property
    def rollout(self) -> int:
        """Nothing is lived: the rows of a column are those that were recorded."""
        return 1

    def init(self, key: Key[Array, ""], spec: Spec) -> TD3BCLearner:
        recorded = require_recorded(spec, "TD3BC")
        require_one_player(spec, "TD3BC", "it values what the same one does next")
        space, observed = require_bounded(spec.action_space, "TD3BC"), spec.observation_space
        for_actor, for_critics = jax.random.split(key)
        built = self.network.build(for_actor, observed, {"policy": DeterministicHead(int(space.shape[0]))})
        actor = require_no_context(built, "TD3BC")
        judging = critics(for_critics, self.network, 2, ValueHead(), observed, space)
        begin = lambda of: self.optimiser.build().init(of)  # noqa: E731
        observations = None
        if self.normalise_observations:
            steps, counted = recorded.lived.steps, recorded.lived.transitions
            observations = ObservationNormaliser.start(observed).update(before_and_after(steps)[0].obs, counted)
        return TD3BCLearner(
            actor=actor,
            critics=judging,
            target_actor=actor,
            target=judging,
            actor_optimiser=begin(actor),
            critic_optimiser=begin(judging),
            observations=observations,
            actor_due=Countdown.start(self.actor_period),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: TD3BCLearner) -> Carry:
        return learner.actor.initial_carry()

    def act(
        self, learner: TD3BCLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        heads, carry = self.policy(learner).step(row.obs, row.first, carry)
        return heads["policy"].mode(), (), carry

    def policy(self, learner: TD3BCLearner) -> Policy:
        return normalised(learner.actor, learner.observations)

    def update(
        self, learner: TD3BCLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[TD3BCLearner, Metrics]:
        progress, counted, paid = learner.clock.progress, trajectory.transitions, reward(trajectory)
        steps = trajectory.steps
        if learner.observations is not None:
            steps = steps._replace(obs=jax.vmap(jax.vmap(learner.observations))(steps.obs))
        now, after = before_and_after(steps)
        does = lambda actor, rows: unroll_batch(actor, rows.obs, rows.first, ())["policy"].action  # noqa: E731
        worth = lambda critics, rows, action: critics.taken(rows.obs, rows.first, action, _nothing(critics))  # noqa: E731

        best = does(learner.target_actor, after)
        action = smoothed(best, self.target_noise, self.target_noise_clip, key)
        target = backup(paid, self.discount * after.discount, worth(learner.target, after, action).min(0))

        def critic_loss(critics: Critics) -> Float[Array, ""]:
            return masked_mean(jnp.square(worth(critics, now, trajectory.action) - target).sum(0), counted)

        error, gradient = jax.value_and_grad(critic_loss)(learner.critics)
        judging, critic_state = descend(self.optimiser, learner.critics, gradient, learner.critic_optimiser, progress)

        def actor_loss(actor: Policy) -> tuple[Float[Array, ""], Float[Array, ""]]:
            action = does(actor, now)
            q = worth(Critics(judging.members[:1], judging.finite), now, action)[0]
            climb = self.climb / (masked_mean(jax.lax.stop_gradient(jnp.abs(q)), counted) + 1e-8)
            apart = jnp.mean(jnp.square(action - trajectory.action), -1)
            return masked_mean(apart - climb * q, counted), masked_mean(apart, counted)

        gradient, apart = jax.grad(actor_loss, has_aux=True)(learner.actor)
        actor, actor_state = descend(self.optimiser, learner.actor, gradient, learner.actor_optimiser, progress)
        due, countdown = learner.actor_due.advance(jnp.int32(1), self.actor_period)
        moved = (
            actor,
            polyak(learner.target_actor, actor, self.target_step),
            polyak(learner.target, judging, self.target_step),
            actor_state,
        )
        old = (learner.actor, learner.target_actor, learner.target, learner.actor_optimiser)
        actor, target_actor, target_critics, actor_state = jax.tree.map(lambda x, y: jnp.where(due, x, y), moved, old)
        learner = TD3BCLearner(
            actor=actor,
            critics=judging,
            target_actor=target_actor,
            target=target_critics,
            actor_optimiser=actor_state,
            critic_optimiser=critic_state,
            observations=learner.observations,
            actor_due=countdown,
            clock=learner.clock.advance(trajectory),
        )
        return learner, {"loss": error, "apart": apart}


def _nothing(critics: Critics) -> Carry:
    """The memory of critics without one."""
    return ((),) * len(critics.members)
