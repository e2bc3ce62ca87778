"""What falls while a table learns, and the counts of visits that it may fall with: ε, temperatures, step sizes."""

from __future__ import annotations

import enum
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, PyTree

from retorno.core.counter import Counter
from retorno.core.scalar import Scalar
from retorno.core.spaces import HashableSpace, SpaceError, Spec, cardinality, index
from retorno.core.time_step import TimeStep, Trajectory
from retorno.ops.objectives import linear


class Visits(eqx.Module):
    """How often each action was taken on each observation of a finite space."""

    count: Counter
    """[S, A]"""
    observed: HashableSpace = eqx.field(static=True)

    def at(self, obs: PyTree[Any]) -> Float[Array, " A"]:
        """The counts on one observation."""
        return self.count.at(index(self.observed.space, obs)).size

    def add(self, obs: PyTree[Any], action: Int[Array, ""], times: Array | int = 1) -> Visits:
        """One more visit, or `times` more."""
        return Visits(self.count.plus_at((index(self.observed.space, obs), action), times), self.observed)

    def update(self, trajectory: Trajectory) -> Visits:
        """Add a trajectory's transitions."""
        row = jax.vmap(jax.vmap(lambda obs: index(self.observed.space, obs)))(trajectory.steps.obs)[:-1]
        return Visits(self.count.plus_at((row, trajectory.action), trajectory.transitions), self.observed)


def visits(spec: Spec, actions: int) -> Visits:
    """None yet.

    Raises:
        SpaceError: when the observation space is not finite.
    """
    space = spec.observation_space
    return Visits(Counter.zeros(cardinality(space), actions), HashableSpace(space))


class Pairs(eqx.Module):
    """Numbers the pairs of a finite observation space and actions."""

    observed: HashableSpace = eqx.field(static=True)
    actions: int = eqx.field(static=True)

    @property
    def count(self) -> int:
        """How many there are."""
        return cardinality(self.observed.space) * self.actions

    def number(self, obs: PyTree[Any], action: Int[Array, ""]) -> Int[Array, ""]:
        """Of one pair, in [0, count)."""
        return index(self.observed.space, obs) * self.actions + action

    def first_visits(self, rows: TimeStep, action: Int[Array, " K"]) -> Bool[Array, " K"]:
        """Whether a pair of rows [K+1] of one environment was not visited before in the same episode."""

        def look(state: tuple[Array, Array], x: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
            (latest, begun), (t, pair, first) = state, x
            begun = jnp.where(first, t, begun)
            return (latest.at[pair].set(t), begun), latest[pair] < begun

        pair = jax.vmap(self.number)(jax.tree.map(lambda x: x[:-1], rows.obs), action)
        start = (jnp.full(self.count, -1, jnp.int32), jnp.int32(0))
        return jax.lax.scan(look, start, (jnp.arange(len(action), dtype=jnp.int32), pair, rows.first[:-1]))[1]


def refuse_unless_finite(pairs: Pairs, otherwise: str) -> None:
    """Say what to do where observations cannot be counted."""
    try:
        _ = pairs.count
    except SpaceError:
        raise SpaceError(f"{pairs.observed.space} has no finite number of observations, so {otherwise}") from None


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


class Lived(eqx.Module):
    """What was lived so far, as far as a quantity falls with it."""

    visited: Visits | None = None
    episode: Counter | None = None
    """Which episode of all environments it is, from 1."""

    def update(self, trajectory: Trajectory) -> Lived:
        """After a trajectory [T+1, B]."""
        visited, episode = self.visited, self.episode
        if visited is not None:
            visited = visited.update(trajectory)
        if episode is not None:
            episode = episode.plus(trajectory.steps.last[1:].sum(dtype=jnp.uint32))
        return Lived(visited, episode)


def lived(decay: Decay, spec: Spec, actions: int) -> Lived:
    """Nothing yet, of what a quantity falls with as its `decay` says.

    Raises:
        SpaceError: when visits are counted and the observation space is not finite.
    """
    visited = visits(spec, actions) if decay is Decay.visits else None
    return Lived(visited, Counter.of(jnp.uint32(1)) if decay is Decay.episodes else None)


def require_fall(first: float, end: float | None, decay: Decay) -> None:
    """Refuse an exponential decay that does not go from one positive number to another.

    Raises:
        ValueError: with both numbers.
    """
    if decay is Decay.exponential and not (first > 0 and end is not None and end > 0):
        raise ValueError(
            f"an exponential decay goes from one positive number to another, got {first} and {end}: give it an end"
        )


def fallen(
    first: Scalar,
    end: Scalar | None,
    decay: Decay,
    lived: Lived,
    obs: PyTree[Any],
    progress: Float[Array, ""],
) -> Float[Array, ""]:
    """A quantity on one observation, `progress` ∈ [0, 1] through the run: it falls from `first` to `end`."""
    least = 0.0 if end is None else end
    if lived.visited is not None:
        return jnp.maximum(first / (lived.visited.at(obs).sum() + 1), least)
    if lived.episode is not None:
        return jnp.maximum(first / lived.episode.size, least)
    if decay is Decay.exponential and end is not None:
        return first * (end / first) ** progress
    return linear(first, end, progress)


class StepSize(eqx.Module):
    """α of one transition after another: a number, or 1/n at a pair's nth visit, which is counted here."""

    visited: Visits | None

    def next(
        self,
        first: Scalar | None,
        end: Scalar | None,
        obs: PyTree[Any],
        action: Int[Array, ""],
        progress: Float[Array, ""],
        counts: Bool[Array, ""],
    ) -> tuple[Float[Array, ""], StepSize]:
        """The step size for one transition, and what comes after it.

        Args:
            first: α, falling to `end` in a straight line over the run where there is one; None for 1/n.
            end: see `first`.
            obs: where the transition begins.
            action: what was done there.
            progress: the share of the run's budget that is used.
            counts: whether it is a visit; a reset is none.
        """
        if self.visited is None:
            assert first is not None
            return linear(first, end, progress), self
        visited = self.visited.add(obs, action, counts)
        return 1 / jnp.maximum(visited.at(obs)[action], 1), StepSize(visited)


def step_sizes(first: Scalar | None, spec: Spec, actions: int) -> StepSize:
    """Before the first step: visits are counted where there is no α.

    Raises:
        SpaceError: when visits are counted and the observation space is not finite.
    """
    return StepSize(visits(spec, actions) if first is None else None)
