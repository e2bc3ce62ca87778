"""Dyna-Q: learn from what happens, remember it, and learn from what is remembered.

Sutton 1990; Sutton & Barto 2018, section 8.2. After every real step come `planning_steps` backups of
remembered ones, drawn uniformly among the states met and the actions tried in them, or met on walks
through the model under the present policy (trajectory sampling, section 8.6). With a `bonus` κ it is Dyna-Q+
(section 8.3): an action not tried for τ steps is planned with κ√τ on top of its reward, and one never
tried is thought to lead nowhere.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, element, index, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.models.tabular import LatestModel, latest_model
from retorno.networks import ActionValueHead, NetworkConfig, Table, require_no_context, semi_gradient_step
from retorno.ops.returns import q_learning_target, td_error
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore
from retorno.policies.schedules import StepSize, step_sizes


class DynaLearner(NamedTuple):
    """Everything that changes while Dyna learns."""

    network: Policy
    model: LatestModel
    step_size: StepSize
    explorer: Explorer
    clock: Clock


@hyperparameters
class DynaQ:
    """Dyna-Q (Sutton 1990), or with a bonus Dyna-Q+. Observations: finite. Actions: Discrete."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates; 1 learns from each before the next is chosen."""
    step_size: NonNegative | None = 0.1
    """α, of real and of planned backups; None for 1/n at the nth visit of a pair."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""
    planning_steps: Whole = 5
    """n, backups from the model after each real step; 0 is Q-learning."""
    bonus: NonNegative = 0.0
    """κ of Dyna-Q+; 0 plans with what was tried only."""
    trajectories: bool = False
    """Plan along walks through the model under the present policy instead of uniformly."""

    def init(self, key: Key[Array, ""], spec: Spec) -> DynaLearner:
        actions = num_actions(spec.action_space, "Dyna-Q")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        return DynaLearner(
            network=require_no_context(network, "Dyna-Q"),
            model=latest_model(spec, actions),
            step_size=step_sizes(self.step_size, spec, actions),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: DynaLearner) -> Carry:
        return ()

    def act(
        self, learner: DynaLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        action = explore(learner.network, self.exploration, learner.explorer, row, learner.clock.progress, key)
        return action, (), carry

    def policy(self, learner: DynaLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: DynaLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[DynaLearner, Metrics]:
        progress = learner.clock.progress

        def learn(
            state: tuple[Policy, LatestModel, StepSize], x: tuple[TimeStep, TimeStep, Array, Array]
        ) -> tuple[tuple[Policy, LatestModel, StepSize], Float[Array, ""]]:
            (network, model, step_size), (row, next_row, action, key) = state, x
            q, next_q = (network.step(r.obs, r.first, ())[0]["q"] for r in (row, next_row))
            target = q_learning_target(next_row.reward, self.discount * next_row.discount, next_q, next_row.legal)
            # A reset is no transition: nothing is learnt from it, nor planned after it.
            error = jnp.where(row.last, 0.0, td_error(q, action, target))
            alpha, step_size = step_size.next(self.step_size, self.step_size_end, row.obs, action, progress, ~row.last)
            network = semi_gradient_step(network, "q", row.obs, action, alpha * error)
            model = model.learn(row, action, next_row)
            if self.planning_steps:
                alpha = jnp.where(row.last, 0.0, alpha)
                here = index(model.observed.space, next_row.obs)
                network = self._plan(network, model, learner.explorer, alpha, progress, here, key)
            return (network, model, step_size), jnp.abs(error)

        lived = trajectory.rewarded(reward)
        transitions = (*lived.in_order(), jax.random.split(key, lived.transitions.size))
        held = (learner.network, learner.model, learner.step_size)
        (network, model, step_size), errors = jax.lax.scan(learn, held, transitions)
        metrics = {"td_error": errors.sum() / jnp.maximum(trajectory.transitions.sum(), 1)}
        explorer = learner.explorer.update(trajectory)
        return DynaLearner(network, model, step_size, explorer, learner.clock.advance(trajectory)), metrics

    def _plan(
        self,
        network: Policy,
        model: LatestModel,
        explorer: Explorer,
        alpha: Float[Array, ""],
        progress: Float[Array, ""],
        here: Int[Array, ""],
        key: Key[Array, ""],
    ) -> Policy:
        """Backups of remembered transitions. A walk begins `here` and again wherever the model ends."""
        space = model.observed.space

        def backup(state: tuple[Policy, Int[Array, ""]], drawn: Array) -> tuple[tuple[Policy, Int[Array, ""]], None]:
            network, walker = state
            if self.trajectories:
                s = walker
                q = network.step(element(space, s), jnp.array(False), ())[0]["q"]
                choice = self.exploration.choice(explorer, q, element(space, s), progress).masked(model.legal_in(s))
                action = choice.sample(drawn)
            else:
                s = model.visited[(drawn[0] * model.met).astype(jnp.int32)]
                legal = model.legal_in(s)
                plannable = model.tried[s] > 0
                plannable = plannable | ((self.bonus > 0) & (True if legal is None else legal))
                action = _nth(plannable, drawn[1])
            last_time = model.tried[s, action]
            reward = model.reward[s, action] + self.bonus * jnp.sqrt((model.now - last_time).astype(jnp.float32))
            discount, after = model.discount[s, action], model.next_state[s, action]
            q, next_q = (network.step(element(space, x), jnp.array(False), ())[0]["q"] for x in (s, after))
            target = q_learning_target(reward, self.discount * discount, next_q, model.legal_in(after))
            error = td_error(q, action, target)
            # A walk may choose what was never tried; without a bonus nothing is known of it.
            known = (last_time > 0) | (self.bonus > 0)
            network = semi_gradient_step(network, "q", element(space, s), action, jnp.where(known, alpha * error, 0.0))
            return (network, jnp.where(known & (discount != 0), after, here)), None

        steps = self.planning_steps
        draws = jax.random.split(key, steps) if self.trajectories else jax.random.uniform(key, (steps, 2))
        return jax.lax.scan(backup, (network, here), draws)[0][0]


def _nth(allowed: Bool[Array, " A"], uniform: Float[Array, ""]) -> Int[Array, ""]:
    """One of the allowed actions, all equally probable, by a number in [0, 1)."""
    running = jnp.cumsum(allowed)
    return (running <= jnp.floor(uniform * running[-1])).sum(dtype=jnp.int32)
