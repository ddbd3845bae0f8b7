"""A Triton model repository: ONNX or plan with dynamic batching, step models with their states.

Sources: Triton Inference Server, "Model Configuration" and "Implicit State Management"; the
protocol buffer ``model_config.proto``, whose text form is written here; for what a server refuses
while loading, ``model_config_utils.cc`` and ``sequence_batch_scheduler.cc`` of its core.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from common.files import write_text
from pipelines.program import NEXT
from serving.errors import ServingError
from serving.tensorrt_library import read_report

TYPES = {
    onnx.TensorProto.BOOL: "TYPE_BOOL",
    onnx.TensorProto.UINT8: "TYPE_UINT8",
    onnx.TensorProto.UINT16: "TYPE_UINT16",
    onnx.TensorProto.UINT32: "TYPE_UINT32",
    onnx.TensorProto.UINT64: "TYPE_UINT64",
    onnx.TensorProto.INT8: "TYPE_INT8",
    onnx.TensorProto.INT16: "TYPE_INT16",
    onnx.TensorProto.INT32: "TYPE_INT32",
    onnx.TensorProto.INT64: "TYPE_INT64",
    onnx.TensorProto.FLOAT16: "TYPE_FP16",
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.DOUBLE: "TYPE_FP64",
    onnx.TensorProto.STRING: "TYPE_STRING",
}
KINDS = {"cpu": "KIND_CPU", "gpu": "KIND_GPU"}
PREFERRED_BATCHES = (8, 16, 32)
# Longer than a batch of a small model computes, shorter than a person notices.
QUEUE_DELAY_MICROSECONDS = 500
IDLE_MICROSECONDS = 60_000_000
CANDIDATE_SEQUENCES = 1024
WARMUP_STEPS = 32


class EnumValue(str):
    """A name that the text form writes without quotes."""


def write_triton(
    directory: str | Path,
    name: str,
    *,
    onnx_paths: Mapping[str, Path] | None = None,
    plan_paths: Mapping[str, Path] | None = None,
    version: int = 1,
    max_batch: int = 32,
    kind: str = "cpu",
) -> list[str]:
    """Writes ``<model>/config.pbtxt`` and ``<model>/<version>/model.*`` for each model given.

    Args:
        directory: the repository.
        name: the core ``model`` is ``<name>_onnx``, another core ``<name>_<core>_onnx``; plans
            have ``_tensorrt`` in the place of ``_onnx``.
        onnx_paths: ONNX file of each core; one with states is batched by sequences.
        plan_paths: TensorRT plan of each core; the ONNX file from which it was built, and its build
            report, which bounds its batch and the warm-up's length, are next to it.
        version: directory of the model.
        max_batch: largest batch that Triton makes.
        kind: "cpu" or "gpu", where ONNX Runtime computes; plans always run on the GPU.

    Returns:
        The names of the models.

    Raises:
        ServingError: a model that Triton could not load or batch; the tensor is named.
    """
    written = []
    for core, path in (onnx_paths or {}).items():
        model = _model_name(name, core, "onnx")
        config = model_config(model, "onnxruntime", path, max_batch, kind)
        _write_model(Path(directory), config, path, version)
        written.append(config["name"])
    for core, path in (plan_paths or {}).items():
        built = read_report(path).get("profile", {})
        largest = min([max_batch, *(shapes[-1][0] for shapes in built.values())])
        usual = {tensor: shapes[1][1:] for tensor, shapes in built.items()}
        model = _model_name(name, core, "tensorrt")
        config = model_config(model, "tensorrt", path.with_suffix(".onnx"), largest, "gpu", usual)
        _write_model(Path(directory), config, path, version)
        written.append(model)
    return written


def _model_name(name: str, core: str, form: str) -> str:
    return f"{name}_{form}" if core == "model" else f"{name}_{core}_{form}"


def plan_reason(plan_path: Path) -> str | None:
    """Why Triton cannot load a plan, going by ``build.json`` next to it; None if it may.

    Triton's TensorRT backend is made for one version of ``tensorrt``, which its release notes name.
    """
    library = read_report(plan_path).get("library", "tensorrt")
    if library != "tensorrt":
        return f"Triton loads plans of tensorrt, not of {library}"
    return None


def model_config(
    name: str,
    backend: str,
    described: Path,
    max_batch: int,
    kind: str = "cpu",
    warmup_shapes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Fields of ``ModelConfig``; inputs ``x`` with an output ``x_next`` are states it keeps.

    Args:
        name: name of the model and of its directory.
        backend: "onnxruntime" or "tensorrt".
        described: ONNX file that has the model's inputs and outputs.
        max_batch: largest batch that Triton makes.
        kind: "cpu" or "gpu".
        warmup_shapes: shape of each input without the batch; open sizes are ``WARMUP_STEPS``.

    Raises:
        ServingError: a tensor of another type than Triton's, or without an open batch.
    """
    graph = onnx.load(described, load_external_data=False).graph
    states = _states(graph, described)
    kept = {state[key] for state in states for key in ("input_name", "output_name")}
    inputs = [_tensor(value, described) for value in graph.input if value.name not in kept]
    outputs = [_tensor(value, described) for value in graph.output if value.name not in kept]
    config: dict[str, Any] = {
        "name": name,
        "backend": backend,
        "max_batch_size": max_batch,
        "input": inputs,
        "output": outputs,
        "instance_group": [{"kind": EnumValue(KINDS[kind]), "count": 1}],
    }
    if states:
        # No warm-up: its samples would be sequences, and one left open holds a place until idle.
        return config | {"sequence_batching": sequence_batching(states)}
    batches = dict.fromkeys((1, max_batch))
    return config | {
        "dynamic_batching": {
            "preferred_batch_size": [size for size in PREFERRED_BATCHES if size <= max_batch],
            "max_queue_delay_microseconds": QUEUE_DELAY_MICROSECONDS,
        },
        "model_warmup": [_warmup(inputs, size, warmup_shapes or {}) for size in batches],
    }


def _tensor(value: onnx.ValueInfoProto, path: Path) -> dict[str, Any]:
    kind = value.type.tensor_type
    sizes = [size.dim_value or -1 for size in kind.shape.dim]
    return tensor_fields(value.name, kind.elem_type, sizes, path)


def tensor_fields(name: str, dtype: int, sizes: list[int], where: str | Path) -> dict[str, Any]:
    """Name, type and dimensions of an input or output; the batch is not one of them.

    Args:
        name: of the tensor.
        dtype: one of ``onnx.TensorProto.DataType``.
        sizes: with the batch; -1 for what is open.
        where: file, or what else has the tensor, for an error.

    Raises:
        ServingError: Triton has no such type, or the batch is not open.
    """
    if dtype not in TYPES:
        raise ServingError(
            f"{name!r} in {where} is {onnx.TensorProto.DataType.Name(dtype)}, "
            "which Triton has no type for"
        )
    if sizes[:1] != [-1]:
        raise ServingError(
            f"{name!r} in {where} has the shape {sizes}; Triton makes batches along an open "
            "first dimension"
        )
    tensor = {"name": name, "data_type": EnumValue(TYPES[dtype]), "dims": sizes[1:]}
    # A list without entries does not exist in Triton: [batch] is a reshaped [batch, 1].
    return tensor if sizes[1:] else {**tensor, "dims": [1], "reshape": {"shape": []}}


def _states(graph: onnx.GraphProto, path: Path) -> list[dict[str, Any]]:
    """Implicit states, all zeros when a sequence starts."""
    outputs = {value.name: value for value in graph.output}
    states = []
    for value in graph.input:
        if f"{value.name}{NEXT}" not in outputs:
            continue
        tensor = _tensor(value, path)
        after = _tensor(outputs[f"{value.name}{NEXT}"], path)
        shape = {"data_type": tensor["data_type"], "dims": tensor["dims"]}
        if "reshape" in tensor or -1 in tensor["dims"]:
            raise ServingError(
                f"state {value.name!r} in {path} has the dimensions {tensor['dims']}; Triton can "
                "begin with zeros only in a known number of features"
            )
        if (after["data_type"], after["dims"]) != tuple(shape.values()):
            raise ServingError(
                f"state {value.name!r} in {path} changes its type or shape in a step"
            )
        initial = {"name": f"{value.name} zeros", **shape, "zero_data": True}
        names = {"input_name": value.name, "output_name": after["name"]}
        states.append({**names, **shape, "initial_state": [initial]})
    # Triton pairs them by their places in two sorted lists instead of by name (its issue 8586).
    for before, after in zip(
        sorted(state["input_name"] for state in states),
        sorted(state["output_name"] for state in states),
        strict=True,
    ):
        if after != f"{before}{NEXT}":
            raise ServingError(
                f"Triton would take {after!r} for state {before!r}: no state's name may begin with "
                "the whole name of another; rename the layer"
            )
    return states


def sequence_batching(states: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """One request a step; "oldest" makes batches of steps that are there, without empty slots.

    No control inputs: Triton itself puts the zeros in when a request has the start flag, and with
    this strategy every row of a batch is a request.

    Args:
        states: that Triton keeps; none where the model does.
    """
    return {
        "max_sequence_idle_microseconds": IDLE_MICROSECONDS,
        "oldest": {"max_candidate_sequences": CANDIDATE_SEQUENCES},
        "state": list(states),
    }


def _warmup(
    inputs: Sequence[Mapping[str, Any]], batch: int, shapes: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Zeros, which as ids are padding: valid for every model, whatever its vocabulary."""
    samples = []
    for tensor in inputs:
        dims = tensor["dims"] if "reshape" in tensor else shapes.get(tensor["name"], tensor["dims"])
        sample = {
            "data_type": tensor["data_type"],
            "dims": [WARMUP_STEPS if size < 0 else size for size in dims],
            "zero_data": True,
        }
        samples.append({"key": tensor["name"], "value": sample})
    return {"name": f"batch of {batch}", "batch_size": batch, "inputs": samples}


def _write_model(directory: Path, config: Mapping[str, Any], source: Path, version: int) -> None:
    target = directory / config["name"] / str(version)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target / f"model{source.suffix}")
    for weights in external_files(source):
        shutil.copy(weights, target / weights.name)
    write_text(target.parent / "config.pbtxt", text_form(config))


def external_files(source: Path) -> list[Path]:
    """Weights of an ONNX file that are not in it.

    Args:
        source: the file; one of another sort has none.
    """
    if source.suffix != ".onnx":
        return []
    names = {
        entry.value
        for tensor in onnx.load(source, load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [source.parent / name for name in sorted(names)]


def text_form(fields: Mapping[str, Any], indent: str = "") -> str:
    """Protocol buffers' text form of nested dicts and lists.

    >>> print(text_form({"name": "m", "dims": [-1, 2], "kind": EnumValue("KIND_CPU")}), end="")
    name: "m"
    dims: -1
    dims: 2
    kind: KIND_CPU
    """
    lines = []
    for key, value in fields.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, Mapping):
                inner = text_form(item, indent + "  ")
                lines.append(f"{indent}{key} {{\n{inner}{indent}}}\n")
            else:
                lines.append(f"{indent}{key}: {_scalar(item)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, EnumValue) or not isinstance(value, str):
        return str(value)
    return json.dumps(value, ensure_ascii=False)  # the same escapes in both
