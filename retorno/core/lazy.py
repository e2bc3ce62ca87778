"""Packages whose parts are imported when they are first used, and which tell what was meant by a name they lack."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lazy_loader


def attached(
    package: str, file: str, shelves: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """A package's `__getattr__`, `__dir__` and `__all__`, from the stub beside its file.

    Args:
        package: its `__name__`.
        file: its `__file__`.
        shelves: packages in it that may have the name.
    """
    found, listed, names = lazy_loader.attach_stub(package, file)

    def get(name: str) -> Any:
        try:
            return found(name)
        except AttributeError:
            if name.startswith("_"):
                raise
            from retorno.core.names import absent

            raise absent(package, name, names, shelves) from None

    return get, listed, names
