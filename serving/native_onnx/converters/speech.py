"""The layers of ``models.speech``."""

from __future__ import annotations

import numpy as np

from decoding.ctc import BLANK
from models.speech import NEVER, CertainBlank
from serving.native_onnx.registry import converter


@converter(CertainBlank, layout="batch")
def certain_blank(graph, layer, scores, inside):
    """The blank alone behind the end of a row."""
    certain = np.full(layer.symbols, NEVER, np.float32)
    certain[BLANK] = 0.0
    there = graph.expand(graph.op("Not", graph.compare("Equal", inside, 0)), 2)
    return graph.where(there, scores, graph.weight(certain, "certain_blank"))
