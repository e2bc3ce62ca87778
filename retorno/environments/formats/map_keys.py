"""How a model's map is read, in files: the fields of `MapKey` that say something, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retorno.core.mdp import MapKey, ModelError
from retorno.environments.formats.numbers import number, shown

KINDS: dict[str, tuple[type, ...]] = {
    "row_names": (str,),
    "column_names": (str,),
    "blocks": (str, int, int),
    "headings": (int, int),
}
"""What each entry of a field is made of; the other fields are text."""


def written(key: MapKey) -> dict[str, Any]:
    """The fields that say something.

    >>> written(MapKey(actions="cars moved"))
    {'actions': 'cars moved'}
    """
    return {name: value for name, value in key._asdict().items() if value}


def read(given: Any) -> MapKey:
    """What `written` gave, also where numbers are the text that stands there.

    Raises:
        ModelError: for anything else; it names the field.

    >>> read({"headings": [["0", 1]], "note": "all"})
    MapKey(rows='', columns='', row_names=(), column_names=(), blocks=(), actions='', headings=((0, 1),), note='all')
    """
    if not isinstance(given, Mapping):
        raise ModelError(f"map: expected a table of {', '.join(MapKey._fields)}, got {shown(given)}")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in MapKey._fields:
            raise ModelError(f"map: {shown(name)} is none of {', '.join(MapKey._fields)}")
        kinds = KINDS.get(name)
        try:
            found[name] = _as(str, value) if kinds is None else tuple(_entry(kinds, each) for each in value)
        except (TypeError, ValueError):
            kind = "text" if kinds is None else f"a list of {' and '.join(kind.__name__ for kind in kinds)}"
            raise ModelError(f"map: {name} is {kind}, got {shown(value)}") from None
    return MapKey(**found)


def _entry(kinds: tuple[type, ...], value: Any) -> Any:
    return _as(kinds[0], value) if len(kinds) == 1 else tuple(map(_as, kinds, _listed(value, len(kinds))))


def _listed(value: Any, length: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise TypeError
    return value


def _as(kind: type, value: Any) -> Any:
    if kind is int:
        if abs(whole := number(value)) > 1e9 or whole % 1:
            raise ValueError
        return int(whole)
    if not isinstance(value, str):
        raise TypeError
    return value
