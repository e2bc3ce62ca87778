"""Low-rank adaptation: a layer that stays, and a small one beside it that learns. Hu et al. 2022."""

from __future__ import annotations

import equinox as eqx
from jax import Array
from jaxtyping import Float

from retorno.networks.initialisation import Draws
from retorno.networks.layers import Linear


class LowRank(eqx.Module):
    """y = layer(x) + (α/r) · xAB. Hu et al. 2022, section 4.1."""

    layer: Linear
    narrow: Float[Array, "in r"]
    """A"""
    widen: Float[Array, "r out"]
    """B, which starts at 0: at first the layer is what it was."""
    scale: float = eqx.field(static=True)
    """α/r"""

    def __call__(self, x: Float[Array, "*rows in"]) -> Float[Array, "*rows out"]:
        return self.layer(x) + self.scale * (x @ self.narrow @ self.widen)

    def merged(self) -> Linear:
        """One layer that does the same."""
        weight = self.layer.weight + self.scale * (self.narrow @ self.widen)
        return Linear(weight.astype(self.layer.weight.dtype), self.layer.bias)


def low_rank(draws: Draws, layer: Linear, rank: int, alpha: float) -> LowRank:
    """A layer with a new one beside it, A as PyTorch starts."""
    inputs, outputs = layer.weight.shape
    return LowRank(layer, draws.uniform((inputs, rank), inputs), draws.constant((rank, outputs), 0.0), alpha / rank)
