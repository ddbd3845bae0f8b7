"""``keras.ops`` in a Functional graph, those above all that Keras makes masks of."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.errors import ServingError
from serving.native_onnx.activations import FUNCTIONS
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import converter
from serving.native_onnx.value import Value


def _binary(keras_name: str, kind: str) -> None:
    @converter(keras_name, layout="any")
    def convert(graph, operation, left, right):
        return graph.binary(kind, left, right)


for _keras, _onnx in {
    "Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div", "TrueDivide": "Div",
    "Maximum": "Max", "Minimum": "Min", "Power": "Pow",
}.items():  # fmt: skip
    _binary(_keras, _onnx)


def _comparison(keras_name: str, kind: str, negated: bool = False) -> None:
    @converter(keras_name, layout="any")
    def convert(graph, operation, left, right):
        left, right = _comparable(graph, left, right)
        answer = graph.compare(kind, left, right)
        answer = graph.op("Not", answer) if negated else answer
        _note_right_padded(graph, keras_name, answer, left, right)
        return answer


for _keras, _onnx, _negated in (
    ("Equal", "Equal", False), ("NotEqual", "Equal", True), ("Less", "Less", False),
    ("LessEqual", "LessOrEqual", False), ("Greater", "Greater", False),
    ("GreaterEqual", "GreaterOrEqual", False),
):  # fmt: skip
    _comparison(_keras, _onnx, _negated)


def _note_right_padded(graph: Graph, keras_name: str, answer: Value, *given: Any) -> None:
    """A mask of "differs from padding" is right-padded where its input is; and so are both's."""
    if keras_name == "NotEqual":
        for value, other in (given, given[::-1]):
            padding = graph.right_padded.get(value.name) if isinstance(value, Value) else None
            if padding is not None and np.ndim(other) == 0 and other == padding:
                graph.right_padded[answer.name] = False
    elif keras_name in ("LogicalAnd", "LogicalOr"):
        masks = [isinstance(v, Value) and graph.right_padded.get(v.name) is False for v in given]
        if all(masks):
            graph.right_padded[answer.name] = False


def _comparable(graph: Graph, left: Any, right: Any) -> tuple[Any, Any]:
    """Keras compares a float with the int that a user wrote; ONNX wants one dtype."""
    if isinstance(left, Value) and not isinstance(right, Value):
        right = float(right) if left.is_float else right
    return left, right


def _logical(keras_name: str, kind: str) -> None:
    @converter(keras_name, layout="any")
    def convert(graph, operation, left, right):
        answer = graph.op(kind, *_boolean(graph, left, right), rank=max(left.rank, right.rank))
        _note_right_padded(graph, keras_name, answer, left, right)
        return answer


for _keras, _onnx in {"LogicalAnd": "And", "LogicalOr": "Or", "LogicalXor": "Xor"}.items():
    _logical(_keras, _onnx)


def _boolean(graph: Graph, *values: Value) -> list[Value]:
    return [graph.cast(value, np.bool_) for value in values]


@converter("LogicalNot", layout="any")
def logical_not(graph, operation, x):
    """Turns a mask around."""
    return graph.op("Not", *_boolean(graph, x))


def _unary(keras_name: str, kind: str) -> None:
    @converter(keras_name, layout="any")
    def convert(graph, operation, x):
        return graph.op(kind, x)


for _keras in ("Tanh", "Sigmoid", "Relu", "Exp", "Log", "Sqrt", "Abs", "Floor", "Ceil", "Sign",
               "Sin", "Cos", "Softplus", "Softsign", "Erf"):  # fmt: skip
    _unary(_keras, _keras)
_unary("Absolute", "Abs")
_unary("Negative", "Neg")


@converter("Square", layout="any")
def square(graph, operation, x):
    """``x * x``."""
    return x * x


@converter("Silu", layout="any")
def silu(graph, operation, x):
    """``x * sigmoid(x)``."""
    return FUNCTIONS["silu"](graph, x)


@converter("Softmax", "LogSoftmax")
def softmax(graph, operation, x):
    """Over one axis."""
    return graph.op(type(operation).__name__, x, axis=operation.axis)


def _reduction(keras_name: str, kind: str) -> None:
    # Over the features alone it treats each step for itself, but the registry asks once; a step
    # model needs Any, of which Keras makes the mask of Masking.
    @converter(keras_name, per_step=keras_name in ("Any", "All"))
    def convert(graph, operation, x):
        axes = range(x.rank) if operation.axis is None else operation.axis
        axes = [axes] if isinstance(axes, int) else list(axes)
        number = graph.cast(x, np.int32) if x.dtype == np.bool_ else x
        y = graph.reduce(kind, number, axes, keep=operation.keepdims)
        return graph.cast(y, np.bool_) if keras_name in ("Any", "All") else y


for _keras, _onnx in {
    "Sum": "ReduceSum", "Mean": "ReduceMean", "Max": "ReduceMax", "Min": "ReduceMin",
    "Prod": "ReduceProd", "Any": "ReduceMax", "All": "ReduceMin",
}.items():  # fmt: skip
    _reduction(_keras, _onnx)


@converter("Matmul", "Dot")
def matmul(graph, operation, left, right):
    """Product of two tensors."""
    return left @ right


@converter("Cast", layout="any")
def cast(graph, operation, x):
    """Floats stay what the graph computes in."""
    dtype = np.dtype(operation.dtype)
    return graph.cast(x, graph.float_dtype if np.issubdtype(dtype, np.floating) else dtype)


@converter("ZerosLike", "OnesLike", layout="any")
def filled_like(graph, operation, x, dtype=None):
    """A constant of the shape of ``x``."""
    number = 0 if type(operation).__name__ == "ZerosLike" else 1
    wanted = np.dtype(operation.dtype if getattr(operation, "dtype", None) else x.dtype)
    if np.issubdtype(wanted, np.floating):
        wanted = graph.float_dtype
    value = graph.op(
        "Expand", graph.constant(number, wanted), graph.shape(x), rank=x.rank, dtype=wanted
    )
    return Value(graph, value.name, value.dtype, x.rank, x.time_major)


@converter("ExpandDims", per_step=True)
def expand_dims(graph, operation, x):
    """New axes of length one."""
    axes = [operation.axis] if isinstance(operation.axis, int) else operation.axis
    return graph.expand(x, *axes)


@converter("Squeeze", per_step=True)
def squeeze(graph, operation, x):
    """Without axes of length one."""
    if operation.axis is None:
        raise ServingError(f"{operation.name!r}: squeeze without an axis cannot be written")
    axes = [operation.axis] if isinstance(operation.axis, int) else operation.axis
    return graph.squeeze(x, *axes)


@converter("Concatenate", per_step=True)
def concatenate(graph, operation, values):
    """Along its axis."""
    return graph.concat(list(values), operation.axis)


@converter("Stack")
def stack(graph, operation, values):
    """Along a new axis."""
    rank = values[0].rank + 1
    parts = [graph.expand(value, operation.axis % rank) for value in values]
    return graph.concat(parts, operation.axis % rank)


@converter("Transpose")
def transpose(graph, operation, x):
    """Permutes axes."""
    return graph.transpose(x, operation.axes or range(x.rank)[::-1])


@converter("Flip")
def flip(graph, operation, x):
    """Reverses axes."""
    axes = range(x.rank) if operation.axis is None else operation.axis
    for axis in [axes] if isinstance(axes, int) else axes:
        x = graph.flip(x, axis)
    return x


@converter("Reshape")
def reshape(graph, operation, x):
    """The shape as written, in ints and -1."""
    shape = [-1 if size is None else size for size in operation.newshape]
    if not all(isinstance(size, int) for size in shape) or shape.count(-1) > 1:
        raise ServingError(f"{operation.name!r}: reshape to {shape} cannot be written")
    return graph.reshape(x, shape)


@converter("Where", layout="any")
def where(graph, operation, condition, yes=None, no=None):
    """Elementwise choice."""
    return graph.where(condition, yes, no)


@converter("Take")
def take(graph, operation, x, indices):
    """Rows by their numbers."""
    if operation.axis is None:
        raise ServingError(f"{operation.name!r}: take without an axis cannot be written")
    if not isinstance(indices, Value):
        indices = graph.indices(np.asarray(indices))
    return graph.take(x, indices, operation.axis % x.rank)


@converter("GetItem")
def get_item(graph, operation, x, key):
    """Ints and slices of ints, None for a new axis, one Ellipsis."""
    # A model that was saved and loaded has a list here.
    key = list(key) if isinstance(key, (tuple, list)) else [key]
    if Ellipsis in key:
        at = key.index(Ellipsis)
        missing = x.rank - sum(part is not None for part in key) + 1
        key[at : at + 1] = [slice(None)] * missing
    axis, dropped, added = 0, [], []
    for part in key:
        if part is None:
            added.append(axis - len(dropped) + len(added))
            continue
        if isinstance(part, int):
            x = graph.slice(x, axis, part, part + 1 if part != -1 else None)
            dropped.append(axis)
        elif isinstance(part, slice) and part != slice(None):
            x = graph.slice(x, axis, _start(part), part.stop, part.step or 1)
        elif not isinstance(part, slice):
            raise ServingError(f"{operation.name!r}: index {part!r} cannot be written as ONNX")
        axis += 1
    x = graph.squeeze(x, *dropped) if dropped else x
    return graph.expand(x, *added) if added else x


def _start(part: slice) -> int:
    if part.start is not None:
        return part.start
    return -1 if (part.step or 1) < 0 else 0
