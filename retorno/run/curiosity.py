"""Bonuses for what one does not know yet, where there is too much to count: RND, ICM, counts by hash.

Each is a relabel, so that it stands beside any algorithm, and what is replayed gets today's bonus: what was new when it
was lived no longer is.
"""

from __future__ import annotations

import math
from dataclasses import field, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces
from jax import Array, vmap
from jaxtyping import Float, Int, Key

from retorno.core.counter import Counter
from retorno.core.hyperparameters import Count, Finite, UnitInterval, as_arrays, settings
from retorno.core.policy import Metrics, Policy, Relabel, unroll_batch
from retorno.core.spaces import HashableSpace, Spec, cardinality, encode, index, width
from retorno.core.time_step import Trajectory
from retorno.networks import MLP, ActionValueHead, Activation, NetworkConfig, policy_head, require_no_context
from retorno.networks.initialisation import Draws
from retorno.networks.normalisers import ObservationNormaliser, RewardNormaliser
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend

FEATURES = "features"
PATIENCE = 0.99
"""The discount of the bonuses' return, whose spread is their unit. Burda et al. 2019, section 2.3."""
ENCODER = MLP((64, 64), Activation.relu)


@settings
class CountBonus:
    """A bonus for arriving where one seldom was (Strehl & Littman 2008, MBIE-EB). Observations: finite."""

    weight: Finite = 0.1
    """β, the bonus of a first arrival."""

    def build(self, key: Key[Array, ""], spec: Spec) -> Arrivals:
        space = spec.observation_space
        return Arrivals(Counter.zeros(cardinality(space)), jnp.float32(self.weight), ByIndex(HashableSpace(space)))


@settings
class HashBonus:
    """The same by a hash of what is observed (Tang et al. 2017): like observations share a count."""

    weight: Finite = 0.1
    """β, the bonus of a first arrival."""
    bits: int = 12
    """Of a hash: the more, the finer."""

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 24:
            raise ValueError(f"bits must be from 1 to 24, got {self.bits}: there are 2 to their power counts")

    def build(self, key: Key[Array, ""], spec: Spec) -> Arrivals:
        space, draws = spec.observation_space, Draws(key)
        planes = draws.normal((width(space), self.bits), 1.0)
        numbered = ByHash(planes, draws.normal((self.bits,), 1.0), HashableSpace(space))
        return Arrivals(Counter.zeros(2**self.bits), jnp.float32(self.weight), numbered)


class ByIndex(eqx.Module):
    """The number of a finite observation."""

    observed: HashableSpace = eqx.field(static=True)

    def __call__(self, obs: Array) -> Int[Array, ""]:
        return index(self.observed.space, obs)


class ByHash(eqx.Module):
    """On which sides of some planes an observation lies. Charikar 2002 (SimHash).

    Between bounds it is seen in [−1, 1]; planes pass by the origin, so that lengths tell as directions do.
    """

    planes: Float[Array, "D bits"]
    offset: Float[Array, " bits"]
    observed: HashableSpace = eqx.field(static=True)

    def __call__(self, obs: Array) -> Int[Array, ""]:
        space = self.observed.space
        if isinstance(space, spaces.Box) and space.is_bounded():
            middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
            obs = (obs - middle) / jnp.where(half > 0, half, 1)
        sides = encode(space, obs) @ self.planes + self.offset > 0
        return jnp.sum(sides * 2 ** jnp.arange(sides.shape[0]))


class Arrivals(Relabel):
    """Adds β / √n(s′) for arriving in a state in which one has arrived n times by now, this time included."""

    counts: Counter
    """[S]"""
    weight: Float[Array, ""]
    numbered: ByIndex | ByHash
    """Which state an observation is."""

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        bonus = self.weight / jnp.sqrt(jnp.maximum(self.counts.at(self._arrived(trajectory)).size, 1))
        return trajectory.steps.reward[1:] + bonus * trajectory.transitions

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[Arrivals, Metrics]:
        counts = self.counts.plus_at(self._arrived(trajectory), trajectory.transitions)
        return replace(self, counts=counts), {}

    def _arrived(self, trajectory: Trajectory) -> Int[Array, "T B"]:
        return vmap(vmap(self.numbered))(trajectory.steps.obs)[1:]


@settings
class RND:
    """Random network distillation (Burda et al. 2019): what a network cannot tell yet of another one, drawn at random.

    Where one often was it was taught what the other says. Both are as large as `network`, and see standardised
    observations.
    """

    weight: Finite = 0.1
    """Of the bonus, in standard deviations of its discounted return."""
    network: NetworkConfig = ENCODER
    """Of both; the target's weights stay as they are drawn."""
    features: Count = 32
    """How many numbers it says of an observation."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3))
    """How a gradient becomes a step, one for each rollout."""

    def build(self, key: Key[Array, ""], spec: Spec) -> Distilled:
        for_target, for_learner = jax.random.split(key)
        build = lambda key: _encoder(self.network, key, spec, self.features, "RND")  # noqa: E731
        learner = build(for_learner)
        return Distilled(
            target=build(for_target),
            learner=learner,
            state=self.optimiser.build().init(learner),  # pyright: ignore[reportArgumentType]
            observations=ObservationNormaliser.start(spec.observation_space),
            bonuses=RewardNormaliser.start(spec.num_envs),
            weight=jnp.float32(self.weight),
            optimiser=as_arrays(self.optimiser),
        )


class Distilled(Relabel):
    """Adds how far one network is from what another says of where one arrives."""

    target: Policy
    learner: Policy
    state: optax.OptState
    observations: ObservationNormaliser
    bonuses: RewardNormaliser
    weight: Float[Array, ""]
    optimiser: Optimiser

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        bonus = vmap(vmap(lambda x: self.bonuses.moments.scale(x[None])[0]))(self.surprise(self.learner, trajectory))
        return trajectory.steps.reward[1:] + self.weight * bonus * trajectory.transitions

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[Distilled, Metrics]:
        observations = self.observations.update(jax.tree.map(lambda x: x[1:], trajectory.steps.obs))
        seeing = replace(self, observations=observations)
        surprise = jax.lax.stop_gradient(seeing.surprise(self.learner, trajectory) * trajectory.transitions)
        _, bonuses = self.bonuses(trajectory, surprise, PATIENCE)

        def loss(learner: Policy) -> Float[Array, ""]:
            return masked_mean(seeing.surprise(learner, trajectory), trajectory.transitions)

        error, gradient = jax.value_and_grad(loss)(self.learner)
        learner, state = descend(self.optimiser, self.learner, gradient, self.state)
        return replace(seeing, learner=learner, state=state, bonuses=bonuses), {"surprise": error}

    def surprise(self, learner: Policy, trajectory: Trajectory) -> Float[Array, "T B"]:
        """The mean square of what the learner gets wrong on rows 1 … T."""
        obs = vmap(vmap(self.observations))(jax.tree.map(lambda x: x[1:], trajectory.steps.obs))
        first = trajectory.steps.first[1:]
        told, expected = (unroll_batch(network, obs, first, ())[FEATURES] for network in (learner, self.target))
        return jnp.mean(jnp.square(told - expected), -1)


@settings
class ICM:
    """Intrinsic curiosity (Pathak et al. 2017): how far what follows is from what one had expected to follow.

    Both are seen through features that are learnt to tell which action was taken, so that what no action changes, as
    noise, is left out of them.
    """

    weight: Finite = 0.1
    """η/2, what the square of the error is multiplied with."""
    network: NetworkConfig = ENCODER
    """Of features, of what is expected, and of what tells the action."""
    features: Count = 32
    """How many numbers are seen of an observation."""
    forward: UnitInterval = 0.2
    """β, the weight of what is expected in the loss; the rest is of what tells the action."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3))
    """How a gradient becomes a step, one for each rollout."""

    def build(self, key: Key[Array, ""], spec: Spec) -> Curious:
        for_features, for_forward, for_inverse = jax.random.split(key, 3)
        seen = spaces.Box(-math.inf, math.inf, (self.features,))
        both = spaces.Tuple([seen, spec.action_space])
        head = ActionValueHead(self.features)
        parts = Parts(
            features=_encoder(self.network, for_features, spec, self.features, "ICM"),
            forward=self.network.build(for_forward, both, {FEATURES: head}),
            inverse=self.network.build(
                for_inverse, spaces.Tuple([seen, seen]), {"policy": policy_head(spec.action_space)}
            ),
        )
        observations = ObservationNormaliser.start(spec.observation_space)
        state = self.optimiser.build().init(parts)  # pyright: ignore[reportArgumentType]
        settings = (jnp.float32(self.weight), jnp.float32(self.forward), as_arrays(self.optimiser))
        return Curious(parts, state, observations, *settings)


class Parts(eqx.Module):
    """What curiosity learns."""

    features: Policy
    forward: Policy
    inverse: Policy


class Curious(Relabel):
    """Adds how far what followed was from what was expected."""

    parts: Parts
    state: optax.OptState
    observations: ObservationNormaliser
    weight: Float[Array, ""]
    forward: Float[Array, ""]
    optimiser: Optimiser

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        error, _ = self.errors(self.parts, trajectory)
        return trajectory.steps.reward[1:] + self.weight * error * trajectory.transitions

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[Curious, Metrics]:
        observations = self.observations.update(jax.tree.map(lambda x: x[:-1], trajectory.steps.obs))
        seeing = replace(self, observations=observations)

        def loss(parts: Parts) -> tuple[Float[Array, ""], tuple[Array, Array]]:
            each = (masked_mean(x, trajectory.transitions) for x in seeing.errors(parts, trajectory))
            expected, told = each
            return self.forward * expected + (1 - self.forward) * told, (expected, told)

        (_, (expected, told)), gradient = jax.value_and_grad(loss, has_aux=True)(self.parts)
        parts, state = descend(self.optimiser, self.parts, gradient, self.state)
        return replace(seeing, parts=parts, state=state), {"surprise": expected, "inverse_loss": told}

    def errors(self, parts: Parts, trajectory: Trajectory) -> tuple[Float[Array, "T B"], Float[Array, "T B"]]:
        """Half the square of what was wrongly expected, eq. 6, and −log of the action as it is told, eq. 3."""
        steps, action = trajectory.steps, trajectory.action
        seen = unroll_batch(parts.features, vmap(vmap(self.observations))(steps.obs), steps.first, ())[FEATURES]
        now, after, first = seen[:-1], seen[1:], steps.first[:-1]
        expected = unroll_batch(parts.forward, (now, action), first, ())[FEATURES]
        told = unroll_batch(parts.inverse, (now, after), first, ())["policy"]
        legal = jax.tree.map(lambda x: x[:-1], steps.legal)
        log_prob = vmap(vmap(lambda policy, legal, action: policy.masked(legal).log_prob(action)))(told, legal, action)
        return 0.5 * jnp.square(expected - after).sum(-1), -log_prob


def _encoder(config: NetworkConfig, key: Key[Array, ""], spec: Spec, features: int, name: str) -> Policy:
    """A network that says so many numbers of an observation."""
    network = config.build(key, spec.observation_space, {FEATURES: ActionValueHead(features)})
    return require_no_context(network, name)
