"""Worlds: textbook models, maps, sampled models, classic control, memory, tokens; and Gymnasium's.

What there is stands in `__init__.pyi`; each is imported when it is first used: a model alone needs neither JAX
nor Gymnasium.
"""

from retorno.core.lazy import attached

__getattr__, __dir__, __all__ = attached(__name__, __file__)
