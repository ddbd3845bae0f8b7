"""One exported graph run by ONNX Runtime. No TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from pipelines.program import NEXT
from pipelines.ragged import Arrays
from serving.errors import ServingError

_NUMPY = {"float": "float32", "double": "float64"}


class OnnxCore:
    """An ONNX file as a ``pipelines.program.Core``.

    Args:
        path: the file.
        threads: number of ONNX Runtime's threads; if None it chooses.

    Raises:
        ServingError: there is no such file, or it cannot be loaded.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        if not Path(path).is_file():
            raise ServingError(f"{path} is not there; export one with `--format onnx`")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # noqa: BLE001  its errors share no base but this one
            raise ServingError(f"{path} cannot be loaded by ONNX Runtime: {error}") from error
        self._outputs = [output.name for output in self.session.get_outputs()]
        given = {node.name: node.shape for node in self.session.get_inputs()}
        self.inputs = tuple(given)
        self.states = {
            name: tuple(shape[1:]) for name, shape in given.items()
            if f"{name}{NEXT}" in self._outputs
        }  # fmt: skip

    def __call__(self, arrays: Arrays) -> Arrays:
        """Inputs by name to outputs by name.

        Native kernels end the process on empty tensors, so neither an empty batch nor a row without
        steps ever reaches them.

        Raises:
            ValueError: there are rows, but an input has no steps.
        """
        if any(len(array) == 0 for array in arrays.values()):
            return {node.name: _empty(node) for node in self.session.get_outputs()}
        for name, array in arrays.items():
            if array.size == 0:
                raise ValueError(
                    f"input {name} has the shape {array.shape}: there is no step in it"
                )
        got = self.session.run(self._outputs, arrays)
        return dict(zip(self._outputs, got, strict=True))


def _empty(node: onnxruntime.NodeArg) -> np.ndarray:
    """No rows of an output."""
    sizes = [size if isinstance(size, int) else 0 for size in node.shape[1:]]
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    return np.zeros((0, *sizes), _NUMPY.get(kind, kind))
