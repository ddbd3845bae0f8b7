"""The layers of ``models.tagging``; the CRF's own scores stay outside of the graph."""

from __future__ import annotations

import numpy as np

from models import tagging_layers
from models.crf import CRF
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import convert, converter
from serving.native_onnx.value import Value


@converter(tagging_layers.RareWordDropout, layout="any")
def rare_word_dropout(graph, layer, words):
    """Nothing to do at inference."""
    return words


@converter(CRF, layout="any")
def crf(graph, layer, emissions):
    """Emissions as they are."""
    return emissions


@converter(tagging_layers.CharacterConvolution)
def character_convolution(graph, layer, characters):
    """Words are folded into the batch; what is behind their end is zero before the convolution."""
    flat = _folded(graph, characters)
    x = graph.batch_major(convert(graph, layer.embedding, (flat,), {}))
    known = graph.op("Not", graph.compare("Equal", flat, 0))
    x = x * graph.expand(graph.cast(known, x.dtype), 2)
    x = graph.op("Relu", convert(graph, layer.convolution, (x,), {}))
    return _unfolded(graph, graph.reduce("ReduceMax", x, [1]), characters)


@converter(tagging_layers.CharacterRecurrence)
def character_recurrence(graph, layer, characters):
    """Words are folded into the batch."""
    flat = _folded(graph, characters)
    x = convert(graph, layer.embedding, (flat,), {})
    mask = graph.op("Not", graph.compare("Equal", flat, 0))
    y = convert(graph, layer.reader, (x,), {"mask": mask})
    return _unfolded(graph, graph.batch_major(y), characters)


@converter(tagging_layers.FormEmbedding)
def form_embedding(graph, layer, forms):
    """Rows of the table, side by side."""
    found = graph.take(graph.weight(layer.embeddings, "embeddings"), forms)
    return graph.reshape(found, [graph.shape(forms, 0), graph.shape(forms, 1), layer.width])


@converter(tagging_layers.WindowScores)
def window_scores(graph, layer, inputs):
    """The sum of the rows that the templates name, in float32."""
    with graph.computing_in(np.float32):
        rows = graph.take(graph.weight(layer.weight, "weight"), _features(graph, layer, inputs))
        return graph.reduce("ReduceSum", rows, [2])


@converter(tagging_layers.WindowEmbedding)
def window_embedding(graph, layer, inputs):
    """The rows that the templates name, side by side."""
    found = graph.take(graph.weight(layer.weight, "weight"), _features(graph, layer, inputs))
    words, width = inputs["words"], len(layer.templates) * layer.width
    return graph.reshape(found, [graph.shape(words, 0), graph.shape(words, 1), width])


def _features(graph, layer, inputs) -> Value:
    """The hash of each template at each token."""
    words, forms = graph.expand(inputs["words"], 2), inputs["forms"]
    padded = {"words": _padded(graph, words, layer.reach)}
    padded["forms"] = _padded(graph, forms, layer.reach)
    found = []
    for number, template in enumerate(layer.templates, 1):
        place: Value | int = number
        for name, column, offset in template:
            ids = graph.slice(padded[name], 2, column, column + 1)
            first, end = layer.reach + offset, offset - layer.reach
            ids = graph.slice(ids, 1, first, end or None)
            place = graph.binary("Mod", place * tagging_layers.FACTOR + ids, tagging_layers.PRIME)
        found.append(graph.binary("Mod", place, layer.rows))
    return graph.concat(found, 2)


def _padded(graph: Graph, ids: Value, reach: int) -> Value:
    pads = graph.indices([0, reach, 0, 0, reach, 0])
    return graph.op("Pad", ids, pads, graph.constant(0, ids.dtype))


def _folded(graph: Graph, characters: Value) -> Value:
    """``[batch, time, slots]`` as ``[batch * time, slots]``."""
    return graph.reshape(characters, [graph.indices([-1]), graph.shape(characters, 2)])


def _unfolded(graph: Graph, y: Value, characters: Value) -> Value:
    """``[batch * time, units]`` as ``[batch, time, units]``."""
    lead = [graph.shape(characters, 0), graph.shape(characters, 1)]
    return graph.reshape(y, [*lead, graph.shape(y, 1)])
