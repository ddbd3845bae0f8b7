"""Scores of the tags of encoded validation sentences, after each epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from decoding.crf import CrfScores, viterbi
from tasks.kinds.tagging.scoring import span_f1

if TYPE_CHECKING:
    import keras

    from pipelines.tagging import TaggingPreprocessor


def validated_tags(
    preprocessor: TaggingPreprocessor, model: keras.Model, validation: Iterable
) -> dict[str, float]:
    """F1 of spans, or accuracy where tags are plain, and accuracy.

    Args:
        preprocessor: with the model's transitions.
        model: to ``{"tags": <float32>[batch, time, tags], ...}``.
        validation: batches of inputs and targets; a tag of -1 before the end of a row, which
            training does not have, is never right.
    """
    table = preprocessor.tags
    scores = preprocessor.scores or CrfScores.zeros(len(table.names))
    names = [*(name.decode("utf-8") for name in table.shown), "B-?" if table.scheme else "?"]
    gold, guesses, right, total = [], [], 0, 0
    for inputs, targets, *_ in validation:
        tags = np.asarray(targets["tags"])
        lengths = np.sum(np.asarray(inputs["words"]) != 0, 1)
        found = viterbi(model.predict_on_batch(inputs)["tags"], lengths, scores)
        for want, got, length in zip(tags, found, lengths, strict=True):
            right += int(np.sum(want[:length] == got[:length]))
            total += int(length)
            gold.append([names[i] for i in want[:length]])
            guesses.append([names[i] for i in got[:length]])
    accuracy = right / max(1, total)
    return {"f1": span_f1(gold, guesses)[2] if table.scheme else accuracy, "accuracy": accuracy}
