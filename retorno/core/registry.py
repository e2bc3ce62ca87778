"""What there is to choose from, by the names that the command line gives it. One line registers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from retorno.core.errors import RetornoError

Kind = TypeVar("Kind", bound=Callable[..., Any])


class RegistryError(RetornoError):
    """Two classes that want the same name."""


class Registry(dict[str, Callable[..., Any]]):
    """Classes of settings, or functions that make some, by name.

    Whoever iterates over it (the command, the laws, `list`) sees the new one too.
    """

    def __init__(self, kinds: Iterable[Any] = (), of: Any = None) -> None:
        """Take some, all of which are `of` a kind: where a setting is of that kind, their names stand for them."""
        super().__init__()
        if of is not None:
            REGISTERED[of] = self
        for kind in kinds:
            self.register(kind)

    def register(self, kind: Kind) -> Kind:
        """Add a class or function, as a decorator or a call.

        Its name is `NAME` where the class says one, else its own: `TDLambda` is `td_lambda`.

        Raises:
            RegistryError: when another class has the name.
        """
        name = vars(kind).get("NAME") or snake_case(kind.__name__)
        held = self.get(name, kind)
        # A file that is run again brings its own class again.
        if (held.__module__, held.__qualname__) != (kind.__module__, kind.__qualname__):
            raise RegistryError(
                f"{name!r} is {held.__module__}.{held.__qualname__} already: give {kind.__qualname__} another name, "
                f'or a class attribute NAME = "…"'
            )
        self[name] = kind
        return kind

    def group(self, folder: str) -> dict[str, Callable[..., Any]]:
        """Those whose file lies in a folder of that name."""
        return {name: kind for name, kind in self.items() if folder_of(kind) == folder}


REGISTERED: dict[Any, dict[str, Callable[..., Any]]] = {}
"""What there is of each kind of settings."""


def snake_case(name: str) -> str:
    """A class's name as the command line writes it: `SARSALambda` is `sarsa_lambda`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def folder_of(kind: Callable[..., Any]) -> str:
    """The folder of the file in which a class or function stands: what it is grouped by."""
    return kind.__module__.rpartition(".")[0].rpartition(".")[2]
