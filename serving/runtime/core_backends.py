"""Models whose preprocessing is NumPy's: ONNX Runtime and TensorRT. No TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipelines.program import LoadedProgram
from pipelines.ragged import Arrays
from pipelines.writing import Text, WritingProgram
from serving.runtime.generation import GenerationLimits, Load
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.scheduler import Scheduler


class ProgramRunner(SignatureRunner):
    """A program with its cores behind a signature.

    Args:
        program: a program with its cores, which raises a RequestError for what is no request.
    """

    joins = True  # a program, which its preprocessor.json names, answers row by row
    guard: threading.Lock | None = None

    def __init__(self, program: LoadedProgram) -> None:
        super().__init__(program.signature)
        self.program = program
        self.fields, self.shared = program.program.fields, program.program.shared
        self.states, self.labels = program.states, program.program.labels_of

    def encode(self, inputs: Arrays) -> Arrays:
        """See ``SignatureRunner.encode``."""
        return self.program.encode(inputs)

    def schedule(self, limits: GenerationLimits, observe: Callable[[Load], None]) -> None:
        """See ``SignatureRunner.schedule``."""
        if isinstance(self.program.program, WritingProgram):
            self.scheduler = Scheduler(self.program, limits, observe, self.guard)

    def texts(self, encoded: Arrays) -> list[Text]:
        """See ``SignatureRunner.texts``."""
        return self.program.program.texts(encoded)

    def finished(self, texts: Sequence[Text]) -> Arrays:
        """See ``SignatureRunner.finished``."""
        return self.program.program.finished(texts)

    def execute(self, encoded: Arrays, timeout: float | None = None) -> Arrays:
        """See ``SignatureRunner.execute``; a run under way is not interrupted."""
        return self.program.execute(encoded)

    def decode(self, encoded: Arrays) -> Arrays:
        """See ``SignatureRunner.decode``."""
        return self.program.decode(encoded)


class _LockedRunner(ProgramRunner):
    """A program of an engine that runs one batch at a time."""

    def __init__(self, program: LoadedProgram, lock: threading.Lock) -> None:
        super().__init__(program)
        self.guard = lock

    def execute(self, encoded: Arrays, timeout: float | None = None) -> Arrays:
        """See ``SignatureRunner.execute``."""
        with self.guard:
            return super().execute(encoded)


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
        super().__init__({name: ProgramRunner(p) for name, p in programs.items()})


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
        super().__init__({n: _LockedRunner(p, lock) for n, p in self._model.programs.items()})

    def close(self) -> None:
        """Frees the GPU's memory."""
        super().close()
        self._model.close()
