"""Rows that wait to be learnt from: until the next action is known, n more are lived, or their episode has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, PyTree

from retorno.core.policy import Reward
from retorno.core.spaces import SpaceError, Spec
from retorno.core.time_step import TimeStep, Trajectory, before_and_after
from retorno.ops.returns import ended_since


class HeldRows(NamedTuple):
    """The last H rows before a trajectory's first, and what was done on them."""

    rows: TimeStep
    """[H, B]"""
    action: PyTree[Any]
    """[H, B]"""
    extras: PyTree[Any]
    """[H, B]"""
    oldest: Int[Array, ""] | None
    """Where a ring's oldest row stands, which the next one overwrites; None where rows stand in the order lived."""

    @classmethod
    def none(
        cls, spec: Spec, longest: int, extras: PyTree[Any], rollout: int | None = None, action: PyTree[Any] = None
    ) -> HeldRows:
        """Blank rows; `extras` are those of one row. Where a `rollout` is one row they are a ring: nothing is moved.

        Args:
            spec: of the world: what a row looks like, and B.
            longest: H, how many are held.
            extras: what is recorded beside one action looks like.
            rollout: T, where it is known.
            action: what one looks like; None for a number.
        """
        blank = (spec.row, jnp.int32(0) if action is None else jax.tree.map(jnp.zeros_like, action), extras)
        rows = jax.tree.map(lambda x: jnp.broadcast_to(x, (longest, spec.num_envs, *x.shape)), blank)
        return cls(rows[0], rows[1], rows[2], jnp.int32(0) if rollout == 1 else None)

    @classmethod
    def for_episodes(
        cls, spec: Spec, longest: int, rollout: int, recorded: tuple[PyTree[Any], PyTree[Any]]
    ) -> HeldRows:
        """Blank rows for what learns from whole episodes: none where no episode is under way between two rollouts.

        Args:
            spec: of the world.
            longest: H, where episodes are under way.
            rollout: T
            recorded: what one action, and what is recorded beside it, look like.

        Raises:
            SpaceError: when rows are held of which the relabel, which looks at earlier ones, cannot be asked.
        """
        together = None if spec.world is None else spec.world.lockstep
        whole = together is not None and rollout % together.rows == 0
        if not whole and spec.relabel is not None and spec.relabel.context != 0:
            raise SpaceError(
                f"{type(spec.relabel).__name__} judges rows by earlier ones, and episodes that are under way at the "
                "end of a rollout are judged in parts: give a world that keeps together, and a rollout of "
                f"{'its rows' if together is None else f'{together.rows} rows'} or a multiple, or choose PPO"
            )
        action, extras = recorded
        return cls.none(spec, 0 if whole else longest, extras, action=action)

    def join(self, trajectory: Trajectory) -> Trajectory:
        """One trajectory of them and of the one lived since: rows [H+T+1, B], in the order lived.

        Args:
            trajectory: what was lived since. Shapes [T+1, B].
        """
        oldest, new = self.oldest, (trajectory.steps, trajectory.action, trajectory.extras)
        join = lambda x, lived: jnp.concatenate([x if oldest is None else jnp.roll(x, -oldest, 0), lived])  # noqa: E731
        rows, action, extras = jax.tree.map(join, self[:3], new)
        return Trajectory(rows, action, extras, ())

    def whole_episodes(self, trajectory: Trajectory, reward: Reward) -> tuple[Trajectory, Bool[Array, "R B"]]:
        """The joined rows as they are judged now, and which transitions are of episodes that have now ended.

        Args:
            trajectory: what was lived since. Shapes [T+1, B].
            reward: what transitions are worth.
        """
        joined = self.join(trajectory).rewarded(reward)
        return joined, self.ended(joined)

    def ended(self, joined: Trajectory) -> Bool[Array, "R B"]:
        """Which transitions of the joined rows belong to episodes that have now ended.

        Args:
            joined: what `join` gave. Shapes [H+T+1, B].

        Returns:
            Shape [H+T, B].
        """
        fresh = len(self.rows.last) + 1
        return jax.vmap(lambda x: ended_since(x, fresh), in_axes=1, out_axes=1)(joined.steps.last)

    def forgotten(self, trajectory: Trajectory) -> Float[Array, ""]:
        """Which share of as many transitions as were lived now makes room though its episode has not ended.

        No return will ever be learnt for these: their episodes are longer than H.

        Args:
            trajectory: what was lived since. Shapes [T+1, B].
        """
        length, before = len(trajectory.transitions), self.rows.last
        since = latest_end(trajectory.steps.last)
        if self.oldest is None:
            held = latest_end(before)
        else:
            held = jnp.where(before.any(0), 0, len(before))  # Only whether there is one matters.
        # Rows since the latest end: those lived since, and where that end was before them, those held as well.
        age = jnp.where(trajectory.steps.last.any(0), since, length + 1 + held)
        lost = jnp.clip(age - len(before) - 1, 0, length)
        return lost.sum() / jnp.maximum(trajectory.transitions.sum(), 1)

    def after(self, trajectory: Trajectory) -> HeldRows:
        """The last H rows before the next trajectory's first.

        Args:
            trajectory: what was lived since. Shapes [T+1, B].
        """
        acted = jax.tree.map(lambda x: x[:-1], trajectory.steps)
        oldest, size = self.oldest, len(self.rows.last)

        def keep(x: Array, lived: Array) -> Array:
            if oldest is None:
                return jnp.concatenate([x[len(lived) :], lived[max(len(lived) - size, 0) :]])
            return jax.lax.dynamic_update_index_in_dim(x, lived, oldest, 0)

        rows, action, extras = jax.tree.map(keep, self[:3], (acted, trajectory.action, trajectory.extras))
        return HeldRows(rows, action, extras, None if oldest is None else (oldest + 1) % size)


def latest_end(last: Bool[Array, "R B"]) -> Int[Array, " B"]:
    """How many rows stand behind the latest one that ends an episode; all of them where none does.

    Args:
        last: whether each row is an episode's final one. Shape [R, B].

    Returns:
        Of each environment. Shape [B].

    >>> latest_end(jnp.array([[True, False], [False, False], [False, False]]))
    Array([2, 3], dtype=int32)
    """
    if not len(last):
        return jnp.zeros(last.shape[1], jnp.int32)
    return jnp.where(last.any(0), jnp.argmax(last[::-1], 0), len(last)).astype(jnp.int32)


def where_ended(
    trajectory: Trajectory, learn: Callable[[Any], tuple[Any, Array]], before: Any
) -> tuple[Any, Float[Array, ""]]:
    """`learn(before)`, which goes through all rows held, but only where an episode has ended; and the mean error.

    Args:
        trajectory: what was lived. Shapes [T+1, B].
        learn: from what was learnt before to what is learnt after, and the mean error.
        before: what was learnt before.
    """
    return jax.lax.cond(trajectory.steps.last[1:].any(), learn, lambda same: (same, jnp.float32(0)), before)


def with_next_action(
    held: HeldRows, trajectory: Trajectory, reward: Reward
) -> tuple[tuple[TimeStep, TimeStep, Int[Array, "T B"], Int[Array, "T B"]], HeldRows]:
    """Transitions (row, next row, action, next action) [T, B] from the row held on, and what is held after them.

    Args:
        held: the row before the trajectory's first.
        trajectory: what was lived. Shapes [T+1, B].
        reward: what transitions are worth.
    """
    rows, action, *_ = held.join(trajectory).rewarded(reward)
    # On the newest row no action is chosen yet.
    row, next_row = before_and_after(jax.tree.map(lambda x: x[:-1], rows))
    return (row, next_row, action[:-1], action[1:]), held.after(trajectory)


def episodes_batch(network: Any, longest_episode: int, rollout: int) -> bool:
    """Whether seeds of what learns from whole episodes are learnt side by side: where its network's are, and updates
    are not far more frequent than episodes' ends, whose work a batch does at every update.

    Args:
        network: its settings.
        longest_episode: rows that are held.
        rollout: T.

    >>> from retorno.networks import MLP, Table
    >>> episodes_batch(Table(), 128, 64), episodes_batch(Table(), 128, 1), episodes_batch(MLP(), 128, 64)
    (True, False, False)
    """
    return getattr(network, "seeds_batch", False) and longest_episode <= 8 * rollout
