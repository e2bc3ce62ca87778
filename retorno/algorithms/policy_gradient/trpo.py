"""Trust region policy optimisation.

Schulman, Levine, Moritz, Jordan & Abbeel 2015. The step is the natural gradient's, as long as the policies' mean KL
allows (appendix C):

    x ≈ F⁻¹ g        Δθ = √(2δ / xᵀFx) · x        then shorter, until the surrogate has risen within KL ≤ δ

F is the Hessian of the KL, of which products with vectors alone are computed, and x comes from a few steps of conjugate
gradients. The advantages are those of a critic that is fitted by gradient steps (Schulman et al. 2016); it has weights
of its own, since the policy's are moved by another rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.scipy.sparse.linalg import cg
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.hyperparameters import (
    Among,
    Between,
    Count,
    Discount,
    Finite,
    Lambda,
    NonNegative,
    Positive,
    UnitInterval,
    hyperparameters,
)
from retorno.core.policy import Carry, Metrics, Policy, Reward, initial_carries, sequences, unroll_batch
from retorno.core.scalar import Scalar
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import MLP, BoxPolicy, NetworkConfig, ValueHead, policy_head, with_spread
from retorno.networks.composed import Parts
from retorno.networks.normalisers import ObservationNormaliser, RewardNormaliser, normalised
from retorno.ops.minibatches import equal_parts, shuffled, subset
from retorno.ops.objectives import linear, masked_mean, masked_standardise
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.returns import gae, importance_weight
from retorno.policies.acting import choose_and_record, memory_alone, noise_beside

Weights = TypeVar("Weights")


class TRPOLearner(NamedTuple):
    """Everything that changes while TRPO learns."""

    actor: Policy
    critic: Policy
    critic_optimiser: optax.OptState
    observations: ObservationNormaliser | None
    rewards: RewardNormaliser | None
    memory: Carry
    """[B], the critic's memory before the next rollout."""
    clock: Clock


class _Rows(NamedTuple):
    """What the critic learns from, [T, B]."""

    obs: PyTree[Any]
    first: Bool[Array, "T B"]
    target: Float[Array, "T B"]
    transitions: Bool[Array, "T B"]


@hyperparameters
class TRPO:
    """Trust region policy optimisation (Schulman et al. 2015). Actions: Discrete, MultiDiscrete, Box."""

    SMALL: ClassVar[dict[str, Any]] = {"critic_epochs": 2, "backtracks": 4}

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network, and the critic's."""
    num_envs: Count = 8
    """Environments that act side by side."""
    rollout: Annotated[Count, Among((64, 128, 256, 512, 1024))] = 256
    """Interactions of each environment between two updates."""
    trust: Annotated[Positive, Between(1e-3, 0.1, log=True)] = 0.01
    """δ, the mean KL to which the policy may move in one update, in nats."""
    anneal_trust: bool = False
    """Let δ fall to 0 over the run. As advantages are standardised, a policy with nothing left to gain still moves as
    far as δ allows, by what is noise in them."""
    conjugate_steps: Count = 15
    """Steps of conjugate gradients."""
    damping: NonNegative = 0.1
    """Added to F's diagonal."""
    backtracks: Count = 10
    """How often a step that is too long is shortened before none is taken."""
    shorter: UnitInterval = 0.8
    """What is left of it each time."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3))
    """How a gradient becomes a step of the critic; the policy's step is its own."""
    box: BoxPolicy = BoxPolicy.gaussian
    """How real numbers are drawn."""
    initial_log_std: Finite | None = None
    """log σ before learning, of a gaussian policy or of each weight of a state-dependent one's noise; None for 0 there,
    for −2 here."""
    noise_period: Count = 1
    """Steps for which an actor draws from the same noise: with `state_dependent` the same state gets the same action
    so long, and what is done is smooth."""
    critic_epochs: Count = 20
    """The critic's passes over each rollout."""
    critic_minibatches: Count = 1
    """Its gradient steps in each pass."""
    discount: Discount = 0.99
    """γ"""
    lambda_: Lambda = 0.95
    """λ of generalised advantage estimation."""
    normalise_observations: bool = False
    """Standardise Box observations by their running mean and variance."""
    normalise_rewards: bool = False
    """Divide rewards by the running standard deviation of the discounted return."""

    def init(self, key: Key[Array, ""], spec: Spec) -> TRPOLearner:
        observed = spec.observation_space
        for_actor, for_critic = jax.random.split(key)
        actor = self.network.build(for_actor, observed, {"policy": policy_head(spec.action_space, self.box)})
        if self.initial_log_std is not None:
            actor = with_spread(actor, self.initial_log_std)
        critic = self.network.build(for_critic, observed, {"value": ValueHead()})
        equal_parts(self.critic_minibatches, critic.context, self.rollout, spec.num_envs)
        return TRPOLearner(
            actor=actor,
            critic=critic,
            critic_optimiser=self.optimiser.build().init(critic),  # pyright: ignore[reportArgumentType]
            observations=ObservationNormaliser.start(observed) if self.normalise_observations else None,
            rewards=RewardNormaliser.start(spec.num_envs) if self.normalise_rewards else None,
            memory=initial_carries(critic, spec.num_envs),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: TRPOLearner) -> Carry:
        return noise_beside(learner.actor.initial_carry(), self.noise_period)

    def act(
        self, learner: TRPOLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        actor = normalised(learner.actor, learner.observations)
        return choose_and_record(actor, row, carry, key, period=self.noise_period)

    def policy(self, learner: TRPOLearner) -> Policy:
        return normalised(Parts((learner.actor, learner.critic), (("policy",), ("value",))), learner.observations)

    def update(
        self, learner: TRPOLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[TRPOLearner, Metrics]:
        steps, observations, progress = trajectory.steps, learner.observations, learner.clock.progress
        seeing = lambda network: normalised(network, observations)  # noqa: E731
        paid, rewards = reward(trajectory), learner.rewards
        if rewards is not None:
            paid, rewards = rewards(trajectory, paid, self.discount)
        value = unroll_batch(seeing(learner.critic), steps.obs, steps.first, learner.memory)["value"]
        advantage = jax.vmap(gae, in_axes=(1, 1, 1, 1, 1, None), out_axes=1)(
            paid, self.discount * steps.discount[1:], value[:-1], value[1:], steps.last[1:], self.lambda_
        )
        rows = jax.tree.map(lambda x: x[:-1], steps)
        carry = memory_alone(trajectory.carry, self.noise_period)

        def says(actor: Policy) -> Any:
            policy = unroll_batch(seeing(actor), rows.obs, rows.first, carry)["policy"]
            return jax.vmap(jax.vmap(lambda policy, legal: policy.masked(legal)))(policy, rows.legal)

        over_rows = lambda f: jax.vmap(jax.vmap(f))  # noqa: E731
        standard = masked_standardise(advantage, trajectory.choices)
        old = says(learner.actor)

        def surrogate(actor: Policy) -> Float[Array, ""]:
            log_prob = over_rows(lambda policy, action: policy.log_prob(action))(says(actor), trajectory.action)
            ratio = over_rows(importance_weight)(log_prob, trajectory.extras["log_prob"])
            return masked_mean(ratio * standard, trajectory.choices)

        def kl(actor: Policy) -> Float[Array, ""]:
            return masked_mean(over_rows(lambda p, q: p.kl(q))(old, says(actor)), trajectory.choices)

        actor, told = self.step(learner.actor, surrogate, kl, progress)

        lived = _Rows(rows.obs, rows.first, advantage + value[:-1], trajectory.transitions)
        lived, before = sequences(seeing(learner.critic), lived, learner.memory)

        def fit(state: tuple[Policy, optax.OptState], chosen: Array | None) -> Any:
            batch, memory = subset(lived, before, chosen)

            def loss(critic: Policy) -> Float[Array, ""]:
                v = unroll_batch(seeing(critic), batch.obs, batch.first, memory)["value"]
                return masked_mean(jnp.square(v - batch.target), batch.transitions)

            error, gradient = jax.value_and_grad(loss)(state[0])
            return descend(self.optimiser, state[0], gradient, state[1], progress), error

        state, steps_taken = (learner.critic, learner.critic_optimiser), self.critic_epochs * self.critic_minibatches
        chosen = shuffled(key, lived.first.shape[1], self.critic_epochs, self.critic_minibatches)
        (critic, critic_state), errors = jax.lax.scan(fit, state, chosen, length=steps_taken)
        if observations is not None:
            observations = observations.update(rows.obs)
        memory = jax.vmap(seeing(learner.critic).read, in_axes=(1, 1, 0))(rows.obs, rows.first, learner.memory)
        clock = learner.clock.advance(trajectory)
        learner = TRPOLearner(actor, critic, critic_state, observations, rewards, memory, clock)
        return learner, told | {"value_loss": errors.mean()}

    def step(
        self,
        weights: Weights,
        surrogate: Callable[[Weights], Scalar],
        kl: Callable[[Weights], Scalar],
        progress: Scalar = 0.0,
    ) -> tuple[Weights, Metrics]:
        """The longest step along the natural gradient that is within the trust region and gains something.

        Args:
            weights: θ, a pytree of arrays.
            surrogate: what the step is to raise.
            kl: how far weights are from θ: 0 there, with its least value.
            progress: the share of the run that is over, where δ falls with it.

        Returns:
            The weights after it, θ itself where none was found, and what is told of it.
        """
        trust = linear(self.trust, 0.0 if self.anneal_trust else None, jnp.asarray(progress))
        before, gradient = jax.value_and_grad(surrogate)(weights)
        curvature = lambda x: _plus(_hessian_product(kl, weights, x), self.damping, x)  # noqa: E731
        direction, _ = cg(curvature, gradient, maxiter=self.conjugate_steps)
        square = _inner(direction, curvature(direction))
        length = jnp.sqrt(2 * trust / jnp.maximum(square, 1e-12))

        def look(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            tries, _, _ = state
            moved = _plus(weights, length * self.shorter**tries, direction)
            return tries + 1, jnp.asarray(surrogate(moved) - before), jnp.asarray(kl(moved))

        def further(state: tuple[Array, Array, Array]) -> Bool[Array, ""]:
            tries, gain, apart = state
            return (tries < self.backtracks) & ~((gain > 0) & (apart <= trust))

        nothing = jnp.zeros_like(before)
        tries, gain, apart = jax.lax.while_loop(further, look, (nothing, nothing, nothing))
        found = (gain > 0) & (apart <= trust)
        step = jnp.where(found, length * self.shorter ** (tries - 1), 0.0)
        told = {"gain": jnp.where(found, gain, 0.0), "kl": jnp.where(found, apart, 0.0), "tries": tries}
        return _plus(weights, step, direction), told


def _hessian_product(f: Callable[[Weights], Scalar], weights: Weights, x: Weights) -> Weights:
    """∇²f · x, forward over reverse. Pearlmutter 1994."""
    return jax.jvp(jax.grad(f), (weights,), (x,))[1]


def _plus(one: Weights, step: Scalar, other: Weights) -> Weights:
    return jax.tree.map(lambda a, b: a + step * b, one, other)


def _inner(one: PyTree[Any], other: PyTree[Any]) -> Float[Array, ""]:
    return jnp.stack(jax.tree.leaves(jax.tree.map(jnp.vdot, one, other))).sum()
