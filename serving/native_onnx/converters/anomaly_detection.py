"""The layers of ``models.anomaly_detection``."""

from __future__ import annotations

import numpy as np

from models import anomaly_detection
from serving.native_onnx.registry import converter


@converter(anomaly_detection.AnomalyScore, layout="any")
def anomaly_score(graph, layer, inputs):
    """Score of each expectation, or of the one that is farthest off; and its columns' parts."""
    values, *expectations = graph.agreeing(inputs)
    scores, parts = [], []
    for expected, scale, threshold in zip(
        expectations, np.asarray(layer.scale), np.asarray(layer.threshold), strict=True
    ):
        error = (values - expected) / graph.weight(scale, "scale")
        square = error * error
        score = graph.op("Sqrt", graph.reduce("ReduceMean", square, [-1], keep=True))
        scores.append(score / float(threshold))
        parts.append(square / (scale.size * float(threshold) ** 2))
    found = graph.concat(scores, -1)
    if not layer.each:
        found = graph.reduce("ReduceMax", found, [found.rank - 1])
    every = [found, graph.concat(parts, -1)] if layer.parts else [found]
    # Time is where it was: only the last axis changed, or went.
    every = [graph.laid_time_major(one) if values.time_major else one for one in every]
    return tuple(every) if layer.parts else every[0]


@converter(anomaly_detection.SlidingWindows)
def sliding_windows(graph, layer, x):
    """Rows gathered by their places."""
    rows = graph.op(
        "Range", graph.indices(0), graph.squeeze(graph.shape(x, 1), 0), graph.indices(1), rank=1
    )
    places = graph.expand(rows, 1) + np.arange(1 - layer.window, 1)
    found = graph.take(x, graph.op("Max", places, graph.indices(0)), 1)
    return graph.reshape(found, [-1, layer.window, graph.shape(x, 2)])


@converter(anomaly_detection.LastOfWindows)
def last_of_windows(graph, layer, inputs):
    """The last row of each window, in the order of the series."""
    written, series = inputs
    last = graph.squeeze(graph.slice(written, 1, -1), 1)
    return graph.reshape(last, [-1, graph.shape(series, 1), graph.shape(last, 1)])
