"""What moved a joint model to its intent, or to one of its tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.kinds.question import Question, place_of
from tasks.kinds.tagging.explaining import tag_question, token_question

if TYPE_CHECKING:
    import keras

    from pipelines.intent import IntentPreprocessor


def intent_question(
    model: keras.Model,
    preprocessor: IntentPreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The log-odds of an intent, the likeliest without a target; a token asks for its tag."""
    from models.attribution import log_odds

    intents = preprocessor.intents
    if target and target not in intents and (target in answer["tokens"] or target.isdecimal()):
        return tag_question(model, preprocessor, raw, answer, target)
    likeliest = max(answer["intents"], key=answer["intents"].get)
    place = place_of(target or likeliest, intents, "intents (or tokens)")
    return token_question(
        model, preprocessor, raw, answer,
        lambda found: log_odds(found["intents"], place), f"log-odds of {intents[place]}",
    )  # fmt: skip
