"""``pipelines.tokens`` as TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from pipelines.tokens import CLOSE, GIVEN, MARKED, MARKS, OPEN, SEPARATOR, TokenRules


class TokenRulesGraph(tf.Module):
    """``TokenRules.cut`` of many texts; plain kernels only, no tf_text."""

    def __init__(self, rules: TokenRules) -> None:
        super().__init__()
        self.rules = rules

    def __call__(
        self, texts: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """``<string>[batch]`` to tokens ``<string>``, starts and ends ``<int32>``, all ``[batch,
        (time)]``."""
        points = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        texts = tf.strings.unicode_encode(points, "UTF-8")
        texts = tf.strings.regex_replace(texts, MARKS, " ")
        given = tf.strings.regex_full_match(texts, f"(?s).*{SEPARATOR}.*")
        marked = texts
        for pattern, new in self.rules.substitutions:
            marked = tf.strings.regex_replace(marked, pattern, new)
        marked = tf.where(given, tf.strings.regex_replace(texts, GIVEN, MARKED), marked)
        points = tf.strings.unicode_decode(marked, "UTF-8")
        opens, closes = points == ord(OPEN), points == ord(CLOSE)
        at = points.with_flat_values(_places(points, opens.flat_values | closes.flat_values))
        starts, ends = tf.ragged.boolean_mask(at, opens), tf.ragged.boolean_mask(at, closes)
        # Between tokens is nothing but white space and separators.
        between = f"^[^{OPEN}]*{OPEN}|{CLOSE}[^{OPEN}{CLOSE}]*\\z"
        plain = tf.strings.regex_replace(marked, f"{CLOSE}[^{OPEN}{CLOSE}]*{OPEN}", CLOSE)
        plain = tf.strings.regex_replace(plain, between, "")
        tokens = tf.strings.split(plain, CLOSE)
        some = tokens.with_flat_values(tokens.flat_values != "")
        # A text without a token has white space left, and no mark.
        some = some & tf.expand_dims(starts.row_lengths() > 0, 1)
        return tf.ragged.boolean_mask(tokens, some), starts, ends


def _places(points: tf.RaggedTensor, marks: tf.Tensor) -> tf.Tensor:
    """How many code points of its row stand before each, marks not counted."""
    counted = tf.cumsum(tf.cast(~marks, tf.int32), exclusive=True)
    begins = tf.gather(tf.concat([counted, [0]], 0), points.row_starts())
    return counted - tf.gather(begins, points.value_rowids())
