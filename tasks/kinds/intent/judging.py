"""How good intents and slots are, together and each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.tagging_baselines import linear_intents
from pipelines.intent import IntentPreprocessor
from pipelines.splits import Splits
from pipelines.tagged import TaggedExample
from tasks.kinds.tagging.baseline import linear_tags
from tasks.kinds.tagging.scoring import span_f1
from tasks.kinds.tagging.validating import validated

if TYPE_CHECKING:
    import keras


def frame_scores(
    examples: Sequence[TaggedExample], intents: Sequence[str], tags: Sequence[Sequence[str]]
) -> dict[str, float]:
    """``frame_accuracy`` (Goo et al. 2018), ``intent_accuracy``, and precision, recall and F1 of
    slots."""
    gold = [one.tags for one in examples]
    rights = [one.intent == intent for one, intent in zip(examples, intents, strict=True)]
    frames = [
        right and tuple(want) == tuple(got)
        for right, want, got in zip(rights, gold, tags, strict=True)
    ]
    precision, recall, f1 = span_f1(gold, tags)
    return {
        "frame_accuracy": float(np.mean(frames)),
        "intent_accuracy": float(np.mean(rights)),
        "slot_f1": f1,
        "slot_precision": precision,
        "slot_recall": recall,
    }


def validated_frames(
    preprocessor: IntentPreprocessor, model: keras.Model, validation: Iterable
) -> dict[str, float]:
    """``frame_accuracy``, ``intent_accuracy`` and ``slot_f1`` of encoded validation sentences;
    arguments of ``validated``. An intent of -1 is never right."""
    examples, intents, guesses = [], [], []
    for batch in validated(preprocessor, model, validation):
        labels = np.asarray(batch.targets["intents"])
        for tags, intent in zip(batch.gold, labels, strict=True):
            examples.append(TaggedExample(tuple(tags), tuple(tags), str(intent)))
        intents += [str(row.argmax()) for row in batch.outputs["intents"]]
        guesses += batch.guesses
    every = frame_scores(examples, intents, guesses)
    return {name: every[name] for name in ("frame_accuracy", "intent_accuracy", "slot_f1")}


def frame_baseline(
    preprocessor: IntentPreprocessor, splits: Splits[TaggedExample]
) -> dict[str, Any]:
    """Scores of a linear classifier of words and their pairs, and of a linear CRF."""
    parts = (splits.validation, splits.test)
    name, tags = linear_tags(preprocessor, splits)
    train = [one.tokens for one in splits.train], [one.intent for one in splits.train]
    intents = linear_intents(train, [[one.tokens for one in part] for part in parts])
    found = [frame_scores(*each) for each in zip(parts, intents, tags, strict=True)]
    return {
        "name": f"logistic regression over words and pairs + {name}",
        "validation": found[0],
        "test": found[1],
    }
