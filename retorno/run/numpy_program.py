"""A small program as NumPy: what a policy computes on one row, without the cost of a compiled call.

JAX traces the program once; its operations are written out as one straight Python function of NumPy calls,
in which everything that does not depend on the arguments is a number already. So there is one definition of
each network, and its NumPy form follows from it. On an MLP of 2 × 64 units that takes a quarter of the time
of the compiled program, most of which is spent on the way in and out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var
from jaxtyping import PyTree

MOST_OPERATIONS = 150
"""Beyond these a compiled call is quicker."""

LARGEST = 400_000
"""Numbers of a matrix. OpenBLAS gives products of 460,800 and more to threads that wait for each other: where other
work keeps the cores busy, one takes 20 milliseconds instead of .05."""

NARROW = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32")
"""The dtypes that NumPy computes with as JAX does."""


class NoNumPyForm(Exception):
    """An operation that is not written in NumPy here."""


@dataclass(frozen=True)
class Name:
    """What is known when the program runs: a variable of the NumPy function."""

    text: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Line:
    """`target = expression` over other variables."""

    target: str
    expression: str
    reads: tuple[str, ...]


Value = Name | Any
"""A `Name`, or an array that is known already."""


def numpy_program(
    function: Callable[..., PyTree[Any]], module: PyTree[Any], *arguments: PyTree[Any]
) -> Callable[..., list[Any]] | None:
    """`function(module, *arguments)` as a NumPy function of the arguments' leaves; None where it has no such form.

    Args:
        function: what JAX can trace, of one row.
        module: a pytree of arrays that stay as they are.
        *arguments: pytrees of arrays, or of their shapes.

    Returns:
        A function from NumPy arrays (of the arguments' leaves, in order) to the result's leaves, as NumPy arrays or
        numbers of any width.
    """
    leaves, traced = traced_program(function, module, *arguments)
    writer = _NumPyWriter()
    try:
        names = [writer.name(var) for var in traced.jaxpr.invars[len(leaves) :]]
        results = writer.write(traced.jaxpr, [*traced.consts], [*leaves, *names])
        return writer.function(names, results)
    except NoNumPyForm:
        return None


def traced_program(
    function: Callable[..., PyTree[Any]], module: PyTree[Any], *arguments: PyTree[Any]
) -> tuple[list[Any], ClosedJaxpr]:
    """The module's leaves, and `function(module, *arguments)` as a jaxpr of these and of the arguments' leaves."""
    leaves, treedef = jax.tree.flatten(module)

    def flat(leaves: list[Any], *arguments: PyTree[Any]) -> list[Any]:
        return jax.tree.leaves(function(jax.tree.unflatten(treedef, leaves), *arguments))

    return leaves, jax.make_jaxpr(flat)(leaves, *arguments)


class Writer:
    """Goes through a jaxpr: what depends on the arguments is written down, everything else computed at once."""

    def operation(self, equation: Any, values: list[Value]) -> list[Value]:
        """Write one operation, some of whose values are not known; those of its results."""
        raise NotImplementedError

    def write(self, jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Value]) -> list[Value]:
        """Write what a jaxpr does; the values of its results."""
        known: dict[Var, Value] = dict(
            zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments), strict=True),
        )
        for equation in jaxpr.eqns:
            values = [x.val if isinstance(x, Literal) else known[x] for x in equation.invars]
            known.update(zip(equation.outvars, self._outcomes(equation, values), strict=True))
        return [x.val if isinstance(x, Literal) else known[x] for x in jaxpr.outvars]

    def _outcomes(self, equation: Any, values: list[Value]) -> list[Value]:
        inner = _called(equation.params)
        if inner is not None:
            return self.write(inner.jaxpr, inner.consts, values)
        if not any(isinstance(value, Name) for value in values):
            found = equation.primitive.bind(*values, **equation.params)
            return list(found) if equation.primitive.multiple_results else [found]
        return self.operation(equation, values)


class _NumPyWriter(Writer):
    """Turns operations into lines, and numbers that are known into constants."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.constants: dict[str, Any] = {}
        self.count = 0

    def name(self, var: Any) -> Name:
        """A new variable, shaped like one of JAX's."""
        if not isinstance(var.aval.dtype, np.dtype) or var.aval.dtype.name not in NARROW:
            raise NoNumPyForm(f"numbers of type {var.aval.dtype}")
        self.count += 1
        return Name(f"v{self.count}", tuple(var.aval.shape), var.aval.dtype)

    def operation(self, equation: Any, values: list[Value]) -> list[Value]:
        """Write one as NumPy."""
        rule = RULES.get(equation.primitive.name)
        if rule is None or len(self.lines) >= MOST_OPERATIONS:
            raise NoNumPyForm(equation.primitive.name)
        targets = [self.name(var) for var in equation.outvars]
        operands = [value if isinstance(value, Name) else self._constant(value) for value in values]
        reads = tuple(x.text for x in operands if isinstance(x, Name))
        written = rule(operands, targets, equation.params)
        for target, expression in zip(targets, [written] if isinstance(written, str) else written, strict=True):
            self.lines.append(Line(target.text, expression, reads))
        return list(targets)

    def _constant(self, value: Any) -> Name:
        """A number that is known: written into the program where it is plain, else a constant beside it."""
        array = np.asarray(value)
        if array.dtype.name not in NARROW:
            raise NoNumPyForm(f"numbers of type {array.dtype}")
        if array.shape == () and np.isfinite(array):
            return Name(repr(array.item()), (), array.dtype)
        text = f"c{len(self.constants)}"
        self.constants[text] = array if array.shape else array[()]
        return Name(text, array.shape, array.dtype)

    def function(self, arguments: list[Name], results: list[Value]) -> Callable[..., list[Any]]:
        """The Python function, without lines that lead to no result."""
        ends = [value if isinstance(value, Name) else self._constant(value) for value in results]
        needed, kept = {end.text for end in ends}, []
        for line in reversed(self.lines):
            if line.target in needed:
                kept.append(line)
                needed.update(line.reads)
        body = [f"    {line.target} = {line.expression}" for line in reversed(kept)]
        head = f"def program({', '.join(x.text for x in arguments)}):"
        source = "\n".join([head, *body, f"    return [{', '.join(end.text for end in ends)}]"])
        scope: dict[str, Any] = {**NUMPY, **self.constants}
        exec(source, scope)
        return scope["program"]


def _called(params: dict[str, Any]) -> ClosedJaxpr | None:
    """The program inside of an operation that only calls one."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = params.get(name)
        if set(params) & {"length", "cond_jaxpr", "branches"}:
            return None
        if isinstance(inner, ClosedJaxpr):
            return inner
        if isinstance(inner, Jaxpr):
            return ClosedJaxpr(inner, ())
    return None


def _divided(a: Any, b: Any) -> Any:
    """Whole numbers divided towards zero, as XLA does."""
    return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))


def _within(start: Any, most: int) -> int:
    """Where a slice begins: never so that it would leave the array."""
    return min(max(int(start), 0), most)


NUMPY = {
    "np": np,
    "divided": _divided,
    "within": _within,
    **{
        name: getattr(np, name)
        for name in (
            "abs broadcast_to ceil clip concatenate cos exp expm1 floor fmod full isfinite log log1p logical_not "
            "maximum minimum power sign sin sqrt tanh tensordot where"
        ).split()
    },
}
"""What a program may call."""

Rule = Callable[[list[Name], list[Name], dict[str, Any]], str | list[str]]


def _plain(form: str) -> Rule:
    """An operation on each number by itself."""
    return lambda x, out, params: form.format(*x)


def _div(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    return f"{x[0]} / {x[1]}" if np.issubdtype(out[0].dtype, np.floating) else f"divided({x[0]}, {x[1]})"


def _not(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    return f"logical_not({x[0]})" if out[0].dtype == bool else f"~{x[0]}"


def _select(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    which, no, *yes = x
    if which.dtype != bool or len(yes) != 1:
        raise NoNumPyForm("a choice among more than two")
    return f"{yes[0]} if {which} else {no}" if which.shape == () else f"where({which}, {yes[0]}, {no})"


def _convert(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    kind = f"np.{out[0].dtype.name.replace('bool', 'bool_')}"
    return f"{x[0]}.astype({kind})" if x[0].shape else f"{kind}({x[0]})"


def _reshape(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    if params.get("dimensions") is not None and "new_sizes" in params:
        raise NoNumPyForm("a reshape that permutes")
    if x[0].shape == out[0].shape:
        return x[0].text
    if out[0].shape == ():
        return f"{x[0]}[{', '.join('0' * len(x[0].shape))}]"
    return f"{x[0]}.reshape({out[0].shape})" if x[0].shape else _filled(x[0], out[0])


def _filled(value: Name, out: Name) -> str:
    return f"full({out.shape}, {value}, np.{out.dtype.name.replace('bool', 'bool_')})"


def _broadcast(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    if x[0].shape == ():
        return _filled(x[0], out[0]) if out[0].shape else x[0].text
    places = dict(zip(params["broadcast_dimensions"], x[0].shape, strict=True))
    spread = tuple(places.get(axis, 1) for axis in range(len(out[0].shape)))
    reshaped = x[0].text if spread == x[0].shape else f"{x[0]}.reshape({spread})"
    return reshaped if spread == out[0].shape else f"broadcast_to({reshaped}, {out[0].shape})"


def _slice(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    strides = params["strides"] or (1,) * len(x[0].shape)
    ends = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return f"{x[0]}[{', '.join(f'{int(a)}:{int(b)}:{int(s)}' for a, b, s in ends)}]"


def _split(x: list[Name], out: list[Name], params: dict[str, Any]) -> list[str]:
    before, start, pieces = ":, " * params["axis"], 0, []
    for size in map(int, params["sizes"]):
        pieces.append(f"{x[0]}[{before}{start}:{start + size}]")
        start += size
    return pieces


def _dynamic_slice(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    array, *starts = x
    cuts = []
    for axis, (start, size) in enumerate(zip(starts, params["slice_sizes"], strict=True)):
        most = array.shape[axis] - size
        cuts.append(f"(i{axis} := within({start}, {most})):i{axis} + {size}" if most else ":")
    return f"{array}[{', '.join(cuts)}]"


def gathers_rows(array: Name, numbers: Name, params: dict[str, Any]) -> bool:
    """Whether a gather takes rows of an array by their numbers, and nothing else."""
    form, rank = params["dimension_numbers"], len(numbers.shape) - 1
    return (
        form.collapsed_slice_dims == (0,)
        and form.start_index_map == (0,)
        and not form.operand_batching_dims
        and tuple(params["slice_sizes"]) == (1, *array.shape[1:])
        and form.offset_dims == tuple(range(rank, rank + len(array.shape) - 1))
    )


def _gather(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    """Rows of an array, by their numbers."""
    array, numbers = x
    if not gathers_rows(array, numbers, params):
        raise NoNumPyForm("a gather of other things than rows")
    return f"{array}[clip({numbers}[..., 0], 0, {array.shape[0] - 1})]"


def _reduce(method: str, typed: bool = False) -> Rule:
    def rule(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
        if not params["axes"]:
            return x[0].text
        kind = f", np.{out[0].dtype.name}" if typed else ""
        return f"{x[0]}.{method}({tuple(params['axes'])}{kind})"

    return rule


def _arg(method: str) -> Rule:
    return lambda x, out, params: f"{x[0]}.{method}({params['axes'][0]})"


def _cumulative(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    if params["reverse"]:
        raise NoNumPyForm("a sum from the end")
    return f"{x[0]}.cumsum({params['axis']}, np.{out[0].dtype.name})"


def _dot(x: list[Name], out: list[Name], params: dict[str, Any]) -> str:
    (left, right), (left_batch, right_batch) = params["dimension_numbers"]
    if left_batch or right_batch or {x[0].dtype, x[1].dtype} != {out[0].dtype}:
        raise NoNumPyForm("a product of batches")
    if max(math.prod(factor.shape) for factor in x) > LARGEST:
        raise NoNumPyForm("a product that threads share")
    if (left, right) == ((len(x[0].shape) - 1,), (0,)) and len(x[1].shape) <= 2:
        return f"{x[0]} @ {x[1]}"
    return f"tensordot({x[0]}, {x[1]}, ({tuple(left)}, {tuple(right)}))"


RULES: dict[str, Rule] = {
    **{
        name: _plain(form)
        for name, form in {
            "add": "{} + {}",
            "add_any": "{} + {}",
            "sub": "{} - {}",
            "mul": "{} * {}",
            "neg": "-{}",
            "max": "maximum({}, {})",
            "min": "minimum({}, {})",
            "pow": "power({}, {})",
            "rem": "fmod({}, {})",
            "eq": "{} == {}",
            "ne": "{} != {}",
            "lt": "{} < {}",
            "le": "{} <= {}",
            "gt": "{} > {}",
            "ge": "{} >= {}",
            "and": "{} & {}",
            "or": "{} | {}",
            "xor": "{} ^ {}",
            "abs": "abs({})",
            "sign": "sign({})",
            "floor": "floor({})",
            "ceil": "ceil({})",
            "exp": "exp({})",
            "expm1": "expm1({})",
            "log": "log({})",
            "log1p": "log1p({})",
            "sqrt": "sqrt({})",
            "rsqrt": "1 / sqrt({})",
            "square": "{0} * {0}",
            "sin": "sin({})",
            "cos": "cos({})",
            "tanh": "tanh({})",
            # Half of one and a tanh: an exponential would overflow.
            "logistic": "0.5 + 0.5 * tanh(0.5 * {})",
            "is_finite": "isfinite({})",
            "copy": "{}",
            "copy_p": "{}",
            "stop_gradient": "{}",
            "optimization_barrier": "{}",
            "clamp": "minimum(maximum({1}, {0}), {2})",
        }.items()
    },
    "integer_pow": lambda x, out, params: f"{x[0]} ** {params['y']}",
    "div": _div,
    "not": _not,
    "select_n": _select,
    "convert_element_type": _convert,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "broadcast_in_dim": _broadcast,
    "transpose": lambda x, out, params: f"{x[0]}.transpose({tuple(params['permutation'])})",
    "concatenate": lambda x, out, params: f"concatenate(({', '.join(map(str, x))},), {params['dimension']})",
    "slice": _slice,
    "split": _split,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
    "reduce_sum": _reduce("sum", typed=True),
    "reduce_prod": _reduce("prod", typed=True),
    "reduce_max": _reduce("max"),
    "reduce_min": _reduce("min"),
    "reduce_and": _reduce("all"),
    "reduce_or": _reduce("any"),
    "argmax": _arg("argmax"),
    "argmin": _arg("argmin"),
    "cumsum": _cumulative,
    "dot_general": _dot,
}
"""How each operation of JAX is written in NumPy."""
