"""What falls while a table learns, and the counts of visits that it may fall with: ε, temperatures, step sizes."""

from __future__ import annotations

import enum
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, PyTree

from retorno.core.spaces import Spec, cardinality, index
from retorno.core.time_step import Trajectory
from retorno.networks.layers import Observed
from retorno.ops.objectives import linear


class Visits(eqx.Module):
    """How often each action was taken on each observation of a finite space."""

    count: Int[Array, "S A"]
    observed: Observed = eqx.field(static=True)

    def at(self, obs: PyTree[Any]) -> Int[Array, " A"]:
        """The counts on one observation."""
        return self.count[index(self.observed.space, obs)]

    def add(self, obs: PyTree[Any], action: Int[Array, ""], times: Array | int = 1) -> Visits:
        """One more visit, or `times` more."""
        return Visits(self.count.at[index(self.observed.space, obs), action].add(times), self.observed)

    def update(self, trajectory: Trajectory) -> Visits:
        """Add a trajectory's transitions."""
        row = jax.vmap(jax.vmap(lambda obs: index(self.observed.space, obs)))(trajectory.steps.obs)[:-1]
        return Visits(self.count.at[row, trajectory.action].add(trajectory.transitions), self.observed)


def visits(spec: Spec, actions: int) -> Visits:
    """None yet.

    Raises:
        SpaceError: when the observation space is not finite.
    """
    space = spec.observation_space
    return Visits(jnp.zeros((cardinality(space), actions), jnp.int32), Observed(space))


class Decay(enum.Enum):
    """How a quantity falls: over the run, or (GLIE) with what was lived."""

    linear = "linear"
    """In a straight line over the run."""
    exponential = "exponential"
    """By equal factors over the run."""
    episodes = "episodes"
    """As 1/k in the kth episode of all environments. Silver 2015, lecture 5."""
    visits = "visits"
    """As 1/n on the nth visit of an observation. Singh, Jaakkola, Littman & Szepesvári 2000, section 3.1."""


class Falling(eqx.Module):
    """A quantity that falls as its `decay` says, from `first` to `end`."""

    first: float = eqx.field(static=True)
    end: float | None = eqx.field(static=True)
    decay: Decay = eqx.field(static=True)
    visited: Visits | None
    episode: Int[Array, ""] | None

    def at(self, obs: PyTree[Any], progress: Float[Array, ""]) -> Float[Array, ""]:
        """Its value on one observation."""
        if self.visited is not None:
            return jnp.maximum(self.first / (self.visited.at(obs).sum() + 1), self.end or 0.0)
        if self.episode is not None:
            return jnp.maximum(self.first / self.episode, self.end or 0.0)
        if self.end is None:
            return jnp.float32(self.first)
        if self.decay is Decay.exponential:
            return self.first * (self.end / self.first) ** progress
        return self.first + (self.end - self.first) * progress

    def update(self, trajectory: Trajectory) -> Falling:
        """After a trajectory [T+1, B]."""
        visited, episode = self.visited, self.episode
        if visited is not None:
            visited = visited.update(trajectory)
        if episode is not None:
            episode = episode + trajectory.steps.last[1:].sum(dtype=jnp.int32)
        return Falling(self.first, self.end, self.decay, visited, episode)


def falling(first: float, end: float | None, decay: Decay, spec: Spec, actions: int) -> Falling:
    """A quantity before the first step.

    Raises:
        ValueError: for an exponential decay that does not go from one positive number to another.
        SpaceError: when visits are counted and the observation space is not finite.
    """
    if decay is Decay.exponential and not (first > 0 and end is not None and end > 0):
        raise ValueError(
            f"an exponential decay goes from one positive number to another, got {first} and {end}: give it an end"
        )
    visited = visits(spec, actions) if decay is Decay.visits else None
    return Falling(first, end, decay, visited, jnp.int32(1) if decay is Decay.episodes else None)


class StepSize(eqx.Module):
    """α: from `first` to `end` in a straight line over the run; where `first` is None, 1/n at a pair's nth visit."""

    first: float | None = eqx.field(static=True)
    end: float | None = eqx.field(static=True)
    visited: Visits | None
    swept: Float[Array, ""] | None = None
    """α where a sweep traces it."""

    def next(
        self, obs: PyTree[Any], action: Int[Array, ""], progress: Float[Array, ""], counts: Bool[Array, ""]
    ) -> tuple[Float[Array, ""], StepSize]:
        """The step size for one transition, and what comes after it; a reset `counts` as no visit."""
        if self.swept is not None:
            return linear(self.swept, self.end, progress), self
        if self.first is not None:
            return linear(self.first, self.end, progress), self
        assert self.visited is not None
        visited = self.visited.add(obs, action, counts)
        return 1 / jnp.maximum(visited.at(obs)[action], 1), StepSize(None, None, visited)


def step_sizes(first: float | Array | None, end: float | None, spec: Spec, actions: int) -> StepSize:
    """Before the first step.

    Raises:
        SpaceError: when visits are counted and the observation space is not finite.
        ValueError: for a step size below 0 or not finite.
    """
    if first is None:
        return StepSize(None, None, visits(spec, actions))
    require_step_size(first, end)
    if isinstance(first, Array):
        return StepSize(None, end, None, first)
    return StepSize(first, end, None)


def require_step_size(*steps: float | Array | None) -> None:
    """Refuse what cannot be a step size; one that a sweep traces was looked at before.

    Raises:
        ValueError: for a step size below 0 or not finite.
    """
    for size in steps:
        if isinstance(size, int | float) and not 0 <= size < math.inf:
            raise ValueError(f"a step size is at least 0 and finite, got {size}: pass for instance 0.1")


def require_lambda(lambda_: float | Array) -> None:
    """Refuse what cannot be λ; one that a sweep traces was looked at before.

    Raises:
        ValueError: for a λ outside [0, 1].
    """
    if isinstance(lambda_, int | float) and not 0 <= lambda_ <= 1:
        raise ValueError(f"λ lies in [0, 1], got {lambda_}: 0 looks one step ahead, 1 to the episode's end")
