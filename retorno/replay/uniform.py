"""Uniform replay: what was lived is drawn alike. Lin 1992; Mnih et al. 2015."""

from __future__ import annotations

from retorno.core.hyperparameters import hyperparameters
from retorno.replay.ring import Ring


@hyperparameters
class UniformReplay:
    """Drawn uniformly."""

    def over(self, ring: Ring) -> Ring:
        """The ring itself."""
        return ring
