"""The layers of ``models.audio``."""

from __future__ import annotations

from models.audio import SoundAugment
from serving.native_onnx.registry import converter


@converter(SoundAugment, layout="any")
def sound_augment(graph, layer, frames, inside):
    """Nothing: it changes sound while training."""
    return frames
