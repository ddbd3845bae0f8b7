"""Scores of the tags of encoded validation sentences, after each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from decoding.crf import CrfScores, viterbi
from tasks.kinds.tagging.scoring import span_f1

if TYPE_CHECKING:
    import keras

    from pipelines.tag_table import TagTable
    from pipelines.tagging import TaggingPreprocessor


class Validated(NamedTuple):
    """A batch of sentences: their tags, those that are answered, and all else of the batch."""

    gold: list[list[str]]
    guesses: list[list[str]]
    targets: dict[str, Any]
    outputs: dict[str, np.ndarray]


def validated(
    preprocessor: TaggingPreprocessor, model: keras.Model, validation: Iterable
) -> Iterator[Validated]:
    """Answers to encoded validation sentences.

    Args:
        preprocessor: with the model's transitions.
        model: to ``{"tags": <float32>[batch, time, tags], ...}``.
        validation: batches of inputs and targets; a tag of -1 before the end of a row, which
            training does not have, is never right.
    """
    table = preprocessor.tags
    scores = preprocessor.scores or CrfScores.zeros(len(table.names))
    for inputs, targets, *_ in validation:
        outputs = model.predict_on_batch(inputs)
        lengths = np.sum(np.asarray(inputs["words"]) != 0, 1)
        paths = viterbi(outputs["tags"], lengths, scores)
        rows = (shown_tags(table, tags, lengths) for tags in (np.asarray(targets["tags"]), paths))
        yield Validated(*rows, targets, outputs)


def shown_tags(table: TagTable, tags: np.ndarray, lengths: np.ndarray) -> list[list[str]]:
    """Numbers ``<int>[batch, time]`` as people see them; of -1 a tag that no answer is."""
    names = [*(name.decode("utf-8") for name in table.shown), "B-?" if table.scheme else "?"]
    return [[names[i] for i in row[:length]] for row, length in zip(tags, lengths, strict=True)]


def validated_tags(
    preprocessor: TaggingPreprocessor, model: keras.Model, validation: Iterable
) -> dict[str, float]:
    """F1 of spans, or accuracy where tags are plain, and accuracy; arguments of ``validated``."""
    gold, guesses = [], []
    for batch in validated(preprocessor, model, validation):
        gold += batch.gold
        guesses += batch.guesses
    pairs = [pair for row in zip(gold, guesses, strict=True) for pair in zip(*row, strict=True)]
    accuracy = sum(want == got for want, got in pairs) / max(1, len(pairs))
    f1 = span_f1(gold, guesses)[2] if preprocessor.tags.scheme else accuracy
    return {"f1": f1, "accuracy": accuracy}
