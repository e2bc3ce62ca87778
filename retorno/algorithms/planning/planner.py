"""Planning at decision time: what UCT and the rollout algorithm share, all but the thinking itself.

Sutton & Barto 2018, section 8.8. A planner thinks anew on each row, in a model that is given or learnt meanwhile, and
keeps no values from one choice to the next.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import field
from typing import Any, NamedTuple

import jax
from jax import Array
from jaxtyping import Key, PyTree, UInt32

from retorno.core.hyperparameters import Count, UnitInterval, as_arrays, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.models.tabular import Exact, ModelConfig, SampleModel
from retorno.policies import FixedConfig, Uniform
from retorno.policies.decision_time_planning import Plan, PlannedPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer


class PlanningLearner(NamedTuple):
    """Everything that changes while one plans at decision time: a model that is learnt, and how one explores."""

    model: SampleModel
    base: Policy
    explorer: Explorer
    seed: UInt32[Array, ""]
    """What the policy thinks with after training."""
    clock: Clock


@hyperparameters
class Planner(abc.ABC):
    """What every planner has."""

    model: ModelConfig = field(default_factory=Exact)
    """What is planned in."""
    base: FixedConfig = field(default_factory=Uniform)
    """The policy that simulations follow where the planner does not choose."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates, in which a model may be learnt."""
    simulations: Count = 200
    """Before each choice."""
    depth: Count = 100
    """The most steps of a simulation; what lies beyond counts for nothing."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=lambda: Epsilon(0.0))
    """How actions are chosen while learning; a model that is learnt needs some."""

    @abc.abstractmethod
    def plans(self, model: SampleModel, base: Policy, row: TimeStep, key: Key[Array, ""], after: Sequence[int]) -> Plan:
        """Think about one row, in a model: what has been found after each of so many simulations, [looks, …]."""

    def plan(self, model: SampleModel, base: Policy, row: TimeStep, key: Key[Array, ""]) -> Plan:
        """Think about one row, in a model."""
        return jax.tree.map(lambda x: x[0], self.plans(model, base, row, key, (self.simulations,)))

    def init(self, key: Key[Array, ""], spec: Spec) -> PlanningLearner:
        name = type(self).__name__
        actions = num_actions(spec.action_space, name)
        return PlanningLearner(
            model=self.model.build(spec, actions, name),
            base=self.base.build(spec.observation_space, spec.action_space),
            explorer=self.exploration.start(spec, actions),
            seed=jax.random.bits(key),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: PlanningLearner) -> Carry:
        return ()

    def act(
        self, learner: PlanningLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        planning, choosing = jax.random.split(key)
        plan = self.plan(learner.model, learner.base, row, planning)
        choice = self.exploration.choice(learner.explorer, plan.preference, row.obs, learner.clock.progress)
        return choice.masked(row.legal).sample(choosing), plan.extras, carry

    def policy(self, learner: PlanningLearner) -> Policy:
        return PlannedPolicy(learner.model, learner.base, learner.seed, as_arrays(self))

    def update(
        self, learner: PlanningLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[PlanningLearner, Metrics]:
        lived = trajectory.rewarded(reward)
        after = learner._replace(
            model=learner.model.update(lived),
            explorer=learner.explorer.update(lived),
            clock=learner.clock.advance(lived),
        )
        return after, {"value": trajectory.extras["value"].mean()}
