"""Models whose preprocessing is NumPy's: ONNX Runtime and TensorRT. No TensorFlow."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from serving.errors import RequestError, ServingError
from serving.runtime.programs import (
    DEFAULT_SIGNATURE,
    STEP_SIGNATURE,
    Arrays,
    Backend,
    Program,
    check_inputs,
    check_tensors,
)


class OnnxBackend(Backend):
    """A directory such as ``BUNDLE/onnx/1``.

    Args:
        directory: with ``model.onnx`` and its preprocessor; ``step.onnx`` too, for streams.
        threads: of ONNX Runtime for one batch; its own choice unless told.

    Raises:
        ServingError: there is no usable model.
    """

    def __init__(self, directory: str | Path, threads: int | None = None) -> None:
        from serving.predictor import OnnxModel
        from serving.streaming import RowModel

        directory = Path(directory)
        model = OnnxModel(directory, threads)
        whole = _OnnxProgram(model.preprocessor, model.execute)
        super().__init__({DEFAULT_SIGNATURE: whole})
        self._rows = None
        if (directory / "step.onnx").is_file() and hasattr(model.preprocessor, "encode_row"):
            self._rows = RowModel(directory, threads)
            self.programs[STEP_SIGNATURE] = _StepProgram(self._rows)

    def streams(self) -> Any:
        """See ``Backend.streams``."""
        return self._rows


class _CoreProgram(Program):
    """A preprocessor's NumPy face around an engine that takes and gives arrays."""

    joins = True

    def __init__(self, preprocessor: Any) -> None:
        super().__init__(preprocessor.signature)
        self.preprocessor = preprocessor
        self.padding = getattr(preprocessor, "padding", {})

    def encode(self, inputs: Arrays) -> Arrays:
        """See ``Program.encode``."""
        check_inputs(self.signature["inputs"], inputs)
        check_tensors(self.signature["inputs"], inputs)
        try:
            return self.preprocessor.encode(inputs)
        except ValueError as error:
            raise RequestError(str(error)) from error

    def decode(self, core: Arrays) -> Arrays:
        """See ``Program.decode``."""
        return self.preprocessor.decode(core)


class _OnnxProgram(_CoreProgram):
    def __init__(self, preprocessor: Any, execute: Any) -> None:
        super().__init__(preprocessor)
        self._execute = execute

    def execute(self, core: Arrays, timeout: float | None = None) -> Arrays:
        """See ``Program.execute``; a run under way is not interrupted."""
        return translated(self._execute, core)


class _StepProgram(Program):
    """One row of several series, states among inputs and outputs."""

    joins = True

    def __init__(self, rows: Any) -> None:
        super().__init__(rows.signature)
        self.rows = rows

    def encode(self, inputs: Arrays) -> Arrays:
        """See ``Program.encode``."""
        check_inputs(self.signature["inputs"], inputs)
        check_tensors(self.signature["inputs"], inputs)
        return inputs

    def execute(self, core: Arrays, timeout: float | None = None) -> Arrays:
        """See ``Program.execute``."""
        return translated(self.rows.run, core)


def translated(run: Any, core: Arrays) -> Arrays:
    """``run(core)``, with what ONNX Runtime raises as a request's error."""
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException as Failure

    try:
        return run(core)
    except (ValueError, InvalidArgument) as error:
        raise RequestError(str(error)) from error
    except (Fail, Failure) as error:
        raise RequestError(str(error), code="INTERNAL") from error


class TensorRTBackend(Backend):
    """A directory such as ``BUNDLE/tensorrt/1``: a plan, its preprocessor, and a GPU.

    Raises:
        ServingError: no library, no GPU, or a plan for another one.
    """

    def __init__(self, directory: str | Path) -> None:
        from serving.tensorrt_runner import EngineModel

        self._model = EngineModel(directory)
        super().__init__({DEFAULT_SIGNATURE: _PlanProgram(self._model)})

    def close(self) -> None:
        """Frees the GPU's memory."""
        self._model.close()


class _PlanProgram(_CoreProgram):
    """One execution context, hence one batch at a time."""

    def __init__(self, model: Any) -> None:
        super().__init__(model.preprocessor)
        self._model, self._lock = model, threading.Lock()

    def execute(self, core: Arrays, timeout: float | None = None) -> Arrays:
        """See ``Program.execute``."""
        try:
            with self._lock:
                return self._model.run(core)
        except ServingError as error:
            raise RequestError(str(error)) from error
