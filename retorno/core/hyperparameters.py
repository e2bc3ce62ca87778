"""Hyperparameters: frozen dataclasses whose numbers are leaves.

Of what an algorithm is told, only sizes, counts and functions shape its program. Numbers (fields annotated
as `float`, or as one of the ranges below) are leaves of a pytree instead: a program takes the algorithm as an
ordinary argument, another learning rate compiles nothing anew, and many settings are one `map`.

What its user holds has plain floats: it is compared, hashed, printed and written to JSON as any frozen dataclass.
Programs get its twin, `as_arrays(algorithm)`, in which each number is an array: there nothing may depend on a number
but through `jnp.where`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")


class Range(typing.NamedTuple):
    """Where a field's values lie."""

    kind: type[int] | type[float]
    accepts: Callable[[Any], bool]
    words: str


UnitInterval = Annotated[float, Range(float, lambda x: 0 <= x <= 1, "in [0, 1]")]
"""Discounts, probabilities, λ, shares of a run."""
NonNegative = Annotated[float, Range(float, lambda x: 0 <= x < math.inf, "at least 0 and finite")]
"""Step sizes, coefficients."""
Positive = Annotated[float, Range(float, lambda x: x > 0, "positive")]
"""Clips, norms and temperatures; inf is one of them."""
Count = Annotated[int, Range(int, lambda x: x >= 1, "at least 1")]
"""How many of something there are."""
Whole = Annotated[int, Range(int, lambda x: x >= 0, "at least 0")]
"""How many of something there are, if any."""


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def hyperparameters(cls: type[T]) -> type[T]:
    """A frozen dataclass of hyperparameters: its numbers are leaves, and what cannot be is refused.

    Fields annotated `float` (or `UnitInterval`, `NonNegative`, `Positive`; or None as well) are leaves, and so are
    the numbers of hyperparameters that it holds. All else is static. Whole numbers given for floats become floats.

    >>> @hyperparameters
    ... class Method:
    ...     discount: UnitInterval = 0.99
    ...     num_envs: Count = 1
    >>> jax.tree.leaves(Method(discount=1))
    [1.0]
    >>> Method(discount=1.5)
    Traceback (most recent call last):
    ValueError: Method: discount must be in [0, 1], got 1.5
    """
    own = getattr(cls, "__post_init__", None)

    def __post_init__(self: Any) -> None:
        _check(self)
        if own is not None:
            own(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    made = dataclasses.dataclass(frozen=True)(cls)
    jax.tree_util.register_pytree_with_keys(made, _flatten_with_keys, functools.partial(_unflatten, made), _flatten)
    return made


def as_arrays(tree: T) -> T:
    """The twin that programs get: each number a float32 array, made once, so that calls cost nothing."""

    def as_array(leaf: Any) -> jax.Array:
        if not isinstance(leaf, float | jax.Array):
            raise TypeError(
                f"{type(leaf).__name__} is no hyperparameters: decorate its class with retorno.hyperparameters "
                "in place of dataclass(frozen=True)"
            )
        return jnp.asarray(leaf, jnp.float32)

    return jax.tree.map(as_array, tree)


def preset(kind: Callable[..., T], settings: dict[str, Any], **own: Any) -> T:
    """Hyperparameters with some of their defaults changed: a method that is another with these settings."""
    return kind(**(own | settings))


def _check(made: Any) -> None:
    """Turn numbers into their fields' kind, and refuse those out of range; arrays are left alone."""
    for name, (kind, allowed) in _numbers(type(made)).items():
        value = getattr(made, name)
        if value is None or isinstance(value, jax.Array):
            continue
        words, fits = allowed.words if allowed else "a number", isinstance(value, int | float | np.number)
        if fits and kind is int and value != int(value):
            fits, words = False, f"{words} and whole"
        if not fits or isinstance(value, bool) or (allowed is not None and not allowed.accepts(value)):
            raise ValueError(f"{type(made).__name__}: {name} must be {words}, got {value!r}")
        object.__setattr__(made, name, kind(value))


@functools.cache
def _numbers(cls: type) -> dict[str, tuple[type, Range | None]]:
    """The fields that are numbers: their kinds, and where they lie."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {field.name: _number(hints[field.name]) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return {name: number for name, number in found.items() if number is not None}


def _number(hint: Any) -> tuple[type, Range | None] | None:
    options = [option for option in (typing.get_args(hint) or (hint,)) if option is not type(None)]
    if typing.get_origin(hint) is Annotated:
        allowed = next((x for x in hint.__metadata__ if isinstance(x, Range)), None)
        return (allowed.kind, allowed) if allowed else _number(typing.get_args(hint)[0])
    if hint is float:
        return float, None
    if len(options) == 1 and options[0] is not hint and typing.get_origin(hint) is not tuple:
        return _number(options[0])
    return None


def _children(made: Any) -> list[str]:
    """The fields that hold leaves: numbers, and hyperparameters with numbers of their own."""
    numbers = _numbers(type(made))
    return [
        field.name
        for field in dataclasses.fields(made)
        if numbers.get(field.name, (None,))[0] is float or _holds_leaves(getattr(made, field.name))
    ]


def _holds_leaves(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not jax.tree_util.all_leaves([value])


def _flatten(made: Any) -> tuple[list[Any], Any]:
    children = _children(made)
    static = tuple((f.name, getattr(made, f.name)) for f in dataclasses.fields(made) if f.name not in children)
    return [getattr(made, name) for name in children], (tuple(children), static)


def _flatten_with_keys(made: Any) -> tuple[list[tuple[Any, Any]], Any]:
    values, about = _flatten(made)
    return [(jax.tree_util.GetAttrKey(name), x) for name, x in zip(about[0], values, strict=True)], about


def _unflatten(cls: type[T], about: Any, values: Any) -> T:
    """Not by `__init__`: its checks are for its user's numbers, not for what JAX puts in their places."""
    made = object.__new__(cls)
    for name, value in (*zip(about[0], values, strict=True), *about[1]):
        object.__setattr__(made, name, value)
    return made
