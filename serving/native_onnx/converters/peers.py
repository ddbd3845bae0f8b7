"""Layers of ``models.peers``: places of steps, and attention that keeps what it has seen."""

from __future__ import annotations

import numpy as np

from models import peers
from serving.native_onnx.activations import masked_softmax
from serving.native_onnx.registry import convert, converter


@converter(peers.AddPositions)
def add_positions(graph, layer, inputs):
    """Sines and cosines of the places."""
    x, start = inputs if isinstance(inputs, list) else (inputs, None)
    steps = graph.squeeze(graph.shape(x, 1), 0)
    places = graph.op("Range", graph.indices(0), steps, graph.indices(1), rank=1)
    places = graph.expand(graph.cast(places, np.float32), 0)
    if start is not None:
        places = places + graph.expand(graph.cast(start, np.float32), 1)
    angles = graph.expand(places, 2) * graph.weight(layer.waves, "waves")
    both = graph.concat([graph.op("Sin", angles), graph.op("Cos", angles)], -1)
    return x + graph.cast(both, x.dtype)


@converter(peers.CachedAttention)
def cached_attention(graph, layer, x, keys, values):
    """One step looks at those before it and at itself."""
    inner = layer.layer
    query, key, value = (
        convert(graph, dense, (x,), {})
        for dense in (inner._query_dense, inner._key_dense, inner._value_dense)
    )  # (B, 1, N, H)
    keys, values = graph.concat([keys, key], 1), graph.concat([values, value], 1)
    query = graph.transpose(query, [0, 2, 1, 3]) * float(inner._inverse_sqrt_key_dim)
    scores = query @ graph.transpose(keys, [0, 2, 3, 1])  # (B, N, 1, T)
    weights = masked_softmax(graph, scores, None)
    seen = graph.transpose(weights @ graph.transpose(values, [0, 2, 1, 3]), [0, 2, 1, 3])
    return convert(graph, inner._output_dense, (seen,), {}), keys, values
