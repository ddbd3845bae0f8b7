"""Text to token ids: the TensorFlow face of ``pipelines.text``, for tf.data and SavedModels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from pipelines.text import (
    APOSTROPHE_PATTERN,
    END,
    LOWERCASE_LIMIT,
    MARKUP_PATTERN,
    PAD,
    PATTERNS,
    SPECIAL_TOKENS,
    START,
    STEM_LENGTHS,
    UNKNOWN,
    TextEncoder,
    lowercase_table,
)


class TextEncoderGraph(tf.Module):
    """The rules of one adapted ``TextEncoder`` as TensorFlow ops; plain kernels only, no tf_text.

    Args:
        encoder: the adapted NumPy encoder; its answers and this module's are equal.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        first = len(SPECIAL_TOKENS)
        charset = "latin-1" if encoder.level == "byte" else "utf-8"
        tokens = [token.encode(charset) for token in encoder.vocabulary[first:]]
        self.table = id_table(tokens, range(first, first + len(tokens)))
        if encoder.stems_words:
            ids = encoder.stem_ids
            self.stems = id_table([stem.encode() for stem in ids], ids.values())

    def ragged(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """``<string>[batch]`` to ``<int32>[batch, (time)]``, ``[START]`` and ``[END]`` included."""
        tokens = self.tokenise(texts)
        head, tail = self.encoder.kept_ends
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        index = tf.ragged.range(lengths)
        # A text that fits keeps all: its "tail" then begins before its head ends.
        tail_start = tf.where(lengths > self.encoder.max_length, lengths - tail, 0)
        keep = (index < head) | (index >= tf.expand_dims(tail_start, 1))
        tokens = tf.ragged.boolean_mask(tokens, keep)
        ids = tokens.with_flat_values(self._lookup(tokens.flat_values))
        ends = tf.ones_like(tf.expand_dims(lengths, 1))
        return tf.concat([ends * START, ids, ends * END], axis=1)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """``<string>[batch]`` to right-padded ``<int32>[batch, time]``."""
        return self.ragged(texts).to_tensor(PAD)

    def tokenise(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Tokens ``<string>[batch, (time)]`` of one text each, nothing cut off."""
        return self._tokenise(self._normalise(texts))

    def _lookup(self, tokens: tf.Tensor) -> tf.Tensor:
        ids = self.table.lookup(tokens)
        if not self.encoder.stems_words:
            return ids
        where = tf.where(ids == UNKNOWN)
        unknown = tf.gather_nd(tokens, where)
        found = tf.fill(tf.shape(unknown), UNKNOWN)
        for length in STEM_LENGTHS:  # a longer stem that is known overrules a shorter one
            stem = tf.strings.substr(unknown, 0, length, unit="UTF8_CHAR")
            number = self.stems.lookup(stem)
            found = tf.where(number == UNKNOWN, found, number)
        return tf.tensor_scatter_nd_update(ids, where, found)

    def _normalise(self, texts: tf.Tensor) -> tf.Tensor:
        # Decoding and encoding also repairs broken UTF-8, which the regular expressions need.
        points = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        if self.encoder.lowercase:
            points = points.with_flat_values(fold_case(points.flat_values))
        texts = tf.strings.unicode_encode(points, "UTF-8")
        if self.encoder.strip_markup:
            texts = tf.strings.regex_replace(texts, MARKUP_PATTERN, " ")
        return texts

    def _tokenise(self, texts: tf.Tensor) -> tf.RaggedTensor:
        if self.encoder.level == "char":
            return tf.strings.unicode_split(texts, "UTF-8")
        if self.encoder.level == "byte":
            return tf.strings.bytes_split(texts)
        texts = tf.strings.regex_replace(texts, APOSTROPHE_PATTERN, "'")
        token, space = PATTERNS[self.encoder.rules]
        texts = tf.strings.regex_replace(texts, space, " ")
        return tf.strings.split(tf.strings.regex_replace(texts, token, " \\1 "))


def fold_case(points: tf.Tensor) -> tf.Tensor:
    """Code points ``<int32>[any]`` in lower case: see ``pipelines.text.fold_case``."""
    lower = tf.gather(lowercase_table(), tf.minimum(points, LOWERCASE_LIMIT - 1))
    return tf.where(points < LOWERCASE_LIMIT, lower, points)


def id_table(
    keys: Sequence[bytes], ids: Iterable[int], unknown: int = UNKNOWN
) -> tf.lookup.StaticHashTable:
    """Numbers ``<int32>`` of strings; ``unknown`` of any other."""
    # The empty string, which is no token, keeps a table without any token valid.
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant([b"", *keys]), tf.constant([unknown, *ids], tf.int32)
    )
    return tf.lookup.StaticHashTable(initializer, default_value=unknown)
