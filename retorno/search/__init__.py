"""Planning inside of acting: tree searches with a network, and exact ones without."""

from retorno.core.registry import Registry
from retorno.search.trees import PUCT, Found, Gumbel, SearchConfig, SearchPolicy

SEARCHES = Registry((PUCT, Gumbel), of=SearchConfig)
"""Every tree search with a network, by the name that the command line gives it."""

__all__ = ["PUCT", "SEARCHES", "Found", "Gumbel", "SearchConfig", "SearchPolicy"]
