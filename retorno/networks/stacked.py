"""Stacked frames: a network that sees the last k observations of its episode side by side. Mnih et al. 2015.

Each observation is one row, stored once: the memory holds the k − 1 raw ones before, and where an episode has
fewer its first one stands in for them, as in Gymnasium's `FrameStackObservation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Key, PyTree

from retorno.core.hyperparameters import settings
from retorno.core.policy import Carry, Heads, Policy
from retorno.core.spaces import HashableSpace, as_tree, channels_first
from retorno.networks.heads import Head
from retorno.networks.mlp import MLP
from retorno.networks.network import NetworkConfig


class Stacked(Policy):
    """A policy of context k − 1, or more, around a network that reads k observations as one."""

    network: Policy
    frames: int = eqx.field(static=True)
    """k"""
    difference: float | None = eqx.field(static=True)
    observed: HashableSpace = eqx.field(static=True)
    """What one observation looks like."""
    normaliser: Callable[[PyTree[Any]], PyTree[Any]] | None = None
    """What each frame is read through; the memory holds frames as they were."""

    @property
    def context(self) -> int | None:
        return None if self.network.context is None else self.frames - 1 + self.network.context

    def initial_carry(self) -> Carry:
        blank = jax.tree.map(lambda x: jnp.zeros((self.frames - 1, *np.shape(x)), x.dtype), _example(self.observed))
        return blank, self.network.initial_carry()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        frames = jax.tree.map(lambda old, new: jnp.concatenate([jnp.where(first, new, old), new[None]]), carry[0], obs)
        heads, memory = self.network.step(self._side_by_side(frames), first, carry[1])
        return heads, (jax.tree.map(lambda x: x[1:], frames), memory)

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        frames, memory = self._before(carry)
        stacks = self._stacks(obs, first, frames)
        return self.network.unroll(jax.vmap(self._side_by_side)(stacks), first, memory)

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        if not first.shape[0]:
            return self.initial_carry() if carry is None else carry
        frames, memory = self._before(carry)
        stacks = self._stacks(obs, first, frames)
        memory = self.network.read(jax.vmap(self._side_by_side)(stacks), first, memory)
        return jax.tree.map(lambda x: x[-1, 1:], stacks), memory

    def select(self, *heads: str) -> Stacked:
        return replace(self, network=self.network.select(*heads))

    def _before(self, carry: Carry) -> tuple[PyTree[Any], Carry]:
        """The frames before row 0, and what the network remembers of them."""
        return (self.initial_carry()[0], None) if carry is None else carry

    def _stacks(self, obs: PyTree[Any], first: Bool[Array, " T"], before: PyTree[Any]) -> PyTree[Any]:
        """The k frames of each row [T, k, …], from the rows and those before them: none older than its episode."""
        row = jnp.arange(first.shape[0])
        # Row t is number t + k − 1 of all; before the first `first`, what was before has no earlier bound.
        begun = jax.lax.cummax(jnp.where(first, row + self.frames - 1, 0))
        place = jnp.maximum(row[:, None] + jnp.arange(self.frames), begun[:, None])
        return jax.tree.map(lambda old, new: jnp.concatenate([old, new])[place], before, obs)

    def _side_by_side(self, frames: PyTree[Any]) -> PyTree[Any]:
        """The frames [k, …] of one row as one observation of `stacked_space`."""
        read = frames if self.normaliser is None else jax.vmap(self.normaliser)(frames)
        return jax.tree.map(self._join, read, as_tree(self.observed.space))

    def _join(self, frames: Array, space: gymnasium.Space[Any]) -> Array:
        if self.difference is not None and jnp.issubdtype(frames.dtype, jnp.floating):
            frames = jnp.concatenate([self.difference * jnp.diff(frames, axis=0), frames[-1:]])
        return _joined(jnp.moveaxis(frames, 1, -1) if channels_first(space) else frames)


@settings
class Stack:
    """The last k observations side by side, for another network to read."""

    frames: int = 4
    """k"""
    difference: float | None = None
    """Show numbers of earlier frames as this many times what has changed since; None for as they were. Where
    neighbouring frames differ by little, 1 / seconds between them makes velocities of positions."""
    network: NetworkConfig = field(default_factory=MLP)
    """What reads them."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Stacked:
        """A new network.

        Raises:
            SpaceError: when the network cannot read the stacked observation space.
            ValueError: when there is no frame.
        """
        if self.frames < 1:
            raise ValueError(f"frames must be positive, got {self.frames}: try 4")
        network = self.network.build(key, stacked_space(observation_space, self.frames, self.difference), heads)
        return Stacked(network, self.frames, self.difference, HashableSpace(observation_space))


def stacked_space(space: gymnasium.Space[Any], frames: int, difference: float | None = None) -> gymnasium.Space[Any]:
    """What k elements of a space are side by side: images get k times the channels, or those that are several images
    already k times as many; all else an axis [k] in front.

    Bytes in rows and columns are an image of one channel; of pictures whose channels come first they come last.

    Args:
        space: of one observation.
        frames: k
        difference: as in `Stack`; what has changed has bounds of its own.
    """

    def repeat(newest: Any, earlier: Any) -> np.ndarray:
        frames_of_it = np.stack([earlier] * (frames - 1) + [newest])
        return _joined(np.moveaxis(frames_of_it, 1, -1) if channels_first(space) else frames_of_it)

    match space:
        case spaces.Box(low=low, high=high):
            if difference is None or not np.issubdtype(low.dtype, np.floating):
                return spaces.Box(repeat(low, low), repeat(high, high), dtype=low.dtype.type)
            with np.errstate(over="ignore"):  # where there are no bounds to speak of, what has changed has none either
                largest = difference * (high - low)
            return spaces.Box(repeat(low, -largest), repeat(high, largest), dtype=low.dtype.type)
        case spaces.Discrete():
            return spaces.MultiDiscrete([int(space.n)] * frames, start=[int(space.start)] * frames)
        case spaces.MultiDiscrete(nvec=sizes, start=start):
            return spaces.MultiDiscrete(repeat(sizes, sizes), start=repeat(start, start))
        case spaces.MultiBinary(shape=shape):
            return spaces.MultiBinary(repeat(*[np.zeros(shape, np.int8)] * 2).shape)
        case spaces.Dict():
            return spaces.Dict({name: stacked_space(part, frames, difference) for name, part in space.spaces.items()})
        case spaces.Tuple():
            return spaces.Tuple([stacked_space(part, frames, difference) for part in space.spaces])
    return space


def _joined(frames: Any) -> Any:
    """Frames [k, …] as one observation: of images they are channels more, of several images each as many more, and of
    anything else an axis.
    """
    if frames.ndim == 3 and frames.dtype == np.uint8:
        frames = frames[..., None]
    if frames.ndim == 4:
        return frames.transpose(1, 2, 0, 3).reshape(*frames.shape[1:3], -1)
    return frames.reshape(-1, *frames.shape[2:]) if frames.ndim > 4 else frames


def _example(observed: HashableSpace) -> PyTree[Any]:
    """One observation, for its shapes."""
    return jax.tree.map(jnp.asarray, observed.space.sample())
