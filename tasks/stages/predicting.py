"""Answers of a Keras model, a run or a bundle to raw inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import DataError
from pipelines.preprocessor import Arrays, Preprocessor

if TYPE_CHECKING:
    import keras

    from pipelines.readers import Row

BATCH = 64


def keras_outputs(model: keras.Model, preprocessor: Preprocessor, raw: Sequence[Any]) -> Arrays:
    """Wire outputs of an inference model, in the order of ``raw``.

    Inputs of like length share a batch; the answers do not depend on it, only the time does.
    """
    core = [preprocessor.encode(preprocessor.to_wire([item])) for item in raw]
    order = np.argsort([max(a.shape[1] for a in c.values() if a.ndim > 1) for c in core])
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
    return preprocessor.answers(keras_outputs(model, preprocessor, raw)) if raw else []


def predict(directory: Path, raw: Sequence[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Answers of a run or of a bundle, with one readable line for each.

    A bundle answers without TensorFlow.

    Raises:
        DataError: the directory is neither, or there is nothing to answer.
    """
    import tasks
    from serving.predictor import Predictor
    from tasks.stages.run_directory import Run

    if not raw:
        raise DataError("there is no input; give texts as arguments or --file FILE")
    if (directory / "manifest.json").is_file():
        predictor = Predictor(directory)
        answers = predictor.predict(raw)
        task = tasks.get(predictor.manifest["task"])
    else:
        run = Run(directory)
        task = run.task()
        model = task.inference_model(run.model())
        answers = keras_answers(model, run.preprocessor(), raw)
    return answers, [task.readable(*pair) for pair in zip(raw, answers, strict=True)]


def read_inputs(path: Path, text_column: str | None = None) -> list[str]:
    """Texts of a file: each line of a .txt, one column of a csv, tsv, jsonl or json; .gz too.

    Raises:
        DataError: the file cannot be read, or its text column is not clear.
    """
    from pipelines.readers import TEXT_COLUMN, file_format, read_rows

    if not path.is_file():
        raise DataError(f"--file {path} is not there; name a txt, csv, tsv, jsonl or json file")
    form = file_format(path)
    texts = []
    for row in read_rows(path):
        name = TEXT_COLUMN if form == "txt" else text_column or _only_text(row, path)
        value = row.values.get(name)
        if not isinstance(value, str):
            raise DataError(
                f"{row.file}:{row.line}: column {name!r} holds no text; "
                f"there are: {', '.join(row.values)}; choose one with --text-column"
            )
        texts.append(value)
    return texts


def _only_text(row: Row, path: Path) -> str:
    from pipelines.labelled import TEXT_NAMES

    found = [name for name in row.values if name.lower() in TEXT_NAMES]
    if len(row.values) == 1:
        found = list(row.values)
    if len(found) != 1:
        raise DataError(
            f"{path}: no column is plainly the text among {', '.join(row.values)}; "
            "choose one with --text-column"
        )
    return found[0]
