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
import enum
import functools
import math
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from retorno.core.names import did_you_mean, meant, named
from retorno.core.notebook import as_table
from retorno.core.registry import REGISTERED

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
Finite = Annotated[float, Range(float, math.isfinite, "finite")]
"""Logarithms."""
Positive = Annotated[float, Range(float, lambda x: x > 0, "positive")]
"""Clips, norms and temperatures; inf is one of them."""
Count = Annotated[int, Range(int, lambda x: x >= 1, "at least 1")]
"""How many of something there are."""
Whole = Annotated[int, Range(int, lambda x: x >= 0, "at least 0")]
"""How many of something there are, if any."""
Seed = Annotated[int, Range(int, lambda x: 0 <= x < 2**32, "from 0 to 4,294,967,295")]
"""What all that is drawn follows from."""


@dataclasses.dataclass(frozen=True)
class Between:
    """Where a search looks for a field's value, annotated to the field: from `low` to `high`.

    >>> from typing import Annotated
    >>> @hyperparameters
    ... class Method:
    ...     step_size: Annotated[NonNegative, Between(0.01, 1.0, log=True)] = 0.1
    >>> declared(Method())
    {('step_size',): Between(low=0.01, high=1.0, log=True)}
    """

    low: float
    high: float
    log: bool = False
    """Whether its orders of magnitude are equally likely at first, and not its values."""


@dataclasses.dataclass(frozen=True)
class Among:
    """Where a search looks for a field's value, annotated to the field: one of these."""

    values: tuple[Any, ...]


Discount = Annotated[UnitInterval, Among((0.9, 0.95, 0.98, 0.99, 0.995, 0.999))]
"""γ"""
Lambda = Annotated[UnitInterval, Among((0.8, 0.9, 0.95, 0.98, 0.99, 1.0))]
"""λ of returns"""
BatchSize = Annotated[Count, Among((32, 64, 128, 256, 512))]
"""What a gradient step is made of."""
TargetStep = Annotated[UnitInterval, Among((0.001, 0.005, 0.01, 0.02, 0.05))]
"""How far a target network follows in each gradient step."""


def declared(made: Any) -> dict[tuple[str, ...], Between | Among]:
    """Where a search looks, by the place of the field: of hyperparameters and of their parts.

    Args:
        made: a dataclass of hyperparameters.
    """
    found: dict[tuple[str, ...], Between | Among] = {}
    hints = typing.get_type_hints(type(made), include_extras=True)
    for each in dataclasses.fields(made):
        value = getattr(made, each.name)
        if dataclasses.is_dataclass(value):
            found |= {(each.name, *place): told for place, told in declared(value).items()}
        told = [x for x in getattr(hints[each.name], "__metadata__", ()) if isinstance(x, Between | Among)]
        if told:
            found[(each.name,)] = told[-1]
    return found


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
    made = settings(cls)
    jax.tree_util.register_pytree_with_keys(made, _flatten_with_keys, functools.partial(_unflatten, made), _flatten)
    return made


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings(cls: type[T]) -> type[T]:
    """A frozen dataclass of settings none of which is a leaf: what plainly means a value is taken, others are refused.

    >>> @settings
    ... class Network:
    ...     hidden: tuple[int, ...] = (64, 64)
    >>> Network([8, 8]), Network(hidden=8)
    (Network(hidden=(8, 8)), Network(hidden=(8,)))
    >>> Network(hiden=8)
    Traceback (most recent call last):
    TypeError: Network has no 'hiden'; did you mean hidden?; it has hidden
    """
    own = getattr(cls, "__post_init__", None)

    def __post_init__(self: Any) -> None:
        _check(self)
        if own is not None:
            own(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    if "__repr__" not in vars(cls):
        cls.__repr__ = _shown  # type: ignore[method-assign]
    cls._repr_html_ = _as_html  # type: ignore[attr-defined]
    made: Any = dataclasses.dataclass(frozen=True)(cls)
    init, fields = made.__init__, {field.name for field in dataclasses.fields(made)}

    @functools.wraps(init)
    def __init__(self: Any, *given: Any, **named: Any) -> None:
        for name in named:
            if name not in fields:
                raise TypeError(_no_such(made, name))
        init(self, *given, **named)

    made.__init__ = __init__
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
    """Turn what was given into its field's kind, and refuse what is none; arrays are left alone."""
    for name, hint in _others(type(made)).items():
        value = getattr(made, name)
        if (taken := _taken(f"{type(made).__name__}: {name}", value, hint)) is not value:
            object.__setattr__(made, name, taken)
    for name, (kind, allowed) in _numbers(type(made)).items():
        value = getattr(made, name)
        if value is None or isinstance(value, jax.Array):
            continue
        if words := _asked(value, kind, allowed):
            raise ValueError(f"{type(made).__name__}: {name} must be {words}, got {value!r}")
        object.__setattr__(made, name, kind(value))


def _asked(value: Any, kind: type, allowed: Range | None) -> str:
    """What a field asks of its number, where that is not so; "" where it is."""
    words, fits = allowed.words if allowed else "a number", isinstance(value, int | float | np.number)
    if fits and kind is int and value != int(value):
        fits, words = False, f"{words} and whole"
    return words if not fits or isinstance(value, bool) or (allowed is not None and not allowed.accepts(value)) else ""


def out_of_range(made: Any) -> dict[str, str]:
    """The numbers of any dataclass that do not lie where their annotations say: what is asked of each, by its name.

    >>> @dataclasses.dataclass
    ... class Options:
    ...     tokens: Count = 8
    >>> out_of_range(Options()), out_of_range(Options(tokens=0))
    ({}, {'tokens': 'at least 1'})
    """
    ranged = {name: number for name, number in _numbers(type(made)).items() if number[1] is not None}
    values = {name: value for name in ranged if isinstance(value := getattr(made, name), int | float)}
    return {name: words for name, value in values.items() if (words := _asked(value, *ranged[name]))}


def _shown(made: Any, inside: bool = False) -> str:
    """As it is typed: all fields, and of parts those that differ from their defaults."""
    told = []
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        usual = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if inside and not isinstance(value, jax.Array) and type(value) is type(usual) and value == usual:
            continue
        part = getattr(type(value), "__repr__", None) is _shown
        shown = _shown(value, True) if part else str(value) if isinstance(value, enum.Enum) else repr(value)
        told.append(f"{field.name}={shown}")
    return f"{type(made).__name__}({', '.join(told)})"


def _as_html(made: Any) -> str:
    """A table of its fields, for a notebook."""
    rows = [(field.name, getattr(made, field.name)) for field in dataclasses.fields(made)]
    return as_table((type(made).__name__, ""), rows, (type(made).__doc__ or "").strip().partition("\n")[0])


@functools.cache
def _numbers(cls: type) -> dict[str, tuple[type, Range | None]]:
    """The fields that are numbers: their kinds, and where they lie."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {field.name: _number(hints[field.name]) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return {name: number for name, number in found.items() if number is not None}


@functools.cache
def _others(cls: type) -> dict[str, Any]:
    """The fields that are no numbers, and what they hold."""
    hints, numbers = typing.get_type_hints(cls, include_extras=True), _numbers(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.name not in numbers}  # type: ignore[arg-type]


def _taken(name: str, value: Any, hint: Any) -> Any:
    """A value as a field holds it: a name, a class or a list stands for what it plainly means.

    Raises:
        ValueError: when it is none of what the field holds.
    """
    options = [_bare(each) for each in (typing.get_args(hint) if _is_union(hint) else (hint,))]
    if len(options) == 2 and type(None) in options:
        if value is None:
            return None
        options.remove(type(None))
    kind = options[0]
    if len(options) > 1:
        return value
    if kind is int and not isinstance(value, jax.Array):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or value != int(value):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        return int(value)
    if kind is bool and not isinstance(value, bool | np.bool_ | jax.Array):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and not isinstance(value, kind):
        if value not in kind.__members__:
            known = tuple(kind.__members__)
            raise ValueError(
                f"{name} must be one of {', '.join(known)}, got {value!r}{did_you_mean(str(value), known)}"
            )
        return kind[str(value)]
    if typing.get_origin(kind) is tuple:
        inside = typing.get_args(kind)[0]
        several = value if isinstance(value, tuple | list) else (value,)
        if inside is int and not all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in several):
            raise ValueError(f"{name} must be whole numbers, as in (64, 64), got {value!r}")
        return tuple(tuple(x) if isinstance(x, list) else x for x in several)
    return _part(name, value, kind) if kind in REGISTERED else value


def _part(name: str, value: Any, kind: Any) -> Any:
    """A part of an algorithm: itself, or what a class or a name stands for."""
    known = REGISTERED[kind]
    if isinstance(value, str) and named(value, known) in known:
        return known[named(value, known)]()
    if isinstance(value, type) and issubclass(value, kind):
        return value()
    if isinstance(value, kind) and not isinstance(value, type):
        return value
    there = ", ".join(f"{made.__name__}(…)" for made in known.values())
    near = did_you_mean(value, known) if isinstance(value, str) else ""
    raise ValueError(f"{name} must be one of {there}, or a name ({', '.join(known)}), got {value!r}{near}")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _bare(hint: Any) -> Any:
    """A type without what is annotated to it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _no_such(cls: Any, name: str) -> str:
    """What to write instead of a setting that there is not."""
    own = [field.name for field in dataclasses.fields(cls)]
    if (found := meant(name, own)) in own:
        return f"{cls.__name__} has no {name!r}: here it is called {found!r}"
    for field in dataclasses.fields(cls):
        part = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        inside = [each.name for each in dataclasses.fields(part)] if dataclasses.is_dataclass(part) else []
        if (found := meant(name, inside)) in inside:
            kind = type(part).__name__
            return (
                f"{cls.__name__} has no {name!r}, its {field.name} has: {cls.__name__}({field.name}={kind}({found}=…))"
            )
    return f"{cls.__name__} has no {name!r}{did_you_mean(name, own)}; it has {', '.join(own)}"


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
