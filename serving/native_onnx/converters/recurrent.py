"""SimpleRNN, LSTM and GRU as ONNX's native operators, exact with masks and in both directions.

A mask, which must be right-padded as Keras's cuDNN path demands too, becomes a length for each row,
computed in the graph. ``sequence_lens`` of the ONNX operators is not used: TensorRT parses it in
float32 only. The operator instead runs over the padding as well and what it says there is dropped:
the last state is gathered at ``length - 1``, padded outputs are replaced, and the backward
direction is a forward operator between two ReverseSequence. ONNX Runtime is as fast either way.
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
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import converter
from serving.native_onnx.value import Value

OPERATORS = {layers.SimpleRNN: "RNN", layers.LSTM: "LSTM", layers.GRU: "GRU"}
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
class Padding:
    """Where the rows of a right-padded batch end; time-major.

    Attributes:
        lengths: ``<int64>[batch]``.
        valid: ``<bool>[time, batch, 1]``.
        last: ``<int64>[batch, 2]``, (time, row) of the last valid step; time 0 in an empty row.
        filled: ``<bool>[batch, 1]``, whether the row has a valid step.
    """

    lengths: Value
    valid: Value
    last: Value
    filled: Value


def padding(graph: Graph, mask: Value) -> Padding:
    """Of ``mask <bool>[batch, time]``; computed once however many layers use it."""

    def make() -> Padding:
        with graph.scope("mask"):
            lengths = graph.reduce("ReduceSum", graph.cast(mask, np.int64), [1])
            valid = graph.laid_time_major(graph.expand(graph.transpose(mask, [1, 0]), 2))
            rows = graph.op(
                "Range", graph.indices(0), graph.squeeze(graph.shape(lengths), 0),
                graph.indices(1), rank=1,
            )  # fmt: skip
            step = graph.op("Max", lengths - 1, graph.indices([0]))
            last = graph.concat([graph.expand(step, 1), graph.expand(rows, 1)], 1)
            filled = graph.expand(graph.compare("Greater", lengths, 0), 1)
        return Padding(lengths, valid, last, filled)

    scopes, graph._scopes = graph._scopes, []
    try:
        return graph.cached(("padding", mask.name), make)
    finally:
        graph._scopes = scopes


def reverse(graph: Graph, x: Value, pad: Padding | None) -> Value:
    """Turns the valid steps of ``[time, batch, ...]`` around; padding stays where it is."""
    if pad is None:
        return graph.flip(x, 0)
    # A length of nought is not allowed everywhere; to turn one step around changes nothing.
    lengths = graph.cached(
        ("turned", pad.lengths.name), lambda: graph.op("Max", pad.lengths, graph.indices([1]))
    )
    return graph.op("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)


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
    graph: Graph, layer: keras.layers.Layer, x: Value, pad: Padding | None, initial: Sequence[Value]
) -> Direction:
    """One direction over ``x [time, batch, features]``.

    Args:
        graph: to add to.
        layer: SimpleRNN, LSTM or GRU.
        x: read from its first step to its last.
        pad: None where every step is valid.
        initial: states ``[batch, units]``, or none for zeros.
    """
    kind = OPERATORS[type(layer)]
    kernel, recurrent, bias = weights(layer)
    cell_state = kind == "LSTM" and layer.return_state and pad is not None
    if cell_state:  # c, which no output tells step by step, must survive the padding
        flag = graph.cast(graph.op("Not", pad.valid), x.dtype)
        x = graph.concat([x, flag], 2)
        gates = np.array([-_CLOSED, 0, _CLOSED, 0], np.float32)  # i o f c
        kernel = np.concatenate([kernel, np.repeat(gates, layer.units)[:, None]], 1)
    inputs = [
        x,
        graph.weight(kernel[None], "kernel"),
        graph.weight(recurrent[None], "recurrent_kernel"),
        None if bias is None else graph.weight(bias[None], "bias"),
        None,
        *(graph.expand(state, 0) for state in initial),
    ]
    while inputs[-1] is None:
        inputs.pop()
    outputs = [(x.dtype, 4)] + [(x.dtype, 3)] * (2 if kind == "LSTM" else 1)
    y, *states = graph.ops(kind, inputs, outputs, **attributes(layer))
    y = graph.laid_time_major(graph.squeeze(y, 1))
    states = [graph.squeeze(state, 0) for state in states]
    if pad is not None:
        h = graph.op("GatherND", y, pad.last, rank=2)
        before = initial[0] if initial else graph.constant(0, x.dtype)
        states[0] = graph.where(pad.filled, h, before)
    return Direction(y, states)


def weights(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """W ``[gates * units, features]``, R ``[gates * units, units]`` and B ``[2 * gates * units]``.

    Source: ONNX operators RNN, LSTM and GRU; the bias is that of the input and that of the state.
    """
    cell = layer.cell
    order = GATES[OPERATORS[type(layer)]]

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
    kind, cell = OPERATORS[type(layer)], layer.cell
    found: dict[str, Any] = {"hidden_size": layer.units}
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
    """``[time, batch, units]`` with what Keras gives past the end of a row."""
    if pad is None:
        return ran.outputs
    if layer.zero_output_for_mask:
        return graph.where(pad.valid, ran.outputs, graph.constant(0, ran.outputs.dtype))
    # Keras repeats the last output; an empty row has none, and Keras begins with zeros.
    last = graph.op("GatherND", ran.outputs, pad.last, rank=2)
    last = graph.where(pad.filled, last, graph.constant(0, last.dtype))
    repeated = graph.laid_time_major(graph.expand(last, 0))
    return graph.where(pad.valid, ran.outputs, repeated)


@converter(*OPERATORS, layout="time", per_step=True)
def recurrent(graph, layer, x, initial_state=None, mask=None):
    """A layer by itself; ``go_backwards`` gives its outputs in the order in which it reads."""
    if layer.stateful:
        raise ServingError(f"layer {layer.name!r} is stateful; export a step model instead")
    initial = keras.tree.flatten(initial_state) if initial_state is not None else []
    pad = None if mask is None else padding(graph, mask)
    ran = run(graph, layer, reverse(graph, x, pad) if layer.go_backwards else x, pad, initial)
    if not layer.return_sequences:
        output = ran.states[0] if pad is None else _last_output(graph, layer, ran, pad, initial)
    elif layer.go_backwards and pad is not None:
        # Keras turns the whole row around: padding comes first, and is nought in every case.
        valid = graph.where(pad.valid, ran.outputs, graph.constant(0, ran.outputs.dtype))
        output = graph.flip(reverse(graph, valid, pad), 0)
    else:
        output = finished(graph, layer, ran, pad)
    return (output, *ran.states) if layer.return_state else output


def _last_output(graph, layer, ran, pad, initial) -> Value:
    """The last state, but for empty rows, where Keras gives zeros though states were given."""
    if not initial:
        return ran.states[0]
    return graph.where(pad.filled, ran.states[0], graph.constant(0, ran.states[0].dtype))


@converter(OneStep, layout="time", per_step=True)
def one_step(graph, layer, x, states):
    """The native operator over one step, beginning with the states that are given."""
    ran = run(graph, layer.layer, x, None, states)
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
            ran = run(graph, inner, reverse(graph, x, pad) if inner.go_backwards else x, pad, given)
            if not inner.return_sequences:
                last = ran.states[0]
                outputs.append(last if pad is None else _last_output(graph, inner, ran, pad, given))
            else:
                ys = ran.outputs
                outputs.append(reverse(graph, ys, pad) if inner.go_backwards else ys)
            states.extend(ran.states)
    merged = _merged(graph, layer, outputs)
    if pad is not None and layer.return_sequences:
        # Keras sets zero_output_for_mask in both directions.
        merged = [graph.where(pad.valid, y, graph.constant(0, y.dtype)) for y in merged]
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
