"""One exported graph run by ONNX Runtime. No TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from pipelines.program import NEXT
from pipelines.ragged import Arrays
from serving.errors import RequestError, ServingError

# Initialiser that says whether loops may stand for operators, which only a CPU is quicker with.
LOOPS = "seqloom.loops"
_CPU_ONLY = {"CPUExecutionProvider", "AzureExecutionProvider"}
_NUMPY = {"float": "float32", "double": "float64", "string": "object"}
_FAILED = (errors.Fail, errors.RuntimeException)


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
        providers = onnxruntime.get_available_providers()
        if not _CPU_ONLY.issuperset(providers):
            self._no = onnxruntime.OrtValue.ortvalue_from_numpy(np.array(False))
            options.add_initializer(LOOPS, self._no)  # which does not keep it
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # noqa: BLE001  its errors share no base but this one
            raise ServingError(f"{path} cannot be loaded by ONNX Runtime: {error}") from error
        self._outputs = [output.name for output in self.session.get_outputs()]
        self._shapes = {given.name: tuple(given.shape) for given in self.session.get_inputs()}
        self._dtypes = {given.name: _dtype(given) for given in self.session.get_inputs()}
        self.inputs = tuple(self._shapes)
        self.states = {
            name: shape[1:] for name, shape in self._shapes.items()
            if f"{name}{NEXT}" in self._outputs
        }  # fmt: skip

    def __call__(self, arrays: Arrays) -> Arrays:
        """Inputs by name to outputs by name; other arrays are left aside.

        Native kernels end the process on empty tensors: an empty batch is answered here, and an
        input of another shape than the file's, or without a step, is refused.

        Raises:
            RequestError: an input is missing, of another dtype or of an impossible shape; or ONNX
                Runtime failed, such as at an id that an embedding does not have.
        """
        arrays = {n: np.asarray(arrays[n]) for n in self.inputs if n in arrays}
        sizes = self._sizes(arrays)
        if not sizes["batch"]:
            return {node.name: _empty(node, sizes) for node in self.session.get_outputs()}
        return self.unchecked(arrays)

    def unchecked(self, arrays: Arrays) -> Arrays:
        """The same for exactly the model's inputs, of the right dtypes and shapes and not empty.

        Raises:
            RequestError: ONNX Runtime failed.
        """
        try:
            got = self.session.run(self._outputs, arrays)
        except errors.InvalidArgument as error:
            raise RequestError(str(error)) from error
        except _FAILED as error:
            raise RequestError(str(error), code="INTERNAL") from error
        return dict(zip(self._outputs, got, strict=True))

    def _sizes(self, arrays: Arrays) -> dict[str, int]:
        """Size of the batch, and of the other dimensions that the file leaves open, by name.

        Two inputs may have open dimensions of one name and different size: the last one counts.
        """
        sizes: dict[str, int] = {}
        for name, shape in self._shapes.items():
            if name not in arrays:
                raise RequestError(f"the model needs input {name!r} {_text(shape)}")
            given, dtype = arrays[name].shape, arrays[name].dtype
            if dtype != self._dtypes[name]:
                raise RequestError(
                    f"input {name!r} is of type {dtype}; the model takes {self._dtypes[name]}"
                )
            fits = len(given) == len(shape) and all(
                size == wanted if isinstance(wanted, int) and axis else size or not given[0]
                for axis, (size, wanted) in enumerate(zip(given, shape, strict=True))
            )
            if not fits or given[0] != sizes.setdefault("batch", given[0]):
                rows = f" of {sizes['batch']} rows" if "batch" in sizes else ""
                raise RequestError(
                    f"input {name!r} has shape {list(given)}; the model takes {_text(shape)}{rows}"
                )
            dims = zip(shape[1:], given[1:], strict=True)
            sizes.update({dim: size for dim, size in dims if isinstance(dim, str)})
        return sizes


def _text(shape: tuple) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _empty(node: onnxruntime.NodeArg, sizes: dict[str, int]) -> np.ndarray:
    """No rows of an output; an open dimension has the inputs' size."""
    shape = [dim if isinstance(dim, int) else sizes.get(dim, 0) for dim in node.shape[1:]]
    return np.zeros((0, *shape), _dtype(node))


def _dtype(node: onnxruntime.NodeArg) -> np.dtype:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    return np.dtype(_NUMPY.get(kind, kind))
