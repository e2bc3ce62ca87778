"""Worlds: textbook models, maps, sampled models, classic control, memory, tokens; and Gymnasium's.

What there is stands in `__init__.pyi`; each is imported when it is first used: a model alone needs neither JAX
nor Gymnasium.
"""

import lazy_loader

_found, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name):
    try:
        return _found(name)
    except AttributeError:
        if name.startswith("_"):
            raise
        from retorno.core.names import absent

        raise absent(__name__, name, __all__) from None
