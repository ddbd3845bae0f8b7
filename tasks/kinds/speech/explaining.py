"""What moved a recogniser to what it heard: all of it, or one symbol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError
from decoding.ctc import BLANK
from tasks.kinds.question import Question, model_inputs
from tasks.kinds.sound_questions import sound_question

if TYPE_CHECKING:
    import keras

    from pipelines.speech import SpeechPreprocessor


def speech_question(
    model: keras.Model,
    preprocessor: SpeechPreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The log-probability of the symbols on the likeliest path, or of the symbol of a number."""
    inputs = model_inputs(preprocessor, model, raw)
    path = np.asarray(model(inputs, training=False)["log_probabilities"])[0].argmax(-1)
    begins = np.flatnonzero((path != BLANK) & (path != np.concatenate([[-1], path[:-1]])))
    if not len(begins):
        raise DataError("nothing was heard in this sound: there is no symbol to explain")
    if target:
        if not target.isdecimal() or not 1 <= int(target) <= len(begins):
            raise DataError(
                f"--target {target}: give the number of a symbol that was heard, from 1 to "
                f"{len(begins)}"
            )
        begins = begins[int(target) - 1 :][:1]
    symbols = path[begins]
    heard = "".join(preprocessor.symbols[symbol - 1] for symbol in symbols)

    def score(found: Any) -> Any:
        import tensorflow as tf

        chosen = tf.gather(found["log_probabilities"], begins, axis=1)  # (B, n, symbols)
        wanted = tf.one_hot(symbols, chosen.shape[-1])
        return tf.reduce_sum(chosen * wanted, [1, 2])

    what = f"symbol {target}, {heard!r}" if target else f"{heard!r} on the likeliest path"
    return sound_question(model, preprocessor, raw, score, f"log-probability of {what}")
