"""Prioritised sweeping: plan backwards from where a value has just changed most.

Moore & Atkeson 1993; Peng & Williams 1993; Sutton & Barto 2018, section 8.4. Every pair has a priority, how much its
backup is likely to change it; the most urgent is backed up with the model's expectation, and the pairs
that lead to its state are made as urgent as the change makes them: p(s|s̄, ā) · |Δv(s)|. The queue is an
array with a place for every pair, so it is searched and not sorted. The book's own version, for
worlds without chance, moves values by α; an expected backup needs no step size and takes chance in.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.counter import Counter
from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.models.tabular import CountedModel, counted_model
from retorno.networks import ActionValueHead, Table, TableNetwork
from retorno.ops.planning import best_value, expected_backup
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore


class Sweep(NamedTuple):
    """What backups change."""

    q: Float[Array, "S A"]
    priority: Float[Array, "S A"]
    """0 where nothing waits."""
    backups: Int[Array, ""]
    """Those that were made in this update."""


class SweepingLearner(NamedTuple):
    """Everything that changes while prioritised sweeping learns."""

    network: TableNetwork
    model: CountedModel
    priority: Float[Array, "S A"]
    """0 where nothing waits."""
    backups: Counter
    """Those that were made."""
    explorer: Explorer
    clock: Clock


@hyperparameters
class PrioritisedSweeping:
    """Prioritised sweeping (Moore & Atkeson 1993). Observations: finite. Actions: Discrete."""

    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""
    planning_steps: Count = 5
    """n, the most backups after each real step."""
    threshold: NonNegative = 1e-4
    """θ, the least change that is worth a backup."""
    initial: float = 0.0
    """Every value before learning."""

    def init(self, key: Key[Array, ""], spec: Spec) -> SweepingLearner:
        actions = num_actions(spec.action_space, "prioritised sweeping")
        model = counted_model(spec, actions, "prioritised sweeping")
        return SweepingLearner(
            network=Table(self.initial).build(key, spec.observation_space, {"q": ActionValueHead(actions)}),
            model=model,
            priority=jnp.zeros_like(model.count.rounded),
            backups=Counter.of(jnp.uint32(0)),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: SweepingLearner) -> Carry:
        return ()

    def act(
        self, learner: SweepingLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        action = explore(learner.network, self.exploration, learner.explorer, row, learner.clock.progress, key)
        return action, (), carry

    def policy(self, learner: SweepingLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: SweepingLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[SweepingLearner, Metrics]:
        model = learner.model.update(trajectory.rewarded(reward))
        q, counts = learner.network.tables["q"], trajectory.transitions

        def expected(q: Float[Array, "S A"], s: Int[Array, ""], a: Int[Array, ""]) -> Float[Array, ""]:
            tried = jnp.maximum(model.count.at((s, a)), 1)
            reward, onward = model.reward.at((s, a)) / tried, model.onward.at((s, a)) / tried
            return expected_backup(reward, onward, self.discount, best_value(q, model.legal))

        states = model.states(jax.tree.map(lambda x: x[:-1].reshape(-1, *x.shape[2:]), trajectory.steps.obs))
        actions = trajectory.action.reshape(-1)
        change = jax.vmap(lambda s, a: jnp.abs(expected(q, s, a) - q[s, a]))(states, actions)
        change = jnp.where(counts.reshape(-1) & (change > self.threshold), change, 0.0)
        priority = learner.priority.at[states, actions].max(change)

        def waits(state: Sweep) -> Bool[Array, ""]:
            return (state.backups < self.planning_steps * len(actions)) & (state.priority > 0).any()

        def sweep(state: Sweep) -> Sweep:
            q, priority, backups = state
            s, a = jnp.unravel_index(jnp.argmax(priority), priority.shape)
            legal = None if model.legal is None else model.legal[s]
            before = best_value(q[s], legal)
            q = q.at[s, a].set(expected(q, s, a))
            moved = jnp.abs(best_value(q[s], legal) - before)
            leads_here = jnp.abs(model.onward.at((slice(None), slice(None), s))) / jnp.maximum(model.count.value, 1)
            urgent = self.discount * leads_here * moved
            priority = priority.at[s, a].set(0.0)
            priority = jnp.maximum(priority, jnp.where(urgent > self.threshold, urgent, 0.0))
            return Sweep(q, priority, backups + 1)

        q, priority, backups = jax.lax.while_loop(waits, sweep, Sweep(q, priority, jnp.int32(0)))
        return SweepingLearner(
            network=replace(learner.network, tables={"q": q}),
            model=model,
            priority=priority,
            backups=learner.backups.plus(backups),
            explorer=learner.explorer.update(trajectory),
            clock=learner.clock.advance(trajectory),
        ), {"change": change.sum() / jnp.maximum(counts.sum(), 1)}
