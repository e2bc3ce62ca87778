"""Average reward: differential SARSA and R-learning, for worlds that go on for ever.

Schwartz 1993; Sutton & Barto 2018, section 10.3. Nothing is discounted: a value says how much more than
the average is earned from here on, and the average reward of a step, the *gain*, is learnt
beside the values. SARSA learns the gain of the policy followed, R-learning that of the greedy policy.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions, require_one_player
from retorno.core.time_step import Clock, TimeStep, Trajectory, allowed, one_after_another
from retorno.networks import ActionValueHead, NetworkConfig, Table, require_no_context, semi_gradient_step
from retorno.ops.objectives import linear
from retorno.ops.returns import differential_error
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore
from retorno.policies.schedules import StepSize, step_sizes
from retorno.replay.held_rows import HeldRows, with_next_action


class DifferentialLearner(NamedTuple):
    """Everything that changes while differential values are learnt."""

    network: Policy
    average: Float[Array, ""]
    """R̄, the average reward of a step."""
    step_size: StepSize
    explorer: Explorer
    clock: Clock
    held: HeldRows
    """The row before the next trajectory's first: the action after it is not known yet."""


@hyperparameters
class DifferentialSARSA:
    """Differential SARSA (Sutton & Barto 2018, section 10.3): the best average reward. Actions: Discrete."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates; 1 learns before each choice."""
    step_size: NonNegative | None = 0.1
    """α; None for 1/n at the nth visit of a pair."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    average_step_size: NonNegative = 0.01
    """β, with which the average reward is learnt."""
    average_step_size_end: NonNegative | None = None
    """β at the end of the run, reached in a straight line; None to keep it."""
    greedy: bool = False
    """Learn the gain and the values of the greedy policy instead of those of the policy followed (R-learning)."""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""

    def init(self, key: Key[Array, ""], spec: Spec) -> DifferentialLearner:
        require_one_player(spec, "differential SARSA", "what is one's gain is the other's loss, so there is no average")
        actions = num_actions(spec.action_space, "differential SARSA")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        return DifferentialLearner(
            network=require_no_context(network, "differential SARSA"),
            average=jnp.float32(0),
            step_size=step_sizes(self.step_size, spec, actions),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, 1, ()),
        )

    def initial_carry(self, learner: DifferentialLearner) -> Carry:
        return ()

    def act(
        self, learner: DifferentialLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return explore(learner.network, self.exploration, learner.explorer, row, learner.clock.progress, key), (), carry

    def policy(self, learner: DifferentialLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: DifferentialLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[DifferentialLearner, Metrics]:
        transitions, held = with_next_action(learner.held, trajectory, reward)
        progress = learner.clock.progress
        beta = linear(self.average_step_size, self.average_step_size_end, progress)

        def learn(state: Any, x: tuple[TimeStep, TimeStep, Array, Array]) -> tuple[Any, Float[Array, ""]]:
            (network, average, step_size), (row, next_row, action, next_action) = state, x
            q, next_q = (network.step(r.obs, r.first, ())[0]["q"] for r in (row, next_row))
            best_next = jnp.max(allowed(next_row.legal, next_q))
            next_value = next_row.discount * (best_next if self.greedy else next_q[next_action])
            # A reset is no transition: nothing is learnt from it.
            error = jnp.where(row.last, 0.0, differential_error(q[action], next_row.reward, average, next_value))
            alpha, step_size = step_size.next(self.step_size, self.step_size_end, row.obs, action, progress, ~row.last)
            # What an exploring action earns says nothing of the greedy policy's average.
            follows = q[action] == jnp.max(allowed(row.legal, q)) if self.greedy else True
            average = average + jnp.where(follows, beta * error, 0.0)
            return (semi_gradient_step(network, "q", row.obs, action, alpha * error), average, step_size), jnp.abs(
                error
            )

        state = (learner.network, learner.average, learner.step_size)
        (network, average, step_size), errors = jax.lax.scan(learn, state, one_after_another(transitions))
        count = jnp.maximum((~transitions[0].last).sum(), 1)
        return DifferentialLearner(
            network=network,
            average=average,
            step_size=step_size,
            explorer=learner.explorer.update(trajectory),
            clock=learner.clock.advance(trajectory),
            held=held,
        ), {"td_error": errors.sum() / count, "average_reward": average}


def RLearning(**settings: Any) -> DifferentialSARSA:
    """R-learning (Schwartz 1993): the best average reward, off-policy. Actions: Discrete."""
    return preset(DifferentialSARSA, settings, greedy=True)
