"""What of a language model is trained: all of it, its upper layers, or narrow layers beside those that it has."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import ClassVar, Protocol, runtime_checkable

import jax

from retorno.core.hyperparameters import Count, Positive, settings
from retorno.core.registry import Registry
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Rows
from retorno.networks.low_rank import LowRank, low_rank
from retorno.networks.transformer import Block, Causal

MATRICES = ("query_key_value", "out", "up", "down")
"""The layers of a block."""


@runtime_checkable
class Trained(Protocol):
    """What is trained: a frozen dataclass."""

    def patterns(self, layers: int) -> tuple[str, ...]:
        """Which of the model's own arrays are trained: patterns of their names, as in `blocks/3/*`."""
        ...

    def adapted(self, trunk: Causal, draws: Draws) -> Causal:
        """The trunk with what is trained beside its own layers."""
        ...


TRAINED = Registry(of=Trained)
"""By the names that the command line gives them."""


@TRAINED.register
@settings
class Everything:
    """All of the model."""

    def patterns(self, layers: int) -> tuple[str, ...]:
        return ("*",)

    def adapted(self, trunk: Causal, draws: Draws) -> Causal:
        return trunk


@TRAINED.register
@settings
class UpperLayers:
    """The last blocks and the norm after them; with 0 layers nothing but new heads."""

    layers: int = 4
    """How many blocks."""

    def __post_init__(self) -> None:
        if self.layers < 0:
            raise ValueError(f"UpperLayers: layers must be at least 0, got {self.layers}")

    def patterns(self, layers: int) -> tuple[str, ...]:
        upper = range(max(layers - self.layers, 0), layers)
        return (*(f"blocks/{i}/*" for i in upper), *(("norm/*",) if self.layers else ()))

    def adapted(self, trunk: Causal, draws: Draws) -> Causal:
        return trunk


@TRAINED.register
@settings
class LoRA:
    """Low-rank layers beside those of all blocks (Hu et al. 2022); queries, keys and values have one together."""

    NAME: ClassVar[str] = "lora"

    rank: Count = 8
    """r, how narrow they are."""
    alpha: Positive = 16.0
    """α: what they say is scaled by α/r."""
    matrices: tuple[str, ...] = MATRICES
    """Beside which layers."""

    def __post_init__(self) -> None:
        if unknown := set(self.matrices) - set(MATRICES):
            raise ValueError(f"LoRA: no layer {', '.join(sorted(unknown))}; a block has {', '.join(MATRICES)}")

    def patterns(self, layers: int) -> tuple[str, ...]:
        return ()

    def adapted(self, trunk: Causal, draws: Draws) -> Causal:
        def beside(block: Block) -> Block:
            own = {name: getattr(block, name) for name in self.matrices}
            return replace(block, **{name: low_rank(draws, x, self.rank, self.alpha) for name, x in own.items()})

        return replace(trunk, blocks=tuple(map(beside, trunk.blocks)))


def merged(trunk: Causal) -> Causal:
    """The trunk as one of plain layers: low-rank ones are added to those beside which they learned."""

    def one(layer: Rows | LowRank) -> Rows:
        return layer.merged() if isinstance(layer, LowRank) else Rows(layer.whole(), layer.bias)

    return jax.tree.map(
        lambda node: one(node) if isinstance(node, Rows | LowRank) else node,
        trunk,
        is_leaf=lambda node: isinstance(node, Rows | LowRank),
    )


def is_trained(name: str, trained: Trained, layers: int) -> bool:
    """Whether an array of the model, by its name, is trained."""
    return any(fnmatchcase(name, pattern) for pattern in trained.patterns(layers))
