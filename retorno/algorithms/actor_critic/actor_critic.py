"""Actor–critic with eligibility traces. Sutton & Barto 2018, section 13.5.

    δ = R + γ v(S′, w) − v(S, w)
    z_w ← γ λ_w z_w + ∇v(S, w)            w ← w + α_w δ z_w
    z_θ ← γ λ_θ z_θ + γᵗ ∇ln π(A|S, θ)     θ ← θ + α_θ δ z_θ

λ = 0 is the one-step actor–critic. With `at_the_end` the same steps are added up and taken when the
episode is over: with both λ = 1 that is REINFORCE with baseline in constant memory, since
Gₜ − v(Sₜ) = Σ_k γᵏ δₜ₊ₖ; without a critic (a step size of 0) it is REINFORCE. (The book's boxes take an
episode's steps one after another, each with the parameters that the one before left: the same to first order.)
In a game of two a trace changes its sign with the one who moves: what one gains says that the other did badly.
A Gaussian's score has no bound, so its step is multiplied with σ² where that is below 1 (Williams 1992).

Where several environments, or several steps between two updates, are learnt from, their policies differ
a little from the one that chose.
"""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory, before_and_after
from retorno.networks import NetworkConfig, Table, ValueHead, policy_head, require_no_context
from retorno.networks.network import score_and_slope, score_step
from retorno.ops.objectives import linear
from retorno.ops.returns import backup


class Traces(NamedTuple):
    """What an episode under way left: shaped like the network, one for each environment [B]."""

    actor: Policy
    critic: Policy
    actor_sum: Policy
    """Σ δ z_θ of the episode so far, where it is learnt from at its end."""
    critic_sum: Policy
    weight: Float[Array, ""]
    """γᵗ, or 1: each of two players weighs its own steps, so without a sign."""


class ActorCriticLearner(NamedTuple):
    """Everything that changes while the actor–critic learns."""

    network: Policy
    traces: Traces
    clock: Clock


@hyperparameters
class ActorCritic:
    """Actor–critic with traces (Sutton & Barto 2018, section 13.5). Actions: Discrete, MultiDiscrete, Box."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the policy's preferences and the values are held."""
    num_envs: Count = 1
    """Environments that act side by side; their steps are added up."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    step_size: NonNegative = 0.1
    """α_θ, the actor's."""
    step_size_end: NonNegative | None = None
    """α_θ at the end of the run, reached in a straight line; None to keep it."""
    critic_step_size: NonNegative = 0.2
    """α_w, the critic's; 0 for none."""
    critic_step_size_end: NonNegative | None = None
    """α_w at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    actor_lambda: UnitInterval = 0.0
    """λ_θ, how far back the actor's traces reach."""
    critic_lambda: UnitInterval = 0.0
    """λ_w, how far back the critic's traces reach."""
    discount_gradient: bool = True
    """Weigh the step at time t by γᵗ, as the policy gradient theorem has it and most code leaves out."""
    at_the_end: bool = False
    """Hold the steps back until the episode is over: with both λ at 1, REINFORCE."""

    def init(self, key: Key[Array, ""], spec: Spec) -> ActorCriticLearner:
        heads = {"policy": policy_head(spec.action_space), "value": ValueHead()}
        network = require_no_context(self.network.build(key, spec.observation_space, heads), "actor–critic")
        none = jax.tree.map(lambda x: jnp.zeros((spec.num_envs, *x.shape), x.dtype), network)
        traces = Traces(none, none, none, none, jnp.ones(spec.num_envs))
        return ActorCriticLearner(network, traces, Clock.start(spec.steps))

    def initial_carry(self, learner: ActorCriticLearner) -> Carry:
        return ()

    def act(
        self, learner: ActorCriticLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.network.step(row.obs, row.first, ())[0]["policy"].masked(row.legal).sample(key), (), carry

    def policy(self, learner: ActorCriticLearner) -> Policy:
        return learner.network

    def update(
        self, learner: ActorCriticLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[ActorCriticLearner, Metrics]:
        progress = learner.clock.progress
        actor_rate = linear(self.step_size, self.step_size_end, progress)
        critic_rate = linear(self.critic_step_size, self.critic_step_size_end, progress)

        def learn(
            state: tuple[Policy, Traces], x: tuple[TimeStep, TimeStep, PyTree[Any]]
        ) -> tuple[tuple[Policy, Traces], Float[Array, " B"]]:
            (network, traces), (row, next_row, action) = state, x
            steps, traces, error = jax.vmap(partial(self._step, network))(traces, row, next_row, action)
            actor, critic = jax.tree.map(lambda each: each.sum(0), steps)
            network = jax.tree.map(lambda w, a, c: w + actor_rate * a + critic_rate * c, network, actor, critic)
            return (network, traces), error

        lived = trajectory.rewarded(reward)
        state, transitions = (learner.network, learner.traces), (*before_and_after(lived.steps), trajectory.action)
        (network, traces), errors = jax.lax.scan(learn, state, transitions)
        metrics = {"td_error": jnp.abs(errors).sum() / jnp.maximum(trajectory.transitions.sum(), 1)}
        return ActorCriticLearner(network, traces, learner.clock.advance(trajectory)), metrics

    def _step(
        self, network: Policy, traces: Traces, row: TimeStep, next_row: TimeStep, action: PyTree[Any]
    ) -> tuple[tuple[Policy, Policy], Traces, Float[Array, ""]]:
        """The actor's and the critic's direction from one transition of one environment, traces, and δ."""
        score, slope, value = score_and_slope(network, row, action)
        next_value = network.step(next_row.obs, next_row.first, ())[0]["value"]
        error = jnp.where(row.last, 0.0, backup(next_row.reward, self.discount * next_row.discount, next_value) - value)
        weight = jnp.where(row.first, 1.0, traces.weight)

        discount = self.discount * row.discount

        def trace(old: Policy, new: Policy, decay: Array, weight: Array | float) -> Any:
            return jax.tree.map(lambda z, g: jnp.where(row.first, 0.0, decay * z) + weight * g, old, new)

        actor = trace(traces.actor, score, discount * self.actor_lambda, weight * score_step(network, row))
        critic = trace(traces.critic, slope, discount * self.critic_lambda, 1.0)
        steps = jax.tree.map(lambda z: error * z, (actor, critic))
        sums = (traces.actor_sum, traces.critic_sum)
        if self.at_the_end:
            sums = jax.tree.map(lambda old, new: jnp.where(row.first, 0.0, old) + new, sums, steps)
            # The step after the end repeats nothing: `error` is 0 there, but the sums still stand.
            steps = jax.tree.map(lambda total: jnp.where(next_row.last & ~row.last, total, 0.0), sums)
        following = weight * self.discount * jnp.abs(next_row.discount) if self.discount_gradient else weight
        return steps, Traces(actor, critic, sums[0], sums[1], following), error
