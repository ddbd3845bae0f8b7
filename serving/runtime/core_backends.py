"""Models whose preprocessing is NumPy's: ONNX Runtime and TensorRT. No TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.program import LoadedProgram
from pipelines.ragged import Arrays
from serving.errors import RequestError, ServingError
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.signatures import check_inputs, check_tensors

Execute = Callable[[LoadedProgram, Arrays], Arrays]


class _ProgramRunner(SignatureRunner):
    """A program with its cores behind a signature.

    Args:
        program: a program with its cores.
        execute: runs it, and raises a RequestError for the errors of its engine.
    """

    joins = True

    def __init__(self, program: LoadedProgram, execute: Execute) -> None:
        super().__init__(program.signature)
        self.program, self._execute = program, execute
        self.fields, self.shared = program.program.fields, program.program.shared
        self.states = program.states

    def encode(self, inputs: Arrays) -> Arrays:
        """See ``SignatureRunner.encode``."""
        check_inputs(self.signature["inputs"], inputs)
        check_tensors(self.signature["inputs"], inputs)
        try:
            return self.program.encode(inputs)
        except ValueError as error:
            raise RequestError(str(error)) from error

    def execute(self, encoded: Arrays, timeout: float | None = None) -> Arrays:
        """See ``SignatureRunner.execute``; a run under way is not interrupted."""
        return self._execute(self.program, encoded)

    def decode(self, encoded: Arrays) -> Arrays:
        """See ``SignatureRunner.decode``."""
        return self.program.decode(encoded)


class OnnxBackend(Backend):
    """A directory such as ``BUNDLE/onnx/1``.

    Args:
        directory: holds ``<core>.onnx`` files and their preprocessor.
        threads: number of ONNX Runtime's threads for one batch; if None it chooses.

    Raises:
        ServingError: there is no usable model.
    """

    def __init__(self, directory: str | Path, threads: int | None = None) -> None:
        from serving.predictor import OnnxModel

        programs = OnnxModel(directory, threads).programs
        super().__init__({name: _ProgramRunner(p, translated) for name, p in programs.items()})


def translated(program: LoadedProgram, encoded: Arrays) -> Arrays:
    """Runs a program; errors of ONNX Runtime become a RequestError."""
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException as Failure

    try:
        return program.execute(encoded)
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

        self._model: Any = EngineModel(directory)
        # One execution context for each core, so one batch at a time.
        lock = threading.Lock()

        def locked(program: LoadedProgram, encoded: Arrays) -> Arrays:
            try:
                with lock:
                    return program.execute(encoded)
            except ServingError as error:
                raise RequestError(str(error)) from error

        super().__init__({n: _ProgramRunner(p, locked) for n, p in self._model.programs.items()})

    def close(self) -> None:
        """Frees the GPU's memory."""
        self._model.close()
