"""The layers of ``models.translation`` that its cores hold."""

from __future__ import annotations

from models.translation_layers import Unmasked
from serving.native_onnx.registry import converter


@converter(Unmasked, layout="any")
def unmasked(graph, layer, x):
    """Nothing to do."""
    return x
