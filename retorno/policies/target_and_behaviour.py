"""Policies that do not learn: those whose value is asked for, and those that act in their place."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.hyperparameters import settings
from retorno.core.policy import Carry, Heads, Policy, WithoutMemory
from retorno.core.registry import Registry
from retorno.core.spaces import HashableSpace, SpaceError, Spec, cardinality, index, num_actions
from retorno.core.time_step import TimeStep, Trajectory, before_and_after
from retorno.ops.distributions import Categorical
from retorno.ops.returns import importance_weight

NEVER = -1e6
"""The logarithm that stands for a probability of 0: e to it is 0, and it is finite, as all must be that a run holds. Of
actions that are not legal distributions have a lower one, so that where only impossible actions are legal, they are
equally likely."""


class FixedPolicy(WithoutMemory):
    """Logarithms of probabilities: one row for each observation of a finite space, or one for all."""

    log_prob: Float[Array, "S A"]
    observed: HashableSpace = eqx.field(static=True)

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        row = 0 if len(self.log_prob) == 1 else index(self.observed.space, obs)
        return {"policy": Categorical(self.log_prob[row])}, ()


class AtRandom(FixedPolicy):
    """A player to whom all legal actions are alike: it draws one also where best ones are asked for."""


@runtime_checkable
class FixedConfig(Protocol):
    """The settings of a policy that does not learn: a frozen dataclass that can build it."""

    def build(self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> Policy:
        """The policy.

        Raises:
            SpaceError: when it does not fit the spaces.
        """
        ...


@settings
class Uniform:
    """Every legal action is equally likely."""

    def build(self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> FixedPolicy:
        actions = num_actions(action_space, "the uniform policy")
        return FixedPolicy(jnp.zeros((1, actions)), HashableSpace(observation_space))


@settings
class Tabulated:
    """Given probabilities of the actions."""

    probabilities: tuple[tuple[float, ...], ...] = ()
    """One row for each observation of a finite space, in order, or one row for all observations. Rows of a policy that
    leaves nothing to chance are a 1 among zeros."""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.probabilities):
            if min(row, default=-1.0) < 0 or not math.isclose(sum(row), 1, abs_tol=1e-6):
                raise ValueError(f"probabilities are at least 0 and sum to 1, got {row} in row {number}")

    def build(self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> FixedPolicy:
        actions, rows = num_actions(action_space, "a table of probabilities"), len(self.probabilities)
        if rows != 1 and rows != cardinality(observation_space):
            raise SpaceError(
                f"{rows} rows of probabilities for the {cardinality(observation_space)} observations of "
                f"{observation_space}: give one row for each, or one for all"
            )
        if len(self.probabilities[0]) != actions or len({len(row) for row in self.probabilities}) != 1:
            raise SpaceError(f"every row needs a probability for each of the {actions} actions of {action_space}")
        chances = np.array(self.probabilities, np.float64)
        log_prob = np.log(chances, where=chances > 0, out=np.full_like(chances, NEVER))
        return FixedPolicy(jnp.asarray(log_prob, jnp.float32), HashableSpace(observation_space))


FIXED = Registry((Uniform, Tabulated), of=FixedConfig)
"""Every policy that does not learn, by name."""


def tabulated(probabilities: Float[np.ndarray, "S A"]) -> Tabulated:
    """The settings that hold an array of probabilities; rows of zeros, of terminal states, become uniform."""
    rows = np.where(probabilities.sum(1, keepdims=True) > 0, probabilities, 1 / probabilities.shape[1])
    return Tabulated(tuple(tuple(map(float, row)) for row in rows))


class Followed(eqx.Module):
    """The policy whose value is asked for, and the one that acts; on policy they are one."""

    target: Policy
    behaviour: Policy | None

    def act(self, row: TimeStep, key: Key[Array, ""]) -> tuple[Int[Array, ""], dict[str, Float[Array, ""]], Carry]:
        """An action of the one that acts, and its ratio ρ = π(a|s) / b(a|s): what an algorithm's `act` gives."""
        action = self._choice(self.behaviour or self.target, row).sample(key)
        return action, {"ratio": self._ratio(row, action)}, ()

    def judged(self, network: Policy) -> Judged:
        """The policy whose value is asked for, with what was learnt about it."""
        return Judged(self.target, network)

    def _ratio(self, row: TimeStep, action: Int[Array, ""]) -> Float[Array, ""]:
        if self.behaviour is None:
            return jnp.float32(1)
        return importance_weight(*(self._choice(p, row).log_prob(action) for p in (self.target, self.behaviour)))

    def _choice(self, policy: Policy, row: TimeStep) -> Any:
        return policy.choice(row, ())[0]


def weighed(trajectory: Trajectory) -> tuple[TimeStep, TimeStep, Float[Array, "T B"]]:
    """What was lived as (row, next row, ρ) [T, B]; resets are among them."""
    return *before_and_after(trajectory.steps), trajectory.extras["ratio"]


def followed(target: FixedConfig, behaviour: FixedConfig | None, spec: Spec) -> Followed:
    """The policies over a world's spaces.

    Raises:
        SpaceError: when they do not fit.
    """
    built = [
        None if one is None else one.build(spec.observation_space, spec.action_space) for one in (target, behaviour)
    ]
    assert built[0] is not None
    return Followed(built[0], built[1])


class Judged(WithoutMemory):
    """A policy with what was learnt about its value."""

    policy: Policy
    network: Policy

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        return {**self.policy.step(obs, first, ())[0], **self.network.step(obs, first, ())[0]}, ()

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        return {**self.policy.unroll(obs, first, ()), **self.network.unroll(obs, first, ())}
