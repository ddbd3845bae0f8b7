"""Keras Functional models as ONNX with native recurrent operators."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx

import serving.native_onnx.attention
import serving.native_onnx.convolution
import serving.native_onnx.operations
import serving.native_onnx.own_layers
import serving.native_onnx.recurrent  # noqa: F401  these register their converters
from models.recurrent import rebuilt_without_cudnn
from serving.errors import ServingError
from serving.native_onnx.graph import Graph
from serving.native_onnx.precision import quantised
from serving.native_onnx.registry import convert
from serving.native_onnx.value import Value

FLOATS = {"fp32": np.float32, "fp16": np.float16}
# Protocol buffers end at 2 GiB; weights move to a file beside the model well before.
EXTERNAL_DATA_BYTES = 1_900_000_000


def export_onnx(model: keras.Model, path: str | Path, precision: str = "fp32") -> None:
    """Writes a Functional or Sequential model as ONNX.

    Inputs and outputs have the model's own names and dtypes whatever the precision; the batch is
    dynamic, and so is every dimension that Keras leaves open. Opset 18, IR version 8.

    Args:
        model: of layers that have a converter.
        path: file to write; it appears whole. Weights of more than two gigabytes go beside it.
        precision: "fp32"; "fp16" for weights and computation in half precision; "int8" for 8-bit
            weights on a CPU.

    Raises:
        ServingError: a layer has no converter, or the precision is unknown.
    """
    _save(build_onnx(model, precision), Path(path))


def export_step_onnx(model: keras.Model, path: str | Path, precision: str = "fp32") -> None:
    """Writes the model of one time step: (x, states) to (y, next states).

    Inputs lose their time dimension and gain, for each recurrent layer, ``<layer>_h`` (and
    ``<layer>_c`` of an LSTM) ``<float32>[batch, units]``, all zeros before the first step; outputs
    lose theirs and gain ``<layer>_h_next``. Step after step it gives what the whole model gives for
    rows without padding.

    Raises:
        ServingError: a layer looks at more than one step (Bidirectional, pooling, convolution), or
            the model has no recurrent layer.
    """
    _save(build_onnx(model, precision, step=True), Path(path))


def build_onnx(model: keras.Model, precision: str = "fp32", step: bool = False) -> onnx.ModelProto:
    """The ``ModelProto`` of ``export_onnx`` or ``export_step_onnx``, checked."""
    if precision == "int8":
        return quantised(build_onnx(model, step=step))
    if precision not in FLOATS:
        raise ServingError(f"precision {precision!r} is not one of {', '.join(FLOATS)}, int8")
    functional = _flat(_functional(model))
    graph = Graph(FLOATS[precision], step)
    walk = _Walk(graph)
    for name, tensor in _named(functional._inputs_struct, functional.inputs).items():
        shape = _shape(tensor)
        value = graph.input(name, tensor.dtype, [shape[0], *shape[2:]] if step else shape)
        walk.values[id(tensor)] = graph.expand(value, 1) if step else value
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in functional._nodes_by_depth[depth]:
            walk.convert(node)
    if step and not graph.states:
        raise ServingError(f"model {model.name!r} has no recurrent layer to make steps of")
    for name, tensor in _outputs(functional).items():
        value, shape = walk.value(tensor), _shape(tensor)
        if step and len(shape) > 2:
            value = graph.squeeze(graph.batch_major(value), 1)
            shape = [shape[0], *shape[2:]]
        graph.output(name, value, shape, tensor.dtype)
    _drop_unused(graph)
    proto = graph.model(model.name, keras.__version__)
    if _weight_bytes(proto) < EXTERNAL_DATA_BYTES:
        proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
        onnx.checker.check_model(proto)
    return proto


class _Walk:
    """Goes through the calls of a Functional model and adds the nodes of each.

    Attributes:
        values: of each KerasTensor, by its id.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[int, Value] = {}

    def value(self, tensor: Any) -> Any:
        """Of a KerasTensor; one that no output depends on, as masks may be, is made here."""
        if not isinstance(tensor, keras.KerasTensor):
            return tensor
        if id(tensor) not in self.values:
            history = tensor._keras_history
            self.convert(history.operation._inbound_nodes[history.node_index])
        return self.values[id(tensor)]

    def convert(self, node: Any) -> None:
        """Adds one call of a layer or operation, unless it was added before."""
        if node.is_input or all(id(tensor) in self.values for tensor in node.outputs):
            return
        operation = node.operation
        arguments = node.arguments.args, _with_masks(operation, node.arguments)
        args, kwargs = keras.tree.map_structure(self.value, arguments)
        with self.graph.scope(operation.name):
            result = convert(self.graph, operation, args, kwargs)
        for tensor, value in zip(node.outputs, keras.tree.flatten(result), strict=True):
            self.values[id(tensor)] = value


def _with_masks(operation: Any, arguments: Any) -> dict[str, Any]:
    """The keyword arguments of a call and the masks that Keras adds when it makes the call.

    Some calls have them among their arguments. For the others this is the rule of
    ``keras.Layer.__call__``: ``mask`` where there is one tensor argument, else ``<argument>_mask``.
    """
    kwargs = dict(arguments.kwargs)
    if not isinstance(operation, keras.Layer):
        return kwargs
    given = inspect.signature(operation.call).bind(*arguments.args, **kwargs).arguments
    names = inspect.signature(operation.call).parameters

    def is_tensors(argument: Any) -> bool:
        return any(isinstance(t, keras.KerasTensor) for t in keras.tree.flatten(argument))

    tensors = {name: argument for name, argument in given.items() if is_tensors(argument)}
    for name, argument in tensors.items():
        to = "mask" if len(tensors) == 1 else f"{name}_mask"
        if to in names and kwargs.get(to) is None:
            masks = keras.tree.map_structure(lambda t: getattr(t, "_keras_mask", None), argument)
            if is_tensors(masks):
                kwargs[to] = masks
    return kwargs


def _functional(model: keras.Model) -> Any:
    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional
    if not hasattr(model, "_nodes_by_depth"):
        raise ServingError(
            f"model {model.name!r} is not a Functional model (or a built Sequential one); make it "
            "with keras.Input and keras.Model(inputs, outputs)"
        )
    return model


def _flat(model: Any) -> Any:
    """The model with the models among its layers dissolved; itself where there are none."""
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model

    def run(functional: Any, inputs: Any) -> Any:
        return functional._run_through_graph(inputs, operation_fn=dissolved)

    def dissolved(operation: Any) -> Any:
        if not isinstance(operation, keras.Model):
            return operation
        return lambda inputs, **_: run(_functional(operation), inputs)

    copy = rebuilt_without_cudnn(model)  # so that the user's layers do not gain new calls
    inputs = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
        for name, tensor in _named(copy._inputs_struct, copy.inputs).items()
    ]
    outputs = run(copy, inputs)
    if not isinstance(outputs, Mapping):
        named = zip(_outputs(copy), keras.tree.flatten(outputs), strict=True)
        outputs = dict(named)
    return keras.Model(inputs, outputs, name=model.name)


def _named(struct: Any, tensors: Sequence[Any]) -> dict[str, Any]:
    """Inputs by the keys of their dict, or else by their own names."""
    names = list(struct) if isinstance(struct, Mapping) else [tensor.name for tensor in tensors]
    return dict(zip(names, tensors, strict=True))


def _outputs(functional: Any) -> dict[str, Any]:
    """The keys of a dict of outputs; else the names of the layers that gave them."""
    struct = functional._outputs_struct
    if isinstance(struct, Mapping):
        return dict(struct)
    names = list(functional.output_names)
    if len(set(names)) != len(names):
        names = [f"{name}_{i}" for i, name in enumerate(names)]
    return dict(zip(names, functional.outputs, strict=True))


def _shape(tensor: Any) -> list[Any]:
    names = {0: "batch", 1: "time"}
    return [
        names.get(axis, f"size_{axis}") if size is None else size
        for axis, size in enumerate(tensor.shape)
    ]


def _drop_unused(graph: Graph) -> None:
    """Takes out nodes and weights that no output depends on, such as masks that nobody reads."""
    needed = {output.name for output in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    graph.nodes = kept[::-1]
    graph.initializers = {n: a for n, a in graph.initializers.items() if n in needed}


def _weight_bytes(proto: onnx.ModelProto) -> int:
    return sum(len(tensor.raw_data) for tensor in proto.graph.initializer)


def _save(proto: onnx.ModelProto, path: Path) -> None:
    """Writes aside, then renames; weights beside the model where they are too many."""
    aside = path.with_name(f"{path.name}.new")
    if _weight_bytes(proto) >= EXTERNAL_DATA_BYTES:
        data = f"{path.name}.data"
        (path.parent / data).unlink(missing_ok=True)
        onnx.save_model(proto, aside, save_as_external_data=True, location=data)
        onnx.checker.check_model(str(aside))
    else:
        onnx.save_model(proto, aside)
    os.replace(aside, path)
