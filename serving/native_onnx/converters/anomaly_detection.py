"""The layers of ``models.anomaly_detection``."""

from __future__ import annotations

import numpy as np

from models import anomaly_detection
from serving.native_onnx.registry import converter


@converter(anomaly_detection.Strangeness, layout="any")
def strangeness(graph, layer, inputs):
    """Of the expectation that is farthest off."""
    values, expected = graph.agreeing(inputs)
    scale, score = np.asarray(layer.scale), None
    for i, threshold in enumerate(np.asarray(layer.threshold)):
        part = slice(i * layer.columns, (i + 1) * layer.columns)
        mine = graph.slice(expected, expected.rank - 1, part.start, part.stop)
        error = (values - mine) / graph.weight(scale[part], "scale")
        size = graph.op("Sqrt", graph.reduce("ReduceMean", error * error, [error.rank - 1]))
        size = size / float(threshold)
        score = size if score is None else graph.op("Max", score, size)
    return score


@converter(anomaly_detection.Frames)
def frames(graph, layer, x):
    """Rows gathered by their places."""
    rows = graph.op(
        "Range", graph.indices(0), graph.squeeze(graph.shape(x, 1), 0), graph.indices(1), rank=1
    )
    places = graph.expand(rows, 1) + np.arange(1 - layer.window, 1)
    found = graph.take(x, graph.op("Max", places, graph.indices(0)), 1)
    return graph.reshape(found, [-1, layer.window, graph.shape(x, 2)])


@converter(anomaly_detection.LastOfFrames)
def last_of_frames(graph, layer, inputs):
    """The last row of each frame, in the order of the series."""
    written, series = inputs
    last = graph.squeeze(graph.slice(written, 1, -1), 1)
    return graph.reshape(last, [-1, graph.shape(series, 1), graph.shape(last, 1)])


@converter(anomaly_detection.FirstColumns, layout="any")
def first_columns(graph, layer, x):
    """Along the last axis."""
    return graph.slice(x, x.rank - 1, 0, layer.columns)
