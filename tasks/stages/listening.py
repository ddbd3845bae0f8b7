"""Sound answered as it comes: ``seqloom predict --stream`` of kinds that hear."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError
from pipelines.live import Answering, Live, StreamResampler
from pipelines.program import DEFAULT, NEXT, LoadedProgram
from pipelines.ragged import Arrays

if TYPE_CHECKING:
    from pipelines.preprocessor import Preprocessor
    from serving.client import Client
    from tasks.kinds.contract import Task

SECONDS = 10.0  # of a file that are in memory at a time


def listen(
    place: Path,
    paths: Sequence[str],
    flags: Mapping[str, Any],
    show: Callable[[str], None],
    tell: Callable[[str], None],
    client: Client | None = None,
) -> list[dict[str, Any]]:
    """Follows files of sound from beginning to end, however long they are.

    Args:
        place: a run or a bundle.
        paths: of the files; each is a stream of its own.
        flags: decoding settings.
        show: called with what was heard, as it is heard.
        tell: takes a note for a person.
        client: of a server that answers in the model's place; what the answers mean is still read
            from the directory.

    Returns:
        ``{"file", "heard": [...]}`` for each file; see ``Task.live`` for what is heard.

    Raises:
        DataError: there is no file, one cannot be read, a flag is no decoding setting, or the kind
            does not answer sound as it comes.
    """
    from tasks.stages.predicting import predict_flags, task_of

    if not paths:
        raise DataError("there is no input; name a file of sound to follow")
    task = task_of(place)
    reading, decoding = predict_flags(task, flags)
    if reading:
        raise DataError(f"--stream reads no data: leave --{min(reading)} away")
    for path in paths:
        _check(path)
    preprocessor, model = _model_of(task, place, client)
    settings, found = task.decoding.updated(**decoding), []
    for number, path in enumerate(paths):
        live = task.live(preprocessor, model, settings)
        if live is None:
            raise DataError(f"{place}: this kind does not answer sound as it comes; leave --stream "
                            "away")  # fmt: skip
        if not number:
            for note in live.notes:
                tell(f"note: {note}")
        if len(paths) > 1:
            show(f"{path}:\n")
        found.append({"file": path, "heard": followed(live, path, show)})
    return found


def followed(live: Live, path: str | Path, show: Callable[[str], None]) -> list[dict[str, Any]]:
    """Everything that is heard in one file, shown as it is heard.

    Args:
        live: new.
        path: of the file.
        show: called with each text.

    Raises:
        DataError: the file cannot be read to its end.
    """
    from pipelines.audio import sound_blocks

    found, resampler = [], None

    def heard(samples: Any) -> None:
        for one in live.push(samples):
            show(one.text)
            found.append(one.answer)

    for block in sound_blocks(path, SECONDS):
        resampler = resampler or StreamResampler(block.rate, live.rate)
        heard(resampler.push(block.samples))
    if resampler is not None:
        heard(resampler.end())
    for one in live.end():
        show(one.text)
        found.append(one.answer)
    return found


def _check(path: str) -> None:
    from pipelines.audio import opened

    opened(path).close()


@dataclass(frozen=True)
class _Local:
    """The programs of a bundle or of a Keras model, which come when they are asked for."""

    program: Callable[[str], LoadedProgram]

    def run(self, request: Arrays, program: str = DEFAULT) -> Arrays:
        return self.program(program).run(request)

    def initial(self, program: str) -> Arrays:
        return self.program(program).initial(1)


@dataclass(frozen=True)
class _Served:
    """Those of a server."""

    client: Client

    def run(self, request: Arrays, program: str = DEFAULT) -> Arrays:
        return self.client.predict(request, program)

    def initial(self, program: str) -> Arrays:
        signature = self.client.signatures()[program]
        states = [name for name in signature["inputs"] if f"{name}{NEXT}" in signature["outputs"]]
        return {
            name: np.zeros((1, *signature["inputs"][name]["shape"][1:]), np.float32)
            for name in states
        }


def _model_of(task: Task, place: Path, client: Client | None) -> tuple[Preprocessor, Answering]:
    """The preprocessor, and what answers requests: a server, ONNX Runtime or Keras."""
    if (place / "manifest.json").is_file():
        from serving.predictor import Predictor

        predictor = Predictor(place)
        programs = predictor.model.programs
        local = _Local(programs.__getitem__)
        return predictor.preprocessor, _Served(client) if client is not None else local
    from tasks.stages.console import load_tensorflow
    from tasks.stages.predicting import keras_program
    from tasks.stages.run_directory import Run

    run = Run(place)
    preprocessor = run.preprocessor()
    if client is not None:
        return preprocessor, _Served(client)
    load_tensorflow()
    model = run.model()
    return preprocessor, _Local(cache(lambda name: keras_program(task, model, preprocessor, name)))
