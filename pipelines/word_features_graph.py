"""``pipelines.word_features`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.text import LOWERCASE_LIMIT
from pipelines.text_graph import fold_case, id_table
from pipelines.word_features import (
    BEGIN,
    END,
    FIRST_CHARACTER,
    FIRST_FORM,
    FIRST_WORD,
    OTHER,
    PAD,
    PREFIXES,
    SUFFIXES,
    UNKNOWN,
    shape_classes,
)


class WordFeaturesGraph(tf.Module):
    """``WordFeatures`` as TensorFlow ops."""

    def __init__(self, features: Any) -> None:
        super().__init__()
        self.features = features
        self.words = _table(features.words, FIRST_WORD, UNKNOWN)
        self.characters = _table(features.characters, FIRST_CHARACTER, UNKNOWN)
        self.forms = _table(features.forms, FIRST_FORM, 0)

    def __call__(self, tokens: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        """``<string>[batch, (time)]`` to ``words``, ``characters`` and ``forms``, padded."""
        flat = tokens.flat_values
        points = tf.strings.unicode_decode(flat, "UTF-8", errors="replace")
        normal = tf.strings.unicode_encode(self._normalised(points), "UTF-8")
        forms = self.forms.lookup(self._form_keys(points, normal))  # (tokens, forms)
        words = self._padded(tokens, self.words.lookup(normal))
        first = tf.concat([tf.ones_like(words[:, :1]), tf.zeros_like(words[:, 1:])], 1)
        empty = tf.expand_dims(tokens.row_lengths() == 0, 1)
        found = {
            "words": tf.where(empty, first * UNKNOWN, words),
            "forms": self._padded(tokens, forms),
        }
        if self.features.slots:
            found["characters"] = self._padded(tokens, self._letters(points))
        return found

    def _padded(self, tokens: tf.RaggedTensor, values: tf.Tensor) -> tf.Tensor:
        """A value of each token as ``[batch, time, ...]``, one step at least."""
        dense = tokens.with_flat_values(values).to_tensor(PAD)
        missing = tf.maximum(1 - tf.shape(dense)[1], 0)
        return tf.pad(dense, [[0, 0], [0, missing]] + [[0, 0]] * (dense.shape.rank - 2))

    def _normalised(self, points: tf.RaggedTensor) -> tf.RaggedTensor:
        flat = points.flat_values
        if self.features.lowercase:
            flat = fold_case(flat)
        if self.features.digits:
            flat = tf.where((flat >= ord("0")) & (flat <= ord("9")), ord("0"), flat)
        return points.with_flat_values(flat)

    def _form_keys(self, points: tf.RaggedTensor, words: tf.Tensor) -> tf.Tensor:
        """``<string>[tokens, forms]``."""
        keys = [tf.strings.join(["shape ", _shapes(points)])]
        if self.features.slots:
            length = tf.strings.length(words, unit="UTF8_CHAR")
            for size in PREFIXES:
                begin = tf.strings.substr(words, 0, size, unit="UTF8_CHAR")
                keys.append(tf.strings.join([f"begins{size} ", begin]))
            for size in SUFFIXES:
                at = tf.maximum(length - size, 0)
                end = tf.strings.substr(words, at, tf.fill(tf.shape(at), size), unit="UTF8_CHAR")
                keys.append(tf.strings.join([f"ends{size} ", end]))
        return tf.stack(keys, 1)

    def _letters(self, points: tf.RaggedTensor) -> tf.Tensor:
        """``<int32>[tokens, slots]``: the first and last characters between the marks of ends."""
        kept, slots = self.features.slots - 2, self.features.slots
        length = tf.cast(points.row_lengths(), tf.int32)
        index = tf.ragged.range(length)
        from_end = tf.where(length > kept, length - kept // 2, 0)
        first = tf.where(length > kept, kept - kept // 2, length)
        keep = (index < tf.expand_dims(first, 1)) | (
            (index >= tf.expand_dims(from_end, 1)) & tf.expand_dims(length > kept, 1)
        )
        points = tf.ragged.boolean_mask(points, keep)
        letters = tf.strings.unicode_encode(tf.expand_dims(points.flat_values, 1), "UTF-8")
        ids = points.with_flat_values(self.characters.lookup(letters))
        marks = tf.ones_like(tf.expand_dims(length, 1))
        ids = tf.concat([marks * BEGIN, ids, marks * END], axis=1)
        return ids.to_tensor(PAD, shape=[None, slots])


def _shapes(points: tf.RaggedTensor) -> tf.Tensor:
    """``pipelines.word_features.shape_of`` of each row: ``<string>[tokens]``."""
    flat = points.flat_values
    known = tf.gather(shape_classes(), tf.minimum(flat, LOWERCASE_LIMIT - 1))
    classes = tf.where(flat < LOWERCASE_LIMIT, known, ord(OTHER))
    # A run is counted within its row: its number is part of what is compared.
    keys = tf.cast(classes, tf.int64) + 256 * points.value_rowids()
    keys = tf.concat([[-1, -2], keys], 0)
    third = (keys[2:] == keys[1:-1]) & (keys[2:] == keys[:-2])
    kept = tf.ragged.boolean_mask(points.with_flat_values(classes), points.with_flat_values(~third))
    return tf.strings.unicode_encode(kept, "UTF-8")


def _table(keys: Any, first: int, unknown: int) -> tf.lookup.StaticHashTable:
    return id_table([key.encode() for key in keys], range(first, first + len(keys)), unknown)
