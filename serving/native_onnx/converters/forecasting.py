"""The layers of ``models.forecasting``."""

from __future__ import annotations

import numpy as np

from models import forecasting_blend, window_layers
from models.conformal import WILDEST
from serving.native_onnx.registry import converter


@converter(window_layers.WindowLevel)
def window_level(graph, layer, x):
    """Level and scale of each column."""
    if layer.kind == "last":
        last = graph.slice(x, 1, -1)
        return last, last * 0.0 + 1.0
    mean = graph.reduce("ReduceMean", x, [1], keep=True)
    away = x - mean
    variance = graph.reduce("ReduceMean", away * away, [1], keep=True)
    return mean, graph.op("Sqrt", variance + window_layers.TINY)


@converter(window_layers.Normalize)
def normalize(graph, layer, inputs):
    """Less the level, by the scale."""
    x, level, scale = inputs
    return (x - level) / scale


@converter(window_layers.Denormalize)
def denormalize(graph, layer, inputs):
    """The way back, for the first columns."""
    y, level, scale = inputs
    columns = layer.columns
    level, scale = (graph.expand(graph.slice(value, 2, 0, columns), 3) for value in (level, scale))
    return y * scale + level


@converter(window_layers.Repeat)
def repeat(graph, layer, x):
    """Copies that follow one another."""
    tail = [graph.shape(x, axis) for axis in range(1, x.rank)]
    shape = graph.concat([graph.shape(x, 0), graph.indices([layer.copies]), *tail], 0)
    copies = graph.op("Expand", graph.expand(x, 1), shape, rank=x.rank + 1)
    return graph.reshape(copies, [-1, *tail])


@converter(window_layers.ColumnsToRows)
def columns_to_rows(graph, layer, x):
    """Each column becomes a row."""
    return graph.reshape(graph.transpose(x, [0, 2, 1]), [-1, graph.shape(x, 1)])


@converter(window_layers.RowsToColumns)
def rows_to_columns(graph, layer, y):
    """And back."""
    y = graph.reshape(y, [-1, layer.columns, layer.horizon, layer.outputs])
    return graph.transpose(y, [0, 2, 1, 3])


@converter(window_layers.PositionalQueries)
def positional_queries(graph, layer, state):
    """The table, once a window."""
    windows = graph.op("Div", graph.shape(state, 0), graph.indices([layer.columns]))
    table = graph.weight(np.asarray(layer.table()), "queries")
    shape = graph.concat([windows, graph.shape(table)], 0)
    copies = graph.op("Expand", graph.expand(table, 0), shape, rank=3)
    return graph.reshape(copies, [-1, layer.width])


@converter(window_layers.FutureRows)
def future_rows(graph, layer, y):
    """The segments of a window joined, cut at the horizon."""
    joined = graph.reshape(y, [-1, layer.segments * layer.segment])
    return graph.slice(joined, 1, 0, layer.size)


@converter(window_layers.SegmentsToRows)
def segments_to_rows(graph, layer, x):
    """The segments of a row follow one another."""
    return graph.reshape(x, [-1, graph.shape(x, 2)])


@converter(window_layers.SortQuantiles)
def sort_quantiles(graph, layer, quantiles):
    """The smallest first."""
    ordered, _ = graph.ops(
        "TopK", [quantiles, graph.indices([layer.levels])],
        [(quantiles.dtype, 4), (np.int64, 4)], axis=-1, largest=0, sorted=1,
    )  # fmt: skip
    return ordered


@converter(window_layers.CalibrateQuantiles)
def calibrate_quantiles(graph, layer, quantiles):
    """Sorts the quantiles and moves them."""
    return sort_quantiles(graph, layer, quantiles) + graph.weight(layer.offset, "offset")


@converter(forecasting_blend.BlendBaseline)
def blend_baseline(graph, layer, inputs):
    """A linear map of the window, and the network's share beside it."""
    network, values = inputs
    values = graph.slice(values, 2, 0, layer.columns)
    last = graph.slice(values, 1, -1)
    rows = graph.transpose(values - last, [2, 0, 1]) @ graph.weight(layer.kernel, "kernel")
    rows = rows + graph.weight(np.asarray(layer.bias)[:, None], "bias")
    baseline = graph.transpose(rows, [1, 2, 0]) + last
    return baseline + graph.weight(layer.share, "share") * (network - baseline)


@converter(forecasting_blend.Intervals)
def intervals(graph, layer, inputs):
    """Quantiles around the forecast, wider where the window is wilder."""
    network, mean, quantiles, values = inputs
    values = graph.slice(values, 2, 0, layer.columns)
    away = values - graph.reduce("ReduceMean", values, [1], keep=True)
    variance = graph.reduce("ReduceMean", away * away, [1], keep=True)
    usual = np.asarray(layer.variance)
    spread = (variance + graph.weight(usual, "usual")) / graph.weight(2 * usual, "twice")
    most = graph.constant(WILDEST, spread.dtype)
    spread = graph.expand(graph.op("Min", graph.op("Sqrt", spread), most), 3)
    place = layer.scale.shape[-1] // 2
    middle = graph.slice(quantiles, 3, place, place + 1)
    centre = graph.expand(mean, 3)
    if not layer.median:
        centre = centre + (middle - graph.expand(network, 3))
    reach = graph.weight(layer.scale, "scale") * (quantiles - middle)
    return centre + spread * (reach + graph.weight(layer.offset, "offset"))
