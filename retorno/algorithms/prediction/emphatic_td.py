"""Emphatic TD(λ): weighs states so that bootstrapping off-policy is as stable as on-policy.

Sutton, Mahmood & White 2016; Sutton & Barto 2018, sections 11.8 and 12.11. The follow-on trace F says how much of
what π would visit led here. It is stable in expectation; single runs may have a very high variance.
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
from retorno.core.time_step import Clock, TimeStep, Trajectory, learn_one_after_another
from retorno.networks import NetworkConfig, Table, ValueHead, require_no_context
from retorno.networks.network import moved, value_and_slope, value_of
from retorno.ops.objectives import linear
from retorno.ops.returns import backup
from retorno.policies import FixedConfig, Followed, Uniform, followed, weighed


class EmphaticTDLearner(NamedTuple):
    """Everything that changes while emphatic TD learns."""

    network: Policy
    followed: Followed
    trace: PyTree[Array]
    """[B] Already faded; shaped like the network."""
    follow_on: Float[Array, " B"]
    """[B] |γ|ρF of the transition before; 0 where an episode begins."""
    clock: Clock


@hyperparameters
class EmphaticTD:
    """Emphatic TD(λ) (Sutton, Mahmood & White 2016), on and off policy. Actions: Discrete."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the values are held."""
    target: FixedConfig = field(default_factory=Uniform)
    """π, the policy whose value is asked for."""
    behaviour: FixedConfig | None = None
    """b, which acts in its place, and traces are weighed by π/b; None to follow π."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    lambda_: UnitInterval = 0.0
    """λ: how slowly traces fade, from 0 (one step) to 1 (Monte Carlo)."""
    step_size: NonNegative = 0.03
    """α"""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""

    def init(self, key: Key[Array, ""], spec: Spec) -> EmphaticTDLearner:
        network = self.network.build(key, spec.observation_space, {"value": ValueHead()})
        return EmphaticTDLearner(
            network=require_no_context(network, "emphatic TD"),
            followed=followed(self.target, self.behaviour, spec),
            trace=jax.tree.map(lambda w: jnp.zeros((spec.num_envs, *w.shape)), network),
            follow_on=jnp.zeros(spec.num_envs),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: EmphaticTDLearner) -> Carry:
        return ()

    def act(
        self, learner: EmphaticTDLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.followed.act(row, key)

    def policy(self, learner: EmphaticTDLearner) -> Policy:
        return learner.followed.judged(learner.network)

    def update(
        self, learner: EmphaticTDLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[EmphaticTDLearner, Metrics]:
        alpha = linear(self.step_size, self.step_size_end, learner.clock.progress)

        def learn(network: Policy, x: Any) -> tuple[Policy, Any]:
            """One environment's transition."""
            (faded, followed_on), (row, next_row, ratio) = x
            (value, slope), next_value = value_and_slope(network, row), value_of(network, next_row)
            discount = self.discount * next_row.discount
            follow_on = followed_on + 1
            emphasis = self.lambda_ + (1 - self.lambda_) * follow_on
            trace = jax.tree.map(lambda z, g: ratio * (z + emphasis * g), faded, slope)
            # A reset is no transition: nothing is learnt from it, and the next episode begins without traces.
            error = jnp.where(row.last, 0.0, backup(next_row.reward, discount, next_value) - value)
            network, decay = moved(network, alpha * error, trace), jnp.where(row.last, 0.0, discount)
            # How much an opponent's row counts is a size: with |γ| the update stays stable whatever γ's sign.
            held = (jax.tree.map(lambda z: decay * self.lambda_ * z, trace), jnp.abs(decay) * ratio * follow_on)
            return network, (held, jnp.abs(error))

        network, (trace, follow_on), errors = learn_one_after_another(
            learn, learner.network, (learner.trace, learner.follow_on), weighed(trajectory.rewarded(reward))
        )
        metrics = {"td_error": errors.sum() / jnp.maximum(trajectory.transitions.sum(), 1)}
        clock = learner.clock.advance(trajectory)
        return EmphaticTDLearner(network, learner.followed, trace, follow_on, clock), metrics
