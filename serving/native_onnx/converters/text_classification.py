"""The layers of ``models.text_classification``: short examples of converters, too."""

from __future__ import annotations

import numpy as np

from models import wide
from models.masking import MaskedBy
from models.pooling import MaskedPooling
from models.text_classification import TokenDropout, WeightedSum
from serving.native_onnx.converters.layers import valid_steps
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import converter
from serving.native_onnx.value import Value


@converter(TokenDropout, layout="any")
def token_dropout(graph, layer, tokens):
    """Nothing to do at inference."""
    return tokens


@converter(MaskedBy)
def masked_by(graph, layer, inputs):
    """The first input; the mask is a node of its own."""
    return inputs[0]


@converter(MaskedPooling)
def masked_pooling(graph, layer, x, mask=None):
    """Mean, max or attention over the valid steps."""
    valid = None if mask is None else valid_steps(graph, mask, x.dtype)
    if layer.kind == "mean":
        if valid is None:
            return graph.reduce("ReduceMean", x, [1])
        count = graph.op("Max", graph.reduce("ReduceSum", valid, [1]), graph.constant(1, x.dtype))
        return graph.reduce("ReduceSum", x * valid, [1]) / count
    absent = None if valid is None else (1 - valid) * -3e4
    if layer.kind == "max":
        if valid is None:
            return graph.reduce("ReduceMax", x, [1])
        most = graph.reduce("ReduceMax", x * valid + absent, [1])
        return most * graph.reduce("ReduceMax", valid, [1])
    inner = x @ graph.weight(layer.projection, "projection") + graph.weight(layer.bias, "bias")
    scores = graph.op("Tanh", inner) @ graph.weight(layer.query, "query")  # (B, T, 1)
    if valid is not None:
        scores = scores * valid + absent
    weights = graph.op("Softmax", scores, axis=1)
    weights = weights if valid is None else weights * valid
    return graph.reduce("ReduceSum", weights * x, [1])


@converter(WeightedSum, layout="any")
def weighted_sum(graph, layer, logits):
    """The first path by its share, and the others."""
    total = logits[0] * graph.weight(layer.share, "share")
    for other in logits[1:]:
        total = total + other
    return total


@converter(wide.WordNGrams)
def word_ngrams(graph, layer, tokens):
    """Rolling hashes of the ids, looked up in the two tables."""
    check, slot = (graph.weight(t, n) for t, n in ((layer.check, "check"), (layer.slot, "slot")))
    time = graph.shape(tokens, 1)
    padded = graph.op(
        "Pad", tokens, graph.indices([0, 0, 0, layer.orders]), graph.constant(0, tokens.dtype)
    )
    place, proof, known, found = 0, 0, None, []
    for n in range(layer.orders):
        parts = (graph.indices([n]), graph.op("Add", time, graph.indices([n])), graph.indices([1]))
        shifted = graph.op("Slice", padded, *parts)
        place = _modulo(graph, place * wide.SLOT_HASH[0] + shifted, wide.SLOT_HASH[1])
        proof = _modulo(graph, proof * wide.CHECK_HASH[0] + shifted, wide.CHECK_HASH[1])
        word = graph.binary("GreaterOrEqual", shifted, wide.FIRST_TOKEN, dtype=np.bool_)
        known = word if known is None else graph.op("And", known, word)
        at = _modulo(graph, place, layer.check.shape[0])
        hit = graph.op("And", graph.compare("Equal", graph.take(check, at), proof), known)
        found.append(graph.where(hit, graph.take(slot, at), 0))
    return graph.concat(found, 1)


def _modulo(graph: Graph, x: Value, by: int) -> Value:
    return graph.binary("Mod", x, by)


@converter(wide.Pairs)
def pairs(graph, layer, found):
    """The second of the blocks, without the rarer n-grams."""
    second = graph.split(found, layer.orders, 1)[1]
    return graph.where(graph.binary("LessOrEqual", second, layer.limit, dtype=np.bool_), second, 0)


@converter(wide.CharacterNGrams)
def character_ngrams(graph, layer, tokens):
    """The row of each token in a table."""
    found = graph.take(graph.weight(layer.grams, "grams"), tokens)
    return graph.reshape(found, [graph.shape(tokens, 0), -1])


@converter(wide.Evidence)
def evidence(graph, layer, features):
    """Sums over the features that are present, in float32: their squares leave float16.

    Presence is scattered into a row of flags, where Keras's layer sorts: TensorRT sorts 3840
    entries at most, and a product with the flags is quick in ONNX Runtime.
    """
    with graph.computing_in(np.float32):
        ratio, weight = np.asarray(layer.ratio), np.asarray(layer.weight)
        size = graph.concat([graph.shape(features, 0), graph.indices([len(ratio)])], 0)
        absent = graph.op("Expand", graph.constant(0, np.float32), size, rank=2, dtype=np.float32)
        ones = graph.op(
            "Expand", graph.constant(1, np.float32), graph.shape(features), rank=2, dtype=np.float32
        )
        # Several may write one flag, whose order is open; but all of them write a one. A reduction,
        # which would settle it, TensorRT does not take.
        present = graph.op("ScatterElements", absent, features, ones, axis=1)
        sums = present @ graph.weight(np.concatenate([ratio * weight, ratio**2], 1), "ratio")
        total, squares = graph.split(sums, 2, 1)
        return float(layer.gain) * total / graph.op("Sqrt", squares + 1e-6)
