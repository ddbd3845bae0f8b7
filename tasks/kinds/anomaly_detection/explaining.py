"""What moved the score of a row: which columns, in it and in the rows before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.kinds.question import SERIES, Question, model_inputs, place_of

if TYPE_CHECKING:
    import keras

    from models.attribution import Entry
    from pipelines.anomaly_detection import AnomalyPreprocessor

MOST_ROWS = 192  # before and with the row that are read again


def anomaly_question(
    model: keras.Model,
    preprocessor: AnomalyPreprocessor,
    raw: Mapping[str, Any],
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The network's score of a row, the highest without a target; ``--target`` counts from 1 or
    names its time."""
    pre, count = preprocessor, len(answer["score"])
    times = [str(one) for one in answer.get("times", range(1, count + 1))]
    place = place_of(target, times, "times of rows") if target else int(np.argmax(answer["score"]))
    first = max(0, place + 1 - max(MOST_ROWS, pre.window))
    part = {**raw, "values": np.asarray(raw["values"])[first : place + 1]}
    if "time" in raw:
        part["time"] = np.asarray(raw["time"])[first : place + 1]
    inputs = model_inputs(pre, model, part)
    baselines = {
        name: np.zeros(inputs[name].shape[1:], np.float32)
        for name in ("values", "previous", "calendar") if name in inputs
    }  # fmt: skip
    names = (*pre.columns, *(["calendar"] if "calendar" in inputs else []))
    shown = np.full((place + 1 - first, len(names)), np.nan)
    shown[:, : len(pre.columns)] = part["values"]

    def of_values(entry: Entry) -> np.ndarray:
        found = np.zeros(shown.shape)
        found[:, : len(pre.columns)] = entry.attributions
        return found

    def of_previous(entry: Entry) -> np.ndarray:
        """The row before each; that of the first is the first itself."""
        found, each = np.zeros(shown.shape), entry.attributions
        found[:-1, : len(pre.columns)] = each[1:]
        found[0, : len(pre.columns)] += each[0]
        return found

    def of_calendar(entry: Entry) -> np.ndarray:
        found = np.zeros(shown.shape)
        found[:, -1] = entry.attributions.sum(1)
        return found

    def score(found: Any) -> Any:
        import tensorflow as tf

        return tf.reduce_max(tf.reshape(found["score"][:, -1], [len(found["score"]), -1]), 1)

    notes = []
    if first:
        notes.append(f"The {place + 1 - first} rows up to this one were read again, not all.")
    return Question(
        inputs=inputs,
        score=score,
        target=f"score at {times[place]} (1 is the threshold)",
        steps=times[first : place + 1],
        view=SERIES,
        columns=names,
        baselines=baselines,
        baseline="each column at its mean of train",
        spread={"values": of_values, "previous": of_previous, "calendar": of_calendar},
        parts={"values": "row itself", "previous": "rows before", "calendar": "time"},
        values=shown,
        notes=(*notes, "What is said is of the network's score; a watch for values that stand "
               "still or drift has none."),
    )  # fmt: skip
