"""Texts written token by token: what stands behind ``seqloom predict --stream``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from pipelines.preprocessor import Preprocessor
from pipelines.program import LoadedProgram
from pipelines.responses import settings_request
from pipelines.text import text_request
from pipelines.writing import WritingProgram

if TYPE_CHECKING:
    import keras

    from serving.client import Client
    from tasks.kinds.contract import Task

PROGRAM = "generate"


def write(
    place: Path,
    texts: Sequence[str],
    flags: Mapping[str, Any],
    show: Callable[[str], None],
    client: Client | None = None,
) -> list[dict[str, Any]]:
    """Continues texts, one after the other.

    Args:
        place: a run or a bundle; another path where a client is asked.
        texts: what is continued.
        flags: decoding settings.
        show: called with each piece of text as it is final, and with a line break after each text.
        client: of a server that writes in the model's place.

    Returns:
        ``{"text", "continuation", "finish_reason", "log_probability"}`` for each text.

    Raises:
        DataError: there is no text, the model writes none, or a flag is no decoding setting.
    """
    if not texts:
        raise DataError("there is no input; give the beginning of a text, or an empty one")
    if client is None or place.is_dir():
        from tasks.stages.predicting import predict_flags, task_of

        reading, flags = predict_flags(task_of(place), flags)
        if reading:
            raise DataError(f"--stream reads no file: leave --{min(reading)} away")
    one = _asked(client) if client is not None else _local(place)
    return [{"text": text, **one(text, dict(flags), show)} for text in texts]


def _asked(client: Client) -> Callable[..., dict[str, Any]]:
    def one(text: str, flags: dict[str, Any], show: Callable[[str], None]) -> dict[str, Any]:
        stream = client.generate(text, stream=True, **flags)
        for piece in stream:
            show(piece.text)
        show("\n")
        done = stream.texts[0]
        return _answer(done.text, done.finish_reason, done.log_probability)

    return one


def sample(
    task: Task, model: keras.Model, preprocessor: Preprocessor, wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """One text by a Keras model.

    Args:
        task: of the model.
        model: with its weights.
        preprocessor: of the model.
        wanted: what ``Task.sample`` gave.

    Returns:
        ``{"text", "continuation", "finish_reason", "log_probability"}``.
    """
    from tasks.stages.predicting import keras_program

    text, flags = wanted["text"], {name: wanted[name] for name in wanted if name != "text"}
    one = _by(keras_program(task, model, preprocessor, PROGRAM))
    return {"text": text, **one(text, flags, lambda _: None)}


def _local(place: Path) -> Callable[..., dict[str, Any]]:
    return _by(_program(place))


def _by(program: LoadedProgram) -> Callable[..., dict[str, Any]]:
    writing: Any = program.program

    def one(text: str, flags: dict[str, Any], show: Callable[[str], None]) -> dict[str, Any]:
        request = {"text": text_request([text]), **settings_request(writing, flags)}
        written = writing.texts(program.encode(request))
        for piece in writing.pieces(program.cores, written):
            show(piece.text)
        show("\n")
        return _answer(written[0].text, written[0].finish_reason, written[0].row.score)

    return one


def _program(place: Path) -> LoadedProgram:
    """The program ``generate`` of a bundle with ONNX Runtime, or of a run with Keras."""
    if (place / "manifest.json").is_file():
        from serving.predictor import Predictor

        model = Predictor(place).model
        _check(place, model.preprocessor)
        if PROGRAM not in model.programs:
            raise DataError(f"{place} has no step.onnx; export it again with `seqloom export`")
        return model.programs[PROGRAM]
    from tasks.stages.console import load_tensorflow
    from tasks.stages.predicting import keras_program, task_of
    from tasks.stages.run_directory import Run

    run = Run(place)
    preprocessor = run.preprocessor()
    _check(place, preprocessor)
    load_tensorflow()
    return keras_program(task_of(place), run.model(), preprocessor, PROGRAM)


def _check(place: Path, preprocessor: Preprocessor) -> None:
    if not isinstance(preprocessor.programs.get(PROGRAM), WritingProgram):
        raise DataError(f"{place} holds no model that writes text: leave --stream away")


def _answer(text: str, reason: str, score: float) -> dict[str, Any]:
    return {"continuation": text, "finish_reason": reason, "log_probability": score}
