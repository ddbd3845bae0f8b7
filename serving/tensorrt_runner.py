"""Runs a TensorRT plan on a GPU, with NumPy arrays in and out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.preprocessor import Arrays, load_preprocessor
from serving.errors import ServingError
from serving.tensorrt_engine import gpu_reason, load_library


class EngineRunner:
    """One plan and one execution context; not for use by two threads at once.

    Args:
        path: of the plan.
        library: "tensorrt" or "tensorrt_rtx"; the plan must be of that library and version.

    Raises:
        ServingError: there is no GPU here, or the plan is not for it.
    """

    def __init__(self, path: str | Path, library: str | None = None) -> None:
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
        engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(
            Path(path).read_bytes()
        )
        if engine is None:
            raise ServingError(
                f"{path} is not for this GPU or not of {trt.__name__} {trt.__version__}; build it "
                "anew with `seqloom export --format tensorrt`"
            )
        self._engine = engine
        self._context = engine.create_execution_context()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        is_input = {n: engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT for n in names}
        self.inputs = [name for name in names if is_input[name]]
        self.outputs = [name for name in names if not is_input[name]]
        self._stream = self._call("cudaStreamCreate")
        self._memory: dict[str, tuple[int, int]] = {}

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Inputs by name to outputs by name; shapes within the plan's profile.

        Raises:
            ServingError: a shape outside of the profile, or CUDA failed.
        """
        kept = []  # until the stream has read them
        for name in self.inputs:
            dtype = self._nptype(self._engine.get_tensor_dtype(name))
            array = np.ascontiguousarray(feeds[name], dtype)
            kept.append(array)
            if not self._context.set_input_shape(name, array.shape):
                raise ServingError(f"input {name!r} of shape {array.shape} is not in the profile")
            self._copy(self._place(name, array.nbytes), array.ctypes.data, array.nbytes, "In")
        missing = self._context.infer_shapes()
        if missing:
            raise ServingError(f"the engine still needs {', '.join(missing)}")
        results = {}
        for name in self.outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            results[name] = np.empty(shape, self._nptype(self._engine.get_tensor_dtype(name)))
            self._place(name, results[name].nbytes)
        if not self._context.execute_async_v3(int(self._stream)):
            raise ServingError("the engine did not run; see TensorRT's log")
        for name, array in results.items():
            self._copy(array.ctypes.data, self._memory[name][0], array.nbytes, "Out")
        self._call("cudaStreamSynchronize", self._stream)
        return results

    def _place(self, name: str, size: int) -> int:
        """Device memory of at least that size, bound to the tensor."""
        address, room = self._memory.get(name, (0, 0))
        if room < size or not room:
            if address:
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
        """Frees memory and stream; ``run`` fails afterwards."""
        for address, _ in self._memory.values():
            self._call("cudaFree", address)
        self._memory.clear()
        if self._stream is not None:
            self._call("cudaStreamDestroy", self._stream)
            self._stream = None

    def __enter__(self) -> EngineRunner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class EngineModel(EngineRunner):
    """A directory with ``model.plan`` and its preprocessor: wire arrays to wire arrays."""

    def __init__(self, directory: str | Path, library: str | None = None) -> None:
        super().__init__(Path(directory) / "model.plan", library)
        self.preprocessor = load_preprocessor(directory)

    def answer(self, wire: Arrays) -> Arrays:
        """As the served signature has them."""
        return self.preprocessor.decode(self.run(self.preprocessor.encode(wire)))
