"""Answers of a Keras model, a run or a bundle to raw inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from pipelines.answer_files import AskedFile
from pipelines.preprocessor import Preprocessor
from pipelines.program import DEFAULT, KerasCore, LoadedProgram
from pipelines.responses import (
    Responses,
    answering,
    asking,
    readable,
    respond,
    separated,
    settings_request,
)
from pipelines.writing import WritingProgram
from tasks.kinds.contract import DataOptions, Task
from tasks.stages.console import load_tensorflow

if TYPE_CHECKING:
    import keras

    from serving.client import Client


def keras_program(
    task: Task, model: keras.Model, preprocessor: Preprocessor, name: str = DEFAULT
) -> LoadedProgram:
    """A program of the preprocessor around the Keras model."""
    cores = {name: KerasCore(core) for name, core in task.cores(model).items()}
    return LoadedProgram(preprocessor.programs[name], cores)


def keras_responses(
    task: Task, model: keras.Model, preprocessor: Preprocessor, raw: Sequence[Any]
) -> Responses:
    """What ``serving_default`` answers to raw inputs."""
    program = keras_program(task, model, preprocessor)
    return respond(program.program, preprocessor.to_request, program.run, raw)


@dataclass(frozen=True)
class Predictions:
    """What was asked, what was answered, and one readable line of each."""

    raw: list[Any]
    answers: list[dict[str, Any]]
    lines: list[str]
    files: list[Path]
    notes: list[str]


def predict(
    directory: Path,
    inputs: Sequence[str],
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    out: Path | None = None,
    client: Client | None = None,
    name: str = DEFAULT,
) -> Predictions:
    """Answers of a run or of a bundle; a bundle answers without TensorFlow.

    Args:
        directory: of the run or the bundle.
        inputs: raw inputs as text: themselves, or JSON where the task takes arrays.
        file: with more raw inputs.
        flags: how the file is read, where that is not how the training data was read; and decoding
            settings.
        out: file of the answers to write, with a picture next to it where there is one.
        client: of a server that answers in the model's place; what the answers mean is still read
            from the directory.
        name: of the program that answers.

    Raises:
        DataError: the directory is neither, there is nothing to answer, or a flag is neither of
            reading nor of decoding.
    """
    from serving.predictor import Predictor
    from tasks.stages.run_directory import Run

    is_bundle = (directory / "manifest.json").is_file()
    config, task = _config(directory), task_of(directory)
    reading, decoding = predict_flags(task, flags or {})
    trained = DataOptions(**config["data"])
    where = task.data_options(trained.source, **{**trained.reading, **reading})
    run = Predictor(directory) if is_bundle else Run(directory)
    preprocessor = run.preprocessor if is_bundle else run.preprocessor()
    task = task.as_trained(preprocessor)
    _check_program(preprocessor, name, decoding)
    raw, notes = [task.parse_input(text) for text in inputs], []
    if file is not None:
        more, notes = task.read_inputs(file, where, preprocessor)
        raw += more
    if not raw:
        raise DataError("there is no input; give some as arguments or --file FILE")
    if client is not None:
        program = preprocessor.programs[name]
        request = asking(preprocessor, name)(raw) | settings_request(program, decoding)
        response = separated(program, client.predict(request, name))
        answers = answering(preprocessor, name)(response, raw)
    elif is_bundle:
        answers = run.predict(raw, name, **decoding)
    else:
        load_tensorflow()  # only now: what is wrong with the inputs is said at once
        program = keras_program(task, run.model(), preprocessor, name)
        answers = readable(program, preprocessor, raw, decoding, name)
    line = task.format_answer if name == DEFAULT else task.format_other
    lines = [line(*pair) for pair in zip(raw, answers, strict=True)]
    files = []
    if out is not None:
        encoding = str(where.reading.get("encoding", ""))
        table = file is not None and task.reads_tables
        asked = AskedFile.of(file, len(inputs), encoding) if table else None
        files = task.write_answers(preprocessor, raw, answers, out, asked)
    return Predictions(raw, answers, lines, files, notes)


def task_of(directory: Path) -> Task:
    """The task whose model a run or a bundle holds, with the decoding settings that it was trained
    with.

    Raises:
        SeqloomError: the directory is neither.
    """
    import tasks

    config = _config(directory)
    task, trained = tasks.get(config["task"]), config.get("decoding", {})
    known = {name: trained[name] for name in task.decoding.names() if name in trained}
    return replace(task, decoding=task.decoding.updated(**known))


def _config(directory: Path) -> dict[str, Any]:
    from serving.bundle import read_manifest
    from tasks.stages.run_directory import Run

    if (directory / "manifest.json").is_file():
        return read_manifest(directory)["config"]
    return Run(directory).config()


def predict_flags(task: Task, flags: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flags of ``predict``: how a file is read, and how answers are decoded.

    Raises:
        DataError: a flag that is neither.
    """
    groups = {"data": task.data, "decoding": task.decoding}
    known = {name for group in groups.values() for name in group.names()}
    for name in flags:
        if name not in known:
            every = ", ".join(_flag(one) for one in sorted(known))
            raise DataError(f"predict has no flag {name!r} for {task.name}; there are: {every}")
    reading, decoding = (
        {name: value for name, value in flags.items() if name in group.names()}
        for group in groups.values()
    )
    task.decoding.updated(**decoding)
    return reading, decoding


def _check_program(preprocessor: Preprocessor, name: str, decoding: Mapping[str, Any]) -> None:
    """Refuses a program that cannot be asked, and settings that another one takes, or a stream.

    Raises:
        DataError: names the flag that asks for it.
    """
    programs = preprocessor.programs
    given = programs[DEFAULT].signature["inputs"]
    known = [
        key for key, one in programs.items()
        if not one.stateful
        and all(n in given or "default" in s for n, s in one.signature["inputs"].items())
    ]  # fmt: skip
    if name not in known:
        raise DataError(
            f"this model has no program {name!r} to predict with; there is {', '.join(known)}"
        )
    for setting in decoding:
        taken_by = {k for k, one in programs.items() if setting in one.signature["inputs"]}
        if name in taken_by:
            continue
        what, add = "sound that is followed", "--stream"
        if taken_by:
            what = "what the model writes"
            writes = any(isinstance(programs[key], WritingProgram) for key in taken_by)
            add = "--stream" if writes else f"--program {min(taken_by)}"
        raise DataError(f"{_flag(setting)} is a setting of {what}: add {add}")


def serve_settings(bundle: Path, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Decoding settings that a server uses where a request has none.

    Args:
        bundle: or another model, whose own signatures say what can be set once it is loaded.
        flags: settings by name.

    Raises:
        DataError: the task has no such setting, or a value is out of range.
    """
    if not flags or not (bundle / "manifest.json").is_file():
        return dict(flags)
    task = task_of(bundle)
    known = task.decoding.names()
    for name in flags:
        if name not in known:
            every = ", ".join(_flag(one) for one in known)
            there = f"there are: {every}" if known else "this task has no decoding settings"
            raise DataError(f"serve has no flag {_flag(name)} for {task.name}; {there}")
    settings = task.decoding.updated(**flags).to_dict()
    return {name: settings[name] for name in flags}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
