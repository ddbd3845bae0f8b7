"""Attention layers of Keras."""

from __future__ import annotations

import numpy as np
from keras import layers

from serving.errors import ServingError
from serving.native_onnx.activations import masked_softmax
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import convert, converter
from serving.native_onnx.value import Value

# Keras takes this from the scores of padding, in float16 the largest number there is.
_FAR = {"float32": 1e9, "float16": 65504.0}


@converter(layers.Attention, layers.AdditiveAttention, per_step="query")
def attention(
    graph, layer, inputs, mask=None, return_attention_scores=False, use_causal_mask=False
):
    """Luong's (dot) and Bahdanau's (additive) attention of queries over values."""
    query, value = inputs[:2]
    key = inputs[2] if len(inputs) > 2 else value
    scores = _scores(graph, layer, query, key)
    allowed = _allowed(graph, scores, mask[1] if mask else None, use_causal_mask)
    if allowed is not None:
        scores = graph.where(allowed, scores, scores - _FAR[scores.dtype.name])
    weights = graph.op("Softmax", scores, axis=-1)
    output = weights @ value
    if mask and mask[0] is not None:
        output = graph.where(graph.expand(mask[0], 2), output, 0.0)
    return (output, weights) if return_attention_scores else output


def _scores(graph: Graph, layer, query: Value, key: Value) -> Value:
    """``[batch, queries, keys]``."""
    scale = getattr(layer, "scale", None)
    if type(layer) is layers.Attention and layer.score_mode == "dot":
        scores = query @ graph.transpose(key, [0, 2, 1])
        return scores if scale is None else scores * graph.weight(scale, "scale")
    together = graph.expand(query, 2) + graph.expand(key, 1)
    if type(layer) is layers.Attention:
        together = together if scale is None else together * graph.weight(scale, "scale")
        total = graph.reduce("ReduceSum", graph.op("Tanh", together), [-1])
        return total * graph.weight(layer.concat_score_weight, "concat_score_weight")
    shaped = graph.op("Tanh", together)
    if layer.use_scale:
        shaped = shaped * graph.weight(scale, "scale")
    return graph.reduce("ReduceSum", shaped, [-1])


def _allowed(graph: Graph, scores: Value, mask: Value | None, causal: bool) -> Value | None:
    """``<bool>`` broadcast to ``[batch, queries, keys]``: where a query may look."""
    allowed = None if mask is None else graph.expand(mask, 1)
    if not causal:
        return allowed
    sizes = [graph.squeeze(graph.shape(scores, axis), 0) for axis in (-2, -1)]
    rows, columns = (
        graph.op("Range", graph.indices(0), size, graph.indices(1), rank=1) for size in sizes
    )
    before = graph.binary(
        "GreaterOrEqual", graph.expand(rows, 1), graph.expand(columns, 0), dtype=np.bool_
    )
    return before if allowed is None else graph.op("And", allowed, before)


@converter(layers.MultiHeadAttention, per_step="query")
def multi_head_attention(
    graph, layer, query, value, key=None, query_mask=None, value_mask=None, key_mask=None,
    attention_mask=None, return_attention_scores=False, use_causal_mask=False,
):  # fmt: skip
    """Scaled dot-product attention in several heads, over one time axis."""
    special = getattr(layer, "_use_gate", False) or getattr(layer, "_sliding_window", None)
    if len(layer._attention_axes) != 1 or query.rank != 3 or special:
        raise ServingError(
            f"layer {layer.name!r}: attention over several axes, with a gate or in a sliding "
            "window cannot be written as ONNX"
        )
    key = value if key is None else key
    q, k, v = (
        convert(graph, inner, (x,), {})
        for inner, x in (
            (layer._query_dense, query),
            (layer._key_dense, key),
            (layer._value_dense, value),
        )
    )  # fmt: skip  (B, T, N, H)
    q = graph.transpose(q, [0, 2, 1, 3]) * float(layer._inverse_sqrt_key_dim)
    scores = q @ graph.transpose(k, [0, 2, 3, 1])  # (B, N, T, S)
    allowed = _allowed(graph, scores, value_mask, use_causal_mask)
    for mask in (
        None if query_mask is None else graph.expand(query_mask, 2),
        None if key_mask is None else graph.expand(key_mask, 1),
        attention_mask,
    ):
        if mask is not None:
            mask = graph.cast(mask, np.bool_)
            allowed = mask if allowed is None else graph.op("And", allowed, mask)
    if allowed is not None and allowed.rank == 3:
        allowed = graph.expand(allowed, 1)
    weights = masked_softmax(graph, scores, allowed)
    if allowed is not None and not layer._dropout and not return_attention_scores:
        # Keras's fused kernel spreads a query that may look nowhere over everything.
        weights = graph.op("Softmax", graph.where(allowed, scores, -3e4), axis=-1)
    output = graph.transpose(weights @ graph.transpose(v, [0, 2, 1, 3]), [0, 2, 1, 3])
    output = convert(graph, layer._output_dense, (output,), {})
    return (output, weights) if return_attention_scores else output
