"""Models of a world to plan in: the world itself, or what was counted."""

from retorno.models.tabular import MODELS, Counted, Exact, ModelConfig

__all__ = [
    "MODELS",
    "Counted",
    "Exact",
    "ModelConfig",
]
