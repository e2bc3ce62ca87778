"""Gradient TD: what bootstraps off-policy from linear features and does not diverge.

Sutton et al. 2009; Sutton & Barto 2018, section 11.7. Both follow the gradient of the projected Bellman error,
of which a second set of weights estimates one factor: x(s)ᵀv ≈ the expected error of s.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory, one_after_another
from retorno.networks import NetworkConfig, Table, ValueHead, require_linear, semi_gradient_step
from retorno.networks.network import value_of
from retorno.ops.objectives import linear
from retorno.ops.returns import backup
from retorno.policies import FixedConfig, Followed, Uniform, followed, weighed


class GradientTDLearner(NamedTuple):
    """Everything that changes while gradient TD learns."""

    network: Policy
    second: Policy
    """v: shaped like the network."""
    followed: Followed
    clock: Clock


@hyperparameters
class TDC:
    """TD with gradient correction (Sutton et al. 2009), on and off policy, for linear values. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"network": Table()}

    network: NetworkConfig = field(default_factory=Table)
    """Where the values are held: a table or linear."""
    target: FixedConfig = field(default_factory=Uniform)
    """π, the policy whose value is asked for."""
    behaviour: FixedConfig | None = None
    """b, which acts in its place, and errors are weighed by π/b; None to follow π."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    step_size: NonNegative = 0.1
    """α"""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    second_step_size: NonNegative = 0.1
    """β, of the second weights."""
    corrected: bool = True
    """TD's step with a correction (TDC, also called GTD(0)); else the gradient's own form (GTD2)."""
    discount: UnitInterval = 0.99
    """γ"""

    def init(self, key: Key[Array, ""], spec: Spec) -> GradientTDLearner:
        network = self.network.build(key, spec.observation_space, {"value": ValueHead()})
        return GradientTDLearner(
            network=require_linear(network, "gradient TD"),
            second=jax.tree.map(jnp.zeros_like, network),
            followed=followed(self.target, self.behaviour, spec),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: GradientTDLearner) -> Carry:
        return ()

    def act(
        self, learner: GradientTDLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.followed.act(row, key)

    def policy(self, learner: GradientTDLearner) -> Policy:
        return learner.followed.judged(learner.network)

    def update(
        self, learner: GradientTDLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[GradientTDLearner, Metrics]:
        alpha = linear(self.step_size, self.step_size_end, learner.clock.progress)

        def learn(state: tuple[Policy, Policy], x: Any) -> tuple[tuple[Policy, Policy], Array]:
            (network, second), (row, next_row, ratio) = state, x
            value, next_value, guess = value_of(network, row), value_of(network, next_row), value_of(second, row)
            discount = self.discount * next_row.discount
            error = backup(next_row.reward, discount, next_value) - value
            # A reset is no transition: nothing is learnt from it.
            ratio = jnp.where(row.last, 0.0, ratio)
            forward = error if self.corrected else guess
            network = semi_gradient_step(network, "value", row.obs, None, alpha * ratio * forward)
            network = semi_gradient_step(network, "value", next_row.obs, None, -alpha * ratio * discount * guess)
            second = semi_gradient_step(second, "value", row.obs, None, self.second_step_size * ratio * (error - guess))
            return (network, second), jnp.where(row.last, 0.0, jnp.abs(error))

        transitions = one_after_another(weighed(trajectory.rewarded(reward)))
        (network, second), errors = jax.lax.scan(learn, (learner.network, learner.second), transitions)
        metrics = {"td_error": errors.sum() / jnp.maximum(trajectory.transitions.sum(), 1)}
        return GradientTDLearner(network, second, learner.followed, learner.clock.advance(trajectory)), metrics


def GTD2(**settings: Any) -> TDC:
    """GTD2 (Sutton et al. 2009): the gradient of the projected Bellman error, for linear values. Actions: Discrete."""
    return preset(TDC, settings, corrected=False)
