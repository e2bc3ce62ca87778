"""SimBa: residual blocks that keep the input's straight way to the heads, so that networks may be large.

Lee et al. 2025, "SimBa: simplicity bias for scaling up parameters in deep reinforcement learning". A block adds to its
input two layers of the normalised input, the inner one four times as wide; a last norm stands under the heads. The
running standardisation of observations, which the paper has as a layer, is `normalise_observations` of an algorithm.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import gymnasium
import jax
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, settings
from retorno.networks.heads import Head
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Feedforward, Input, Linear, Norm, Precision, layer_norm_of, linear, read
from retorno.networks.network import Network, assemble

WIDER = 4
"""How much wider a block is inside."""
STRAIGHT, BENT = 1.0, 2**0.5
"""The gains of a layer without and with a nonlinearity behind it (Saxe et al. 2014; He et al. 2015)."""


class Block(eqx.Module):
    """x ← x + W₂ relu(W₁ norm x)."""

    norm: Norm
    up: Linear
    down: Linear

    def __call__(self, x: Float[Array, " D"]) -> Float[Array, " D"]:
        return x + self.down(jax.nn.relu(self.up(self.norm(x))))


class Simple(Feedforward):
    """A layer, residual blocks, and a norm."""

    input: Input
    blocks: tuple[Block, ...]
    norm: Norm

    def __call__(self, obs: PyTree[Any]) -> Float[Array, " D"]:
        x = self.input(obs)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@settings
class SimBa:
    """Residual blocks of normalised layers (Lee et al. 2025). With `normalise_observations`."""

    NAME: ClassVar[str] = "simba"

    width: Count = 128
    """Units of the blocks; 512 for the paper's critics."""
    blocks: Count = 1
    """Of two layers each; 2 for the paper's critics."""
    shared: bool = False
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
        width = self.width

        def block(draws: Draws) -> Block:
            up, down = linear(draws, width, WIDER * width, BENT), linear(draws, WIDER * width, width, BENT)
            return Block(layer_norm_of(draws, width), up, down)

        def trunk(draws: Draws) -> Simple:
            first = read(draws, observation_space, width, STRAIGHT)
            return Simple(first, tuple(block(draws) for _ in range(self.blocks)), layer_norm_of(draws, width))

        return assemble(key, heads, self, True, width, trunk)
