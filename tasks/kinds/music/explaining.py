"""What moved a model of music to a step: which notes before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError
from pipelines.piano_roll import LOWEST, NOTES, checked_steps, note_name
from tasks.kinds.question import ROLL, Question, model_inputs

if TYPE_CHECKING:
    import keras

    from models.attribution import Entry
    from pipelines.music import MusicPreprocessor

MOST_STEPS = 128  # up to the one that is explained that are read


def step_question(
    model: keras.Model,
    preprocessor: MusicPreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The log-probability of a step, the last one without a target, by the notes before it.

    Raises:
        DataError: there is no such step.
    """
    steps = checked_steps(raw, "input")
    if target and not (target.isdecimal() and 2 <= int(target) <= len(steps)) or len(steps) < 2:
        raise DataError(
            f"--target {target or 1}: give a step from 2 to {len(steps)}: nothing stands before "
            "the first"
        )
    last = int(target) if target else len(steps)
    first = max(0, last - MOST_STEPS)
    inputs = model_inputs(preprocessor, model, [list(one) for one in steps[first:last]])
    rows, time = inputs["rows"], last - first  # rows[t] sounds before step t

    def of_rows(entry: Entry) -> np.ndarray:
        return np.concatenate([entry.attributions[1:], np.zeros((1, NOTES))])

    chord = " ".join(note_name(note) for note in steps[last - 1]) or "silence"
    return Question(
        inputs=inputs,
        score=lambda found: found["log_probabilities"][:, time - 1],
        target=f"log-probability of step {last}: {chord}",
        steps=[f"step {i + 1}" for i in range(first, last)],
        view=ROLL,
        columns=[note_name(LOWEST + i) for i in range(NOTES)],
        baselines={"rows": np.zeros(rows.shape[1:], np.float32)},
        baseline="silence before the step",
        spread={"rows": of_rows},
        values=np.asarray(inputs["following"][0], float),
    )
