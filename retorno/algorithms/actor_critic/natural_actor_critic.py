"""Natural actor–critic: climb in the metric of the policy's own distributions, not of its parameters.

With the compatible features ψ(s, a) = ∇ln π(a|s) the advantage's least-squares weights *are* the natural
gradient F⁻¹∇J, F = E[ψψᵀ] (Kakade 2001; Peters & Schaal 2008, section 3). They are followed by a fast
regression on the TD error, and the policy by the slower steps of its weights:

    δ = R + γ v(S′) − v(S)        v(S) ← v(S) + α_w δ
    u ← u + α_w (δ − ψᵀu) ψ        θ ← θ + α_θ u

Bhatnagar, Sutton, Ghavamzadeh & Lee 2009, algorithm 3, with discounting in the place of the average
reward, and a step of u that never passes the error it fits (α_w ψᵀψ ≤ 1, beyond 2 it would diverge: a Gaussian's ψ
has no bound). So a plateau, where a nearly certain policy has hardly any gradient, does not hold it up.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import NetworkConfig, Table, ValueHead, policy_head, require_no_context
from retorno.networks.network import score_and_slope
from retorno.ops.objectives import linear
from retorno.ops.returns import backup


class NaturalActorCriticLearner(NamedTuple):
    """Everything that changes while the natural actor–critic learns."""

    network: Policy
    direction: Policy
    """u, the estimated natural gradient; shaped like the network."""
    clock: Clock


@hyperparameters
class NaturalActorCritic:
    """Natural actor–critic (Bhatnagar et al. 2009, algorithm 3). Actions: Discrete, MultiDiscrete, Box."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the policy's preferences and the values are held."""
    num_envs: Count = 1
    """Environments that act side by side; their steps are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    step_size: NonNegative = 0.01
    """α_θ, the actor's: small beside the critic's, whose answer it follows."""
    step_size_end: NonNegative | None = None
    """α_θ at the end of the run, reached in a straight line; None to keep it."""
    critic_step_size: NonNegative = 0.1
    """α_w, of the values and of the natural gradient."""
    critic_step_size_end: NonNegative | None = None
    """α_w at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""

    def init(self, key: Key[Array, ""], spec: Spec) -> NaturalActorCriticLearner:
        heads = {"policy": policy_head(spec.action_space), "value": ValueHead()}
        network = require_no_context(self.network.build(key, spec.observation_space, heads), "natural actor–critic")
        return NaturalActorCriticLearner(network, jax.tree.map(jnp.zeros_like, network), Clock.start(spec.steps))

    def initial_carry(self, learner: NaturalActorCriticLearner) -> Carry:
        return ()

    def act(
        self, learner: NaturalActorCriticLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.network.step(row.obs, row.first, ())[0]["policy"].masked(row.legal).sample(key), (), carry

    def policy(self, learner: NaturalActorCriticLearner) -> Policy:
        return learner.network

    def update(
        self, learner: NaturalActorCriticLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[NaturalActorCriticLearner, Metrics]:
        progress = learner.clock.progress
        actor_rate = linear(self.step_size, self.step_size_end, progress)
        critic_rate = linear(self.critic_step_size, self.critic_step_size_end, progress)

        def learn(
            state: tuple[Policy, Policy], x: tuple[TimeStep, TimeStep, PyTree[Any]]
        ) -> tuple[tuple[Policy, Policy], Float[Array, ""]]:
            (network, direction), (row, next_row, action) = state, x
            score, slope, value = score_and_slope(network, row, action)
            next_value = network.step(next_row.obs, next_row.first, ())[0]["value"]
            error = backup(next_row.reward, self.discount * next_row.discount, next_value) - value
            fitted, length = inner(score, direction), inner(score, score)
            # A reset is no transition: nothing is learnt from it.
            rate, step = (jnp.where(row.last, 0.0, x) for x in (critic_rate, actor_rate))
            fitting = jnp.minimum(rate, 1 / jnp.maximum(length, 1e-9))
            direction = jax.tree.map(lambda u, p: u + fitting * (error - fitted) * p, direction, score)
            network = jax.tree.map(lambda w, u, g: w + step * u + rate * error * g, network, direction, slope)
            return (network, direction), jnp.where(row.last, 0.0, jnp.abs(error))

        state = (learner.network, learner.direction)
        (network, direction), errors = jax.lax.scan(learn, state, trajectory.rewarded(reward).in_order())
        metrics = {"td_error": errors.sum() / jnp.maximum(trajectory.transitions.sum(), 1)}
        return NaturalActorCriticLearner(network, direction, learner.clock.advance(trajectory)), metrics


def inner(one: Policy, other: Policy) -> Float[Array, ""]:
    """The inner product of two directions, each shaped like the network."""
    return sum((jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True)), start=jnp.float32(0))
