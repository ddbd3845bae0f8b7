"""The layers of ``models.music``."""

from __future__ import annotations

import numpy as np

from models.music_layers import BernoulliScore, NadeScore, PitchConvolution
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import convert, converter
from serving.native_onnx.value import Value


@converter(PitchConvolution, per_step=True)
def pitch_convolution(graph, layer, rows):
    """Steps are folded into the batch."""
    lead = [graph.shape(rows, 0), graph.shape(rows, 1)]
    x = graph.reshape(rows, [graph.indices([-1]), graph.shape(rows, 2)])
    for convolution in (layer.first, layer.second):
        x = graph.expand(x, 2) if x.rank == 2 else x
        x = convert(graph, convolution, (x,), {})
    return graph.reshape(x, [*lead, graph.shape(rows, 2)])


@converter(BernoulliScore)
def bernoulli_score(graph, layer, inputs):
    """Summed over the units, in float32."""
    with graph.computing_in(np.float32):
        scores, units = (graph.cast(x, np.float32) for x in inputs)
        return _summed(graph, scores, units)


@converter(NadeScore)
def nade_score(graph, layer, inputs):
    """Units before each other by a cumulative sum that leaves each itself out, in float32."""
    with graph.computing_in(np.float32):
        bias, hidden, units = (graph.cast(x, np.float32) for x in inputs)
        each = graph.expand(units, 3) * graph.weight(layer.reading.numpy(), "reading")
        axis = graph.constant(2, np.int64)
        before = graph.op("CumSum", each, axis, exclusive=1)
        inner = graph.op("Sigmoid", graph.expand(hidden, 2) + before)
        inner = inner * graph.weight(layer.writing.numpy(), "writing")
        return _summed(graph, bias + graph.reduce("ReduceSum", inner, [3]), units)


def _summed(graph: Graph, scores: Value, units: Value) -> Value:
    each = units * scores - graph.op("Softplus", scores)
    return graph.reduce("ReduceSum", each, [2])
