"""Segments: short stretches of what was lived, two of which are compared. Christiano et al. 2017, section 2.2.2."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.time_step import Trajectory
from retorno.preferences.lives import Lives
from retorno.replay import Ring


class Pairs(NamedTuple):
    """N pairs of segments of L steps each."""

    obs: PyTree[Array]
    """[N, 2, L + 1]"""
    action: PyTree[Array]
    """[N, 2, L]"""
    reward: Float[Array, "N 2 L"]
    """What the world paid; no reward model sees it."""
    place: Int[Array, "N 2 3"] | None = None
    """The environment, the episode and the age at which each begins, where that is kept; −1: not known."""

    @property
    def returns(self) -> Float[Array, "N 2"]:
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


def draw_pairs(ring: Ring, key: Key[Array, ""], count: int, lives: Lives | None = None) -> Pairs:
    """Pairs of recent segments, uniformly among all that lie within an episode each; there has to be one.

    Args:
        ring: of recent rows; its windows are as long as a segment.
        key: what is drawn follows from it.
        count: N.
        lives: of the same rows, where it is kept.
    """
    until = jnp.cumsum(within_episodes(ring).reshape(-1))
    drawn = jax.random.randint(key, (2 * count,), 0, jnp.maximum(until[-1], 1))
    index = jnp.searchsorted(until, drawn, side="right")
    place = None if lives is None else lives.of(ring, index).reshape(count, 2, 3)
    return pairs_of(ring.windows(index).trajectory)._replace(place=place)


def pairs_of(lived: Trajectory) -> Pairs:
    """Windows [L + 1, 2N] as N pairs of neighbours."""

    def paired(x: Array) -> Array:
        return jnp.moveaxis(x, 0, 1).reshape(-1, 2, x.shape[0], *x.shape[2:])

    return Pairs(
        obs=jax.tree.map(paired, lived.steps.obs),
        action=jax.tree.map(paired, lived.action),
        reward=paired(lived.steps.reward[1:]),
    )


def taken(pairs: Pairs, index: Int[Array, " K"]) -> Pairs:
    """Some of them."""
    return jax.tree.map(lambda x: x[index], pairs)


def swapped(pairs: Pairs) -> Pairs:
    """The same, the second of each first."""
    return jax.tree.map(lambda x: x[:, ::-1], pairs)


def chosen(which: Bool[Array, " N"], some: Pairs, others: Pairs) -> Pairs:
    """Some where it is said so, and others elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b), some, others)
