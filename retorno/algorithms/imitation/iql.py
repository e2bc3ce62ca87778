"""Implicit Q-learning: values of the best of what was done, and never of anything else.

Kostrikov, Nair & Levine 2022. An upper expectile of the values of recorded actions stands for their maximum, so that
no critic is ever asked of an action that nobody took:

    L_V = |τ − 1{u < 0}| u²,  u = Q′(s, a) − V(s)        L_Q = (r + γ V(s′) − Q(s, a))²
    the policy clones a in proportion to exp(β (Q′(s, a) − V(s)))

What we do differently: a network with a memory reads each recorded episode from its beginning.
"""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key

from retorno.algorithms.offline import Offline
from retorno.core.hyperparameters import NonNegative, Positive, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec, require_one_player
from retorno.core.time_step import Clock, Trajectory, before_and_after
from retorno.environments.recordings import require_recorded
from retorno.networks import MLP, Activation, Critics, NetworkConfig, ValueHead, critics, policy_head
from retorno.networks.ensembles import Least
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.objectives import expectile_loss, masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend, polyak
from retorno.ops.returns import backup


class Networks(NamedTuple):
    """What one optimiser steps; in the learner they stand one by one, as in those whom another run begins with."""

    actor: Policy
    value: Policy
    critics: Critics


class IQLLearner(NamedTuple):
    """Everything that changes while IQL learns."""

    actor: Policy
    value: Policy
    critics: Critics
    target: Critics
    optimiser: optax.OptState
    clock: Clock


@hyperparameters
class IQL(Offline):
    """Implicit Q-learning (Kostrikov et al. 2022). Worlds: recorded ones. Actions: Discrete, Box."""

    COLUMNS: ClassVar[int] = 8

    network: NetworkConfig = field(
        default_factory=lambda: MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False)
    )
    """Of the policy, the value and each critic."""
    num_envs: Whole = 0
    """Columns of what was recorded in each gradient step: each is an episode, or several short ones; 0 for
    8, or all where there are fewer."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4))
    """How a gradient becomes a step."""
    expectile: UnitInterval = 0.7
    """τ: ½ values what was done on average, 1 the best of it."""
    inverse_temperature: NonNegative = 3.0
    """β: 0 clones everything alike, a large one the best alone."""
    most: Positive = 100.0
    """How much an action may weigh that is cloned."""
    target_step: UnitInterval = 0.005
    """How far the target follows the critics after each gradient step."""
    discount: UnitInterval = 0.99
    """γ"""

    def init(self, key: Key[Array, ""], spec: Spec) -> IQLLearner:
        require_recorded(spec, "IQL")
        require_one_player(spec, "IQL", "it values what the same one does next")
        observed, acted = spec.observation_space, spec.action_space
        for_actor, for_value, for_critics = jax.random.split(key, 3)
        ensemble = Least(2)
        networks = Networks(
            actor=self.network.build(for_actor, observed, {"policy": policy_head(acted)}),
            value=self.network.build(for_value, observed, {"value": ValueHead()}),
            critics=critics(for_critics, self.network, ensemble.members, ensemble.head(acted), observed, acted),
        )
        state = self.optimiser.build().init(networks)  # pyright: ignore[reportArgumentType]
        return IQLLearner(*networks, networks.critics, state, Clock.start(spec.steps))

    def policy(self, learner: IQLLearner) -> Policy:
        return learner.actor

    def update(
        self, learner: IQLLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[IQLLearner, Metrics]:
        progress = learner.clock.progress
        paid = reward(trajectory)
        loss = lambda networks: self._loss(networks, learner.target, trajectory, paid)  # noqa: E731
        networks = Networks(learner.actor, learner.value, learner.critics)
        gradient, metrics = jax.grad(loss, has_aux=True)(networks)
        networks, optimiser = descend(self.optimiser, networks, gradient, learner.optimiser, progress)
        target = polyak(learner.target, networks.critics, self.target_step)
        return IQLLearner(*networks, target, optimiser, learner.clock.advance(trajectory)), metrics

    def _loss(
        self, networks: Networks, target: Critics, lived: Trajectory, reward: Float[Array, "T B"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The three losses, eq. 5 to 7; no network's gradient reaches another."""
        steps, (now, after) = lived.steps, before_and_after(lived.steps)
        taken = lambda critics: critics.taken(now.obs, now.first, lived.action)  # noqa: E731
        value = unroll_batch(networks.value, steps.obs, steps.first)["value"]
        best = taken(target).min(0)
        value_loss = masked_mean(expectile_loss(best - value[:-1], self.expectile), lived.transitions)

        learnt = jax.lax.stop_gradient(backup(reward, self.discount * after.discount, value[1:]))
        critic_loss = masked_mean(jnp.square(taken(networks.critics) - learnt).sum(0), lived.transitions)

        policy = unroll_batch(networks.actor, now.obs, now.first)["policy"]
        log_prob, entropy = log_probs_and_entropies(policy, now.legal, lived.action)
        advantage = jax.lax.stop_gradient(best - value[:-1])
        weight = jnp.minimum(jnp.exp(self.inverse_temperature * advantage), self.most)
        policy_loss = -masked_mean(weight * log_prob, lived.choices)
        told = {"value_loss": value_loss, "critic_loss": critic_loss, "policy_loss": policy_loss}
        told |= {"value": masked_mean(value[:-1], lived.transitions), "entropy": masked_mean(entropy, lived.choices)}
        return value_loss + critic_loss + policy_loss, told
