"""One exported graph run by ONNX Runtime. No TensorFlow."""

from __future__ import annotations

import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from common.machine import usable_cores
from pipelines.program import NEXT
from pipelines.ragged import Arrays, Fields
from serving.batch_parts import MIN_ROWS, MIN_STEPS, BusyCores, cut, joined, time_axes, trimmed
from serving.errors import RequestError, ServingError

# Initialiser that says whether loops may stand for operators, which only a CPU is quicker with.
LOOPS = "seqloom.loops"
_CPU_ONLY = {"CPUExecutionProvider", "AzureExecutionProvider"}
# Listed wherever the CUDA provider is, with or without its library; it would build an engine for
# each new shape. Plans have a backend of their own.
_UNUSED = {"TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"}
_NUMPY = {"float": "float32", "double": "float64", "string": "object"}
_FAILED = (errors.Fail, errors.RuntimeException)
_BUSY = BusyCores()  # with the runs of all files


class OnnxCore:
    """An ONNX file as a ``pipelines.program.Core``.

    A batch of many rows is run in parts side by side (``serving.batch_parts``) by a second session,
    of one thread, that is made when it is first needed and holds the weights once more.

    Args:
        path: the file.
        threads: number of ONNX Runtime's threads, and of parts at most; if None there is one for
            each core, and ONNX Runtime chooses.
        fields: inputs whose rows may be lengthened, of a file whose answer to a row depends on no
            other row. None: it is not known to be so, and no batch is run in parts.

    Raises:
        ServingError: there is no such file, or it cannot be loaded.
    """

    def __init__(
        self, path: str | Path, threads: int | None = None, fields: Fields | None = None
    ) -> None:
        if not Path(path).is_file():
            raise ServingError(f"{path} is not there; export one with `--format onnx`")
        self._path, self._making = Path(path), threading.Lock()
        self._loaded_file = _identity(self._path)
        listed = onnxruntime.get_available_providers()
        self._providers = [name for name in listed if name not in _UNUSED]
        self.session = self._loaded(threads)
        if not self._on_cpu and _CPU_ONLY.issuperset(self.session.get_providers()):
            # The libraries of what is listed do not load.
            self._providers = ["CPUExecutionProvider"]
            self.session = self._loaded(threads)
        outputs, inputs = self.session.get_outputs(), self.session.get_inputs()
        self._outputs = [output.name for output in outputs]
        self._shapes = {given.name: tuple(given.shape) for given in inputs}
        self._dtypes = {given.name: _dtype(given) for given in inputs}
        self.inputs = tuple(self._shapes)
        self.states = {
            name: shape[1:] for name, shape in self._shapes.items()
            if f"{name}{NEXT}" in self._outputs
        }  # fmt: skip
        self._axes = time_axes(self._shapes, fields or {})
        self._cores = usable_cores()
        self._timed = [
            name for name, shape in self._shapes.items()
            if len(shape) > 2 or (len(shape) > 1 and isinstance(shape[1], str))
        ]  # fmt: skip
        batches = {node.shape[0] if node.shape else None for node in (*inputs, *outputs)}
        parted = fields is not None and self._on_cpu and batches == {"batch"}
        self._parts = (threads or self._cores) if parted else 1

    @property
    def _on_cpu(self) -> bool:
        return _CPU_ONLY.issuperset(self._providers)

    def _loaded(self, threads: int | None) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        if not self._on_cpu:
            if hasattr(onnxruntime, "preload_dlls"):
                with contextlib.redirect_stdout(sys.stderr):  # it says there what it lacks
                    onnxruntime.preload_dlls()  # CUDA and cuDNN out of NVIDIA's wheels
            self._no = onnxruntime.OrtValue.ortvalue_from_numpy(np.array(False))
            options.add_initializer(LOOPS, self._no)  # which does not keep it
        try:
            return onnxruntime.InferenceSession(self._path, options, providers=self._providers)
        except Exception as error:  # noqa: BLE001  its errors share no base but this one
            raise ServingError(f"{self._path} cannot be loaded by ONNX Runtime: {error}") from error

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
        wanted = self._parts_of(arrays, sizes["batch"])
        with _BUSY.taken(wanted, self._cores) as count:
            if wanted == 1:
                return self.unchecked(arrays)
            return self._in_parts(arrays, sizes["batch"], count)

    def unchecked(self, arrays: Arrays) -> Arrays:
        """The same for exactly the model's inputs, of the right dtypes and shapes and not empty.

        Raises:
            RequestError: ONNX Runtime failed.
        """
        return self._run(self.session, arrays)

    def _run(self, session: onnxruntime.InferenceSession, arrays: Arrays) -> Arrays:
        try:
            got = session.run(self._outputs, arrays)
        except errors.InvalidArgument as error:
            raise RequestError(str(error)) from error
        except _FAILED as error:
            raise RequestError(str(error), code="INTERNAL") from error
        return dict(zip(self._outputs, got, strict=True))

    def _parts_of(self, arrays: Arrays, rows: int) -> int:
        """How many parts of a batch are worth their while, if cores are idle."""
        if self._parts == 1 or rows < 2 * MIN_ROWS:
            return 1
        steps = max((arrays[name].shape[1] for name in self._timed), default=1)
        return min(self._parts, rows // MIN_ROWS) if rows * steps >= MIN_STEPS else 1

    def _in_parts(self, arrays: Arrays, size: int, count: int) -> Arrays:
        """``unchecked`` in so many parts; past the end of a row an output may be zero."""
        with self._making:
            session, pool = self._single, self._pool
        if count == 1:
            return self._run(session, arrays)
        lengths = [axis.lengths(arrays) for axis in self._axes]
        rows = cut(sum(lengths, np.zeros(size, np.int64)), count)
        parts = [{name: array[numbers] for name, array in arrays.items()} for numbers in rows]
        for i, numbers in enumerate(rows[:-1]):  # the last one gives outputs their whole length
            parts[i] = trimmed(parts[i], self._axes, [each[numbers] for each in lengths])
        others = [pool.submit(self._run, session, part) for part in parts[:-1]]
        try:
            last = self._run(session, parts[-1])
        finally:
            wait(others)
        return joined([*(other.result() for other in others), last], rows)

    @cached_property
    def _single(self) -> onnxruntime.InferenceSession:
        # A version that is still served may be gone by now, or another be in its place.
        same = self._loaded_file == _identity(self._path)
        return self._loaded(1) if same else self.session

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max(1, self._parts - 1), "part")

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


def _identity(path: Path) -> tuple[int, ...] | None:
    """What tells a file from one that took its place; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _text(shape: tuple) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _empty(node: onnxruntime.NodeArg, sizes: dict[str, int]) -> np.ndarray:
    """No rows of an output; an open dimension has the inputs' size."""
    shape = [dim if isinstance(dim, int) else sizes.get(dim, 0) for dim in node.shape[1:]]
    return np.zeros((0, *shape), _dtype(node))


def _dtype(node: onnxruntime.NodeArg) -> np.dtype:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    return np.dtype(_NUMPY.get(kind, kind))
