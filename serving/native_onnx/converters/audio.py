"""The layers of ``models.audio``."""

from __future__ import annotations

import numpy as np

from models.audio import FAR, Levelled, SoundAugment
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
