"""SARSA: learn the values of the policy that is followed, exploration included.

Rummery & Niranjan 1994; Sutton & Barto 2018, section 6.4. The target takes the action that is
*really* taken next, so a transition is learnt from one step late, when that action is known. At a
time limit the action drawn on the final row stands in for it: it is the same policy's.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Between, Count, NonNegative, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory, one_after_another
from retorno.networks import ActionValueHead, NetworkConfig, Table, require_no_context, semi_gradient_step
from retorno.ops.returns import expected_sarsa_target, sarsa_target, td_error
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore
from retorno.policies.schedules import StepSize, step_sizes
from retorno.replay.held_rows import HeldRows, with_next_action


class SARSALearner(NamedTuple):
    """Everything that changes while SARSA learns."""

    network: Policy
    step_size: StepSize
    explorer: Explorer
    clock: Clock
    held: HeldRows
    """The row before the next trajectory's first: the action after it is not known yet."""


@hyperparameters
class SARSA:
    """SARSA (Rummery & Niranjan 1994), or expected SARSA. Actions: Discrete."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates; 1 learns before each choice."""
    step_size: Annotated[NonNegative | None, Between(0.01, 1.0, log=True)] = 0.1
    """α; None for 1/n at the nth visit of a pair."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""
    expected: bool = False
    """Take the mean over the next action instead of the one taken (expected SARSA)."""

    def init(self, key: Key[Array, ""], spec: Spec) -> SARSALearner:
        actions = num_actions(spec.action_space, "SARSA")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        return SARSALearner(
            network=require_no_context(network, "SARSA"),
            step_size=step_sizes(self.step_size, spec, actions),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, 1, ()),
        )

    def initial_carry(self, learner: SARSALearner) -> Carry:
        return ()

    def act(
        self, learner: SARSALearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return explore(learner.network, self.exploration, learner.explorer, row, learner.clock.progress, key), (), carry

    def policy(self, learner: SARSALearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: SARSALearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[SARSALearner, Metrics]:
        transitions, held = with_next_action(learner.held, trajectory, reward)
        explorer, progress = learner.explorer, learner.clock.progress

        def learn(
            state: tuple[Policy, StepSize], x: tuple[TimeStep, TimeStep, Array, Array]
        ) -> tuple[tuple[Policy, StepSize], Float[Array, ""]]:
            (network, step_size), (row, next_row, action, next_action) = state, x
            q, next_q = (network.step(r.obs, r.first, ())[0]["q"] for r in (row, next_row))
            discount = self.discount * next_row.discount
            if self.expected:
                probs = self.exploration.choice(explorer, next_q, next_row.obs, progress).masked(next_row.legal).probs()
                target = expected_sarsa_target(next_row.reward, discount, next_q, probs)
            else:
                target = sarsa_target(next_row.reward, discount, next_q, next_action)
            # A reset is no transition: nothing is learnt from it.
            error = jnp.where(row.last, 0.0, td_error(q, action, target))
            alpha, step_size = step_size.next(self.step_size, self.step_size_end, row.obs, action, progress, ~row.last)
            return (semi_gradient_step(network, "q", row.obs, action, alpha * error), step_size), jnp.abs(error)

        before = (learner.network, learner.step_size)
        (network, step_size), errors = jax.lax.scan(learn, before, one_after_another(transitions))
        metrics = {"td_error": errors.sum() / jnp.maximum((~transitions[0].last).sum(), 1)}
        clock = learner.clock.advance(trajectory)
        return SARSALearner(network, step_size, explorer.update(trajectory), clock, held), metrics


def ExpectedSARSA(**settings: Any) -> SARSA:
    """Expected SARSA (van Seijen et al. 2009): the mean over the next action. Actions: Discrete."""
    return preset(SARSA, settings, expected=True)
