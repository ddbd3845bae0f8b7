"""Vocabularies in TensorFlow ops: the twin of ``pipelines.vocabulary``."""

from __future__ import annotations

import tensorflow as tf

from pipelines.subwords import SPACE, SubwordEncoder
from pipelines.subwords_graph import SubwordEncoderGraph
from pipelines.text import SPECIAL_TOKENS, TextEncoder
from pipelines.text_graph import TextEncoderGraph


class VocabularyGraph(tf.Module):
    """Text to ids and back.

    Args:
        vocabulary: the same in NumPy.
    """

    def __init__(self, vocabulary: SubwordEncoder | TextEncoder) -> None:
        super().__init__()
        subwords = isinstance(vocabulary, SubwordEncoder)
        self.encode = (SubwordEncoderGraph if subwords else TextEncoderGraph)(vocabulary)
        self.level = "subword" if subwords else vocabulary.level
        charset = "latin-1" if self.level == "byte" else "utf-8"
        names = [token.encode(charset) for token in vocabulary.vocabulary]
        special = len(SPECIAL_TOKENS)
        self.texts = tf.constant([b""] * special + names[special:])
        # As NumPy shows them: bytes by the letters of their codes.
        self.names = tf.constant([token.encode("utf-8") for token in vocabulary.vocabulary])

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """``<string>[batch]`` to right-padded ``<int32>[batch, time]``."""
        return self.encode(texts)

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """``<int32>[..., time]``, padded with 0, to ``<string>[...]``; special ids are left out."""
        pieces = tf.gather(self.texts, ids)
        if self.level == "word":
            return self._joined_words(ids, pieces)
        joined = tf.strings.reduce_join(pieces, axis=-1)
        if self.level == "byte":
            return tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8", errors="replace")
        if self.level == "subword":
            joined = tf.strings.regex_replace(joined, SPACE, " ")
            joined = tf.strings.regex_replace(joined, "^ ", "")
        return joined

    def _joined_words(self, ids: tf.Tensor, pieces: tf.Tensor) -> tf.Tensor:
        """Words with a space between them; none before the first."""
        spaced = tf.where(ids >= len(SPECIAL_TOKENS), tf.strings.join([" ", pieces]), "")
        return tf.strings.regex_replace(tf.strings.reduce_join(spaced, axis=-1), "^ ", "")

    def tokens(self, ids: tf.Tensor) -> tf.Tensor:
        """The token of each id, ``<string>``."""
        return tf.gather(self.names, ids)
