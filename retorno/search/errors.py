"""What goes wrong in a search."""

from retorno.core.errors import RetornoError


class SearchError(RetornoError):
    """A search that cannot be made."""
