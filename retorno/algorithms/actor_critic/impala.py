"""IMPALA: an actor–critic whose actors lag behind what is learnt, corrected by V-trace.

Espeholt et al. 2018, "IMPALA: scalable distributed deep-RL with importance weighted actor-learner architectures". There
actors lag because they stand on other machines; here they do by choice, by so many updates: what is lived is then the
same however fast a machine is. With `lag=1` they never do, and it is A2C with V-trace's targets.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.counter import Countdown
from retorno.core.hyperparameters import Count, NonNegative, Positive, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import MLP, BoxPolicy, NetworkConfig, ValueHead, policy_head
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.objectives import masked_mean, policy_gradient
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.returns import importance_weight, vtrace
from retorno.policies.acting import choose_and_record


class IMPALALearner(NamedTuple):
    """Everything that changes while IMPALA learns."""

    network: Policy
    actor: Policy
    """The network as it was when the actors last asked for it."""
    optimiser: optax.OptState
    observations: ObservationNormaliser | None
    fresh: Countdown
    clock: Clock


@hyperparameters
class IMPALA:
    """Actor–critic with V-trace (Espeholt et al. 2018). Actions: Discrete, MultiDiscrete, Box."""

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's and the value's network."""
    num_envs: Count = 16
    """Environments that act side by side."""
    rollout: Count = 20
    """Interactions of each environment between two updates."""
    lag: Count = 4
    """Updates after which actors get the newest weights."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3, max_gradient_norm=0.5, eps=1e-5))
    """How a gradient becomes a step."""
    discount: UnitInterval = 0.99
    """γ"""
    box: BoxPolicy = BoxPolicy.gaussian
    """How real numbers are drawn."""
    most: Positive = 1.0
    """ρ̄, how much a choice counts at most that is likelier now than when it was made."""
    most_carried: Positive = 1.0
    """c̄, how much of what comes later is carried back over it at most."""
    value_coefficient: NonNegative = 0.5
    """Weight of the value's loss."""
    entropy_coefficient: NonNegative = 0.01
    """Weight of the entropy bonus."""
    normalise_observations: bool = False
    """Standardise Box observations by their running mean and variance."""

    def init(self, key: Key[Array, ""], spec: Spec) -> IMPALALearner:
        heads = {"policy": policy_head(spec.action_space, self.box), "value": ValueHead()}
        network = self.network.build(key, spec.observation_space, heads)
        return IMPALALearner(
            network=network,
            actor=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            observations=ObservationNormaliser.start(spec.observation_space) if self.normalise_observations else None,
            fresh=Countdown.start(self.lag),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: IMPALALearner) -> Carry:
        return learner.actor.initial_carry()

    def act(
        self, learner: IMPALALearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return choose_and_record(normalised(learner.actor, learner.observations), row, carry, key)

    def policy(self, learner: IMPALALearner) -> Policy:
        return normalised(learner.network, learner.observations)

    def update(
        self, learner: IMPALALearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[IMPALALearner, Metrics]:
        observations, progress = learner.observations, learner.clock.progress
        loss = lambda network: self._loss(normalised(network, observations), trajectory, reward(trajectory))  # noqa: E731
        gradient, metrics = jax.grad(loss, has_aux=True)(learner.network)
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        due, fresh = learner.fresh.advance(jnp.int32(1), self.lag)
        actor = jax.tree.map(lambda new, old: jnp.where(due, new, old), network, learner.actor)
        if observations is not None:
            observations = observations.update(jax.tree.map(lambda x: x[:-1], trajectory.steps.obs))
        clock = learner.clock.advance(trajectory)
        return IMPALALearner(network, actor, optimiser, observations, fresh, clock), metrics

    def _loss(
        self, network: Policy, lived: Trajectory, reward: Float[Array, "T B"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The three losses of section 4.2; the memory before row 0 is the actors' own."""
        steps = lived.steps
        heads = unroll_batch(network, steps.obs, steps.first, lived.carry)
        policy, legal = jax.tree.map(lambda x: x[:-1], (heads["policy"], steps.legal))
        over_rows = lambda f: jax.vmap(jax.vmap(f))  # noqa: E731
        log_prob, entropy = log_probs_and_entropies(policy, legal, lived.action)
        value = heads["value"]
        ratio = over_rows(importance_weight)(log_prob, lived.extras["log_prob"])
        corrected = jax.vmap(vtrace, in_axes=(1, 1, 1, 1, 1, 1, None, None), out_axes=1)(
            reward,
            self.discount * steps.discount[1:],
            value[:-1],
            value[1:],
            steps.last[1:],
            ratio,
            self.most,
            self.most_carried,
        )
        corrected = jax.lax.stop_gradient(corrected)
        policy_loss = masked_mean(over_rows(policy_gradient)(log_prob, corrected.advantage), lived.choices)
        value_loss = masked_mean(jnp.square(value[:-1] - corrected.value), lived.transitions)
        mean_entropy = masked_mean(entropy, lived.choices)
        loss = policy_loss + self.value_coefficient * value_loss - self.entropy_coefficient * mean_entropy
        told = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": mean_entropy}
        return loss, told | {"ratio": masked_mean(ratio, lived.choices)}
