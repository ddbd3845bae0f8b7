"""Layers around layers."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from models.recurrent import DenseOnEachStep
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import convert, converter
from serving.native_onnx.value import Value
from serving.native_onnx.walk import OnnxWalk, functional_of


@converter(DenseOnEachStep, per_step=True)
@converter(layers.TimeDistributed, per_step=True)
def time_distributed(graph, layer, x, mask=None):
    """The inner layer or model on every step at once: time is folded into the batch."""
    lead = [graph.shape(x, 0), graph.shape(x, 1)]
    arguments = {}
    if mask is not None and mask.rank > 2 and layer.layer._call_has_mask_arg:
        arguments["mask"] = _folded(graph, mask)
    with graph.scope(layer.layer.name):
        y = _called(graph, layer.layer, _folded(graph, x), arguments)
    y = graph.batch_major(y)
    return graph.reshape(y, [*lead, *(graph.shape(y, axis) for axis in range(1, y.rank))])


def _folded(graph: Graph, x: Value) -> Value:
    """``[batch, time, ...]`` as ``[batch * time, ...]``."""
    sizes = (graph.shape(x, axis) for axis in range(2, x.rank))
    return graph.reshape(x, [graph.indices([-1]), *sizes])


def _called(graph: Graph, layer: Any, x: Value, arguments: dict[str, Any]) -> Value:
    if not isinstance(layer, keras.Model):
        return convert(graph, layer, (x,), arguments)
    functional, walk = functional_of(layer), OnnxWalk(graph)
    walk.values[id(functional.inputs[0])] = x
    walk.run(functional)
    return walk.value(functional.outputs[0])
