"""Keras Functional models as ONNX with native recurrent operators."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx

from models.recurrent import rebuilt_without_cudnn
from serving.errors import ServingError
from serving.native_onnx.converters import register_all
from serving.native_onnx.graph import Graph
from serving.native_onnx.precision import quantised
from serving.native_onnx.walk import Walk, functional_of

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
    from serving.step_models import step_model

    _save(build_onnx(step_model(model), precision), Path(path))


def build_onnx(model: keras.Model, precision: str = "fp32") -> onnx.ModelProto:
    """The ``ModelProto`` of ``export_onnx``, checked."""
    if precision == "int8":
        return quantised(build_onnx(model))
    if precision not in FLOATS:
        raise ServingError(f"precision {precision!r} is not one of {', '.join(FLOATS)}, int8")
    register_all()
    functional = _flat(functional_of(model))
    graph = Graph(FLOATS[precision])
    walk = Walk(graph)
    for name, tensor in _named(functional._inputs_struct, functional.inputs).items():
        walk.values[id(tensor)] = graph.input(name, tensor.dtype, _shape(tensor))
    walk.run(functional)
    for name, tensor in _outputs(functional).items():
        graph.output(name, walk.value(tensor), _shape(tensor), tensor.dtype)
    _drop_unused(graph)
    proto = graph.model(model.name, keras.__version__)
    if _weight_bytes(proto) < EXTERNAL_DATA_BYTES:
        proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
        onnx.checker.check_model(proto)
    return proto


def _flat(model: Any) -> Any:
    """The model with the models among its layers dissolved; itself where there are none."""
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model

    def run(functional: Any, inputs: Any) -> Any:
        return functional._run_through_graph(inputs, operation_fn=dissolved)

    def dissolved(operation: Any) -> Any:
        if not isinstance(operation, keras.Model):
            return operation
        return lambda inputs, **_: run(functional_of(operation), inputs)

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
    # Keras flattens a dict in the order of its sorted keys.
    names = sorted(struct) if isinstance(struct, Mapping) else [tensor.name for tensor in tensors]
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
