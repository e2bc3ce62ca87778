"""Settings as JSON and back, what differs between two of them, and which code is running.

A dataclass becomes `{"type": its class, field: …}` and an enum member `{"enum": its class,
"name": …}`. A tuple is a JSON array; lists, dictionaries and numbers that JSON cannot spell carry
a tag of their own, so that reading gives back an equal object. Nothing is imported by name: only
the classes that the caller lists can be made.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from retorno.core.errors import RetornoError
from retorno.core.names import did_you_mean


class ConfigError(RetornoError):
    """Settings that cannot be written or read: the message names the field."""


def to_json(obj: Any, where: str = "settings") -> Any:
    """A JSON value from which `from_json` makes an equal object.

    Args:
        obj: a dataclass instance, enum member, number, string, bool, None, or a tuple, list or
            dictionary (with strings for keys) of these, nested as deep as they like.
        where: what `obj` is called in messages.

    Raises:
        ConfigError: for anything else, naming the field that holds it.

    >>> from retorno.policies import Epsilon
    >>> to_json(Epsilon(0.25))["epsilon"]
    0.25
    """
    match obj:
        case enum.Enum():
            return {"enum": type(obj).__name__, "name": obj.name}
        case None | bool() | int() | str():
            return obj
        case float():
            return float(obj) if math.isfinite(obj) else {"float": repr(float(obj))}
        case np.generic():
            return to_json(obj.item(), where)
        case tuple() if not hasattr(obj, "_fields"):
            return [to_json(x, f"{where}[{i}]") for i, x in enumerate(obj)]
        case list():
            return {"list": [to_json(x, f"{where}[{i}]") for i, x in enumerate(obj)]}
        case dict() if all(isinstance(key, str) for key in obj):
            return {"dict": {key: to_json(x, f"{where}.{key}") for key, x in obj.items()}}
    if not dataclasses.is_dataclass(obj) or isinstance(obj, type):
        raise ConfigError(
            f"{where} is {obj!r}, a {type(obj).__name__}, which cannot be written as settings: dataclasses, enums, "
            "numbers, strings, bools, None, tuples, lists and dictionaries of these can"
        )
    names = _fields(type(obj))
    if "type" in names:
        raise ConfigError(f"{where}: {type(obj).__name__} has a field named 'type', which is kept for the class's name")
    return {"type": type(obj).__name__, **{name: to_json(getattr(obj, name), f"{where}.{name}") for name in names}}


def from_json(value: Any, known: Mapping[str, type], where: str = "settings") -> Any:
    """The object that `to_json` wrote.

    Args:
        value: a JSON value.
        known: the dataclasses and enums that may be made, by their names.
        where: what the value is called in messages.

    Raises:
        ConfigError: for an unknown class, a field that is unknown, missing or of the wrong kind,
            or values that the class itself refuses.
    """
    try:
        return _made(value, known, where)
    except RecursionError as error:
        raise ConfigError(f"{where} are nested too deeply") from error


def _made(value: Any, known: Mapping[str, type], where: str) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return tuple(_made(x, known, f"{where}[{i}]") for i, x in enumerate(value))
        case {"type": str(name), **fields}:
            return _dataclass(name, fields, known, where)
        case {"enum": str(name), "name": str(member), **rest} if not rest:
            return _member(name, member, known, where)
        case {"float": "inf" | "-inf" | "nan" as number, **rest} if not rest:
            return float(number)
        case {"list": list(items), **rest} if not rest:
            return [_made(x, known, f"{where}[{i}]") for i, x in enumerate(items)]
        case {"dict": dict(items), **rest} if not rest:
            return {key: _made(x, known, f"{where}.{key}") for key, x in items.items()}
    raise ConfigError(
        f"{where} is {value!r}: expected a number, string, bool, null or array, or an object with one of the tags "
        "'type', 'enum', 'list', 'dict' and 'float'"
    )


def _dataclass(name: str, given: dict[str, Any], known: Mapping[str, type], where: str) -> Any:
    cls = _find(name, known, where)
    if not dataclasses.is_dataclass(cls):
        raise ConfigError(f"{where}: {name} is not a dataclass, so no 'type' of settings")
    names = _fields(cls)
    for field in given:
        if field not in names:
            raise ConfigError(f"{where}: {name} has no field {field!r}{did_you_mean(field, names) or listed(names)}")
    missing = [field for field in names if field not in given]
    if missing:
        raise ConfigError(f"{where}: {name} lacks the field {missing[0]!r}: add it, or begin another run")
    hints = _hints(cls)
    values = {field: _made(value, known, f"{where}.{field}") for field, value in given.items()}
    for field, value in values.items():
        if not _fits(value, hints.get(field, Any)):
            wanted = hints[field].__name__ if isinstance(hints[field], type) else hints[field]
            raise ConfigError(f"{where}.{field} is {value!r}, a {type(value).__name__}: {name} expects {wanted}")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {name} refuses its settings: {error}") from error


def _member(name: str, member: str, known: Mapping[str, type], where: str) -> enum.Enum:
    cls = _find(name, known, where)
    if not issubclass(cls, enum.Enum):
        raise ConfigError(f"{where}: {name} is not an enum")
    if member not in cls.__members__:
        meant = did_you_mean(member, cls.__members__) or listed(cls.__members__)
        raise ConfigError(f"{where}: {name} has no member {member!r}{meant}")
    return cls[member]


def _find(name: str, known: Mapping[str, type], where: str) -> type:
    if name not in known:
        raise ConfigError(
            f"{where}: unknown type {name!r}{did_you_mean(name, known) or listed(known)}; one of your own is known "
            "when its file has registered it, as in `retorno FILE.py COMMAND …`"
        )
    return known[name]


def listed(names: Iterable[str]) -> str:
    """The end of a message about a name that looks like none: all there are.

    Args:
        names: all there are.

    >>> listed(["ppo", "dqn"])
    '; there is dqn, ppo'
    """
    return f"; there is {', '.join(sorted(names))}"


def _fields(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except NameError:  # A name that is imported for type checkers alone.
        return {}


@functools.cache
def parts_of(cls: Any) -> tuple[type, ...]:
    """The enums and the dataclasses that the fields of settings name, and those that these name in turn.

    Args:
        cls: a class.

    >>> from retorno.networks import GRU
    >>> [each.__name__ for each in parts_of(GRU)]
    ['Activation', 'Precision']
    """
    found: dict[type, None] = {}
    asked = [cls]
    while asked:
        each = asked.pop()
        hints = _hints(each).values() if isinstance(each, type) and dataclasses.is_dataclass(each) else ()
        for option in (option for hint in hints for option in _options(hint)):
            if isinstance(option, type) and option not in found:
                if issubclass(option, enum.Enum) or dataclasses.is_dataclass(option):
                    found[option] = None
                    asked.append(option)
    return tuple(found)


def _options(hint: Any) -> Iterable[Any]:
    """An annotation, and what it is put together from."""
    yield hint
    for each in typing.get_args(hint):
        yield from _options(each)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has the kind that an annotation asks for; what cannot be told passes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is typing.Annotated:
        return _fits(value, arguments[0])
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple and isinstance(value, tuple):
        if arguments[-1:] == (...,):
            return all(_fits(x, arguments[0]) for x in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if hint is None:
        return value is None
    if isinstance(value, bool) and hint in (int, float):
        return False
    if hint is float:
        return isinstance(value, int | float)
    kind = origin or hint
    try:
        return not isinstance(kind, type) or isinstance(value, kind)
    except TypeError:  # A protocol that cannot be checked at run time.
        return True


def differences(before: Any, after: Any) -> list[str]:
    """What changed between two settings, one line each: 'learning_rate: 0.001 → 0.0003'.

    Args:
        before: a dataclass instance, or what `to_json` made of one.
        after: the same.

    >>> from retorno.algorithms import QLearning
    >>> differences(QLearning(), QLearning(discount=1.0))
    ['discount: 0.99 → 1.0']
    """
    old, new = (to_json(x) if dataclasses.is_dataclass(x) else x for x in (before, after))
    return list(_changes(old, new, ""))


def _changes(old: Any, new: Any, path: str) -> Iterable[str]:
    match old, new:
        case ({"type": name, **before}, {"type": other, **after}) if name == other:
            pass
        case ({"dict": dict(before)}, {"dict": dict(after)}) if len(old) == len(new) == 1:
            pass
        case _:
            if old != new:
                yield f"{path or 'settings'}: {_show(old)} → {_show(new)}"
            return
    for name in {**before, **after}:
        yield from _changes(before.get(name, _ABSENT), after.get(name, _ABSENT), f"{path}.{name}".lstrip("."))


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def _show(value: Any) -> str:
    """A JSON value of settings as one would write it in Python."""
    match value:
        case {"type": name, **fields}:
            return f"{name}({', '.join(f'{field}={_show(x)}' for field, x in fields.items())})"
        case {"enum": name, "name": member}:
            return f"{name}.{member}"
        case {"float": number}:
            return number
        case {"list": items}:
            return f"[{', '.join(map(_show, items))}]"
        case {"dict": items}:
            return "{" + ", ".join(f"{key!r}: {_show(x)}" for key, x in items.items()) + "}"
        case list():
            return f"({', '.join(map(_show, value))}{',' * (len(value) == 1)})"
    return repr(value)


@functools.cache
def code_version() -> str:
    """The package's version, or "source" where it is on the path and not installed, and a digest of its sources.

    As in '0.1.0+3f2a91c04b7d'.
    """
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        source = file.read_bytes()
        total.update(f"{file.relative_to(root).as_posix()} {len(source)}\n".encode() + source)
    try:
        version = metadata.version("retorno")
    except metadata.PackageNotFoundError:
        version = "source"
    return f"{version}+{total.hexdigest()[:12]}"
