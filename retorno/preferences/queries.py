"""Which pairs of segments are worth a label: any, or those that tell most of which member of the ensemble is right."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax
from jax import Array
from jaxtyping import Float, Key

from retorno.core.hyperparameters import Count, settings
from retorno.core.registry import Registry
from retorno.ops.preferences import disagreement, information_gain


@runtime_checkable
class Queries(Protocol):
    """How questions are chosen among candidates that were drawn uniformly."""

    @property
    def candidates(self) -> int:
        """How many are drawn for each that is asked."""
        ...

    def interest(self, chance: Float[Array, "N M"], key: Key[Array, ""]) -> Float[Array, " N"]:
        """Which of them are asked: those with the largest numbers.

        Args:
            chance: that the first of each is preferred, by each member.
            key: what is drawn follows from it.
        """
        ...


@settings
class Random:
    """Asks about any pairs."""

    @property
    def candidates(self) -> int:
        """Those that are drawn are asked about."""
        return 1

    def interest(self, chance: Float[Array, "N M"], key: Key[Array, ""]) -> Float[Array, " N"]:
        return jax.random.uniform(key, chance.shape[:1])


@settings
class Disagreement:
    """Asks where the members agree least on the answer. Christiano et al. 2017, who found that it sometimes hurts."""

    candidates: Count = 10
    """How many are drawn for each that is asked."""

    def interest(self, chance: Float[Array, "N M"], key: Key[Array, ""]) -> Float[Array, " N"]:
        return jax.vmap(disagreement)(chance)


@settings
class InformationGain:
    """Asks what tells most of which member is right. Houlsby et al. 2011; Bıyık et al. 2019."""

    candidates: Count = 10
    """How many are drawn for each that is asked."""

    def interest(self, chance: Float[Array, "N M"], key: Key[Array, ""]) -> Float[Array, " N"]:
        return jax.vmap(information_gain)(chance)


QUERIES = Registry((Random, Disagreement, InformationGain), of=Queries)
"""Every way to choose what is asked, by the name that the command line gives it."""
