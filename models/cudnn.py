"""Which recurrent layers Keras runs with cuDNN's kernels on a GPU, and why not the others.

The conditions are those of Keras 3 on TensorFlow: ``inner_loop`` of ``layers/rnn/lstm.py`` and
``layers/rnn/gru.py``, ``cudnn_ok`` of ``backend/tensorflow/rnn.py``. A layer that does not meet
them runs as a loop of small operations. Precision is no condition: the kernels take float16 and
bfloat16 too. A mask is none either, but with one the kernels take only rows that are padded on the
right and not empty, and stop at others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import keras

CELLS = (keras.layers.SimpleRNNCell, keras.layers.LSTMCell, keras.layers.GRUCell)


@dataclass(frozen=True)
class KernelChoice:
    """How a GPU would run one recurrent layer.

    Attributes:
        layer: its name; of a layer that reads both ways that of the wrapper.
        kind: class of the layer.
        units: hidden size of each direction.
        both_ways: whether it reads both ways, by two kernels.
        masked: whether it is given a mask.
        obstacles: why cuDNN's kernel is not used; none if it is.
    """

    layer: str
    kind: str
    units: int
    both_ways: bool
    masked: bool
    obstacles: tuple[str, ...]

    @property
    def cudnn(self) -> bool:
        """Whether cuDNN's kernel runs it."""
        return not self.obstacles


def kernel_choices(model: keras.Model) -> list[KernelChoice]:
    """One for each recurrent layer of a model, wrapped and nested ones included, and for each cell
    that a layer calls step by step."""
    found, inner = [], set()
    for layer in _layers(model):
        if id(layer) in inner:
            continue
        one, both_ways = layer, isinstance(layer, keras.layers.Bidirectional)
        if both_ways:
            one = layer.forward_layer
            inner |= {id(part) for way in (one, layer.backward_layer) for part in _with_cell(way)}
        elif isinstance(layer, keras.layers.RNN):
            inner.add(id(layer.cell))
        if isinstance(one, (keras.layers.RNN, *CELLS)):
            ways = [one, layer.backward_layer] if both_ways else [one]
            reasons = dict.fromkeys(reason for way in ways for reason in obstacles(way))
            units = getattr(one, "units", None) or getattr(one.cell, "units", 0)
            found.append(
                KernelChoice(
                    layer.name, type(one).__name__, units, both_ways, _masked(layer), tuple(reasons)
                )
            )
    return found


def obstacles(layer: keras.layers.Layer) -> list[str]:
    """Why Keras would not choose cuDNN's kernel for a recurrent layer or cell; none if it would."""
    if isinstance(layer, CELLS):
        return ["a cell is called step by step, in a loop of the layer around it"]
    if isinstance(layer, keras.layers.SimpleRNN):
        return ["Keras has no cuDNN kernel for SimpleRNN; cell lstm or gru has one"]
    if not isinstance(layer, (keras.layers.LSTM, keras.layers.GRU)):
        return [f"Keras has cuDNN kernels for LSTM and GRU only, not for {type(layer).__name__}"]
    cell, found = layer.cell, []
    if layer.use_cudnn not in ("auto", True):
        found.append("use_cudnn=False")
    if layer.recurrent_dropout:
        found.append(f"recurrent_dropout={layer.recurrent_dropout:g}, which must be 0")
    if not _is(cell.activation, "tanh"):
        found.append(f"activation={_name(cell.activation)}, which must be tanh")
    if not _is(cell.recurrent_activation, "sigmoid"):
        found.append(f"recurrent_activation={_name(cell.recurrent_activation)}, not sigmoid")
    if layer.unroll:
        found.append("unroll=True")
    if not cell.use_bias:
        found.append("use_bias=False")
    if isinstance(layer, keras.layers.GRU) and not cell.reset_after:
        found.append("reset_after=False")
    return found


def _is(function: object, name: str) -> bool:
    """Whether it is the function that Keras compares with, not one that computes the same."""
    import tensorflow as tf

    return function in [getattr(place, name) for place in (keras.activations, keras.ops, tf)]


def _name(function: object) -> str:
    return str(getattr(function, "__name__", function))


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Wrappers come before what they wrap."""
    seen = set()
    for layer in model._flatten_layers(include_self=False):
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer


def _with_cell(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [layer, layer.cell] if isinstance(layer, keras.layers.RNN) else [layer]


def _masked(layer: keras.layers.Layer) -> bool:
    """Whether one of its calls in a functional model has an input with a mask."""
    return any(
        getattr(tensor, "_keras_mask", None) is not None
        for node in layer._inbound_nodes for tensor in node.input_tensors
    )  # fmt: skip
