"""SimpleRNN and GRU as loops of matrix products, beside ONNX's operators, for CPUs.

ONNX Runtime's operator RNN applies its activation number by number, and its GRU shares little of
its work between threads. From some number of rows on it is quicker to project all inputs in one
product and to go through time in a Scan of a few vectorised operators; below, each of those costs
more than it computes. So both forms are written over the same stored weights, and an If takes one
by the size of the batch. Not for GPUs, which have kernels for the operators: there the initialiser
``LOOPS`` is to be set to False.

8-bit weights are stored once too: the loop multiplies integers, the operator, of which ONNX Runtime
has no quantised form, is given them as floats again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.native_onnx.activations import activate
from serving.native_onnx.graph import Graph
from serving.native_onnx.value import Value
from serving.onnx_core import LOOPS

# Rows times units from which the loop is quicker, timed at 16 to 512 units and 1 to 64 rows; never
# for one row, where the best of it is level.
LEAST_ROWS = 2
LEAST = {"RNN": 128, "GRU": 4096}
# The operator first has to turn the weights into floats.
LEAST_INT8 = {"RNN": 128, "GRU": 2048}
# Products of fewer weights than these gain less by integers than it takes to round what they take.
INT8_WEIGHTS = 16384


def least_rows(graph: Graph, kind: str, units: int) -> int | None:
    """Rows from which a layer is run as a loop; None where it never is."""
    least = (LEAST_INT8 if graph.int8 else LEAST).get(kind)
    return max(LEAST_ROWS, -(-least // units)) if least and graph.for_cpu else None


@dataclass(frozen=True)
class Matrix:
    """Weights of one direction as ONNX's operators have them.

    Attributes:
        graph: that they are stored in.
        stored: ``[1, gates * units, features]``, floats or ``<int8>``.
        scales: ``<float32>[gates * units]`` that integers are to be multiplied with.
    """

    graph: Graph
    stored: Value
    scales: Value | None = None

    @staticmethod
    def of(graph: Graph, array: np.ndarray, name: str, int8: bool) -> Matrix:
        """Stores ``[gates * units, features]``, as integers with a scale for each row or not."""
        if not int8:
            return Matrix(graph, graph.weight(array[None], name))
        scales = np.maximum(np.abs(array).max(1), 1e-12).astype(np.float32) / 127
        rounded = np.round(array / scales[:, None]).astype(np.int8)
        return Matrix(
            graph, graph.weight(rounded[None], name), graph.weight(scales, f"{name}_scales")
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Gates times units, and features."""
        return self.graph.initializers[self.stored.name].shape[1:]

    def whole(self) -> Value:
        """As floats, for the operator."""
        if self.scales is None:
            return self.stored
        return self.graph.op("DequantizeLinear", self.stored, self.scales, dtype=np.float32, axis=1)

    def rows(self, start: int, end: int) -> Callable[[Value, Value], Value]:
        """A function of ``x [rows, features]`` and ``y``: ``x @ part.T + y``, of some gates.

        ONNX Runtime prepares the part when it loads the file.
        """
        graph = self.graph
        floats = self.scales is None or self.shape[0] * self.shape[1] < INT8_WEIGHTS
        part = graph.squeeze(self.whole() if floats else self.stored, 0)
        part = graph.slice(part, 0, start, end)
        if floats:
            return lambda x, y: graph.op("Gemm", x, part, y, transB=1)
        part = graph.transpose(part, [1, 0])
        scales = graph.slice(self.scales, 0, start, end)

        def product(x: Value, y: Value) -> Value:
            whole, scale, zero = graph.cached(
                ("quantised", x.name),
                lambda: graph.ops(
                    "DynamicQuantizeLinear", [x], [(np.uint8, 2), (np.float32, 0), (np.uint8, 0)]
                ),
            )
            found = graph.op("MatMulInteger", whole, part, zero, dtype=np.int32)
            return graph.cast(found, np.float32) * (scale * scales) + y

        return product


def by_rows(
    graph: Graph,
    x: Value,
    rows: int,
    loop: Callable[[], list[Value]],
    operator: Callable[[], list[Value]],
) -> list[Value]:
    """The loop for batches of so many rows and more of ``x [time, batch, ...]``, else the operator.

    Returns:
        Outputs ``[time, batch, units]`` and last state ``[batch, units]``.
    """
    graph.initializers[LOOPS] = np.array(True)
    allowed = Value(graph, LOOPS, np.dtype(np.bool_), 0)
    many = graph.compare("GreaterOrEqual", graph.squeeze(graph.shape(x, 1), 0), rows)
    return graph.ops(
        "If", [graph.binary("And", allowed, many)], [(x.dtype, 3), (x.dtype, 2)],
        then_branch=graph.body("loop", [], loop),
        else_branch=graph.body("operator", [], operator),
    )  # fmt: skip


def stepped(
    graph: Graph,
    layer: Any,
    x: Value,
    kernel: Matrix,
    recurrent: Matrix,
    bias: np.ndarray | None,
    initial: Sequence[Value],
) -> list[Value]:
    """SimpleRNN or GRU over ``x [time, batch, features]``.

    Args:
        graph: to add to.
        layer: whose cell is a SimpleRNNCell or a GRUCell.
        x: read from its first step to its last.
        kernel: of the input.
        recurrent: of the state.
        bias: ``[2 * gates * units]``, of the input and of the state; None for nought.
        initial: the first state ``[batch, units]``, or none for zeros.

    Returns:
        Outputs ``[time, batch, units]`` and last state ``[batch, units]``.
    """
    units, (size, features) = layer.cell.units, kernel.shape
    both = np.zeros(2 * size, np.float32) if bias is None else bias
    outer, inner = np.split(both, 2)
    flat = graph.reshape(x, [-1, features])
    lead = [graph.shape(x, 0), graph.shape(x, 1)]

    def projected(start: int, end: int, shift: np.ndarray) -> Value:
        y = kernel.rows(start, end)(flat, graph.weight(shift, "shift"))
        return graph.reshape(y, [*lead, end - start])

    def active(value: Value, function: Any) -> Value:
        return activate(graph, value, function, layer.name)

    if size == units:
        inputs = [projected(0, units, outer + inner)]
        step = _simple(layer.cell, active, recurrent.rows(0, units))
    else:
        gates, new, cell = slice(0, 2 * units), slice(2 * units, size), layer.cell
        # The state's own bias of what is new is inside a product with r.
        late = inner[new] if cell.reset_after else np.zeros(units, np.float32)
        inputs = [
            projected(0, 2 * units, outer[gates] + inner[gates]),
            projected(2 * units, size, outer[new] + inner[new] - late),
        ]
        products = recurrent.rows(0, 2 * units), recurrent.rows(2 * units, size)
        step = _gated(graph, cell, active, products, graph.weight(late, "state_shift"))
    zeros = [graph.op("Expand", graph.constant(0, x.dtype), _shape(graph, lead[1], units), rank=2)]
    last, y = graph.ops(
        "Scan", [*(initial or zeros), *inputs], [(x.dtype, 2), (x.dtype, 3)],
        body=graph.body("step", [(x.dtype, 2)] * (1 + len(inputs)), step),
        num_scan_inputs=len(inputs),
    )  # fmt: skip
    return [y, last]


def _shape(graph: Graph, rows: Value, units: int) -> Value:
    return graph.concat([rows, graph.indices([units])], 0)


def _simple(cell: Any, active: Any, product: Any) -> Callable[..., list[Value]]:
    """A step of a SimpleRNN: state and input to next state, twice: carried on, and put out."""
    return lambda h, x: [active(product(h, x), cell.activation)] * 2


def _gated(
    graph: Graph, cell: Any, active: Any, products: Any, shift: Value
) -> Callable[..., list[Value]]:
    """A step of a GRU; see ``_simple``."""
    of_gates, of_new = products

    def step(h: Value, x_gates: Value, x_new: Value) -> list[Value]:
        z, r = graph.split(active(of_gates(h, x_gates), cell.recurrent_activation), 2, 1)
        new = x_new + r * of_new(h, shift) if cell.reset_after else of_new(r * h, x_new)
        new = active(new, cell.activation)
        return [new + z * (h - new)] * 2

    return step
