"""What happens, in order: collect, train, evaluate, checkpoint, record."""

import lazy_loader

# `retorno.relabel` is a module of this package, imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["relabel"])
