"""Convolutions on an image, then fully connected layers: how Mnih et al. 2015 read a screen.

Images of whole numbers are scaled to [0, 1] inside, so that rows and replays hold a byte for each. Several frames are
seen side by side with `Stack`, or by an environment that gives them along an axis more in front; they are channels
more. Channels may come first, as PyTorch has them. What is no image is an image of one place.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Key, PyTree, UInt8

from retorno.core.hyperparameters import settings
from retorno.core.spaces import HashableSpace, channels_last
from retorno.networks.convolution import strided
from retorno.networks.heads import Head
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Activation, Feedforward, Linear, Norm, Precision, layer_norm_of, linear
from retorno.networks.network import Network, assemble
from retorno.networks.residual import board, planes


class Kernels(NamedTuple):
    """The convolutions of a network, one after another."""

    channels: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    hidden: tuple[int, ...]
    """Units of each layer after them."""


NATURE = Kernels((32, 64, 64), (8, 4, 3), (4, 2, 1), (512,))
"""For screens of Atari, 84×84 (Mnih et al. 2015)."""
SMALL = Kernels((16,), (3,), (1,), (128,))
"""For small ones, as MinAtar's 10×10 (Young & Tian 2019)."""
LARGE_FROM = 36
"""Rows and columns from which an image is read by the larger one: its kernels see no less."""


class Convolution(eqx.Module):
    """Kernels on an image, which becomes smaller by their size and stride."""

    kernel: Float[Array, "K L C D"]
    bias: Float[Array, " D"]
    stride: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "H W C"] | UInt8[Array, "H W C"]) -> Float[Array, "R S D"]:
        return strided(x, self.kernel, self.stride) + self.bias


class Convolved(Feedforward):
    """Convolutions and fully connected layers on an observation."""

    convolutions: tuple[Convolution, ...]
    hidden: tuple[Linear, ...]
    activation: Activation = eqx.field(static=True)
    observed: HashableSpace = eqx.field(static=True)
    norms: tuple[Norm, ...] = ()
    """Of each layer's outcome, over its channels or units; none where nothing is normalised."""

    def __call__(self, obs: PyTree[Any]) -> Float[Array, " D"]:
        space = self.observed.space
        x = _bytes(space, obs) if isinstance(space, spaces.Box) and _is_bytes(space, obs) else planes(space, obs)
        if x.dtype != jnp.uint8:
            x = x.astype(self.convolutions[0].kernel.dtype)
        for k, layer in enumerate(self.convolutions):
            x = self._after(k, layer(x))
        x = x.reshape(-1)
        for k, layer in enumerate(self.hidden, len(self.convolutions)):
            x = self._after(k, layer(x))
        return x

    def _after(self, k: int, x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
        return self.activation(self.norms[k](x) if self.norms else x)


def _bytes(space: spaces.Box, obs: Array) -> UInt8[Array, "H W C"]:
    return channels_last(space, obs).reshape(board(space))


def _is_bytes(space: spaces.Box, obs: Array) -> bool:
    """Whether what is seen is an image of bytes, as they are: what is normalised before is not."""
    match space:
        case spaces.Box(low=low, high=high, shape=(_, _) | (_, _, _) | (_, _, _, _)) if space.dtype == np.uint8:
            return obs.dtype == jnp.uint8 and not low.any() and bool((high == 255).all())
    return False


@settings
class CNN:
    """A convolutional network for images: the Nature paper's for screens, a small one for small ones, or as is said."""

    channels: tuple[int, ...] = ()
    """Of each convolution. Nothing said: 32, 64, 64 for images of 36×36 or more (Mnih et al. 2015), 16 for others."""
    sizes: tuple[int, ...] = ()
    """Rows and columns of each one's kernels. Nothing said: 8, 4, 3 or 3."""
    strides: tuple[int, ...] = ()
    """Of each. Nothing said: 4, 2, 1 or 1."""
    hidden: tuple[int, ...] = (0,)
    """Units of each layer after the convolutions; 0 for 512 or 128, by the image."""
    activation: Activation = Activation.relu
    """The nonlinearity after each layer."""
    shared: bool = True
    """Whether all heads share what lies under them."""
    stop_gradient: tuple[str, ...] = ()
    """Heads whose gradient does not reach what lies under them."""
    parameters: Precision = Precision.float32
    """How exactly the weights are held."""
    compute: Precision = Precision.float32
    """How exactly the hidden layers are computed; heads are float32."""
    orthogonal: bool = True
    """Orthogonal weights (√2; .01 under a policy, 1 under a value) and zero biases; else uniform in ±1/√inputs."""
    layer_norm: bool = False
    """Standardise each layer's outcome over its channels or units, before its nonlinearity (Ba et al. 2016)."""

    def __post_init__(self) -> None:
        told = (len(self.channels), len(self.sizes), len(self.strides))
        if len(set(told)) > 1 or min((*self.channels, *self.sizes, *self.strides), default=1) < 1:
            raise ValueError(
                f"each convolution has channels, a size and a stride, got {self.channels}, {self.sizes} and "
                f"{self.strides}: try channels=(16,), sizes=(3,), strides=(1,), or none of them"
            )
        if min(self.hidden, default=1) < 0:
            raise ValueError(f"layers have units, got {self.hidden}: try (512,)")

    def kernels(self, space: gymnasium.Space[Any]) -> Kernels:
        """What an observation is read by: kernels as said, but none that sees more than there is."""
        rows, columns, _ = board(space)
        usual = NATURE if min(rows, columns) >= LARGE_FROM else SMALL
        hidden = tuple(each or usual.hidden[0] for each in self.hidden)
        if not self.channels:
            return usual._replace(hidden=hidden)
        return Kernels(self.channels, self.sizes, self.strides, hidden)

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Network:
        """A new network.

        Raises:
            SpaceError: when the space is not Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or Tuple of these.
            ValueError: when there is no head.
        """
        rows, columns, depth = board(observation_space)
        kernels = self.kernels(observation_space)
        gain = math.sqrt(2) if self.orthogonal else None
        shapes = []
        for channels, size, stride in zip(kernels.channels, kernels.sizes, kernels.strides, strict=True):
            tall, wide = min(size, rows), min(size, columns)
            shapes.append(((tall, wide, depth, channels), stride))
            rows, columns, depth = (rows - tall) // stride + 1, (columns - wide) // stride + 1, channels
        widths = (rows * columns * depth, *kernels.hidden)

        def trunk(draws: Draws) -> Convolved:
            norms = (*kernels.channels, *kernels.hidden) if self.layer_norm else ()
            return Convolved(
                convolutions=tuple(_convolution(draws, shape, stride, gain) for shape, stride in shapes),
                hidden=tuple(linear(draws, inputs, outputs, gain) for inputs, outputs in pairwise(widths)),
                activation=self.activation,
                observed=HashableSpace(observation_space),
                norms=tuple(layer_norm_of(draws, width) for width in norms),
            )

        return assemble(key, heads, self, self.orthogonal, widths[-1], trunk)


def _convolution(draws: Draws, shape: tuple[int, int, int, int], stride: int, gain: float | None) -> Convolution:
    """A new layer, its weights as those of a linear one from all that a kernel sees."""
    flat = linear(draws, math.prod(shape[:-1]), shape[-1], gain)
    bias = jnp.zeros(shape[-1], flat.weight.dtype) if flat.bias is None else flat.bias
    return Convolution(flat.weight.reshape(shape), bias, stride)
