"""Policies that think before they choose: planning at decision time. Sutton & Barto 2018, section 8.8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree, UInt32

from retorno.core.policy import Carry, Heads, Policy, WithoutMemory
from retorno.core.time_step import TimeStep
from retorno.models.tabular import SampleModel
from retorno.ops.distributions import EpsilonGreedy


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

    @property
    def extras(self) -> dict[str, Array]:
        """What is recorded beside the action: "value" [], what the row seems to be worth, and what more there is."""
        ...


@runtime_checkable
class Thinking(Protocol):
    """What can think about a row: a planner's hyperparameters."""

    def plan(self, model: SampleModel, base: Policy, row: TimeStep, key: Key[Array, ""]) -> Plan:
        """Think about one row, in a model."""
        ...

    def plans(self, model: SampleModel, base: Policy, row: TimeStep, key: Key[Array, ""], after: Sequence[int]) -> Plan:
        """What has been thought after each of so many simulations, which rise: [looks, …]."""
        ...


class PlannedPolicy(WithoutMemory):
    """Thinks anew on each row, each time with the same random numbers.

    So it always chooses alike where it sees alike, and its value can be asked for as that of any other.
    """

    model: SampleModel
    base: Policy
    seed: UInt32[Array, ""]
    planner: Thinking

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        plan = self.planner.plan(self.model, self.base, self.model.enter(obs), jax.random.key(self.seed))
        return {"q": plan.q, "policy": EpsilonGreedy(plan.preference, jnp.float32(0))}, ()
