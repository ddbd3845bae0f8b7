"""What is set on validation once a tagger is trained: when a span is answered, and how surely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tasks.kinds.calibration import best_temperature, doubted_loss
from tasks.kinds.tagging.scoring import span_f1
from tasks.kinds.tagging.validating import shown_tags

if TYPE_CHECKING:
    import keras

    from pipelines.tagging import TaggingPreprocessor

OFFSETS = tuple(np.arange(0, 4.25, 0.5))
# A gain of less than this share of an F1 is noise of the choice itself.
LEAST_GAIN = 0.002


class Scored(NamedTuple):
    """A batch: scores ``<float32>[batch, time, tags]``, lengths, right tags with -1 for unknown."""

    emissions: np.ndarray
    lengths: np.ndarray
    tags: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """``<bool>[batch, time]``, false behind the end of a row."""
        return np.arange(self.tags.shape[1]) < self.lengths[:, None]


def scored(model: keras.Model, batches: Iterable) -> list[Scored]:
    """What a tagger says to encoded sentences."""
    found = []
    for inputs, targets, *_ in batches:
        lengths = np.sum(np.asarray(inputs["words"]) != 0, 1)
        emissions = model.predict_on_batch(inputs)["tags"]
        found.append(Scored(emissions, lengths, np.asarray(targets["tags"])))
    return found


def with_offset(
    preprocessor: TaggingPreprocessor, batches: Sequence[Scored]
) -> TaggingPreprocessor:
    """With the offset against tags outside of spans by which validation's F1 is best.

    The likeliest tags have not the best F1: a span that is right with a probability below a half
    may add more to what is found than it takes from what is right (Lipton et al. 2014). Where tags
    spell no spans nothing changes.
    """
    if not preprocessor.tags.scheme:
        return preprocessor

    def f1(candidate: TaggingPreprocessor) -> float:
        gold, guesses = [], []
        for one in batches:
            paths = candidate.best_tags(one.emissions, one.lengths)
            gold += shown_tags(preprocessor.tags, one.tags, one.lengths)
            guesses += shown_tags(preprocessor.tags, paths, one.lengths)
        return span_f1(gold, guesses)[2]

    candidates = [replace(preprocessor, outside_offset=float(offset)) for offset in OFFSETS]
    scores = [f1(candidate) for candidate in candidates]
    best = int(np.argmax(scores))
    return candidates[best] if scores[best] > scores[0] + LEAST_GAIN else preprocessor


def with_temperature(
    preprocessor: TaggingPreprocessor, batches: Sequence[Scored]
) -> TaggingPreprocessor:
    """With the temperature by which answered tags are right as often as their probabilities say."""
    answers = [preprocessor.best_tags(one.emissions, one.lengths) for one in batches]
    right = [(tags == one.tags)[one.inside] for tags, one in zip(answers, batches, strict=True)]
    if not sum(map(len, right)):
        return preprocessor

    def loss(temperature: float) -> float:
        candidate = replace(preprocessor, tag_temperature=temperature)
        promised = []
        for tags, one in zip(answers, batches, strict=True):
            shares = candidate.tag_shares(one.emissions, one.lengths)
            mine = np.take_along_axis(shares, tags[..., None].astype(np.int64), 2)[..., 0]
            promised.append(mine[one.inside])
        return doubted_loss(np.concatenate(promised), np.concatenate(right))

    return replace(preprocessor, tag_temperature=best_temperature(loss))
