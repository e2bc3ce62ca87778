"""TD(λ): each error is credited to everything that was seen lately; with dutch traces, the true online method.

Sutton 1988; van Seijen & Sutton 2014; Sutton & Barto 2018, sections 12.2, 12.5 and 12.9. The traces have the
parameters' shape, so tables and linear networks are one. True online TD(λ) is exactly the online λ-return
algorithm for values that are linear in the parameters.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory, learn_one_after_another
from retorno.networks import NetworkConfig, Table, ValueHead, require_no_context
from retorno.networks.network import moved, value_and_slope, value_of
from retorno.ops import traces
from retorno.ops.objectives import linear
from retorno.ops.returns import backup
from retorno.ops.traces import Trace
from retorno.policies import FixedConfig, Followed, Uniform, followed, weighed


class TDLambdaLearner(NamedTuple):
    """Everything that changes while TD(λ) learns."""

    network: Policy
    followed: Followed
    trace: PyTree[Array]
    """[B] Already faded; shaped like the network."""
    clock: Clock
    value: Float[Array, " B"]
    """[B] What the present row was estimated to be worth before the last update."""


@hyperparameters
class TDLambda:
    """TD(λ) prediction with eligibility traces (Sutton 1988). Actions: Discrete."""

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
    lambda_: UnitInterval = 0.8
    """λ: how slowly traces fade, from 0 (one step) to 1 (Monte Carlo)."""
    trace: Trace = Trace.accumulating
    """How a trace grows where it is visited."""
    step_size: NonNegative = 0.1
    """α"""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""

    def __post_init__(self) -> None:
        if self.trace is Trace.dutch and self.behaviour is not None:
            raise ValueError("dutch traces are on-policy: use accumulating ones, or EmphaticTD, with a behaviour")

    def init(self, key: Key[Array, ""], spec: Spec) -> TDLambdaLearner:
        network = self.network.build(key, spec.observation_space, {"value": ValueHead()})
        return TDLambdaLearner(
            network=require_no_context(network, "TD(λ)"),
            followed=followed(self.target, self.behaviour, spec),
            trace=jax.tree.map(lambda w: jnp.zeros((spec.num_envs, *w.shape)), network),
            clock=Clock.start(spec.steps),
            value=jnp.zeros(spec.num_envs),
        )

    def initial_carry(self, learner: TDLambdaLearner) -> Carry:
        return ()

    def act(
        self, learner: TDLambdaLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.followed.act(row, key)

    def policy(self, learner: TDLambdaLearner) -> Policy:
        return learner.followed.judged(learner.network)

    def update(
        self, learner: TDLambdaLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[TDLambdaLearner, Metrics]:
        alpha = linear(self.step_size, self.step_size_end, learner.clock.progress)

        def learn(network: Policy, x: Any) -> tuple[Policy, Any]:
            """One environment's transition."""
            (faded, old_value), (row, next_row, ratio) = x
            (value, slope), next_value = value_and_slope(network, row), value_of(network, next_row)
            discount = self.discount * next_row.discount
            trace = jax.tree.map(lambda z: ratio * z, self._grown(faded, slope, alpha))
            # A reset is no transition: nothing is learnt from it, and the next episode begins without a trace.
            error = jnp.where(row.last, 0.0, backup(next_row.reward, discount, next_value) - value)
            network = moved(network, alpha * error, trace)
            if self.trace is Trace.dutch:
                # What the value changed by since it was last asked for: Sutton & Barto 2018, section 12.5.
                change = jnp.where(row.last | row.first, 0.0, value - old_value)
                network = moved(moved(network, alpha * change, trace), -alpha * change, slope)
            decay = jnp.where(row.last, 0.0, discount * self.lambda_)
            return network, ((jax.tree.map(lambda z: decay * z, trace), next_value), jnp.abs(error))

        network, (trace, value), errors = learn_one_after_another(
            learn, learner.network, (learner.trace, learner.value), weighed(trajectory.rewarded(reward))
        )
        metrics = {"td_error": errors.sum() / jnp.maximum(trajectory.transitions.sum(), 1)}
        return TDLambdaLearner(network, learner.followed, trace, learner.clock.advance(trajectory), value), metrics

    def _grown(self, faded: Any, slope: Any, alpha: Float[Array, ""]) -> Any:
        """The trace with the present gradient in it."""
        match self.trace:
            case Trace.accumulating:
                return traces.accumulating(faded, slope)
            case Trace.replacing | Trace.clearing:
                # There are no other actions' traces to clear.
                return traces.replacing(faded, slope)
            case Trace.dutch:
                return traces.dutch(faded, slope, alpha)


def TrueOnlineTD(**settings: Any) -> TDLambda:
    """True online TD(λ) (van Seijen & Sutton 2014): the online λ-return, exactly. Actions: Discrete."""
    return preset(TDLambda, settings, trace=Trace.dutch)
