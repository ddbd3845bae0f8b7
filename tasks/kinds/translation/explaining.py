"""What moved a translation: the source, and what was written before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.kinds.question import Question, place_of

if TYPE_CHECKING:
    import keras

    from models.attribution import Entry
    from pipelines.translation import TranslationPreprocessor


def token_question(
    model: keras.Model,
    preprocessor: TranslationPreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The log-probability of the best translation, or of one of its tokens, by the source and the
    tokens before it."""
    pre = preprocessor
    source = pre.source([raw])
    whole = np.asarray(pre.target.encode(answer["text"]), np.int32)  # with its START and END
    tokens, following = whole[None, :-1], whole[1:]
    names = [pre.target.vocabulary[number] for number in following]
    if target:
        place = place_of(target, names, "tokens of the translation")
        chosen, what = np.array([place]), f"token {place + 1}, {names[place]!r}"
        tokens = tokens[:, : place + 1]
    else:
        chosen, what = np.arange(len(following)), f"all of {answer['text']!r}"
    read = source.shape[1]

    def spread(entry: Entry) -> np.ndarray:
        """On the source or behind it, by what the table was asked for."""
        found, each = np.zeros(read + tokens.shape[1]), entry.attributions.sum(-1)
        (numbers,) = entry.arguments
        is_source = len(numbers) == read and np.array_equal(numbers, source[0])
        found[slice(0, read) if is_source else slice(read, None)] = each
        return found

    def score(found: Any) -> Any:
        import tensorflow as tf

        logs = tf.nn.log_softmax(tf.gather(found["logits"], chosen, axis=1))
        return tf.reduce_sum(logs * tf.one_hot(following[chosen], logs.shape[-1]), [1, 2])

    sides = [pre.source.vocabulary[n] for n in source[0]], [
        f"→{pre.target.vocabulary[n]}" for n in tokens[0]
    ]  # fmt: skip
    tables = ("source_table", "target_table", "target_table/2")
    return Question(
        inputs={"source": source, "tokens": tokens},
        score=score,
        target=f"log-probability of {what}",
        steps=(*sides[0], *sides[1]),
        spread=dict.fromkeys(tables, spread),
    )
