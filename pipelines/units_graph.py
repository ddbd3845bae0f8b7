"""``pipelines.units`` as TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from pipelines.subwords_graph import SubwordEncoderGraph
from pipelines.text_graph import TextEncoderGraph, id_table
from pipelines.units import SPACES, SPECIAL, TOKENS, Units


class UnitsGraph(tf.Module):
    """``Units`` as TensorFlow ops."""

    def __init__(self, units: Units) -> None:
        super().__init__()
        self.level = units.level
        first, charset = len(SPECIAL), "latin-1" if units.level == "byte" else "utf-8"
        names = [name.encode(charset) for name in units.names[first:]]
        if units.pieces is not None:
            self.pieces, self.line_break = SubwordEncoderGraph(units.pieces), len(units) - 1
        if self.level == "token":
            self.tokens = TextEncoderGraph(TOKENS)
        self.table = id_table(names, range(first, first + len(names)))
        self.written = tf.constant(list(units.written))

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """``<string>[batch]`` to ``<int32>[batch, (units)]``."""
        points = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        texts = tf.strings.unicode_encode(points, "UTF-8")
        if self.level == "subword":
            return self._in_pieces(texts)
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

    def _in_pieces(self, texts: tf.Tensor) -> tf.RaggedTensor:
        lines = tf.strings.split(texts, "\n")
        units = self.pieces.ragged(lines.flat_values)[:, 1:-1]
        breaks = tf.fill([tf.shape(lines.flat_values)[0], 1], self.line_break)
        units = lines.with_flat_values(tf.concat([units, breaks], 1))
        return units.merge_dims(1, 2)[:, :-1]

    def decode(self, numbers: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """``<int32>[..., time]`` and how many count to ``<string>[...]``."""
        inside = tf.sequence_mask(lengths, tf.shape(numbers)[-1])
        return self.text(
            tf.strings.reduce_join(tf.where(inside, tf.gather(self.written, numbers), b""), -1)
        )

    def text(self, written: tf.Tensor) -> tf.Tensor:
        """The text ``<string>[any]`` of joined ``written`` units."""
        if self.level in ("word", "token", "subword"):
            written = tf.strings.regex_replace(written, "\n ", "\n")
            return tf.strings.regex_replace(written, "^ ", "")
        if self.level == "byte":
            return tf.strings.unicode_transcode(written, "UTF-8", "UTF-8", errors="replace")
        return written
