"""Answers of a Keras model, a run or a bundle to raw inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError
from pipelines.preprocessor import Arrays, Preprocessor
from tasks.kinds.contract import DataOptions

if TYPE_CHECKING:
    import keras

    from serving.client import Client

BATCH = 64


def keras_outputs(model: keras.Model, preprocessor: Preprocessor, raw: Sequence[Any]) -> Arrays:
    """Wire outputs of an inference model, in the order of ``raw``.

    Inputs of like length share a batch; the answers do not depend on it, only the time does.
    """
    order = np.argsort([_size(item) for item in raw], kind="stable")
    parts: list[Arrays] = []
    for start in range(0, len(order), BATCH):
        rows = [raw[i] for i in order[start : start + BATCH]]
        inputs = preprocessor.encode(preprocessor.to_wire(rows))
        outputs = model.predict_on_batch(inputs)
        parts.append(preprocessor.decode({k: np.asarray(v) for k, v in outputs.items()}))
    back = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


def keras_answers(
    model: keras.Model, preprocessor: Preprocessor, raw: Sequence[Any]
) -> list[dict[str, Any]]:
    """Readable answers of an inference model."""
    return preprocessor.answers(keras_outputs(model, preprocessor, raw), raw) if raw else []


def _size(item: Any) -> int:
    """Length of a text; windows are all of one length, or few."""
    return len(item) if isinstance(item, (str, bytes)) else 0


@dataclass(frozen=True)
class Predictions:
    """What was asked, what was answered, and one readable line of each."""

    raw: list[Any]
    answers: list[dict[str, Any]]
    lines: list[str]
    files: list[Path]


def predict(
    directory: Path,
    inputs: Sequence[str],
    file: Path | None = None,
    reading: Mapping[str, Any] | None = None,
    out: Path | None = None,
    client: Client | None = None,
) -> Predictions:
    """Answers of a run or of a bundle; a bundle answers without TensorFlow.

    Args:
        directory: of the run or the bundle.
        inputs: raw inputs as text: themselves, or JSON where the task takes arrays.
        file: of more raw inputs.
        reading: how the file is read, where it is read otherwise than the training data was.
        out: csv of the answers to write, with a picture beside it.
        client: of a server that answers in the model's place; what the answers mean is still read
            from the directory.

    Raises:
        DataError: the directory is neither, or there is nothing to answer.
    """
    import tasks
    from serving.bundle import read_manifest
    from serving.predictor import Predictor
    from tasks.stages.run_directory import Run

    is_bundle = (directory / "manifest.json").is_file()
    config = read_manifest(directory)["config"] if is_bundle else Run(directory).config()
    task = tasks.get(config["task"])
    trained = DataOptions(**config["data"])
    where = task.data_options(trained.source, **{**trained.reading, **(reading or {})})
    run = Predictor(directory) if is_bundle else Run(directory)
    preprocessor = run.preprocessor if is_bundle else run.preprocessor()
    raw = [task.parse_input(text) for text in inputs]
    if file is not None:
        raw += task.read_inputs(file, where, preprocessor)
    if not raw:
        raise DataError("there is no input; give some as arguments or --file FILE")
    if client is not None:
        answers = preprocessor.answers(client.predict(preprocessor.to_wire(raw)), raw)
    elif is_bundle:
        answers = run.predict(raw)
    else:
        answers = keras_answers(task.inference_model(run.model()), preprocessor, raw)
    lines = [task.readable(*pair) for pair in zip(raw, answers, strict=True)]
    return Predictions(raw, answers, lines, task.write_answers(raw, answers, out) if out else [])
