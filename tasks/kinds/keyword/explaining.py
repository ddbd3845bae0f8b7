"""What moved a classifier of sounds to its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.kinds.question import Question, place_of
from tasks.kinds.sound_questions import sound_question

if TYPE_CHECKING:
    import keras

    from pipelines.keyword import KeywordPreprocessor


def keyword_question(
    model: keras.Model,
    preprocessor: KeywordPreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The log-odds of a class, the answered one without a target."""
    from models.attribution import log_odds

    labels = preprocessor.labels
    place = place_of(target or answer["label"], labels, "classes")
    return sound_question(
        model, preprocessor, raw,
        lambda found: log_odds(found["label"], place), f"log-odds of {labels[place]}",
    )  # fmt: skip
