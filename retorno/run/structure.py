"""A module as JSON and arrays, and back: how a policy is written down so that it needs nothing of its run.

Every class is named by the module in which it stands. Reading makes objects without calling anything: a class of
retorno's is imported, any other has to be there already, and only dataclasses, named tuples, enums and Gymnasium's
spaces are made. Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import math
import sys
from collections.abc import Mapping
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces
from jaxtyping import PyTree

from retorno.core.errors import RetornoError
from retorno.core.spaces import HashableSpace, Record

Tensors = dict[str, Any]


class StructureError(RetornoError):
    """What cannot be written down, or read again: the message names the place."""


def to_structure(tree: PyTree[Any], where: str = "policy") -> tuple[Any, Tensors]:
    """A JSON value and the arrays that it names by their places.

    Raises:
        StructureError: for what is neither an array, a number, a space, nor made of these in containers and classes.

    Args:
        tree: what is to be written; of arrays their shapes do.
        where: what it is called in messages.

    >>> value, tensors = to_structure({"w": np.ones(2)})
    >>> from_structure(value, tensors)["w"]
    array([1., 1.])
    """
    tensors: Tensors = {}
    return _written(tree, where, tensors), tensors


def _written(x: Any, where: str, tensors: Tensors) -> Any:
    match x:
        case enum.Enum():
            return {"enum": _name_of(type(x), where), "name": x.name}
        case None | bool() | int() | str():
            return x
        case float():
            return x if math.isfinite(x) else {"float": repr(x)}
        case jax.Array() | np.ndarray() | np.generic() | jax.ShapeDtypeStruct():
            tensors[where] = x
            return {"tensor": where}
        case HashableSpace():
            return {"observed": space_to_json(x.space)}
        case gymnasium.Space():
            return {"space": space_to_json(x)}
        case dict() if all(isinstance(key, str) for key in x):
            return {"dict": {key: _written(value, f"{where}.{key}", tensors) for key, value in x.items()}}
        case tuple() if not hasattr(x, "_fields"):
            return [_written(value, f"{where}.{i}", tensors) for i, value in enumerate(x)]
        case list():
            return {"list": [_written(value, f"{where}.{i}", tensors) for i, value in enumerate(x)]}
    names = _fields(type(x))
    if names is None:
        raise StructureError(
            f"{where} is {x!r}, a {type(x).__name__}: a policy is written down where it is made of arrays, numbers, "
            "strings, spaces, enums, and dataclasses, tuples, lists and dictionaries of these"
        )
    fields = {name: _written(getattr(x, name), f"{where}.{name}", tensors) for name in names}
    return {"class": _name_of(type(x), where), "fields": fields}


def from_structure(value: Any, tensors: Mapping[str, Any], where: str = "policy") -> Any:
    """The object that `to_structure` wrote, with these arrays.

    Raises:
        StructureError: for a class that is not there or has other fields, and for what `to_structure` never writes.

    Args:
        value: the JSON value.
        tensors: the arrays, by the names that it has for them.
        where: what it is called in messages.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return tuple(from_structure(x, tensors, f"{where}.{i}") for i, x in enumerate(value))
        case {"float": "inf" | "-inf" | "nan" as number, **rest} if not rest:
            return float(number)
        case {"list": list(items), **rest} if not rest:
            return [from_structure(x, tensors, f"{where}.{i}") for i, x in enumerate(items)]
        case {"dict": dict(items), **rest} if not rest:
            return {key: from_structure(x, tensors, f"{where}.{key}") for key, x in items.items()}
        case {"tensor": str(name), **rest} if not rest:
            if name not in tensors:
                raise StructureError(f"{where} asks for the tensor {name!r}, which is not there")
            return tensors[name]
        case {"observed": space, **rest} if not rest:
            return HashableSpace(space_from_json(space, where))
        case {"space": space, **rest} if not rest:
            return space_from_json(space, where)
        case {"enum": str(name), "name": str(member), **rest} if not rest:
            kind = _class_of(name, where)
            if not issubclass(kind, enum.Enum) or member not in kind.__members__:
                raise StructureError(f"{where}: {name} has no member {member!r}")
            return kind[member]
        case {"class": str(name), "fields": dict(fields), **rest} if not rest:
            return _made(name, {k: from_structure(x, tensors, f"{where}.{k}") for k, x in fields.items()}, where)
    raise StructureError(f"{where} is {value!r}: expected what a policy's file holds")


def _made(name: str, fields: dict[str, Any], where: str) -> Any:
    """An object of a class with these fields; nothing of the class is called."""
    kind = _class_of(name, where)
    names = _fields(kind)
    if names is None or set(names) != fields.keys():
        raise StructureError(
            f"{where}: {name} has the fields {', '.join(names or ())}, the file has {', '.join(fields)}: it was "
            "written by another version of the code"
        )
    if issubclass(kind, tuple):
        return tuple.__new__(kind, [fields[field] for field in names])
    made = object.__new__(kind)
    for field, value in fields.items():
        object.__setattr__(made, field, value)
    return made


def _fields(kind: type) -> tuple[str, ...] | None:
    """The names of a dataclass's or named tuple's fields; None for any other class."""
    if issubclass(kind, tuple):
        return getattr(kind, "_fields", None)
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _name_of(kind: type, where: str) -> str:
    if "<locals>" in kind.__qualname__:
        raise StructureError(f"{where} is of the class {kind.__qualname__}: move it out of the function it stands in")
    return f"{kind.__module__}:{kind.__qualname__}"


def _class_of(name: str, where: str) -> type:
    module, _, path = name.partition(":")
    if module == "retorno" or module.startswith("retorno."):
        try:
            found: Any = importlib.import_module(module)
        except ImportError as error:
            raise StructureError(f"{where}: this version of retorno has no {module}") from error
    elif module in sys.modules:
        found = sys.modules[module]
    else:
        raise StructureError(
            f"{where} is of a class of {module}: import that first, or name its file before the "
            f"command, `retorno {module}.py COMMAND …`"
        )
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not (issubclass(found, enum.Enum) or _fields(found) is not None):
        raise StructureError(f"{where}: there is no class {path!r} in {module} that a policy is made of")
    return found


def space_to_json(space: gymnasium.Space[Any]) -> Any:
    """A space as a JSON value.

    Raises:
        StructureError: for a kind of space that no policy reads.

    Args:
        space: of observations or actions.

    >>> space_from_json(space_to_json(spaces.Discrete(3)))
    Discrete(3)
    """
    kind = type(space).__name__
    match space:
        case spaces.Discrete():
            return {"space": kind, "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            return {
                "space": kind,
                "nvec": space.nvec.tolist(),
                "start": space.start.tolist(),
                "dtype": str(space.dtype),
            }
        case spaces.MultiBinary():
            return {"space": kind, "shape": list(space.shape)}
        case spaces.Box():
            bounds = {"low": _bound(space.low), "high": _bound(space.high)}
            return {"space": kind, **bounds, "shape": list(space.shape), "dtype": str(space.dtype)}
        case spaces.Dict():
            return {"space": kind, "spaces": [[name, space_to_json(part)] for name, part in space.spaces.items()]}
        case spaces.Tuple():
            return {"space": kind, "spaces": [space_to_json(part) for part in space.spaces]}
    raise StructureError(f"{space} cannot be written down: no policy reads or acts in such a space")


def _bound(values: np.ndarray) -> Any:
    """One number where all bounds are the same, else all of them; what JSON cannot spell as text."""
    flat = [x if math.isfinite(x) else repr(float(x)) for x in values.reshape(-1).tolist()]
    return flat[0] if flat and len(set(flat)) == 1 else flat


def space_from_json(value: Any, where: str = "space") -> gymnasium.Space[Any]:
    """The space that `space_to_json` wrote.

    Raises:
        StructureError: when it is not such a value.

    Args:
        value: the JSON value.
        where: what it is called in messages.
    """
    try:
        match value["space"]:
            case "Discrete":
                return spaces.Discrete(value["n"], start=value["start"])
            case "MultiDiscrete":
                kind = np.dtype(value["dtype"]).type
                return spaces.MultiDiscrete(np.array(value["nvec"]), dtype=kind, start=np.array(value["start"]))
            case "MultiBinary":
                return spaces.MultiBinary(value["shape"] if len(value["shape"]) > 1 else value["shape"][0])
            case "Box" | "Record" as name:
                made = Record if name == "Record" else spaces.Box
                kind, shape = np.dtype(value["dtype"]), tuple(value["shape"])
                low, high = (_filled(value[name], kind, shape) for name in ("low", "high"))
                return made(low, high, shape, kind.type)  # type: ignore[arg-type]
            case "Dict":
                return spaces.Dict({name: space_from_json(part, where) for name, part in value["spaces"]})
            case "Tuple":
                return spaces.Tuple([space_from_json(part, where) for part in value["spaces"]])
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise StructureError(f"{where}: {value!r} is not a space: {error}") from error
    raise StructureError(f"{where}: {value!r} is not a space")


def _filled(numbers: Any, kind: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """`_bound` undone."""
    if not isinstance(numbers, list):
        return np.full(shape, float(numbers) if isinstance(numbers, str) else numbers, kind)
    return np.array([float(x) if isinstance(x, str) else x for x in numbers], kind).reshape(shape)
