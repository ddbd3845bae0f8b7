"""The layers of ``models.audio``."""

from __future__ import annotations

import numpy as np

from models.audio import FAR, BandConvolution, Levelled, SoundAugment
from serving.native_onnx.registry import converter


@converter(SoundAugment, layout="any")
def sound_augment(graph, layer, frames, inside):
    """Nothing: it changes sound while training."""
    return frames


@converter(Levelled)
def levelled(graph, layer, frames, inside):
    """Frames above a floor of their own, without their mean over the steps inside."""
    there = graph.expand(graph.cast(inside, frames.dtype), 2)
    if layer.floor:
        mean, scale = (graph.weight(np.float32(x), "level") for x in (layer.mean, layer.scale))
        energy = frames / scale + mean
        loudest = graph.reduce("ReduceMax", energy + (there - 1) * FAR, [1, 2], keep=True)
        frames = (graph.op("Max", energy, loudest - layer.floor) - mean) * scale
    if layer.centre:
        one = graph.constant(1, frames.dtype)
        count = graph.op("Max", graph.reduce("ReduceSum", there, [1], keep=True), one)
        frames = frames - graph.reduce("ReduceSum", frames * there, [1], keep=True) / count
    return frames * there


@converter(BandConvolution, layout="any")
def band_convolution(graph, layer, x):
    """Channels are the frames of a step; each step by itself."""
    shape = graph.shape(x)
    rows = graph.reshape(x, [-1, layer.stack, layer.bands])
    weights = [
        graph.weight(np.asarray(layer.kernel).transpose(2, 1, 0), "kernel"),
        graph.weight(layer.bias, "bias"),
    ]
    y = graph.op("Conv", rows, *weights, kernel_shape=[layer.reach], auto_pad="SAME_UPPER")
    y = graph.op(
        "MaxPool", graph.op("Relu", y), kernel_shape=[layer.pool], strides=[layer.pool],
        auto_pad="SAME_UPPER",
    )  # fmt: skip
    y = graph.transpose(y, [0, 2, 1])  # (B * T, places, filters)
    first, second = (graph.slice(shape, 0, axis, axis + 1) for axis in (0, 1))
    found = graph.reshape(y, [first, second, layer.places * layer.filters])
    return graph.laid_time_major(found) if x.time_major else found
