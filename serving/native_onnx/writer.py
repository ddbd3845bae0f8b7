"""Keras Functional models as ONNX with native recurrent operators."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx

from serving.errors import ServingError
from serving.native_onnx.converters import register_all
from serving.native_onnx.graph import Graph
from serving.native_onnx.precision import quantised
from serving.native_onnx.step_models import step_model
from serving.native_onnx.walk import OnnxWalk, flat, functional_of, inputs_of, outputs_of

FLOATS = {"fp32": np.float32, "fp16": np.float16}
# Protocol buffers end at 2 GiB; weights move to a file beside the model well before.
EXTERNAL_DATA_BYTES = 1_900_000_000


def export_onnx(
    model: keras.Model,
    path: str | Path,
    precision: str = "fp32",
    right_padded: Mapping[str, Any] | None = None,
    processor: str = "cpu",
) -> None:
    """Writes a Functional or Sequential model as ONNX.

    Inputs and outputs have the model's own names and dtypes whatever the precision; the batch is
    dynamic, and so is every dimension that Keras leaves open. Opset 18, IR version 8.

    Args:
        model: of layers that have a converter.
        path: file to write; it appears whole. Weights of more than two gigabytes go beside it.
        precision: "fp32"; "fp16" for weights and computation in half precision; "int8" for 8-bit
            weights on a CPU.
        right_padded: padding values by the name of an input in whose rows they stand at the end
            only, such as ``{"tokens": 0}``. Any mask is computed as Keras does; where one is known
            to mark the end of its row, the graph does without the gathers that others take, and is
            wrong for other masks.
        processor: "cpu": SimpleRNN and GRU are written twice, over the same weights, as ONNX's
            operator and as a loop of matrix products, and the size of the batch chooses (see
            ``converters.loops``). "gpu": as operators only, which CUDA and TensorRT know better;
            so is all of fp16.

    Raises:
        ServingError: a layer has no converter, or the precision or the processor is unknown.
    """
    _save(build_onnx(model, precision, right_padded, processor), Path(path))


def export_step_onnx(model: keras.Model, path: str | Path, precision: str = "fp32") -> None:
    """Writes ``step_model(model)``, the model of one time step, as ONNX.

    Args:
        model: of whole sequences.
        path: file to write; it appears whole.
        precision: as of ``export_onnx``.

    Raises:
        ServingError: a layer looks at more than one step (Bidirectional, pooling, convolution), or
            the model has no recurrent layer.
    """
    export_onnx(step_model(model), path, precision)


def build_onnx(
    model: keras.Model,
    precision: str = "fp32",
    right_padded: Mapping[str, Any] | None = None,
    processor: str = "cpu",
) -> onnx.ModelProto:
    """The ``ModelProto`` of ``export_onnx``, checked."""
    if precision not in FLOATS and precision != "int8":
        raise ServingError(f"precision {precision!r} is not one of {', '.join(FLOATS)}, int8")
    if processor not in ("cpu", "gpu"):
        raise ServingError(f"processor {processor!r} is neither cpu nor gpu")
    int8 = precision == "int8"
    for_cpu = processor == "cpu" and precision != "fp16"
    graph = Graph(FLOATS.get(precision, np.float32), right_padded, for_cpu, int8)
    proto = _built(model, graph)
    return quantised(proto) if int8 else proto


def _built(model: keras.Model, graph: Graph) -> onnx.ModelProto:
    register_all()
    functional = flat(functional_of(model))
    walk = OnnxWalk(graph)
    times = _times(functional)
    for name, tensor in inputs_of(functional).items():
        walk.values[id(tensor)] = graph.input(name, tensor.dtype, _shape(tensor, times, name))
    walk.run(functional)
    for name, tensor in outputs_of(functional).items():
        shape = _shape(tensor, times, name)
        graph.output(name, walk.value(tensor), shape, tensor.dtype)
    _drop_unused(graph)
    proto = graph.model(model.name, keras.__version__)
    if _weight_bytes(proto) < EXTERNAL_DATA_BYTES:
        proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
        onnx.checker.check_model(proto)
    return proto


def _shape(tensor: Any, times: Mapping[str, str | None], name: str) -> list[Any]:
    names = {0: "batch", 1: times.get(name, "time")}
    return [
        names.get(axis, f"size_{axis}") if size is None else size
        for axis, size in enumerate(tensor.shape)
    ]


def _times(functional: keras.Model) -> dict[str, str | None]:
    """Names of open time axes by input and output, where inputs may differ in length.

    ONNX Runtime takes axes of one name for equally long, and lays one array where another was. So
    that inputs which the model combines step by step share a name and others do not, it is called
    with a length of its own for each; what fails has to be equally long.
    """
    given = inputs_of(functional)
    longest = {name: 24 * (i + 1) for i, name in enumerate(given) if _is_open(given[name])}
    if len(longest) < 2:
        return {}
    made = []
    for name, tensor in given.items():
        size = [1 if length is None else length for length in tensor.shape]
        if name in longest:
            size[1] = longest[name]
        made.append(keras.ops.zeros(size, dtype=tensor.dtype))
    try:
        packed = keras.tree.pack_sequence_as(functional._inputs_struct, made)
        found = functional(packed, training=False)
    except Exception:  # noqa: BLE001 whatever layers raise where lengths do not go together
        return {}
    names = {length: f"{name}_time" for name, length in longest.items()}
    outputs = dict(zip(outputs_of(functional), keras.tree.flatten(found), strict=True))
    ends = {n: names.get(t.shape[1]) if len(t.shape) > 1 else None for n, t in outputs.items()}
    return ends | {name: names[length] for name, length in longest.items()}


def _is_open(tensor: Any) -> bool:
    return len(tensor.shape) > 1 and tensor.shape[1] is None


def _drop_unused(graph: Graph) -> None:
    """Takes out nodes and weights that no output depends on, such as masks that nobody reads."""
    needed = {output.name for output in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(_names_read(node))
            kept.append(node)
    graph.nodes = kept[::-1]
    graph.initializers = {n: a for n, a in graph.initializers.items() if n in needed}


def _names_read(node: onnx.NodeProto) -> set[str]:
    """Names of the values that a node reads, and that the graphs inside of it read."""
    inner = [item.g for item in node.attribute if item.type == onnx.AttributeProto.GRAPH]
    return set(node.input).union(*(_names_read(n) for graph in inner for n in graph.node))


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
