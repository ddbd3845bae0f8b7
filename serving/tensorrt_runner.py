"""Runs a TensorRT plan on a GPU, NumPy arrays in and out, and compares it with ONNX Runtime."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.preprocessor import load_preprocessor
from pipelines.program import DEFAULT, NEXT
from pipelines.ragged import Arrays
from serving.errors import ServingError
from serving.programs import loaded_programs
from serving.tensorrt_library import collecting_logger, gpu_reason, load_library, read_report


class EngineRunner:
    """One plan and one execution context; not for use by two threads at once.

    Args:
        path: the plan.
        library: "tensorrt" or "tensorrt_rtx"; if None the one that ``build.json`` next to the plan
            names, or else the first that is installed. A plan runs with the library and the
            version that built it.

    Raises:
        ServingError: there is no GPU here, or the plan is not for it.
    """

    def __init__(self, path: str | Path, library: str | None = None) -> None:
        built = read_report(path)
        library = library or built.get("library")
        reason = gpu_reason(library)
        if reason:
            raise ServingError(f"{path} cannot run here: {reason}")
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = load_library(library)
        from cuda.bindings import runtime

        self._cuda = runtime
        self._nptype = trt.nptype
        self._log = collecting_logger(trt)
        self._stream: Any = None
        self._memory: dict[str, tuple[int, int]] = {}  # address and size by tensor
        self._engine = trt.Runtime(self._log).deserialize_cuda_engine(Path(path).read_bytes())
        if self._engine is None:
            by = f"{built['library']} {built['version']}" if built else "an unknown library"
            raise ServingError(
                f"{path}, built by {by}, is not for this GPU or not for {trt.__name__} "
                f"{trt.__version__}{self._reason()}; build it again with "
                "`seqloom export --format tensorrt`"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise ServingError(f"{path} gives no execution context{self._reason()}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self.inputs = tuple(name for name in names if modes[name] == trt.TensorIOMode.INPUT)
        self.outputs = [name for name in names if modes[name] == trt.TensorIOMode.OUTPUT]
        self.states = {
            name: tuple(self._engine.get_tensor_shape(name))[1:]
            for name in self.inputs if f"{name}{NEXT}" in self.outputs
        }  # fmt: skip
        self._stream = self._call("cudaStreamCreate")

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Inputs by name to outputs by name; shapes within the plan's profile.

        No profile has batches of no rows: they have the shapes of one row's answer, and none of it.

        Raises:
            ServingError: other inputs than the plan's, a shape outside of the profile, or CUDA
                failed.
        """
        if self._stream is None:
            raise ServingError("the engine is closed")
        if set(feeds) != set(self.inputs):
            raise ServingError(
                f"the engine takes {', '.join(self.inputs)}, not {', '.join(feeds) or 'nothing'}"
            )
        given = {name: np.asarray(array) for name, array in feeds.items()}
        if all(array.shape[:1] == (0,) for array in given.values()):
            row = {name: np.zeros((1, *x.shape[1:]), x.dtype) for name, x in given.items()}
            return {name: array[:0] for name, array in self.run(row).items()}
        kept = []  # until the stream has read them
        for name in self.inputs:
            array = np.ascontiguousarray(given[name], self._dtype(name))
            if array.shape != given[name].shape or not array.size:
                raise ServingError(f"input {name!r} of shape {given[name].shape} is not possible")
            kept.append(array)
            if not self._context.set_input_shape(name, array.shape):
                raise ServingError(f"input {name!r} of shape {array.shape} is not in the profile")
            self._copy(self._place(name, array.nbytes), array.ctypes.data, array.nbytes, "In")
        missing = self._context.infer_shapes()
        if missing:
            raise ServingError(f"the engine still needs {', '.join(missing)}")
        results = {}
        for name in self.outputs:
            shape: tuple[int, ...] = tuple(self._context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise ServingError(f"output {name!r} has a shape that depends on the values")
            results[name] = np.empty(shape, self._dtype(name))
            self._place(name, results[name].nbytes)
        if not self._context.execute_async_v3(int(self._stream)):
            raise ServingError(f"the engine did not run{self._reason()}")
        for name, array in results.items():
            self._copy(array.ctypes.data, self._memory[name][0], array.nbytes, "Out")
        self._call("cudaStreamSynchronize", self._stream)
        return results

    __call__ = run

    def _dtype(self, name: str) -> Any:
        return self._nptype(self._engine.get_tensor_dtype(name))

    def _reason(self) -> str:
        return f": {'; '.join(self._log.errors)}" if self._log.errors else ""

    def _place(self, name: str, size: int) -> int:
        """Device memory of that size or more, bound to the tensor; it grows and is kept."""
        address, room = self._memory.get(name, (0, 0))
        if room < size or not room:
            if address:
                del self._memory[name]
                self._call("cudaFree", address)
            address, room = self._call("cudaMalloc", max(size, 1)), max(size, 1)
            self._memory[name] = (address, room)
        self._context.set_tensor_address(name, address)
        return address

    def _copy(self, to: int, source: int, size: int, way: str) -> None:
        kinds = self._cuda.cudaMemcpyKind
        kind = kinds.cudaMemcpyHostToDevice if way == "In" else kinds.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", to, source, size, kind, self._stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *values = getattr(self._cuda, name)(*arguments)
        if int(status):
            raise ServingError(f"{name} failed: {status.name}")
        return values[0] if values else None

    def close(self) -> None:
        """Frees memory, stream and engine; ``run`` fails afterwards."""
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        del self._context, self._engine  # with them go the weights on the GPU
        while self._memory:
            _, (address, _) = self._memory.popitem()
            self._call("cudaFree", address)
        self._call("cudaStreamDestroy", stream)

    def __enter__(self) -> EngineRunner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class EngineModel:
    """A directory with ``<core>.plan`` files and their preprocessor.

    Args:
        directory: such as ``BUNDLE/tensorrt/1``.
        library: "tensorrt" or "tensorrt_rtx"; see ``EngineRunner``.

    Attributes:
        programs: programs whose cores all exist, by the name of the signature.
    """

    def __init__(self, directory: str | Path, library: str | None = None) -> None:
        self.preprocessor = load_preprocessor(directory)
        programs = self.preprocessor.programs
        names = dict.fromkeys(name for program in programs.values() for name in program.cores)
        paths = {name: Path(directory) / f"{name}.plan" for name in names}
        self.cores = {
            name: EngineRunner(path, library) for name, path in paths.items() if path.is_file()
        }
        self.programs = loaded_programs(programs, self.cores)

    def run(self, request: Arrays, signature_name: str = DEFAULT) -> Arrays:
        """Request tensors to response tensors, as the signature has them."""
        return self.programs[signature_name].run(request)

    def close(self) -> None:
        """Frees the GPU's memory."""
        for core in self.cores.values():
            core.close()

    def __enter__(self) -> EngineModel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def verify_engine(
    plan_path: str | Path,
    onnx_path: str | Path,
    batches: Sequence[Mapping[str, np.ndarray]],
    repeats: int = 20,
) -> dict[str, Any]:
    """Runs an engine and ONNX Runtime on the same batches.

    Returns:
        ``{"difference": largest absolute one, "differences": per output, "latency_ms": per batch
        size, "onnxruntime_latency_ms": per batch size}``, medians of ``repeats`` warm calls. An
        output that is no number on one side only, or of another shape, differs by NaN or infinity.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    differences = dict.fromkeys(names, 0.0)
    times: dict[str, dict[str, float]] = {"latency_ms": {}, "onnxruntime_latency_ms": {}}
    with EngineRunner(plan_path) as engine:
        for batch in batches:
            feeds = dict(batch)
            got, want = engine.run(feeds), dict(zip(names, session.run(names, feeds), strict=True))
            for name in names:
                # np.maximum keeps a NaN, which is no difference to pass over.
                differences[name] = float(
                    np.maximum(differences[name], _far(got[name], want[name]))
                )
            size = str(len(next(iter(feeds.values()))))
            times["latency_ms"][size] = _median_ms(partial(engine.run, feeds), repeats)
            times["onnxruntime_latency_ms"][size] = _median_ms(
                partial(session.run, names, feeds), repeats
            )
    largest = float(np.max(list(differences.values())))
    return {"difference": largest, "differences": differences, **times}


def _far(got: np.ndarray, want: np.ndarray) -> float:
    if got.shape != want.shape:
        return math.inf
    same = (got == want) | (np.isnan(got) & np.isnan(want))  # equal infinities are no difference
    with np.errstate(invalid="ignore"):
        gaps = np.abs(got.astype(np.float64) - want)
    return float(np.where(same, 0.0, gaps).max(initial=0.0))


def _median_ms(call: Callable[[], Any], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)
