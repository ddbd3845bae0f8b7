"""A Triton model repository: ONNX or plan with dynamic batching, step models with their states.

Sources: Triton Inference Server, "Model Configuration", "Implicit State Management", and the
protocol buffer ``model_config.proto``, whose text form is written here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from pipelines.files import write_text

TYPES = {
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.FLOAT16: "TYPE_FP16",
    onnx.TensorProto.INT32: "TYPE_INT32",
    onnx.TensorProto.INT64: "TYPE_INT64",
    onnx.TensorProto.BOOL: "TYPE_BOOL",
    onnx.TensorProto.STRING: "TYPE_STRING",
}
PREFERRED_BATCHES = (8, 16, 32)
# Longer than a batch of a small model computes, shorter than a person notices.
QUEUE_DELAY_MICROSECONDS = 500
IDLE_MICROSECONDS = 60_000_000
WARMUP_STEPS = 32
NEXT = "_next"


class Enum(str):
    """A name that the text form writes without quotes."""


def write_triton(
    directory: str | Path,
    name: str,
    *,
    onnx_path: Path | None = None,
    plan_path: Path | None = None,
    step_path: Path | None = None,
    version: int = 1,
    max_batch: int = 32,
) -> list[str]:
    """Writes ``<model>/config.pbtxt`` and ``<model>/<version>/model.*`` for each model given.

    Args:
        directory: the repository.
        name: of the ONNX model; the plan is ``<name>_tensorrt``, the step model ``<name>_step``.
        onnx_path: whole-sequence model.
        plan_path: TensorRT plan; the ONNX file that it was built from, ``model.onnx``, is beside.
        step_path: model of one step, with states.
        version: directory of the model.
        max_batch: greatest batch that Triton makes.

    Returns:
        The names of the models.
    """
    models = {}
    if onnx_path:
        models[name] = (onnx_path, "onnxruntime", onnx_path, _dynamic(max_batch))
    if plan_path:
        described = plan_path.with_name("model.onnx")
        models[f"{name}_tensorrt"] = (plan_path, "tensorrt", described, _dynamic(max_batch))
    if step_path:
        models[f"{name}_step"] = (step_path, "onnxruntime", step_path, _sequences(step_path))
    for model, (source, backend, described, batching) in models.items():
        place = Path(directory) / model / str(version)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place / f"model{source.suffix}")
        config = model_config(model, backend, described, max_batch, batching)
        write_text(place.parent / "config.pbtxt", text_form(config))
    return list(models)


def model_config(
    name: str, backend: str, described: Path, max_batch: int, batching: Mapping[str, Any]
) -> dict[str, Any]:
    """Fields of ``ModelConfig``; inputs and outputs are those of an ONNX file.

    States of a step model are not among them: Triton keeps them.
    """
    graph = onnx.load(described, load_external_data=False).graph
    states = {
        state[key]
        for state in batching.get("sequence_batching", {}).get("state", ())
        for key in ("input_name", "output_name")
    }
    inputs = [_tensor(value) for value in graph.input if value.name not in states]
    outputs = [_tensor(value) for value in graph.output if value.name not in states]
    kind = "KIND_GPU" if backend == "tensorrt" else "KIND_CPU"
    return {
        "name": name,
        "backend": backend,
        "max_batch_size": max_batch,
        "input": inputs,
        "output": outputs,
        "instance_group": [{"kind": Enum(kind), "count": 1}],
        **batching,
        # A sequence would have to be ended: step models warm up on their first requests.
        **({} if states else {"model_warmup": [_warmup(inputs, size) for size in (1, max_batch)]}),
    }


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """Name, type and dimensions; the batch is not one of them."""
    kind = value.type.tensor_type
    dims = [size.dim_value or -1 for size in kind.shape.dim[1:]]
    tensor = {"name": value.name, "data_type": Enum(TYPES[kind.elem_type]), "dims": dims}
    # A list without entries does not exist in Triton: [batch] is a reshaped [batch, 1].
    return tensor if dims else {**tensor, "dims": [1], "reshape": {"shape": []}}


def _dynamic(max_batch: int) -> dict[str, Any]:
    return {
        "dynamic_batching": {
            "preferred_batch_size": [size for size in PREFERRED_BATCHES if size <= max_batch],
            "max_queue_delay_microseconds": QUEUE_DELAY_MICROSECONDS,
        }
    }


def _sequences(step_path: Path) -> dict[str, Any]:
    """Implicit states, all zeros when a sequence starts."""
    graph = onnx.load(step_path, load_external_data=False).graph
    outputs = {value.name for value in graph.output}
    states = []
    for value in graph.input:
        if f"{value.name}{NEXT}" in outputs:
            tensor = _tensor(value)
            shape = {"data_type": tensor["data_type"], "dims": tensor["dims"]}
            initial = {"name": f"{value.name}_zeros", **shape, "zero_data": True}
            states.append(
                {"input_name": value.name, "output_name": f"{value.name}{NEXT}", **shape,
                 "initial_state": [initial]}
            )  # fmt: skip
    return {
        "sequence_batching": {
            "max_sequence_idle_microseconds": IDLE_MICROSECONDS,
            "oldest": {"max_candidate_sequences": 1024},
            "state": states,
        }
    }


def _warmup(inputs: Sequence[Mapping[str, Any]], batch: int) -> dict[str, Any]:
    """Zeros, which as ids are padding: valid for every model, whatever its vocabulary."""
    return {
        "name": f"batch of {batch}",
        "batch_size": batch,
        "inputs": [
            {
                "key": tensor["name"],
                "value": {
                    "data_type": tensor["data_type"],
                    "dims": [WARMUP_STEPS if size < 0 else size for size in tensor["dims"]],
                    "zero_data": True,
                },
            }
            for tensor in inputs
        ],
    }


def text_form(fields: Mapping[str, Any], indent: str = "") -> str:
    """Protocol buffers' text form of nested dicts and lists.

    >>> print(text_form({"name": "m", "dims": [-1, 2], "kind": Enum("KIND_CPU")}), end="")
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
    if isinstance(value, Enum) or not isinstance(value, str):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
