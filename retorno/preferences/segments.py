"""Segments: short stretches of what was lived, some of which are compared. Christiano et al. 2017, section 2.2.2."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.time_step import Trajectory
from retorno.preferences.lives import Lives
from retorno.replay import Ring


class Compared(NamedTuple):
    """N times K segments of L steps each: two of which one is better, or more that are put in order."""

    obs: PyTree[Array]
    """[N, K, L + 1]"""
    action: PyTree[Array]
    """[N, K, L]"""
    reward: Float[Array, "N K L"]
    """What the world paid; no reward model sees it."""
    place: Int[Array, "N K 3"] | None = None
    """The environment, the episode and the age at which each begins, where that is kept; −1: not known."""

    @property
    def returns(self) -> Float[Array, "N K"]:
        """The sum of what the world paid on each."""
        return self.reward.sum(-1)


def within_episodes(ring: Ring) -> Bool[Array, "C B"]:
    """Which windows lie within an episode, by the slot in which they begin.

    Args:
        ring: of recent rows, C slots of each of B environments; its windows are as long as a segment.
    """
    # Nothing leads out of a row that ends an episode, or that was not lived, or out of the newest.
    broken = ring.steps.last.at[ring.newest].set(True)
    until = jnp.cumsum(jnp.concatenate([jnp.zeros_like(broken[:1]), broken, broken[: ring.length - 1]]), axis=0)
    return until[ring.length :] == until[: ring.slots]


def draw_segments(ring: Ring, key: Key[Array, ""], count: int, clips: int, lives: Lives | None = None) -> Compared:
    """Recent segments, uniformly among all that lie within an episode each; there has to be one.

    Args:
        ring: of recent rows; its windows are as long as a segment.
        key: what is drawn follows from it.
        count: N.
        clips: K.
        lives: of the same rows, where it is kept.
    """
    until = jnp.cumsum(within_episodes(ring).reshape(-1))
    drawn = jax.random.randint(key, (clips * count,), 0, jnp.maximum(until[-1], 1))
    index = jnp.searchsorted(until, drawn, side="right")
    place = None if lives is None else lives.of(ring, index).reshape(count, clips, 3)
    return side_by_side(ring.windows(index).trajectory, clips)._replace(place=place)


def side_by_side(lived: Trajectory, clips: int) -> Compared:
    """Windows [L + 1, K · N], K neighbours of which are compared each."""

    def grouped(x: Array) -> Array:
        return jnp.moveaxis(x, 0, 1).reshape(-1, clips, x.shape[0], *x.shape[2:])

    return Compared(
        obs=jax.tree.map(grouped, lived.steps.obs),
        action=jax.tree.map(grouped, lived.action),
        reward=grouped(lived.steps.reward[1:]),
    )


def taken(held: Compared, index: Int[Array, " S"]) -> Compared:
    """Some of them."""
    return jax.tree.map(lambda x: x[index], held)


def turned(held: Compared) -> Compared:
    """The same, the other way round."""
    return jax.tree.map(lambda x: x[:, ::-1], held)


def chosen(which: Bool[Array, " N"], some: Compared, others: Compared) -> Compared:
    """Some where it is said so, and others elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b), some, others)


def apart(number: Float[Array, "N K ..."]) -> Float[Array, "N P ..."]:
    """By how much one of K is more than another, for all P = K (K − 1) / 2 of two."""
    first, second = np.triu_indices(number.shape[1], 1)
    return number[:, first] - number[:, second]
