"""Constants: large arrays that never change, such as the frozen layers of a pretrained model.

In a module a constant stands where its array would: a node without leaves, that says where the array comes from and
what it must hold. So there is no gradient for it and no optimiser state; it is not donated, and a checkpoint or a
saved policy stores its source and digest. The array itself is held once in a process, whoever refers to it. What
computes with it calls `thaw` first; in a program made by `constants.jit` the arrays are then arguments of their own,
where `jax.jit` would copy them into the program.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from retorno.core.errors import RetornoError

AnyTree = TypeVar("AnyTree")

Arrays = Mapping[str, Array]
Held = dict[str, dict[str, Array]]
"""Arrays by the digest of what they belong to, and by name."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=["arrays"], meta_fields=["places"])
@dataclass(frozen=True)
class Given:
    """What a program is given of constants: each array once, also where two sources hold the same one.

    So what several networks compute alike with it is computed once: XLA sees that it is the same.
    """

    arrays: tuple[Any, ...]
    places: tuple[tuple[str, str, int], ...]
    """Digest and name of each constant, and which of the arrays it is."""

    @property
    def held(self) -> Held:
        """The arrays in their places."""
        held: Held = {}
        for digest, name, number in self.places:
            held.setdefault(digest, {})[name] = self.arrays[number]
        return held


class ConstantsError(RetornoError):
    """Constants that are gone, or not what they were: the message says where they were and what to do."""


@runtime_checkable
class Source(Protocol):
    """Where constants come from: a frozen dataclass of settings, which are recorded with whatever refers to it.

    It may have a `version`, which is another once there is something else to read, for instance a file's time.
    """

    def read(self) -> Mapping[str, Any]:
        """Its arrays, by name.

        Raises:
            ConstantsError: when they are not to be had; it says what to do.
        """
        ...


@jax.tree_util.register_static
@dataclass(frozen=True)
class Constant:
    """One array of a source, in the place where the array would stand."""

    source: Source
    digest: str
    """SHA-256 over all arrays of the source."""
    name: str

    @property
    def array(self) -> Array:
        """The array; inside of a program that was given it, that program's argument.

        Raises:
            ConstantsError: when the source is gone, or holds other arrays now.
        """
        given = _given.get().get(self.digest, {})
        return given[self.name] if self.name in given else _arrays(self.source, self.digest)[self.name]


_given: ContextVar[Held] = ContextVar("constants", default={})  # noqa: B039 (never written to)
_held: Held = {}
_digests: dict[tuple[Source, Any], str] = {}


def read(source: Source) -> tuple[str, Arrays]:
    """The digest and the arrays of a source, which are held from then on: of one version read once, whoever asks.

    Raises:
        ConstantsError: when they cannot be read.
    """
    place = (source, getattr(source, "version", None))
    if place not in _digests or _digests[place] not in _held:
        arrays = {name: np.asarray(array) for name, array in source.read().items()}
        digest = _digests[place] = _digest(arrays)
        if digest not in _held:
            with jax.ensure_compile_time_eval():  # Whoever asks may be in the middle of tracing a program.
                _held[digest] = {name: _once(name, array) for name, array in arrays.items()}
    return _digests[place], _held[_digests[place]]


def _once(name: str, array: np.ndarray) -> Array:
    """An array to hold: the same one where another source has it, as a model does and what was trained on top of it."""
    for arrays in _held.values():
        there = arrays.get(name)
        if there is not None and (there.shape, there.dtype) == (array.shape, array.dtype):
            if np.array_equal(np.asarray(there), array):
                return there
    return jnp.asarray(array)


def forget() -> None:
    """Let go of all arrays that are held; what is needed again is read again."""
    _held.clear()
    _digests.clear()


def _arrays(source: Source, digest: str) -> Arrays:
    """The arrays of this digest: those that are held, else read from where they came."""
    if digest in _held:
        return _held[digest]
    found, arrays = read(source)
    if found != digest:
        raise ConstantsError(
            f"{source} holds other arrays than when they were first used: their SHA-256 is {found[:12]}…, expected "
            f"{digest[:12]}…. Put back what was there, or read it from where it lies now, before this, with "
            "retorno.core.constants.read(...); to go on with the new ones begin another run"
        )
    return arrays


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _is_constant(node: Any) -> bool:
    return isinstance(node, Constant)


def thaw(tree: AnyTree) -> AnyTree:
    """The same tree with the arrays in the constants' places, to compute with."""
    return jax.tree.map(lambda node: node.array if _is_constant(node) else node, tree, is_leaf=_is_constant)


def constants_of(tree: Any) -> list[Constant]:
    """The constants in a tree, in its order, each once."""
    return list(dict.fromkeys(node for node in jax.tree.leaves(tree, is_leaf=_is_constant) if _is_constant(node)))


def arrays_of(tree: Any) -> Given:
    """The arrays of the constants in a tree: what a program that computes with it has to be given."""
    numbers: dict[int, int] = {}
    arrays, places = [], []
    for constant in constants_of(tree):
        array = constant.array
        if id(array) not in numbers:
            numbers[id(array)] = len(arrays)
            arrays.append(array)
        places.append((constant.digest, constant.name, numbers[id(array)]))
    return Given(tuple(arrays), tuple(places))


@contextmanager
def given(arrays: Given) -> Iterator[None]:
    """Within this, constants are these arrays: what a program was given of them."""
    before = _given.set({**_given.get(), **arrays.held})
    try:
        yield
    finally:
        _given.reset(before)


def with_constants(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with the arrays of constants that it thaws as one more argument, `constants`."""

    @functools.wraps(fun)
    def given_them(*args: Any, constants: Given, **kwargs: Any) -> Any:
        with given(constants):
            return fun(*args, **kwargs)

    return given_them


class jit:
    """`jax.jit`, where the constants in the arguments are handed over beside them instead of copied into the program.

    Args:
        fun: what to compile; its arguments may hold constants, which it thaws.
        **settings: as of `jax.jit`.
    """

    def __init__(self, fun: Callable[..., Any], **settings: Any) -> None:
        functools.update_wrapper(self, fun)
        self.program = jax.jit(with_constants(fun), **settings)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.program(*args, constants=arrays_of((args, kwargs)), **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """As of what `jax.jit` gives."""
        return self.program.lower(*args, constants=arrays_of((args, kwargs)), **kwargs)

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """As of what `jax.jit` gives."""
        return self.program.eval_shape(*args, constants=arrays_of((args, kwargs)), **kwargs)
