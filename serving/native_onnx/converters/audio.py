"""The layers of ``models.audio``."""

from __future__ import annotations

from models.audio import Centred, SoundAugment
from serving.native_onnx.registry import converter


@converter(SoundAugment, layout="any")
def sound_augment(graph, layer, frames, inside):
    """Nothing: it changes sound while training."""
    return frames


@converter(Centred)
def centred(graph, layer, frames, inside):
    """Frames without their mean over the steps inside."""
    there = graph.expand(graph.cast(inside, frames.dtype), 2)
    count = graph.op("Max", graph.reduce("ReduceSum", there, [1], keep=True),
                     graph.constant(1, frames.dtype))  # fmt: skip
    mean = graph.reduce("ReduceSum", frames * there, [1], keep=True) / count
    return (frames - mean) * there
