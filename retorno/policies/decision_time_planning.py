"""Policies that think before they choose: planning at decision time. Sutton & Barto 2018, section 8.8."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree, UInt32

from retorno.core.policy import Carry, Heads, Policy
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.models.tabular import SampleModel
from retorno.ops.distributions import EpsilonGreedy
from retorno.policies.exploration import Explorer


@runtime_checkable
class Plan(Protocol):
    """What thinking about one row comes to."""

    @property
    def q(self) -> Float[Array, " A"]:
        """What the actions seem to be worth; 0 for those that were not looked at."""
        ...

    @property
    def preference(self) -> Float[Array, " A"]:
        """The highest is the action to take."""
        ...


@runtime_checkable
class Planner(Protocol):
    """Hyperparameters that can think about a row."""

    def plan(self, model: SampleModel, base: Policy, row: TimeStep, key: Key[Array, ""]) -> Plan:
        """Think about one row, in a model."""
        ...


class PlannedPolicy(Policy):
    """Thinks anew on each row, each time with the same random numbers.

    So it always chooses alike where it sees alike, and its value can be asked for as that of any other.
    """

    model: SampleModel
    base: Policy
    seed: UInt32[Array, ""]
    planner: Planner

    @property
    def context(self) -> int:
        return 0

    def initial_carry(self) -> Carry:
        return ()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        plan = self.planner.plan(self.model, self.base, self.model.enter(obs), jax.random.key(self.seed))
        return {"q": plan.q, "policy": EpsilonGreedy(plan.preference, jnp.float32(0))}, ()


class PlanningLearner(NamedTuple):
    """Everything that changes while one plans at decision time: a model that is learnt, and how one explores."""

    model: SampleModel
    base: Policy
    explorer: Explorer
    seed: UInt32[Array, ""]
    """What the policy thinks with after training."""
    clock: Clock

    @classmethod
    def start(cls, settings: Any, key: Key[Array, ""], spec: Spec, name: str) -> PlanningLearner:
        """Before the first step, by the settings' model, base and exploration."""
        actions = num_actions(spec.action_space, name)
        return cls(
            model=settings.model.build(spec, actions, name),
            base=settings.base.build(spec.observation_space, spec.action_space),
            explorer=settings.exploration.start(spec, actions),
            seed=jax.random.bits(key),
            clock=Clock.start(spec.steps),
        )

    def update(self, trajectory: Trajectory) -> PlanningLearner:
        """After a trajectory [T+1, B]."""
        return self._replace(
            model=self.model.update(trajectory),
            explorer=self.explorer.update(trajectory),
            clock=self.clock.advance(trajectory),
        )
