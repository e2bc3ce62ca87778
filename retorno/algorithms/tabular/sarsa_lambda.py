"""SARSA(λ) and Watkins's Q(λ): each error is credited to everything that was done lately.

Rummery & Niranjan 1994; Watkins 1989; Sutton & Barto 2018, sections 12.7 and 12.10. The traces have the
parameters' shape, so tables and linear networks are one. Q(λ) forgets where an action was not
greedy: what follows is not the greedy policy's. With dutch traces SARSA(λ) is van Seijen's true online
one, which is exact for values that are linear in the parameters; with a deep network only
accumulating traces mean something.
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
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory, allowed, learn_one_after_another
from retorno.networks import ActionValueHead, NetworkConfig, Table, require_no_context
from retorno.ops import traces
from retorno.ops.objectives import linear
from retorno.ops.returns import q_learning_target, sarsa_target
from retorno.ops.traces import Trace
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore
from retorno.replay.held_rows import HeldRows, with_next_action


class SARSALambdaLearner(NamedTuple):
    """Everything that changes while SARSA(λ) learns."""

    network: Policy
    trace: PyTree[Array]
    """[B] Already faded; shaped like the network."""
    explorer: Explorer
    clock: Clock
    held: HeldRows
    """The row before the next trajectory's first: the action after it is not known yet."""
    value: Float[Array, " B"]
    """[B] What its action was estimated to be worth then."""


@hyperparameters
class SARSALambda:
    """SARSA(λ) (Rummery & Niranjan 1994), with eligibility traces. Actions: Discrete."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates; 1 learns before each choice."""
    lambda_: UnitInterval = 0.9
    """λ: how slowly traces fade, from 0 (one step) to 1 (Monte Carlo)."""
    trace: Trace = Trace.accumulating
    """How a trace grows where it is visited."""
    greedy: bool = False
    """Learn the values of the greedy policy, and cut traces where it was left (Watkins's Q(λ))."""
    step_size: NonNegative = 0.1
    """α"""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""

    def init(self, key: Key[Array, ""], spec: Spec) -> SARSALambdaLearner:
        actions = num_actions(spec.action_space, "SARSA(λ)")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        return SARSALambdaLearner(
            network=require_no_context(network, "SARSA(λ)"),
            trace=jax.tree.map(lambda w: jnp.zeros((spec.num_envs, *w.shape)), network),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, 1, ()),
            value=jnp.zeros(spec.num_envs),
        )

    def initial_carry(self, learner: SARSALambdaLearner) -> Carry:
        return ()

    def act(
        self, learner: SARSALambdaLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return explore(learner.network, self.exploration, learner.explorer, row, learner.clock.progress, key), (), carry

    def policy(self, learner: SARSALambdaLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: SARSALambdaLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[SARSALambdaLearner, Metrics]:
        transitions, held = with_next_action(learner.held, trajectory, reward)
        alpha = linear(self.step_size, self.step_size_end, learner.clock.progress)

        def learn(network: Policy, x: Any) -> tuple[Policy, Any]:
            """One environment's transition."""
            (faded, old_value), (row, next_row, action, next_action) = x
            q, gradient = jax.value_and_grad(lambda w: w.step(row.obs, row.first, ())[0]["q"][action])(network)
            next_q = network.step(next_row.obs, next_row.first, ())[0]["q"]
            discount, best = self.discount * next_row.discount, jnp.max(allowed(next_row.legal, next_q))
            if self.greedy:
                target = q_learning_target(next_row.reward, discount, next_q, next_row.legal)
                next_value, fading = best, jnp.where(next_q[next_action] == best, self.lambda_, 0.0)
            else:
                target = sarsa_target(next_row.reward, discount, next_q, next_action)
                next_value, fading = next_q[next_action], self.lambda_
            trace = self._grown(network, faded, gradient, row, alpha)
            # A reset is no transition: nothing is learnt from it, and the next episode begins without a trace.
            error = jnp.where(row.last, 0.0, target - q)
            network = jax.tree.map(lambda w, z: w + alpha * error * z, network, trace)
            if self.trace is Trace.dutch:
                # What the values changed by since this one was last asked for: Sutton & Barto 2018, section 12.8.
                moved = jnp.where(row.last | row.first, 0.0, q - old_value)
                network = jax.tree.map(lambda w, z, g: w + alpha * moved * (z - g), network, trace, gradient)
            decay = jnp.where(row.last, 0.0, discount * fading)
            return network, ((jax.tree.map(lambda z: decay * z, trace), next_value), jnp.abs(error))

        network, (trace, value), errors = learn_one_after_another(
            learn, learner.network, (learner.trace, learner.value), transitions
        )
        return SARSALambdaLearner(
            network=network,
            trace=trace,
            explorer=learner.explorer.update(trajectory),
            clock=learner.clock.advance(trajectory),
            held=held,
            value=value,
        ), {"td_error": errors.sum() / jnp.maximum((~transitions[0].last).sum(), 1)}

    def _grown(self, network: Policy, faded: Any, gradient: Any, row: TimeStep, alpha: Float[Array, ""]) -> Any:
        """The trace with the present gradient in it."""
        match self.trace:
            case Trace.accumulating:
                return traces.accumulating(faded, gradient)
            case Trace.replacing:
                return traces.replacing(faded, gradient)
            case Trace.clearing:
                others = jax.grad(lambda w: w.step(row.obs, row.first, ())[0]["q"].sum())(network)
                return traces.clearing(faded, gradient, others)
            case Trace.dutch:
                return traces.dutch(faded, gradient, alpha)


def QLambda(**settings: Any) -> SARSALambda:
    """Watkins's Q(λ) (Watkins 1989): traces until an action is not greedy. Actions: Discrete."""
    return preset(SARSALambda, settings, greedy=True)
