"""A small program as an ONNX graph: what a policy computes on one row, for machines without Python or JAX.

JAX traces the program once, as for `numpy_program`, and each of its operations is one or a few of ONNX's; everything
that does not depend on the inputs is a constant in the graph. Converters of whole JAX (jax2onnx) bring Flax, Orbax and
a page in the browser along; a policy needs four dozen operations. This module imports onnx: import it where it is used.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from jaxtyping import PyTree
from onnx import TensorProto, helper, numpy_helper

from retorno.core.errors import RetornoError
from retorno.run.numpy_program import Name, Value, Writer, gathers_rows, traced_program

OPSET, FORMAT = 18, 10
"""Of ONNX: read by onnxruntime from 1.14 on."""


class OnnxError(RetornoError):
    """A program that has no form in ONNX."""


def onnx_model(
    function: Callable[..., PyTree[Any]],
    module: PyTree[Any],
    arguments: Sequence[PyTree[Any]],
    inputs: Sequence[str],
    outputs: Sequence[str],
    facts: Mapping[str, str],
    batched: bool = False,
) -> onnx.ModelProto:
    """`function(module, *arguments)` as a graph of the arguments' leaves.

    Args:
        function: what JAX can trace, of one row.
        module: a pytree of arrays, which become constants.
        arguments: pytrees of arrays, or of their shapes.
        inputs: a name for each of their leaves, in order.
        outputs: a name for each of the result's leaves.
        facts: text that the file carries.
        batched: of any number B of rows instead: each array has an axis [B] in front.

    Raises:
        OnnxError: when an operation has no form here; it is named.
    """
    leaves, traced = traced_program(function, module, *arguments)
    writer = _OnnxWriter()
    # No name may stand in a graph and in the graph of one row within it.
    within = "row." if batched else ""
    given = [Name(f"{within}{name}", tuple(var.aval.shape), var.aval.dtype) for name, var in zip(
        inputs, traced.jaxpr.invars[len(leaves) :], strict=True
    )]  # fmt: skip
    results = writer.write(traced.jaxpr, [*traced.consts], [*leaves, *given])
    told = []
    for name, value in zip(outputs, results, strict=True):
        found = writer.known(value)
        writer.nodes.append(helper.make_node("Identity", [found.text], [f"{within}{name}"]))
        told.append(Name(f"{within}{name}", found.shape, found.dtype))
    graph = helper.make_graph(writer.nodes, "policy", _declared(given), _declared(told), writer.constants)
    if batched:
        row = helper.make_node("Scan", [*inputs], [*outputs], body=graph, num_scan_inputs=len(given))
        graph = helper.make_graph([row], "rows", _declared(given, "B", within), _declared(told, "B", within))
    model = helper.make_model(
        graph, producer_name="retorno", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=FORMAT
    )
    helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model, full_check=True)
    return model


def _declared(names: Sequence[Name], axis: str = "", within: str = "") -> list[onnx.ValueInfoProto]:
    """What goes into a graph, or comes out; with an axis in front where that is named, and without a prefix."""
    return [
        helper.make_tensor_value_info(
            name.text.removeprefix(within), _kind(name.dtype), [*([axis] if axis else []), *name.shape]
        )
        for name in names
    ]


def _kind(dtype: Any) -> int:
    try:
        return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    except (KeyError, TypeError, ValueError):
        raise OnnxError(f"numbers of type {dtype} have no form in ONNX") from None


class _OnnxWriter(Writer):
    """Turns operations into nodes, and numbers that are known into constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.count = 0

    def operation(self, equation: Any, values: list[Value]) -> list[Value]:
        """Write one as nodes of ONNX."""
        name = equation.primitive.name
        rule = RULES.get(name)
        if rule is None:
            raise OnnxError(
                f"the policy computes {name!r}, which has no form in ONNX here: networks have one, a search in a model "
                "has none; retorno.load acts by it"
            )
        out = [Name("", tuple(var.aval.shape), np.dtype(var.aval.dtype)) for var in equation.outvars]
        found = rule(self, [self.known(value) for value in values], out, equation.params)
        return list(found) if isinstance(found, list) else [found]

    def known(self, value: Value) -> Name:
        """A value as a name of the graph: of what is known already, of a constant."""
        if isinstance(value, Name):
            return value
        array = np.asarray(value)
        return self.constant(array)

    def constant(self, array: Any, dtype: Any = None) -> Name:
        """A constant of the graph."""
        array = np.asarray(array, dtype)
        self.count += 1
        name = f"c{self.count}"
        _kind(array.dtype)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return Name(name, array.shape, array.dtype)

    def node(self, kind: str, inputs: Sequence[Name], shape: Any, dtype: Any, **attributes: Any) -> Name:
        """One node with one result."""
        self.count += 1
        name = f"v{self.count}"
        self.nodes.append(helper.make_node(kind, [x.text for x in inputs], [name], **attributes))
        return Name(name, tuple(shape), np.dtype(dtype))

    def cast(self, x: Name, dtype: Any) -> Name:
        """The same as numbers of another type."""
        return x if x.dtype == dtype else self.node("Cast", [x], x.shape, dtype, to=_kind(dtype))

    def reshape(self, x: Name, shape: Sequence[int]) -> Name:
        """The same numbers in another shape."""
        if tuple(shape) == x.shape:
            return x
        return self.node("Reshape", [x, self.constant(shape, np.int64)], shape, x.dtype)


Rule = Callable[[_OnnxWriter, list[Name], list[Name], dict[str, Any]], Name | list[Name]]


def _plain(kind: str) -> Rule:
    """One node, of the same arguments."""
    return lambda w, x, out, params: w.node(kind, x, out[0].shape, out[0].dtype)


def _same(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    return x[0]


def _logical(boolean: str, bitwise: str) -> Rule:
    def rule(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
        return w.node(boolean if out[0].dtype == bool else bitwise, x, out[0].shape, out[0].dtype)

    return rule


def _not_equal(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    return w.node("Not", [w.node("Equal", x, out[0].shape, bool)], out[0].shape, bool)


def _with_one(kind: str, before: str | None, after: str | None) -> Rule:
    """log(x + 1), exp(x) − 1."""

    def rule(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
        one, shape, dtype = w.constant(1, out[0].dtype), out[0].shape, out[0].dtype
        inside = w.node(before, [x[0], one], shape, dtype) if before else x[0]
        found = w.node(kind, [inside], shape, dtype)
        return w.node(after, [found, one], shape, dtype) if after else found

    return rule


def _finite(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    shape = out[0].shape
    either = w.node("Or", [w.node("IsNaN", x, shape, bool), w.node("IsInf", x, shape, bool)], shape, bool)
    return w.node("Not", [either], shape, bool)


def _power(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    return w.node("Pow", [x[0], w.constant(params["y"], out[0].dtype)], out[0].shape, out[0].dtype)


def _clamp(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    low, value, high = x
    above = w.node("Max", [value, low], out[0].shape, out[0].dtype)
    return w.node("Min", [above, high], out[0].shape, out[0].dtype)


def _select(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    which, no, *yes = x
    if which.dtype != bool or len(yes) != 1:
        raise OnnxError("a choice among more than two has no form in ONNX here")
    kind = np.dtype(np.int32) if out[0].dtype == bool else out[0].dtype  # Where takes no truth values everywhere.
    chosen = w.node("Where", [which, w.cast(yes[0], kind), w.cast(no, kind)], out[0].shape, kind)
    return w.cast(chosen, out[0].dtype)


def _broadcast(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    places = dict(zip(params["broadcast_dimensions"], x[0].shape, strict=True))
    spread = w.reshape(x[0], [places.get(axis, 1) for axis in range(len(out[0].shape))])
    if spread.shape == out[0].shape:
        return spread
    return w.node("Expand", [spread, w.constant(out[0].shape, np.int64)], out[0].shape, out[0].dtype)


def _stack(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    axis = int(params["axis"])
    parts = [w.reshape(each, (*each.shape[:axis], 1, *each.shape[axis:])) for each in x]
    return w.node("Concat", parts, out[0].shape, out[0].dtype, axis=axis)


def _transpose(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    return w.node("Transpose", x, out[0].shape, out[0].dtype, perm=list(map(int, params["permutation"])))


def _slice(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    axes = range(len(x[0].shape))
    strides = params["strides"] or [1] * len(axes)
    cuts = [w.constant(list(each), np.int64) for each in (
        params["start_indices"], params["limit_indices"], axes, strides
    )]  # fmt: skip
    return w.node("Slice", [x[0], *cuts], out[0].shape, out[0].dtype)


def _split(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> list[Name]:
    start, pieces, axis = 0, [], w.constant([params["axis"]], np.int64)
    for each, size in zip(out, map(int, params["sizes"]), strict=True):
        ends = w.constant([start], np.int64), w.constant([start + size], np.int64)
        pieces.append(w.node("Slice", [x[0], *ends, axis], each.shape, each.dtype))
        start += size
    return pieces


def _dynamic_slice(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    array, *starts = x
    sizes = list(map(int, params["slice_sizes"]))
    most = w.constant([whole - size for whole, size in zip(array.shape, sizes, strict=True)], np.int64)
    firsts = [w.reshape(w.cast(start, np.dtype(np.int64)), [1]) for start in starts]
    begin = w.node("Concat", firsts, [len(sizes)], np.int64, axis=0)
    begin = w.node("Max", [begin, w.constant(np.zeros(len(sizes)), np.int64)], begin.shape, np.int64)
    begin = w.node("Min", [begin, most], begin.shape, np.int64)
    end = w.node("Add", [begin, w.constant(sizes, np.int64)], begin.shape, np.int64)
    return w.node("Slice", [array, begin, end], out[0].shape, out[0].dtype)


def _gather(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    """Rows of an array, by their numbers."""
    array, numbers = x
    if not gathers_rows(array, numbers, params):
        raise OnnxError("a gather of other things than rows has no form in ONNX here")
    at = w.reshape(w.cast(numbers, np.dtype(np.int64)), numbers.shape[:-1])
    at = w.node("Max", [at, w.constant(0, np.int64)], at.shape, np.int64)
    at = w.node("Min", [at, w.constant(array.shape[0] - 1, np.int64)], at.shape, np.int64)
    return w.node("Gather", [array, at], out[0].shape, out[0].dtype, axis=0)


def _scatter(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    """One slot along an axis, by its number, written over: in a memory of the last rows."""
    array, number, row = x
    form = params["dimension_numbers"]
    axes = tuple(form.inserted_window_dims)
    if (
        len(axes) != 1
        or form.scatter_dims_to_operand_dims != axes
        or form.operand_batching_dims
        or number.shape != (1,)
    ):
        raise OnnxError("writing over other things than one slot has no form in ONNX here")
    spread = [size if axis == axes[0] else 1 for axis, size in enumerate(array.shape)]
    slots = w.constant(np.arange(array.shape[axes[0]]).reshape(spread), number.dtype)
    here = w.node("Equal", [slots, w.reshape(number, ())], spread, bool)
    new = w.reshape(row, [1 if axis == axes[0] else size for axis, size in enumerate(array.shape)])
    return w.node("Where", [here, new, array], out[0].shape, out[0].dtype)


def _reduce(kind: str) -> Rule:
    def rule(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
        if not params["axes"]:
            return x[0]
        inside = np.dtype(np.int32) if out[0].dtype == bool else out[0].dtype
        axes = w.constant(list(params["axes"]), np.int64)
        found = w.node(kind, [w.cast(x[0], inside), axes], out[0].shape, inside, keepdims=0)
        return w.cast(found, out[0].dtype)

    return rule


def _arg(kind: str) -> Rule:
    def rule(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
        given = w.cast(x[0], np.dtype(np.int32)) if x[0].dtype == bool else x[0]
        found = w.node(kind, [given], out[0].shape, np.int64, axis=int(params["axes"][0]), keepdims=0)
        return w.cast(found, out[0].dtype)

    return rule


def _cumulative(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    axis = w.constant(params["axis"], np.int64)
    return w.node("CumSum", [x[0], axis], out[0].shape, out[0].dtype, reverse=int(params["reverse"]))


def _dot(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    (left, right), (left_batch, right_batch) = params["dimension_numbers"]
    x = [w.cast(each, out[0].dtype) for each in x]
    if not left_batch and (left, right) == ((len(x[0].shape) - 1,), (0,)) and len(x[1].shape) <= 2:
        return w.node("MatMul", x, out[0].shape, out[0].dtype)
    letters = iter(string.ascii_lowercase)
    names = [["" for _ in each.shape] for each in x]
    for i, j in (*zip(left_batch, right_batch, strict=True), *zip(left, right, strict=True)):
        names[0][i] = names[1][j] = next(letters)
    names = [[name or next(letters) for name in each] for each in names]
    batch = [names[0][i] for i in left_batch]
    free = [[n for i, n in enumerate(names[k]) if i not in (*b, *c)] for k, (b, c) in enumerate(
        ((left_batch, left), (right_batch, right))
    )]  # fmt: skip
    form = f"{''.join(names[0])},{''.join(names[1])}->{''.join([*batch, *free[0], *free[1]])}"
    return w.node("Einsum", x, out[0].shape, out[0].dtype, equation=form)


def _convolution(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    form = params["dimension_numbers"]
    if params["batch_group_count"] != 1 or any(step != 1 for step in params["lhs_dilation"]):
        raise OnnxError("this kind of convolution has no form in ONNX here")

    def moved(x: Name, order: Sequence[int]) -> Name:
        return w.node("Transpose", [x], [x.shape[i] for i in order], x.dtype, perm=list(map(int, order)))

    image, kernel = moved(x[0], form.lhs_spec), moved(x[1], form.rhs_spec)
    before, after = zip(*params["padding"], strict=True)
    found = w.node(
        "Conv",
        [image, kernel],
        [out[0].shape[i] for i in form.out_spec],
        out[0].dtype,
        strides=list(map(int, params["window_strides"])),
        dilations=list(map(int, params["rhs_dilation"])),
        pads=[*map(int, before), *map(int, after)],
        group=int(params["feature_group_count"]),
    )
    return moved(found, np.argsort(form.out_spec).tolist())


def _pad(w: _OnnxWriter, x: list[Name], out: list[Name], params: dict[str, Any]) -> Name:
    low, high, inside = zip(*params["padding_config"], strict=True)
    if any(inside) or min((*low, *high)) < 0:
        raise OnnxError("padding between numbers has no form in ONNX here")
    return w.node("Pad", [x[0], w.constant([*low, *high], np.int64), x[1]], out[0].shape, out[0].dtype)


RULES: dict[str, Rule] = {
    **{
        name: _plain(kind)
        for name, kind in {
            "add": "Add",
            "add_any": "Add",
            "sub": "Sub",
            "mul": "Mul",
            "div": "Div",
            "neg": "Neg",
            "max": "Max",
            "min": "Min",
            "pow": "Pow",
            "eq": "Equal",
            "lt": "Less",
            "le": "LessOrEqual",
            "gt": "Greater",
            "ge": "GreaterOrEqual",
            "abs": "Abs",
            "sign": "Sign",
            "floor": "Floor",
            "ceil": "Ceil",
            "round": "Round",
            "exp": "Exp",
            "log": "Log",
            "sqrt": "Sqrt",
            "sin": "Sin",
            "cos": "Cos",
            "tanh": "Tanh",
            "erf": "Erf",
            "logistic": "Sigmoid",
        }.items()
    },
    **dict.fromkeys(
        ("copy", "copy_p", "stop_gradient", "optimization_barrier", "device_put", "reduce_precision"), _same
    ),
    "ne": _not_equal,
    "and": _logical("And", "BitwiseAnd"),
    "or": _logical("Or", "BitwiseOr"),
    "xor": _logical("Xor", "BitwiseXor"),
    "not": _logical("Not", "BitwiseNot"),
    "rem": lambda w, x, out, params: w.node("Mod", x, out[0].shape, out[0].dtype, fmod=1),
    "rsqrt": lambda w, x, out, params: w.node(
        "Reciprocal", [w.node("Sqrt", x, out[0].shape, out[0].dtype)], out[0].shape, out[0].dtype
    ),
    "square": lambda w, x, out, params: w.node("Mul", [x[0], x[0]], out[0].shape, out[0].dtype),
    "log1p": _with_one("Log", "Add", None),
    "expm1": _with_one("Exp", None, "Sub"),
    "is_finite": _finite,
    "integer_pow": _power,
    "clamp": _clamp,
    "select_n": _select,
    "convert_element_type": lambda w, x, out, params: w.cast(x[0], out[0].dtype),
    "reshape": lambda w, x, out, params: w.reshape(x[0], out[0].shape),
    "squeeze": lambda w, x, out, params: w.reshape(x[0], out[0].shape),
    "expand_dims": lambda w, x, out, params: w.reshape(x[0], out[0].shape),
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "concatenate": lambda w, x, out, params: w.node(
        "Concat", x, out[0].shape, out[0].dtype, axis=int(params["dimension"])
    ),
    "stack": _stack,
    "slice": _slice,
    "split": _split,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
    "scatter": _scatter,
    "pad": _pad,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_prod": _reduce("ReduceProd"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_and": _reduce("ReduceMin"),
    "reduce_or": _reduce("ReduceMax"),
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "cumsum": _cumulative,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
}
"""How each operation of JAX is written in ONNX."""
