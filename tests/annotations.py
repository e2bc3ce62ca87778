"""While tests run, every function and dataclass of retorno is held to its annotations, shapes included.

What a call was given and what it gave back is shown to beartype and jaxtyping; an axis has one length within a call.
That happens *after* the call: what retorno refuses by itself it refuses in its own words, as it does for its users,
who have no beartype. Likewise a dataclass is looked at once it is made.

jaxtyping's own import hook checks arguments first, twice, and makes the checks of all four thousand functions when
they are imported, in 9 s a process. Here a check is made when it is first needed, and once for each place in the
source: functions within functions, which every trace makes anew, share it.

    python annotations.py PROGRAM ARGUMENT …

runs a program whose retorno is held likewise.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import re
import runpy
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from random import Random
from types import CodeType, FunctionType, ModuleType
from typing import Any
from unittest.mock import patch

# One item of a long sequence is looked at, any one: that must not move the random numbers of tests.
with patch("random.getrandbits", Random(0).getrandbits):
    from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

PACKAGE = "retorno"
BY_NUMBA = (
    "retorno.bellman.kernels",
    "retorno.search.kernels",
    "retorno.search.hex_kernels",
    "retorno.search.othello_kernels",
)
"""Modules whose functions are compiled by Numba, which reads their source."""
HYPERPARAMETERS = "retorno.core.hyperparameters"
"""Their numbers, which programs hold as arrays, have been looked at by a check of their own."""
OTHERS_NAMES = {"ArrayTree": Any}
"""Which optax leaves in `OptState` for who imports chex."""
WHOLE_NUMBERS_ARE_FLOATS = BeartypeConf(is_pep484_tower=True)

Check = Callable[..., Any]


OFTEN = 8
"""So many calls of one function by one other are looked at in a test, and then each so-manieth."""


class Looking:
    """Whether calls are looked at just now, and how often each function was called by each other in this test."""

    on = True
    calls: typing.ClassVar[dict[tuple[int, int], int]] = {}

    @classmethod
    def begin(cls, on: bool) -> None:
        """Another test."""
        cls.on = on
        cls.calls.clear()


@contextlib.contextmanager
def unlooked() -> Iterator[None]:
    """For a while nothing is looked at: a look asks for properties, and what these compute stands in a program too."""
    on, Looking.on = Looking.on, False
    try:
        yield
    finally:
        Looking.on = on


def hold() -> None:
    """From now on: call it before retorno is imported."""
    loaded = [name for name in sys.modules if name.split(".")[0] == PACKAGE]
    assert not loaded, f"imported before their annotations could be held: {loaded}"
    sys.meta_path.insert(0, Finder())


def held_function(function: FunctionType) -> FunctionType:
    """The same function, whose calls are looked at."""
    place = Place.of(function.__code__)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        returned = function(*args, **kwargs)
        caller = sys._getframe().f_back
        if Looking.on and caller is not None and place.due(caller.f_code):
            (place.check or place.prepare(function))(*args, **kwargs, returned__=returned)
        return returned

    return call


def held_class(kind: type) -> type:
    """The same class; if it is a dataclass, what it holds is looked at when one is made."""
    if "__dataclass_fields__" not in vars(kind) or kind.__init__ is object.__init__:
        return kind
    init, fields = kind.__init__, [field.name for field in dataclasses.fields(kind)]

    @functools.cache
    def check() -> Check:
        hints: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            own = {name: x for name, x in inspect.get_annotations(base).items() if name in fields}
            hints |= meant(own, base.__module__)
        if getattr(getattr(kind, "__post_init__", None), "__module__", "") == HYPERPARAMETERS:
            hints |= dict.fromkeys(sys.modules[HYPERPARAMETERS]._numbers(kind), Any)
        # "S+1" is known once some other field has told what S is.
        order = sorted(fields, key=lambda name: re.search(r"\w[+-]\d", repr(hints[name])) is not None)
        return made(kind, [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in order], hints)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if Looking.on:
            check()(**{name: getattr(self, name) for name in fields}, returned__=None)

    kind.__init__ = __init__
    return kind


class Place:
    """Where in the source a function stands, and its check once one was needed."""

    every: typing.ClassVar[dict[int, Place]] = {}

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.check: Check | None = None

    @classmethod
    def of(cls, code: CodeType) -> Place:
        """By identity: hashing a code object reads all of it. The place keeps it alive."""
        return cls.every.get(id(code)) or cls.every.setdefault(id(code), cls(code))

    def due(self, caller: CodeType) -> bool:
        """Whether a call is to be looked at."""
        pair = id(self.code), id(caller)
        called = Looking.calls[pair] = Looking.calls.get(pair, 0) + 1
        return called <= OFTEN or called % OFTEN == 0

    def prepare(self, function: FunctionType) -> Check:
        """From its annotations, all of whose names are known by the time of its first call."""
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
        self.check = made(function, [*parameters], meant(function.__annotations__, function.__module__))
        return self.check


def meant(annotations: dict[str, Any], module: str) -> dict[str, Any]:
    """What annotations mean in their module; what it imports for checkers of types alone is imported for that."""

    def holder() -> None: ...

    holder.__annotations__ = annotations
    names = OTHERS_NAMES | vars(sys.modules[module])
    if "__for_checkers__" in names:
        names |= names["__for_checkers__"]()
    return typing.get_type_hints(holder, names, include_extras=True)


def made(of: Any, parameters: Sequence[inspect.Parameter], hints: dict[str, Any]) -> Check:
    """A function with these parameters that does nothing but be checked, and one more for what was returned."""
    if all(x is Any for x in hints.values()):
        return unchecked
    returned = inspect.Parameter("returned__", inspect.Parameter.KEYWORD_ONLY)
    bare = [
        x.replace(annotation=x.empty, default=x.empty if x.default is x.empty else ...) for x in [*parameters, returned]
    ]
    bare.sort(key=lambda x: x.kind)
    scope: dict[str, Any] = {}
    exec(f"def stub{inspect.Signature(bare)}: return returned__", scope)
    stub = scope["stub"]
    by_place = [x for x in bare if x.kind <= x.POSITIONAL_OR_KEYWORD]
    defaults = {x.name: x.default for x in parameters if x.default is not x.empty}
    stub.__defaults__ = tuple(defaults[x.name] for x in by_place if x.name in defaults)
    stub.__kwdefaults__ = {x.name: defaults[x.name] for x in bare if x.kind == x.KEYWORD_ONLY and x.name in defaults}
    stub.__annotations__ = hints
    stub.__qualname__, stub.__module__ = of.__qualname__, of.__module__
    check = beartype(conf=WHOLE_NUMBERS_ARE_FLOATS)(stub)
    if "jaxtyping" not in repr(hints):
        return check

    def with_axes(*args: Any, **kwargs: Any) -> None:
        with jaxtyped("context"):
            check(*args, **kwargs)

    return with_axes


def unchecked(*args: Any, **kwargs: Any) -> None:
    """Nothing is said."""


class Decorated(ast.NodeTransformer):
    """Functions that say something about what they take or give, next to their source; classes, from outside."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        names = node.args
        every = (*names.posonlyargs, *names.args, *names.kwonlyargs, names.vararg, names.kwarg)
        if node.returns or any(x and x.annotation for x in every):
            node.decorator_list.append(ast.copy_location(ast.Name("__held_function__", ast.Load()), node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.decorator_list.insert(0, ast.copy_location(ast.Name("__held_class__", ast.Load()), node))
        return node

    def visit_If(self, node: ast.If) -> list[ast.stmt] | ast.If:
        self.generic_visit(node)
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            return node
        later = ast.parse("def __for_checkers__():\n    return locals()").body[0]
        assert isinstance(later, ast.FunctionDef)
        later.body[:0] = node.body
        return [ast.fix_missing_locations(ast.copy_location(later, node)), node]


class Loader(SourceFileLoader):
    """Decorates what it reads; compiled modules are kept under a name of their own."""

    mark = "held" + hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:
        tree = Decorated().visit(ast.parse(data, path))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)

    def get_code(self, fullname: str) -> CodeType | None:
        named = functools.partial(importlib.util.cache_from_source, optimization=self.mark)
        with patch("importlib._bootstrap_external.cache_from_source", named):
            return super().get_code(fullname)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(__held_function__=held_function, __held_class__=held_class)
        super().exec_module(module)


class Finder(MetaPathFinder):
    """Finds retorno's modules, to be decorated."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] != PACKAGE or fullname in BY_NUMBA:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


if __name__ == "__main__":
    hold()
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
