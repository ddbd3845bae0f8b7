"""Keras's activation functions as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers

from serving.errors import ServingError
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import converter
from serving.native_onnx.value import Value


def _gelu(graph: Graph, x: Value, approximate: bool = False) -> Value:
    if approximate:
        inner = float(np.sqrt(2 / np.pi)) * (x + 0.044715 * (x * x * x))
        return 0.5 * x * (1.0 + graph.op("Tanh", inner))
    return 0.5 * x * (1.0 + graph.op("Erf", x * float(1 / np.sqrt(2))))


def _leaky_relu(graph: Graph, x: Value, negative_slope: float = 0.2) -> Value:
    return graph.op("LeakyRelu", x, alpha=float(negative_slope))


def _softmax(graph: Graph, x: Value, axis: int = -1) -> Value:
    return graph.op("Softmax", x, axis=axis)


def _simple(kind: str, **attributes: Any) -> Callable[[Graph, Value], Value]:
    return lambda graph, x, **_: graph.op(kind, x, **attributes)


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "linear": lambda graph, x: x,
    "relu": _simple("Relu"),
    "relu6": lambda graph, x: clip(graph, x, 0.0, 6.0),
    "tanh": _simple("Tanh"),
    "sigmoid": _simple("Sigmoid"),
    "softplus": _simple("Softplus"),
    "softsign": _simple("Softsign"),
    "exponential": _simple("Exp"),
    # Keras 3: relu6(x + 3) / 6. ONNX's default slope is 0.2.
    "hard_sigmoid": _simple("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_silu": lambda graph, x: x * graph.op("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    "silu": lambda graph, x: x * graph.op("Sigmoid", x),
    "mish": lambda graph, x: x * graph.op("Tanh", graph.op("Softplus", x)),
    "log_sigmoid": lambda graph, x: -graph.op("Softplus", -x),
    "selu": _simple("Selu"),
    "elu": lambda graph, x, alpha=1.0: graph.op("Elu", x, alpha=float(alpha)),
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "softmax": _softmax,
    "log_softmax": lambda graph, x, axis=-1: graph.op("LogSoftmax", x, axis=axis),
}


def activate(graph: Graph, x: Value, function: Any, owner: str) -> Value:
    """Applies a Keras activation function.

    Args:
        graph: to add to.
        x: float value.
        function: of ``keras.activations``.
        owner: name of the layer, for the error.

    Raises:
        ServingError: it has no ONNX form here.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if name not in FUNCTIONS:
        raise ServingError(
            f"activation {name!r} of layer {owner!r} cannot be written as ONNX; use one of "
            f"{', '.join(sorted(FUNCTIONS))}, or put it in a layer with a converter of its own"
        )
    return FUNCTIONS[name](graph, x)


def clip(graph: Graph, x: Value, least: float, most: float) -> Value:
    """Keeps values in a range."""
    return graph.op("Clip", x, graph.constant(least, x.dtype), graph.constant(most, x.dtype))


@converter(layers.Activation, layout="any")
def activation(graph, layer, x):
    """By the name of its function."""
    return activate(graph, x, layer.activation, layer.name)


@converter(layers.ReLU, layout="any")
def relu(graph, layer, x):
    """With slope, threshold and ceiling."""
    slope, ceiling = layer.negative_slope or 0.0, layer.max_value
    if layer.threshold:
        raise ServingError(f"layer {layer.name!r} has a threshold; only nought can be written")
    y = graph.op("LeakyRelu", x, alpha=float(slope)) if slope else graph.op("Relu", x)
    return y if ceiling is None else graph.op("Min", y, graph.constant(float(ceiling), y.dtype))


@converter(layers.LeakyReLU, layout="any")
def leaky_relu(graph, layer, x):
    """With its slope."""
    return _leaky_relu(graph, x, layer.negative_slope)


@converter(layers.ELU, layout="any")
def elu(graph, layer, x):
    """With its alpha."""
    return graph.op("Elu", x, alpha=float(layer.alpha))


@converter(layers.PReLU)
def prelu(graph, layer, x):
    """With learnt slopes."""
    return graph.op("PRelu", x, graph.weight(layer.alpha, "alpha"))


@converter(layers.Softmax)
def softmax(graph, layer, x, mask=None):
    """Over one axis; masked entries get nought."""
    if isinstance(layer.axis, (tuple, list)):
        raise ServingError(f"layer {layer.name!r}: softmax over several axes cannot be written")
    return masked_softmax(graph, x, mask, layer.axis)


def masked_softmax(graph: Graph, x: Value, mask: Value | None, axis: int = -1) -> Value:
    """Softmax over the entries where the mask says so; all nought where it nowhere does."""
    if mask is None:
        return _softmax(graph, x, axis)
    weights = _softmax(graph, graph.where(mask, x, -3e4), axis)
    return graph.where(mask, weights, 0.0)
