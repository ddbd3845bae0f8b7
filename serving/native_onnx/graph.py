"""A small ONNX graph builder: values with operators, so that a converter reads like its layer.

``graph.op("Tanh", x)`` adds a node and gives its value; ``x * mask + 1`` adds two. Constants are
NumPy arrays or Python numbers and take the dtype of what they meet.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from serving.native_onnx.value import Operand, Value

# 18 is the first opset whose reductions all take their axes as an input; its recurrent operators
# are those of opset 14, which every ONNX Runtime and TensorRT in use implements.
OPSET = 18
IR_VERSION = 8
# Key of the model's metadata: names of the nodes that no lower precision may touch, one a line.
FLOAT32_NODES = "seqloom.float32_nodes"


class Graph:
    """An ONNX graph in the making.

    Args:
        float_dtype: of weights and computation, float32 or float16.
        right_padded: padding values by the name of an input in whose rows they stand at the end
            only.
        for_cpu: whether loops that are quicker on a CPU may stand beside operators.
        int8: whether converters that can are to write 8-bit weights.

    Attributes:
        right_padded: the same, and the names of masks that follow from them.
    """

    def __init__(
        self,
        float_dtype: Any = np.float32,
        right_padded: Mapping[str, Any] | None = None,
        for_cpu: bool = False,
        int8: bool = False,
    ) -> None:
        self.right_padded: dict[str, Any] = dict(right_padded or {})
        self.float_dtype = np.dtype(float_dtype)
        self.for_cpu, self.int8 = for_cpu, int8
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.exact_nodes: list[str] = []
        self._scopes: list[str] = []
        self._names: Counter[str] = Counter()
        self._cache: dict[Any, Any] = {}

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names of what is made inside begin with ``name/``."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    @contextlib.contextmanager
    def computing_in(self, dtype: Any) -> Iterator[None]:
        """Weights and scalars made inside are of that dtype: for sums that leave float16."""
        before, self.float_dtype = self.float_dtype, np.dtype(dtype)
        first = len(self.nodes)
        try:
            yield
        finally:
            self.float_dtype = before
            self.exact_nodes.extend(node.name for node in self.nodes[first:])

    def cached(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gave when first asked for ``key``, such as the lengths of a mask."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def unique(self, name: str) -> str:
        """``scope/name``, with a number when that is taken."""
        wanted = name = "/".join([*self._scopes, name])
        while name in self._names:
            self._names[wanted] += 1
            name = f"{wanted}_{self._names[wanted]}"
        self._names[name] += 1
        return name

    def input(self, name: str, dtype: Any, shape: Sequence[Any]) -> Value:
        """An input of the graph; float16 computation begins with a Cast."""
        dtype = np.dtype(dtype)
        self._names[name] += 1
        self.inputs.append(helper.make_tensor_value_info(name, _proto_dtype(dtype), list(shape)))
        value = Value(self, name, dtype, len(shape))
        return self.cast(value, self.float_dtype) if value.is_float else value

    def output(self, name: str, value: Value, shape: Sequence[Any], dtype: Any) -> None:
        """Makes a value an output of the graph, in Keras's order of dimensions."""
        value = self.cast(self.batch_major(value), dtype)
        self.nodes.append(helper.make_node("Identity", [value.name], [name], name=f"output/{name}"))
        self.outputs.append(
            helper.make_tensor_value_info(name, _proto_dtype(value.dtype), list(shape))
        )

    def weight(self, array: Any, name: str) -> Value:
        """An initialiser; floats are stored in the dtype of the computation."""
        array = np.asarray(array)
        if np.issubdtype(array.dtype, np.floating):
            array = array.astype(self.float_dtype)
        name = self.unique(name)
        self.initializers[name] = array
        return Value(self, name, array.dtype, array.ndim)

    def body(
        self,
        name: str,
        given: Sequence[tuple[Any, int]],
        make: Callable[..., Sequence[Value]],
    ) -> onnx.GraphProto:
        """The graph inside of an If or a Scan, which sees all values of this one.

        Args:
            name: of the graph, and of its inputs.
            given: (dtype, rank) of its inputs.
            make: from values of those to the values of its outputs; no value that it makes can be
                used outside.
        """
        outer, self.nodes = self.nodes, []
        known, self._cache = self._cache, dict(self._cache)
        try:
            inputs = [Value(self, self.unique(name), np.dtype(d), rank) for d, rank in given]
            outputs = []
            for value in make(*inputs):  # an output has to be made inside, and to be no other
                inside = any(value.name in node.output for node in self.nodes)
                again = any(value.name == other.name for other in outputs)
                outputs.append(value if inside and not again else self.op("Identity", value))
            return helper.make_graph(self.nodes, name, *(map(_info, v) for v in (inputs, outputs)))
        finally:
            self.nodes, made = outer, self._cache
            # Constants are those of the whole graph, wherever they are first used.
            self._cache = {k: v for k, v in made.items() if k in known or k[0] == "constant"}

    def constant(self, value: Any, dtype: Any) -> Value:
        """A small constant, stored once however often it is used."""
        array = np.asarray(value, dtype)
        key = ("constant", array.dtype.str, array.shape, array.tobytes())

        def make() -> Value:
            text = "_".join(str(number) for number in array.reshape(-1)[:6])
            name = f"constant/{array.dtype.name}_{text.replace('-', 'minus_')}"
            scopes, self._scopes = self._scopes, []
            name, self._scopes = self.unique(name), scopes
            self.initializers[name] = array
            return Value(self, name, array.dtype, array.ndim)

        return self.cached(key, make)

    def indices(self, value: Any) -> Value:
        """An int64 constant: axes, shapes, positions."""
        return self.constant(value, np.int64)

    def op(
        self,
        kind: str,
        *inputs: Value | None,
        name: str | None = None,
        rank: int | None = None,
        dtype: Any = None,
        **attributes: Any,
    ) -> Value:
        """Adds a node of one output, by default of the first input's dtype, rank and layout."""
        first = inputs[0]
        return self.ops(
            kind,
            inputs,
            [(first.dtype if dtype is None else dtype, first.rank if rank is None else rank)],
            name=name,
            **attributes,
        )[0]

    def ops(
        self,
        kind: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[tuple[Any, int]],
        name: str | None = None,
        **attributes: Any,
    ) -> list[Value]:
        """Adds a node with an output of each (dtype, rank)."""
        first = inputs[0]
        node = self.unique(name or kind)
        names = [node if i == 0 else f"{node}.{i}" for i in range(len(outputs))]
        self.nodes.append(
            helper.make_node(
                kind, [v.name if v is not None else "" for v in inputs], names, node, **attributes
            )
        )
        return [
            Value(self, out, np.dtype(dtype), rank, first.time_major and rank == first.rank)
            for out, (dtype, rank) in zip(names, outputs, strict=True)
        ]

    def binary(self, kind: str, left: Operand, right: Operand, **more: Any) -> Value:
        """An elementwise operator or MatMul with numbers and unequal float widths made to agree."""
        given = left if isinstance(left, Value) else right
        left, right = (self._operand(side, given) for side in (left, right))
        if left.dtype != right.dtype:
            wider = np.promote_types(left.dtype, right.dtype)
            left, right = self.cast(left, wider), self.cast(right, wider)
        if left.time_major != right.time_major and left.rank == right.rank:
            left, right = self.time_major(left), self.time_major(right)
        rank = max(left.rank, right.rank)
        wider = left if left.rank == rank else right
        value = self.op(kind, left, right, rank=rank, **more)
        if kind == "MatMul" and right.rank == 1:
            raise ValueError("MatMul with a vector is not supported; give it a second dimension")
        return Value(self, value.name, value.dtype, rank, wider.time_major)

    def _operand(self, side: Operand, other: Value) -> Value:
        if isinstance(side, Value):
            return side
        dtype = other.dtype
        if isinstance(side, np.ndarray):
            return self.weight(side, "constant")
        if isinstance(side, float) and not other.is_float:
            dtype = self.float_dtype
        return self.constant(side, dtype)

    def compare(self, kind: str, left: Operand, right: Operand) -> Value:
        """Equal, Less, Greater...: a bool value."""
        return self.binary(kind, left, right, dtype=np.bool_)

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value in another dtype; itself where it is so already."""
        dtype = np.dtype(dtype)
        if value.dtype == dtype:
            return value
        return self.cached(
            ("cast", value.name, dtype.str),
            lambda: self.op("Cast", value, dtype=dtype, to=_proto_dtype(dtype)),
        )

    def reduce(self, kind: str, value: Value, axes: Sequence[int], keep: bool = False) -> Value:
        """ReduceSum, ReduceMean, ReduceMax... over ``axes``."""
        axes = [axis % value.rank for axis in axes]
        rank = value.rank if keep else value.rank - len(axes)
        return self.op(kind, value, self.indices(axes), rank=rank, keepdims=int(keep))

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Permutes the dimensions as they lie in memory; the layout becomes Keras's."""
        turned = self.cached(
            ("transpose", value.name, tuple(order)),
            lambda: self.op("Transpose", value, perm=list(order)),
        )
        return Value(self, turned.name, turned.dtype, turned.rank)

    def time_major(self, value: Value) -> Value:
        """``[batch, time, ...]`` as ``[time, batch, ...]``."""
        if value.time_major:
            return value
        turned = self._turned(value)
        return Value(self, turned.name, turned.dtype, turned.rank, True)

    def batch_major(self, value: Value) -> Value:
        """The opposite of ``time_major``."""
        return self._turned(value) if value.time_major else value

    def _turned(self, value: Value) -> Value:
        turned = self.transpose(value, [1, 0, *range(2, value.rank)])
        # Turned back, it is the value that there was.
        self.cached(("transpose", turned.name, (1, 0, *range(2, value.rank))), lambda: value)
        return turned

    def laid_time_major(self, value: Value) -> Value:
        """The same tensor, said to be (time, batch, ...): for what an operator gave so."""
        return dataclasses.replace(value, time_major=True)

    def shape(self, value: Value, axis: int | None = None) -> Value:
        """``<int64>[rank]``, or ``<int64>[1]`` for one axis."""
        if axis is None:
            return self.op("Shape", value, rank=1, dtype=np.int64)
        axis %= value.rank
        return self.op("Shape", value, rank=1, dtype=np.int64, start=axis, end=axis + 1)

    def reshape(self, value: Value, shape: Sequence[Any]) -> Value:
        """To a shape of ints, -1, and ``<int64>[1]`` values."""
        if all(isinstance(size, int) for size in shape):
            target = self.indices(list(shape))
        else:
            parts = [self.indices([s]) if isinstance(s, int) else s for s in shape]
            target = self.concat(parts, 0)
        reshaped = self.op("Reshape", value, target, rank=len(shape))
        return Value(self, reshaped.name, reshaped.dtype, reshaped.rank)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Along one axis."""
        if len(values) == 1:
            return values[0]
        values = self.agreeing(values)
        rank = values[0].rank
        return self.ops("Concat", values, [(values[0].dtype, rank)], axis=axis % rank)[0]

    def agreeing(self, values: Sequence[Value]) -> list[Value]:
        """The values in one layout and one dtype."""
        dtype = values[0].dtype
        for value in values[1:]:
            dtype = np.promote_types(dtype, value.dtype)
        values = [self.cast(value, dtype) for value in values]
        if any(value.time_major for value in values):
            values = [self.time_major(value) if value.rank > 1 else value for value in values]
        return values

    def expand(self, value: Value, *axes: int) -> Value:
        """Unsqueeze; axes as in the result."""
        rank = value.rank + len(axes)
        axes = [axis % rank for axis in axes]
        return self.op("Unsqueeze", value, self.indices(axes), rank=rank)

    def squeeze(self, value: Value, *axes: int) -> Value:
        """Takes out axes of length one."""
        axes = [axis % value.rank for axis in axes]
        rank = value.rank - len(axes)
        return self.op("Squeeze", value, self.indices(axes), rank=rank)

    def slice(
        self, value: Value, axis: int, start: int, end: int | None = None, step: int = 1
    ) -> Value:
        """``value[..., start:end:step, ...]`` on one axis."""
        if end is None:
            end = np.iinfo(np.int64).min if step < 0 else np.iinfo(np.int64).max
        parts = (self.indices([number]) for number in (start, end, axis % value.rank, step))
        return self.op("Slice", value, *parts)

    def flip(self, value: Value, axis: int) -> Value:
        """Reverses one axis."""
        return self.slice(value, axis, -1, None, -1)

    def split(self, value: Value, parts: int, axis: int) -> list[Value]:
        """Into equal parts."""
        rank = value.rank
        return self.ops(
            "Split", [value], [(value.dtype, rank)] * parts, axis=axis % rank, num_outputs=parts
        )

    def take(self, table: Value, positions: Value, axis: int = 0) -> Value:
        """Gather: rows of a table by integer positions."""
        rank = table.rank + positions.rank - 1
        value = self.op("Gather", table, positions, rank=rank, axis=axis)
        # What is looked up lies as the positions do.
        return Value(self, value.name, value.dtype, rank, positions.time_major and axis == 0)

    def where(self, condition: Value, yes: Operand, no: Operand) -> Value:
        """Elementwise choice."""
        given = yes if isinstance(yes, Value) else no
        yes, no = self._operand(yes, given), self._operand(no, given)
        rank = max(condition.rank, yes.rank, no.rank)
        widest = max((yes, no, condition), key=lambda v: v.rank)
        value = self.op("Where", condition, yes, no, rank=rank, dtype=yes.dtype)
        return Value(self, value.name, value.dtype, rank, widest.time_major)

    def model(self, name: str, producer_version: str) -> onnx.ModelProto:
        """The finished model."""
        tensors = [numpy_helper.from_array(a, n) for n, a in self.initializers.items()]
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, tensors)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="seqloom",
            producer_version=producer_version,
        )
        if self.exact_nodes:
            helper.set_model_props(model, {FLOAT32_NODES: "\n".join(self.exact_nodes)})
        return model


def _info(value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(value.name, _proto_dtype(value.dtype), [None] * value.rank)


def _proto_dtype(dtype: Any) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
