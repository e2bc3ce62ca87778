"""A ring of rows to learn from again. Lin 1992; Mnih et al. 2015.

Each row is stored once: a transition is two neighbouring rows, so frames are not held twice. The
newest row waits for its action: it is stored, but no transition leads out of it yet.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int, Key, PyTree

from retorno.core.policy import Reward
from retorno.core.time_step import TimeStep, Trajectory


class Transitions(NamedTuple):
    """A batch [N] of what led from one row to the next."""

    row: TimeStep
    action: PyTree[Any]
    next_row: TimeStep

    @property
    def counts(self) -> Bool[Array, " N"]:
        """False where the pair is a reset, from which nothing is learnt."""
        return ~self.row.last

    def rewarded(self, reward: Reward) -> Transitions:
        """The same, with what `reward` says of them now in the place of what the world paid."""
        steps = jax.tree.map(lambda *rows: jnp.stack(rows), self.row, self.next_row)
        window = Trajectory(steps, jax.tree.map(lambda x: x[None], self.action), (), ())
        return self._replace(next_row=self.next_row._replace(reward=reward(window)[0]))


class Replay(NamedTuple):
    """The last C rows of each of B environments."""

    rows: TimeStep
    """[C, B]"""
    action: PyTree[Any]
    """[C, B]"""
    newest: Int[Array, ""]
    """The slot of the newest row."""
    filled: Int[Array, ""]
    """How many rows are stored beside the newest: at most C − 1."""

    def add(self, trajectory: Trajectory) -> Replay:
        """Store a trajectory that begins with the newest row."""
        length, capacity = trajectory.transitions.shape[0], self.rows.last.shape[0]
        slots = (self.newest + jnp.arange(length + 1)) % capacity
        rows = jax.tree.map(lambda ring, new: ring.at[slots].set(new), self.rows, trajectory.steps)
        action = jax.tree.map(lambda ring, new: ring.at[slots[:-1]].set(new), self.action, trajectory.action)
        return Replay(rows, action, slots[-1], jnp.minimum(self.filled + length, capacity - 1))

    def sample(self, key: Key[Array, ""], size: int) -> Transitions:
        """Draw `size` neighbouring pairs uniformly, resets among them: see `Transitions.counts`."""
        capacity, num_envs = self.rows.last.shape
        draw = jax.random.randint(key, (size,), 0, jnp.maximum(self.filled, 1) * num_envs)
        slot, env = (self.newest - 1 - draw // num_envs) % capacity, draw % num_envs
        take = lambda slots: jax.tree.map(lambda ring: ring[slots, env], self.rows)  # noqa: E731
        action = jax.tree.map(lambda ring: ring[slot, env], self.action)
        return Transitions(take(slot), action, take((slot + 1) % capacity))


def empty_replay(row: TimeStep, action: PyTree[Any], num_envs: int, capacity: int, rollout: int) -> Replay:
    """A ring for `capacity` transitions over all environments, shaped like `row` and `action`.

    Raises:
        ValueError: when the capacity cannot hold one rollout.
    """
    slots = -(-capacity // num_envs) + 1
    if slots < rollout + 1:
        raise ValueError(
            f"a replay of {capacity} transitions cannot hold one rollout of {rollout} × {num_envs}: "
            f"capacity must be at least {rollout * num_envs}"
        )
    ring = lambda x: jnp.zeros((slots, num_envs, *x.shape), x.dtype)  # noqa: E731
    return Replay(jax.tree.map(ring, row), jax.tree.map(ring, action), jnp.int32(0), jnp.int32(0))
