"""``pipelines.units`` as TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from pipelines.text_graph import TextEncoderGraph, id_table
from pipelines.units import SPACES, SPECIAL, TOKENS, Units


class UnitsGraph(tf.Module):
    """``Units`` as TensorFlow ops."""

    def __init__(self, units: Units) -> None:
        super().__init__()
        self.level = units.level
        first, charset = len(SPECIAL), "latin-1" if units.level == "byte" else "utf-8"
        names = [name.encode(charset) for name in units.names[first:]]
        if self.level == "token":
            self.tokens = TextEncoderGraph(TOKENS)
        self.table = id_table(names, range(first, first + len(names)))
        self.written = tf.constant(list(units.written))

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """``<string>[batch]`` to ``<int32>[batch, (units)]``."""
        points = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        texts = tf.strings.unicode_encode(points, "UTF-8")
        if self.level == "token":
            units = self.tokens.tokenise(texts)
        elif self.level == "char":
            units = tf.strings.unicode_split(texts, "UTF-8")
        elif self.level == "byte":
            units = tf.strings.bytes_split(texts)
        else:
            spaced = tf.strings.regex_replace(texts, SPACES, " ")
            spaced = tf.strings.regex_replace(spaced, "\n", " \n ")
            units = tf.strings.split(spaced, " ")
            units = tf.ragged.boolean_mask(units, units != "")
        return units.with_flat_values(self.table.lookup(units.flat_values))

    def decode(self, numbers: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """``<int32>[..., time]`` and how many count to ``<string>[...]``."""
        inside = tf.sequence_mask(lengths, tf.shape(numbers)[-1])
        return self.text(
            tf.strings.reduce_join(tf.where(inside, tf.gather(self.written, numbers), b""), -1)
        )

    def text(self, written: tf.Tensor) -> tf.Tensor:
        """The text ``<string>[any]`` of joined ``written`` units."""
        if self.level in ("word", "token"):
            written = tf.strings.regex_replace(written, "\n ", "\n")
            return tf.strings.regex_replace(written, "^ ", "")
        if self.level == "byte":
            return tf.strings.unicode_transcode(written, "UTF-8", "UTF-8", errors="replace")
        return written
