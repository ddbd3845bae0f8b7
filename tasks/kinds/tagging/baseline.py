"""Simple taggers: the most frequent tag of each word, and a linear CRF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from models.tagging_baselines import linear_crf, most_frequent_tags
from pipelines.splits import Splits
from pipelines.tagged import TaggedExample
from pipelines.tagging import TaggingPreprocessor

# A linear CRF takes time by tokens and by the square of its tags: past this, a part of the training
# sentences must do.
MOST_WORK = 200_000_000_000


def tagging_baseline(
    preprocessor: TaggingPreprocessor,
    splits: Splits[TaggedExample],
    score: Callable[[Sequence[TaggedExample], list[list[str]]], dict[str, float]],
) -> dict[str, Any]:
    """Scores of a linear CRF over the features that the tagger has, fitted on train.

    The most frequent tag of each word is among test's scores as ``lexicon_...``.

    Args:
        preprocessor: of the run.
        splits: examples.
        score: sentences and their tags to metrics.
    """
    name, tags = linear_tags(preprocessor, splits)
    parts = (splits.validation, splits.test)
    validation, test = (score(*pair) for pair in zip(parts, tags, strict=True))
    every = [one.tokens for one in splits.train], [one.tags for one in splits.train]
    words = most_frequent_tags(every, [one.tokens for one in splits.test])
    lexicon = {f"lexicon_{name}": value for name, value in score(splits.test, words).items()}
    test = {**test, **lexicon}
    return {"name": name, "validation": validation, "test": test, "answers": tags[1]}


def linear_tags(
    preprocessor: TaggingPreprocessor, splits: Splits[TaggedExample]
) -> tuple[str, list[list[list[str]]]]:
    """What a linear CRF over words, forms and neighbours is called, and its tags of the sentences
    of validation and test."""
    pieces = fitting(splits.train, len(preprocessor.tags.names))
    train = [one.tokens for one in pieces], [one.tags for one in pieces]
    tokens = [[one.tokens for one in part] for part in (splits.validation, splits.test)]
    features = preprocessor.features
    share = "" if len(pieces) == len(splits.train) else f" of {len(pieces)} training sentences"
    tags = linear_crf(train, tokens, features.normalise, features.form_keys)
    return f"linear CRF over words, forms and neighbours{share}", tags


def fitting(train: Sequence[TaggedExample], tags: int) -> Sequence[TaggedExample]:
    """As many of the first sentences as the linear CRF is given."""
    most, tokens = MOST_WORK / (60 * tags**2 + 60 * 20 * tags), 0
    for count, one in enumerate(train, 1):
        tokens += len(one.tokens)
        if tokens > most:
            return train[:count]
    return train
