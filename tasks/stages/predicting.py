"""Answers of a Keras model, a run or a bundle to raw inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
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
    from serving.predictor import Predictor


AT_ONCE = 4096  # inputs whose responses are in memory together


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


class Answerer:
    """A run or a bundle that answers; what it needs is loaded once, a bundle without TensorFlow.

    Args:
        directory: of the run or the bundle.

    Raises:
        SeqloomError: it is neither.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.is_bundle = (directory / "manifest.json").is_file()
        self.config, self.trained_task = _config(directory), task_of(directory)

    @cached_property
    def task(self) -> Task:
        """The task, as it reads further data for this model."""
        return self.trained_task.as_trained(self.preprocessor)

    @cached_property
    def preprocessor(self) -> Preprocessor:
        """That of the model."""
        from tasks.stages.run_directory import Run

        if self.is_bundle:
            return self._predictor.preprocessor
        return Run(self.directory).preprocessor()

    @cached_property
    def _predictor(self) -> Predictor:
        from serving.predictor import Predictor

        return Predictor(self.directory)

    @cached_property
    def model(self) -> keras.Model:
        """The Keras model of a run."""
        from tasks.stages.run_directory import Run

        load_tensorflow()  # only now: what is wrong with inputs is said at once
        return Run(self.directory).model()

    def ask(
        self,
        raw: Sequence[Any],
        name: str = DEFAULT,
        decoding: Mapping[str, Any] | None = None,
        client: Client | None = None,
    ) -> list[dict[str, Any]]:
        """Readable answers, one for each raw input.

        Args:
            raw: inputs as the kind has them: texts, arrays...
            name: of the program that answers.
            decoding: settings.
            client: of a server that answers in the model's place; what the answers mean is still
                read from the directory.

        Raises:
            DataError: there is no such program, or it has no such setting.
        """
        preprocessor, decoding = self.preprocessor, decoding or {}
        _check_program(preprocessor, name, decoding)
        if client is not None:
            program = preprocessor.programs[name]
            request = asking(preprocessor, name)(raw) | settings_request(program, decoding)
            response = separated(program, client.predict(request, name))
            return answering(preprocessor, name)(response, raw)
        if self.is_bundle:
            answer = partial(self._predictor.predict, program=name, **decoding)
        else:
            program = keras_program(self.task, self.model, preprocessor, name)
            answer = partial(readable, program, preprocessor, settings=decoding, name=name)
        # What is made of a response is small beside it: all probabilities of many labels.
        parts = (raw[i : i + AT_ONCE] for i in range(0, len(raw), AT_ONCE))
        return [one for part in parts for one in answer(part)]

    def reading(self, reading: Mapping[str, Any]) -> DataOptions:
        """How files are read: as for training, but for ``reading``."""
        trained = DataOptions(**self.config["data"])
        return self.trained_task.data_options(trained.source, **{**trained.reading, **reading})

    def raw_inputs(
        self, inputs: Sequence[Any], file: Path | None, where: DataOptions
    ) -> tuple[list[Any], list[str]]:
        """Raw inputs of texts that were typed, or of a file, and notes about the file.

        Raises:
            DataError: there is none.
        """
        task, notes = self.task, []
        raw = [task.parse_input(x) if isinstance(x, str) else x for x in inputs]
        if file is not None:
            more, notes = task.read_inputs(file, where, self.preprocessor)
            raw += more
        if not raw:
            raise DataError("there is no input; give some as arguments or --file FILE")
        return raw, notes

    def predict(
        self,
        inputs: Sequence[Any],
        file: Path | None = None,
        flags: Mapping[str, Any] | None = None,
        out: Path | None = None,
        client: Client | None = None,
        name: str = DEFAULT,
    ) -> Predictions:
        """Answers inputs, those of a file too.

        Args:
            inputs: raw inputs; a text is what a person would type: the input itself, or JSON where
                the task takes arrays, or the name of a file of sound.
            file: with more raw inputs.
            flags: how the file is read, where that is not how the training data was read; and
                decoding settings.
            out: file of the answers to write, with a picture next to it where there is one.
            client: see ``ask``.
            name: see ``ask``.

        Raises:
            DataError: there is nothing to answer, or a flag is neither of reading nor of decoding.
        """
        reading, decoding = predict_flags(self.trained_task, flags or {})
        where = self.reading(reading)
        task, preprocessor = self.task, self.preprocessor
        _check_program(preprocessor, name, decoding)
        raw, notes = self.raw_inputs(inputs, file, where)
        answers = self.ask(raw, name, decoding, client)
        line = task.format_answer if name == DEFAULT else task.format_other
        lines = [line(*pair) for pair in zip(raw, answers, strict=True)]
        files = []
        if out is not None:
            encoding = str(where.reading.get("encoding", ""))
            table = file is not None and task.reads_tables
            asked = AskedFile.of(file, len(inputs), encoding) if table else None
            files = task.write_answers(preprocessor, raw, answers, out, asked)
        return Predictions(raw, answers, lines, files, notes)


def predict(
    directory: Path,
    inputs: Sequence[str],
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    out: Path | None = None,
    client: Client | None = None,
    name: str = DEFAULT,
) -> Predictions:
    """Answers of a run or of a bundle; see ``Answerer``."""
    return Answerer(directory).predict(inputs, file, flags, out, client, name)


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
    return replace(
        task, decoding=task.decoding.updated(**known), chosen_by=config.get("metric", "")
    )


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
