"""SimpleRNN, LSTM and GRU as ONNX's native operators, exact with masks and in both directions.

For CPUs, SimpleRNN and GRU stand there as loops as well (``loops``).

A mask becomes a length for each row, computed in the graph, and an order of its steps where it may
not be right-padded (``masks``). ``sequence_lens`` of the ONNX operators is not used: TensorRT
parses it in float32 only. The operator instead runs over the padding as well and what it says there
is dropped: the last state is gathered at ``length - 1``, padded outputs are replaced, and the
backward direction is a forward operator between two reorderings. ONNX Runtime is as fast either
way, on a CPU and with CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from models.one_step import OneStep
from serving.errors import ServingError
from serving.native_onnx.converters.loops import Matrix, by_rows, least_rows, stepped
from serving.native_onnx.converters.masks import Padding, order, padding, placed, read, reverse
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import converter
from serving.native_onnx.value import Value

OPERATORS = {layers.SimpleRNN: "RNN", layers.LSTM: "LSTM", layers.GRU: "GRU"}
# Each of those layers has a cell of its kind, and so may keras.layers.RNN.
CELL_OPERATORS = {layers.SimpleRNNCell: "RNN", layers.LSTMCell: "LSTM", layers.GRUCell: "GRU"}
# From Keras's order of gates (LSTM i f c o, GRU z r h) to ONNX's (i o f c, z r h).
GATES = {"RNN": [0], "LSTM": [0, 3, 1, 2], "GRU": [0, 1, 2]}
DEFAULTS = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
ACTIVATIONS = {
    "tanh": ("Tanh", 0.0, 0.0),
    "sigmoid": ("Sigmoid", 0.0, 0.0),
    "relu": ("Relu", 0.0, 0.0),
    "softsign": ("Softsign", 0.0, 0.0),
    "softplus": ("Softplus", 0.0, 0.0),
    "elu": ("Elu", 1.0, 0.0),
    # Keras 3: relu6(x + 3) / 6. ONNX's default slope is 0.2.
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "linear": ("Affine", 1.0, 0.0),
}
# Which activations read alpha and beta; ONNX lists only theirs.
_WITH_ALPHA, _WITH_BETA = {"Elu", "HardSigmoid", "Affine"}, {"HardSigmoid", "Affine"}
# Closes the LSTM's input gate and opens its forget gate on padding; finite in float16.
_CLOSED = 1e4


@dataclass(frozen=True)
class Direction:
    """What one direction of a layer gave, in the order in which it read.

    Attributes:
        outputs: ``[time, batch, units]``, whatever past the end of a row.
        states: after the last valid step, h or h and c, each ``[batch, units]``.
    """

    outputs: Value
    states: list[Value]


def run(
    graph: Graph,
    layer: keras.layers.Layer,
    x: Value,
    pad: Padding | None,
    initial: Sequence[Value],
    one_step: bool = False,
) -> Direction:
    """One direction over ``x [time, batch, features]``.

    Args:
        graph: to add to.
        layer: SimpleRNN, LSTM or GRU.
        x: read from its first step to its last.
        pad: None where every step is valid.
        initial: states ``[batch, units]``, or none for zeros.
        one_step: whether that is all that x ever holds.
    """
    kind = CELL_OPERATORS[type(layer.cell)]
    kernel, recurrent, bias = weights(layer)
    cell_state = kind == "LSTM" and layer.return_state and pad is not None
    if cell_state:  # c, which no output tells step by step, must survive the padding
        flag = graph.cast(graph.op("Not", pad.valid), x.dtype)
        x = graph.concat([x, flag], 2)
        gates = np.array([-_CLOSED, 0, _CLOSED, 0], np.float32)  # i o f c
        kernel = np.concatenate([kernel, np.repeat(gates, layer.cell.units)[:, None]], 1)
    rows = None if one_step else least_rows(graph, kind, layer.cell.units)
    stored = [
        Matrix.of(graph, array, name, graph.int8 and rows is not None)
        for array, name in ((kernel, "kernel"), (recurrent, "recurrent_kernel"))
    ]
    shift = None if bias is None else graph.weight(bias[None], "bias")

    def operator() -> list[Value]:
        return _operator(graph, layer, x, [*(matrix.whole() for matrix in stored), shift], initial)

    def loop() -> list[Value]:
        return stepped(graph, layer, x, *stored, bias, initial)

    y, *states = operator() if rows is None else by_rows(graph, x, rows, loop, operator)
    y = graph.laid_time_major(y)
    if pad is not None:
        h = graph.op("GatherND", y, pad.last, rank=2)
        before = initial[0] if initial else graph.constant(0, x.dtype)
        states[0] = graph.where(pad.filled, h, before)
    return Direction(y, states)


def _operator(graph, layer, x, weights, initial) -> list[Value]:
    """Outputs ``[time, batch, units]`` and last states ``[batch, units]`` of ONNX's operator."""
    kind = CELL_OPERATORS[type(layer.cell)]
    inputs = [x, *weights, None, *(graph.expand(state, 0) for state in initial)]
    while inputs[-1] is None:
        inputs.pop()
    outputs = [(x.dtype, 4)] + [(x.dtype, 3)] * (2 if kind == "LSTM" else 1)
    y, *states = graph.ops(kind, inputs, outputs, **attributes(layer))
    return [graph.squeeze(y, 1), *(graph.squeeze(state, 0) for state in states)]


def weights(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """W ``[gates * units, features]``, R ``[gates * units, units]`` and B ``[2 * gates * units]``.

    Source: ONNX operators RNN, LSTM and GRU; the bias is that of the input and that of the state.
    """
    cell = layer.cell
    order = GATES[CELL_OPERATORS[type(cell)]]

    def permuted(array: Any) -> np.ndarray:
        blocks = np.split(np.asarray(array), len(order), axis=-1)
        return np.concatenate([blocks[i] for i in order], axis=-1)

    kernel, recurrent = permuted(cell.kernel).T, permuted(cell.recurrent_kernel).T
    if not cell.use_bias:
        return kernel, recurrent, None
    bias = permuted(cell.bias)
    # Only a GRU with reset_after has a bias of the state, in a second row.
    parts = list(bias) if bias.ndim == 2 else [bias, np.zeros_like(bias)]
    return kernel, recurrent, np.concatenate(parts)


def attributes(layer: keras.layers.Layer) -> dict[str, Any]:
    """``hidden_size``, ``linear_before_reset``, and activations that are not ONNX's default."""
    cell = layer.cell
    kind = CELL_OPERATORS[type(cell)]
    found: dict[str, Any] = {"hidden_size": cell.units}
    if kind == "GRU":
        found["linear_before_reset"] = int(cell.reset_after)
    names = [cell.activation] if kind == "RNN" else [cell.recurrent_activation, cell.activation]
    if kind == "LSTM":
        names.append(cell.activation)
    chosen = []
    for function in names:
        name = getattr(function, "__name__", str(function))
        if name not in ACTIVATIONS:
            raise ServingError(
                f"layer {layer.name!r} uses activation {name}, which ONNX's {kind} does not have; "
                f"use one of {', '.join(sorted(ACTIVATIONS))}"
            )
        chosen.append(ACTIVATIONS[name])
    if [name for name, _, _ in chosen] != DEFAULTS[kind]:
        found["activations"] = [name for name, _, _ in chosen]
        alphas = [alpha for name, alpha, _ in chosen if name in _WITH_ALPHA]
        betas = [beta for name, _, beta in chosen if name in _WITH_BETA]
        found.update({"activation_alpha": alphas} if alphas else {})
        found.update({"activation_beta": betas} if betas else {})
    return found


def finished(graph: Graph, layer: keras.layers.Layer, ran: Direction, pad: Padding | None) -> Value:
    """``[time, batch, units]`` as Keras gives it, in the order of reading."""
    backwards, zero = layer.go_backwards, graph.constant(0, ran.outputs.dtype)
    if pad is None:
        return ran.outputs
    if not pad.right_padded:
        y = placed(graph, ran.outputs, pad, backwards)
        kept = pad.given if layer.zero_output_for_mask else order(graph, pad, backwards).started
        y = graph.where(kept, y, zero)
        return graph.flip(y, 0) if backwards else y
    if backwards:
        # Keras turns the whole row around: padding comes first, and is nought in every case.
        return graph.flip(reverse(graph, graph.where(pad.valid, ran.outputs, zero), pad), 0)
    if layer.zero_output_for_mask:
        return graph.where(pad.valid, ran.outputs, zero)
    # Keras repeats the last output; an empty row has none, and Keras begins with zeros.
    last = graph.op("GatherND", ran.outputs, pad.last, rank=2)
    last = graph.where(pad.filled, last, zero)
    repeated = graph.laid_time_major(graph.expand(last, 0))
    return graph.where(pad.valid, ran.outputs, repeated)


@converter(*OPERATORS, layout="time", per_step=True)
def recurrent(graph, layer, x, initial_state=None, mask=None):
    """A layer by itself; ``go_backwards`` gives its outputs in the order in which it reads."""
    if layer.stateful:
        raise ServingError(f"layer {layer.name!r} is stateful; export a step model instead")
    initial = keras.tree.flatten(initial_state) if initial_state is not None else []
    pad = None if mask is None else padding(graph, mask)
    ran = run(graph, layer, read(graph, x, pad, layer.go_backwards), pad, initial)
    if layer.return_sequences:
        output = finished(graph, layer, ran, pad)
    else:
        output = last_output(graph, layer, ran, pad, initial)
    return (output, *ran.states) if layer.return_state else output


@converter(layers.RNN, layout="time")
def recurrent_cells(graph, layer, x, initial_state=None, mask=None):
    """A layer around one cell; around several it is a stack of such layers."""
    stacked = isinstance(layer.cell, layers.StackedRNNCells)
    cells = layer.cell.cells if stacked else [layer.cell]
    for cell in cells:
        if type(cell) not in CELL_OPERATORS:
            raise ServingError(
                f"layer {layer.name!r} runs the cell {cell.name!r} of type {type(cell).__name__}, "
                "which ONNX does not have; use LSTMCell, GRUCell or SimpleRNNCell"
            )
    if not stacked:
        return recurrent(graph, layer, x, initial_state, mask)
    if initial_state is not None or layer.return_state or layer.go_backwards or mask is not None:
        raise ServingError(
            f"layer {layer.name!r}: StackedRNNCells with states given or returned, backwards or "
            "with a mask cannot be written as ONNX; use a layer for each cell"
        )
    for depth, cell in enumerate(cells):
        last = depth == len(cells) - 1
        single = _OneCell(layer.name, cell, layer.stateful, layer.return_sequences or not last)
        with graph.scope(cell.name):
            x = recurrent(graph, single, x)
    return x


@dataclass(frozen=True)
class _OneCell:
    """One cell of several, as the layer that it would be by itself."""

    name: str
    cell: keras.layers.Layer
    stateful: bool
    return_sequences: bool
    return_state: bool = False
    go_backwards: bool = False
    zero_output_for_mask: bool = False


def last_output(graph, layer, ran, pad, initial) -> Value:
    """The last state, but for empty rows, where Keras gives zeros though states were given.

    With ``zero_output_for_mask`` it gives zeros where the step that it reads last is masked.
    """
    output = ran.states[0]
    if pad is None:
        return output
    zero = graph.constant(0, output.dtype)
    if layer.zero_output_for_mask:
        end = (
            graph.slice(pad.given, 0, 0, 1) if layer.go_backwards else graph.slice(pad.given, 0, -1)
        )
        return graph.where(graph.squeeze(end, 0), output, zero)
    return graph.where(pad.filled, output, zero) if initial else output


@converter(OneStep, layout="time", per_step=True)
def one_step(graph, layer, x, states):
    """The native operator over one step, beginning with the states that are given."""
    ran = run(graph, layer.layer, x, None, states, one_step=True)
    output = ran.outputs if layer.layer.return_sequences else ran.states[0]
    return (output, *ran.states)


@converter(layers.Bidirectional, layout="time")
def bidirectional(graph, layer, x, initial_state=None, mask=None):
    """Both directions and their merge."""
    forward, backward = layer.forward_layer, layer.backward_layer
    for inner in (forward, backward):
        if type(inner) not in OPERATORS or inner.stateful:
            raise ServingError(
                f"layer {layer.name!r} wraps {type(inner).__name__} {inner.name!r}, which cannot "
                "be written as ONNX; wrap SimpleRNN, LSTM or GRU, not stateful"
            )
    initial = keras.tree.flatten(initial_state) if initial_state is not None else []
    half = len(initial) // 2
    outputs, states = [], []
    pad = None if mask is None else padding(graph, mask)
    for inner, given in ((forward, initial[:half]), (backward, initial[half:])):
        with graph.scope("backward" if inner.go_backwards else "forward"):
            backwards = inner.go_backwards
            ran = run(graph, inner, read(graph, x, pad, backwards), pad, given)
            if not inner.return_sequences:
                outputs.append(last_output(graph, inner, ran, pad, given))
            else:
                outputs.append(placed(graph, ran.outputs, pad, backwards))
            states.extend(ran.states)
    merged = _merged(graph, layer, outputs)
    if pad is not None and layer.return_sequences:
        # Keras sets zero_output_for_mask in both directions.
        merged = [graph.where(pad.given, y, graph.constant(0, y.dtype)) for y in merged]
    result = tuple(merged) if layer.merge_mode is None else merged[0]
    if not layer.return_state:
        return result
    return (*merged, *states)


def _merged(graph: Graph, layer: keras.layers.Layer, outputs: list[Value]) -> list[Value]:
    first, second = outputs
    match layer.merge_mode:
        case "concat":
            return [graph.concat(outputs, -1)]
        case "sum":
            return [first + second]
        case "mul":
            return [first * second]
        case "ave":
            return [(first + second) * 0.5]
        case _:
            return outputs
