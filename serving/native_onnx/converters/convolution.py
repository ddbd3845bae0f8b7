"""Convolution and pooling over time, and over pictures, which a film has one of for each step."""

from __future__ import annotations

import numpy as np
from keras import layers

from serving.errors import ServingError
from serving.native_onnx.activations import activate
from serving.native_onnx.converters.layers import valid_steps
from serving.native_onnx.registry import converter


def _channels_last(layer) -> None:
    if layer.data_format != "channels_last":
        raise ServingError(f"layer {layer.name!r}: only data_format='channels_last' can be written")


def _channels_first(graph, x):
    """``[batch, ..., channels]`` as ``[batch, channels, ...]``, which ONNX wants."""
    return graph.transpose(x, [0, x.rank - 1, *range(1, x.rank - 1)])


def _channels_back(graph, y):
    return graph.transpose(y, [0, *range(2, y.rank), 1])


@converter(layers.Conv1D, layers.Conv2D)
def convolution(graph, layer, x):
    """``[batch, time, channels]``, or ``[batch, height, width, channels]``."""
    _channels_last(layer)
    kernel = np.asarray(layer.kernel)  # (K, ..., in / groups, out)
    size = kernel.shape[:-2]
    attributes = {
        "strides": list(layer.strides),
        "dilations": list(layer.dilation_rate),
        "group": layer.groups,
        "kernel_shape": list(size),
    }
    if layer.padding == "same":
        attributes["auto_pad"] = "SAME_UPPER"  # TensorFlow's rule
    elif layer.padding == "causal":
        attributes["pads"] = [layer.dilation_rate[0] * (size[0] - 1), 0]
    turned = kernel.transpose(kernel.ndim - 1, kernel.ndim - 2, *range(len(size)))
    inputs = [_channels_first(graph, x), graph.weight(turned, "kernel")]
    if layer.use_bias:
        inputs.append(graph.weight(layer.bias, "bias"))
    y = _channels_back(graph, graph.op("Conv", *inputs, **attributes))
    return activate(graph, y, layer.activation, layer.name)


def _pooling(kind: str, **more):
    def pool(graph, layer, x):
        _channels_last(layer)
        pad = "SAME_UPPER" if layer.padding == "same" else "VALID"
        size, strides = list(layer.pool_size), list(layer.strides)
        y = graph.op(
            kind, _channels_first(graph, x),
            kernel_shape=size, strides=strides, auto_pad=pad, **more,
        )  # fmt: skip
        return _channels_back(graph, y)

    return pool


converter(layers.MaxPooling1D, layers.MaxPooling2D)(_pooling("MaxPool"))
converter(layers.AveragePooling1D, layers.AveragePooling2D)(
    _pooling("AveragePool", count_include_pad=0)
)


@converter(layers.GlobalMaxPooling2D)
def global_max_pooling_2d(graph, layer, x):
    """Over height and width."""
    _channels_last(layer)
    return graph.reduce("ReduceMax", x, [1, 2], keep=layer.keepdims)


@converter(layers.GlobalAveragePooling2D)
def global_average_pooling_2d(graph, layer, x):
    """Over height and width."""
    _channels_last(layer)
    return graph.reduce("ReduceMean", x, [1, 2], keep=layer.keepdims)


@converter(layers.GlobalMaxPooling1D)
def global_max_pooling(graph, layer, x, mask=None):
    """Over all steps: Keras's own looks at masked ones too."""
    _channels_last(layer)
    return graph.reduce("ReduceMax", x, [1], keep=layer.keepdims)


@converter(layers.GlobalAveragePooling1D)
def global_average_pooling(graph, layer, x, mask=None):
    """Over the valid steps; a row without one gives NaN, as Keras's."""
    _channels_last(layer)
    if mask is None:
        return graph.reduce("ReduceMean", x, [1], keep=layer.keepdims)
    valid = valid_steps(graph, mask, x.dtype)
    total = graph.reduce("ReduceSum", x * valid, [1], keep=layer.keepdims)
    return total / graph.reduce("ReduceSum", valid, [1], keep=layer.keepdims)


@converter(layers.ZeroPadding1D)
def zero_padding(graph, layer, x):
    """Noughts before and after."""
    before, after = layer.padding
    pads = graph.indices([0, before, 0, 0, after, 0])
    return graph.op("Pad", x, pads, graph.constant(0, x.dtype))


@converter(layers.Cropping1D)
def cropping(graph, layer, x):
    """Steps off both ends."""
    before, after = layer.cropping
    return graph.slice(x, 1, before, -after if after else None)


@converter(layers.UpSampling1D)
def up_sampling(graph, layer, x):
    """Each step repeated."""
    size = int(layer.size)
    repeated = graph.op("Tile", graph.expand(x, 2), graph.indices([1, 1, size, 1]))
    return graph.reshape(repeated, [graph.shape(x, 0), -1, graph.shape(x, 2)])
