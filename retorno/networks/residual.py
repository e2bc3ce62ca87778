"""A residual network for boards and images (He et al. 2016), as AlphaGo Zero has it but for its normalisation.

A block adds two convolutions of the activated input to the input itself. The second one of each starts at zero, so
that the network starts as a shallow one and needs no normalisation (De & Smith 2020); a batch's statistics would make
a row's heads depend on others.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, settings
from retorno.core.spaces import (
    PICTURE_FROM,
    HashableSpace,
    Record,
    SpaceError,
    channels_last,
    encode,
    unsupported,
    width,
)
from retorno.networks.convolution import strided
from retorno.networks.heads import Head
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Feedforward, Linear, Precision, linear
from retorno.networks.network import Network, assemble


class Convolution(eqx.Module):
    """A layer of kernels, whose image is as large as what it sees."""

    kernel: Float[Array, "K K C D"]
    bias: Float[Array, " D"]

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W D"]:
        return strided(x, self.kernel, pad=True) + self.bias


def convolution(draws: Draws, size: int, inputs: int, outputs: int, zero: bool = False) -> Convolution:
    """A new layer: normal with variance 2 / inputs, or nothing (He et al. 2015)."""
    shape = (size, size, inputs, outputs)
    kernel = draws.constant(shape, 0.0) if zero else draws.normal(shape, math.sqrt(2 / (size**2 * inputs)))
    return Convolution(kernel, draws.constant((outputs,), 0.0))


class Tower(Feedforward):
    """Residual blocks on a board, then some planes of it and a hidden layer that sees these."""

    first: Convolution
    blocks: tuple[tuple[Convolution, Convolution], ...]
    narrow: Convolution
    hidden: Linear
    observed: HashableSpace = eqx.field(static=True)

    def __call__(self, obs: PyTree[Any]) -> Float[Array, " D"]:
        x = self.first(planes(self.observed.space, obs).astype(self.first.kernel.dtype))
        for one, other in self.blocks:
            x = x + other(jax.nn.relu(one(jax.nn.relu(x))))
        seen = jax.nn.relu(self.narrow(jax.nn.relu(x))).reshape(-1)
        return jnp.concatenate([seen, jax.nn.relu(self.hidden(seen))])


@settings
class Residual:
    """A residual network: boards and images by rows and columns, numbers beside them on every place of them."""

    channels: Count = 32
    """Of each block's convolutions."""
    blocks: Count = 3
    """Of two 3×3 convolutions each."""
    planes: Count = 8
    """What the heads see of each place of the board."""
    hidden: Count = 64
    """Units that see all planes, beside them."""
    shared: bool = True
    """Whether all heads share the blocks."""
    stop_gradient: tuple[str, ...] = ()
    """Heads whose gradient does not reach what lies under them."""
    parameters: Precision = Precision.float32
    """How exactly the weights are held."""
    compute: Precision = Precision.float32
    """How exactly the blocks are computed; heads are float32."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Network:
        """A new network.

        Raises:
            SpaceError: when the space is not Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or Tuple of these.
            ValueError: when there is no head.
        """
        rows, columns, depth = board(observation_space)
        seen = rows * columns * self.planes

        def tower(draws: Draws) -> Tower:
            return Tower(
                first=convolution(draws, 3, depth, self.channels),
                blocks=tuple(
                    (
                        convolution(draws, 3, self.channels, self.channels),
                        convolution(draws, 3, self.channels, self.channels, zero=True),
                    )
                    for _ in range(self.blocks)
                ),
                narrow=convolution(draws, 1, self.channels, self.planes),
                hidden=linear(draws, seen, self.hidden, math.sqrt(2)),
                observed=HashableSpace(observation_space),
            )

        return assemble(key, heads, self, True, seen + self.hidden, tower)


def planes(space: gymnasium.Space[Any], obs: PyTree[Any]) -> Float[Array, "H W C"]:
    """An observation as planes of its board, or of a single place where it has none.

    Marks are one-hot, whole numbers between bounds become [0, 1], and what is no board is the same on every place.
    """
    rows, columns, _ = board(space)
    found = []
    for part, seen in _parts(space, obs):
        if _on_board(part) == (rows, columns):
            found.append(_marked(part, seen).reshape(rows, columns, -1))
        else:
            vector = encode(part, seen)
            found.append(jnp.broadcast_to(vector, (rows, columns, *vector.shape)))
    return jnp.concatenate(found, -1)


def board(space: gymnasium.Space[Any]) -> tuple[int, int, int]:
    """Rows, columns and planes of what is seen, 1 and 1 where it has no board; of several parts the largest board.

    Raises:
        SpaceError: when the space is not Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or Tuple of these; or
            holds pictures of several sizes, or of more axes than frames, rows, columns and channels.
    """
    leaves = [part for part, _ in _parts(space, None)]
    placed = [found for part in leaves if (found := _on_board(part)) is not None]
    rows, columns = max(placed, key=math.prod, default=(1, 1))
    if deep := [shape for each in leaves if len(shape := each.shape or ()) > 3]:
        raise SpaceError(
            f"a picture has rows, columns and perhaps channels and frames, got one of shape {list(deep[0])}: show "
            "fewer axes, or take a network that sees no places, as mlp"
        )
    if others := [each for each in placed if each != (rows, columns) and min(each) >= PICTURE_FROM]:
        sizes = " and ".join(f"{each[0]} × {each[1]}" for each in ((rows, columns), others[0]))
        raise SpaceError(
            f"pictures that are read together are of one size, got {sizes}: show them in one, as by "
            "gymnasium.wrappers.ResizeObservation, or write a network that reads each by itself"
        )
    depth = sum(_depth(part) if _on_board(part) == (rows, columns) else width(part) for part in leaves)
    if not depth:
        raise unsupported(space)
    return rows, columns, depth


def _parts(space: gymnasium.Space[Any], obs: Any) -> list[tuple[gymnasium.Space[Any], Any]]:
    """The parts of a space, and of an observation; of pictures the channels come last, those of all frames."""
    match space:
        case Record():
            return []
        case spaces.Dict():
            inside = [(part, None if obs is None else obs[name]) for name, part in space.spaces.items()]
        case spaces.Tuple():
            inside = list(zip(space.spaces, [None] * len(space.spaces) if obs is None else obs, strict=True))
        case spaces.Box(low=low, high=high) if len(space.shape) in (3, 4):
            last = spaces.Box(*(channels_last(space, bound) for bound in (low, high)), dtype=space.dtype.type)  # type: ignore[union-attr]
            return [(last, None if obs is None else channels_last(space, obs))]
        case _:
            return [(space, obs)]
    return [each for part, seen in inside for each in _parts(part, seen)]


def _on_board(space: gymnasium.Space[Any]) -> tuple[int, int] | None:
    """Rows and columns, of what lies on a board."""
    shape = tuple[int, ...](space.shape or ())
    planar = len(shape) == 2 or (len(shape) == 3 and not isinstance(space, spaces.MultiDiscrete))
    return (shape[0], shape[1]) if planar else None


def _depth(space: gymnasium.Space[Any]) -> int:
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.max())
    shape = space.shape or ()
    return shape[2] if len(shape) == 3 else 1


def _marked(space: gymnasium.Space[Any], obs: Array) -> Float[Array, "*N"]:
    match space:
        case spaces.MultiDiscrete():
            return jax.nn.one_hot(obs - space.start, int(space.nvec.max()))
        case spaces.Box() if jnp.issubdtype(obs.dtype, jnp.integer):  # What is normalised before is scaled.
            low, high = space.low.astype(np.float32), space.high.astype(np.float32)
            return (obs.astype(jnp.float32) - low) / np.maximum(high - low, 1)
    return obs.astype(jnp.float32)
