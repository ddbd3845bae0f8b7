"""Models of Triton's Python backend: the signatures of a bundle, with their preprocessor.

A client sends text, windows or waveforms, as to this project's own server. The model's directory
holds all of the project's code that it needs, as it was when the model was exported.

Sources: Triton Inference Server, Python backend, README; "Model Configuration"; "Ragged Batching".
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from common.files import write_text
from pipelines.program import DEFAULT, LoadedProgram
from serving.triton import (
    EnumValue,
    external_files,
    sequence_batching,
    tensor_fields,
    text_form,
)

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("common", "decoding", "pipelines", "serving")
CODE = "seqloom.zip"
# What the server's Python needs.
REQUIREMENTS = "numpy onnxruntime protobuf"
# One thread for each batch, as in this project's own server: batches run side by side.
PARAMETERS = {"threads": "1"}
MODEL = f'''"""Written by seqloom export: answers with the preprocessor and ONNX Runtime."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("{CODE}")))
try:
    from serving.runtime.triton_model import TritonPythonModel  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"Triton's Python has no {{error.name}}: pip install {REQUIREMENTS}"
    ) from error
'''


def write_python_models(
    directory: str | Path,
    name: str,
    programs: Mapping[str, LoadedProgram],
    onnx_directory: Path,
    version: int = 1,
    max_batch: int = 32,
) -> list[str]:
    """Writes ``<model>/config.pbtxt`` and ``<model>/<version>/model.py`` for each signature.

    Args:
        directory: the repository.
        name: name of the model of ``serving_default``; another one's is ``<name>_<signature>``.
        programs: by the name of the signature.
        onnx_directory: such as ``BUNDLE/onnx/1``: ``<core>.onnx`` files and their preprocessor.
        version: directory of the model.
        max_batch: largest batch that Triton makes, and number of rows in a request.

    Returns:
        The names of the models.

    Raises:
        ServingError: a tensor that Triton has no type for, or could not batch.
    """
    written = []
    for signature, program in programs.items():
        model = name if signature == DEFAULT else f"{name}_{signature}"
        config = python_config(model, signature, program, max_batch)
        target = Path(directory) / model / str(version)
        target.mkdir(parents=True)
        for source in _files(onnx_directory, program):
            place = target / source.relative_to(onnx_directory)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
        write_code(target / CODE)
        write_text(target / "model.py", MODEL)
        write_text(target.parent / "config.pbtxt", text_form(config))
        written.append(model)
    return written


def python_config(
    name: str, signature: str, program: LoadedProgram, max_batch: int
) -> dict[str, Any]:
    """Fields of ``ModelConfig``: the tensors of a signature, without states, which the model keeps.

    Args:
        name: name of the model and of its directory.
        signature: name of the signature.
        program: the signature's program.
        max_batch: largest batch that Triton makes.

    Raises:
        ServingError: a tensor that Triton has no type for, or could not batch.
    """
    known = program.program.signature
    inputs = [_tensor(n, spec) for n, spec in known["inputs"].items()]
    for tensor, spec in zip(inputs, known["inputs"].values(), strict=True):
        if "default" in spec:
            tensor["optional"] = True
        if -1 in tensor["dims"]:
            # Requests of different lengths come in one batch; the model pads and joins them.
            tensor["allow_ragged_batch"] = True
    parameters = {"signature": signature, **PARAMETERS}
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": max_batch,
        "input": inputs,
        "output": [_tensor(n, spec) for n, spec in known["outputs"].items()],
        "instance_group": [{"kind": EnumValue("KIND_CPU"), "count": 1}],
        "parameters": [
            {"key": key, "value": {"string_value": value}} for key, value in parameters.items()
        ],
        # Without a delay: what came while a batch was computed is the next batch.
        **({"sequence_batching": sequence_batching()} if program.states
           else {"dynamic_batching": {}}),
    }  # fmt: skip


def _tensor(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    dtype = spec["dtype"]
    number = (
        onnx.TensorProto.STRING
        if dtype == "string"
        else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    )
    return tensor_fields(name, number, list(spec["shape"]), "the signature")


def _files(onnx_directory: Path, program: LoadedProgram) -> Iterator[Path]:
    """The cores of a program, and all that is no core: the preprocessor's files."""
    cores = [onnx_directory / f"{core}.onnx" for core in program.program.cores]
    weights = {path for core in onnx_directory.glob("*.onnx") for path in external_files(core)}
    for core in cores:
        yield core
        yield from external_files(core)
    for path in sorted(onnx_directory.rglob("*")):
        if path.is_file() and path.suffix != ".onnx" and path not in weights:
            yield path


def write_code(path: Path) -> None:
    """The packages that a model runs, as a zip that Python imports from; the same bytes each time.

    Args:
        path: of the zip.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in PACKAGES:
            for source in sorted((ROOT / package).rglob("*")):
                if source.suffix in (".py", ".binpb"):
                    entry = zipfile.ZipInfo(str(source.relative_to(ROOT)))
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, source.read_bytes())
