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
from tasks.kinds.tagging.showing import bracketed, tag_sums
from tasks.kinds.tagging.validating import validated

if TYPE_CHECKING:
    import keras

    from reports.judged import Judged

Frames = tuple[Sequence[str], Sequence[Sequence[str]]]  # intents, and tags


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
        "answers": (intents[1], tags[1]),
    }


def frame_sums(one: TaggedExample, intent: str, tags: Sequence[str]) -> dict[str, Sequence[float]]:
    """What ``frame_scores`` of one sentence are made of."""
    slots, right = tag_sums(one.tags, tags, True), one.intent == intent
    names = {"f1": "slot_f1", "precision": "slot_precision", "recall": "slot_recall"}
    return {
        "frame_accuracy": (right and tuple(one.tags) == tuple(tags), 1),
        "intent_accuracy": (right, 1),
        **{new: slots[old] for old, new in names.items()},
    }


def judged_frames(
    examples: Sequence[TaggedExample],
    answers: Frames,
    confidences: Sequence[float],
    others: Frames | None = None,
) -> Judged:
    """Each sentence with its intent and slots, beside the right ones.

    Args:
        examples: of test.
        answers: of the model.
        confidences: probability of each answered intent.
        others: answers of the baseline, if known.
    """
    from reports.judged import Judged, JudgedExample, calibration_bins, class_counts, paired

    rows = []
    for i, (one, intent, tags) in enumerate(zip(examples, *answers, strict=True)):
        sums = frame_sums(one, intent, tags)
        wrong = sums["slot_f1"][1] - sums["slot_f1"][0] + 2 * (one.intent != intent)
        rows.append(JudgedExample(
            one.text or " ".join(one.tokens),
            f"{one.intent}: {bracketed(one.tokens, one.tags, True)}",
            f"{intent}: {bracketed(one.tokens, tags, True)}",
            sums, loss=wrong, length=len(one.tokens), confidence=float(confidences[i]),
            baseline={} if others is None else frame_sums(one, others[0][i], others[1][i]),
        ))  # fmt: skip
    truth = [one.intent for one in examples]
    right = [a == b for a, b in zip(truth, answers[0], strict=True)]
    return Judged(
        rows, "tokens", labels=paired(truth, answers[0]),
        classes=class_counts(truth, answers[0]),
        calibration=calibration_bins(confidences, right), text=True,
    )  # fmt: skip
