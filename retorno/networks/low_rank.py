"""Low-rank adaptation: a layer that stays, and a small one beside it that learns. Hu et al. 2022."""

from __future__ import annotations

import equinox as eqx
from jax import Array
from jaxtyping import Float

from retorno.networks.initialisation import Draws
from retorno.networks.layers import Rows


class LowRank(eqx.Module):
    """y = layer(x) + (α/r) · BAx. Hu et al. 2022, section 4.1."""

    layer: Rows
    narrow: Rows
    """A, r rows"""
    widen: Rows
    """B, which starts at 0: at first the layer is what it was."""
    scale: float = eqx.field(static=True)
    """α/r"""

    def __call__(self, x: Float[Array, "*rows in"]) -> Float[Array, "*rows out"]:
        return self.layer(x) + self.scale * self.widen(self.narrow(x))

    def merged(self) -> Rows:
        """One layer that does the same."""
        return Rows(self.layer.whole() + self.scale * (self.widen.weight @ self.narrow.weight), self.layer.bias)


def low_rank(draws: Draws, layer: Rows, rank: int, alpha: float) -> LowRank:
    """A layer with a new one beside it, A as PyTorch starts."""
    outputs, inputs = layer.weight.shape
    narrow, widen = Rows(draws.uniform((rank, inputs), inputs)), Rows(draws.constant((outputs, rank), 0.0))
    return LowRank(layer, narrow, widen, alpha / rank)
