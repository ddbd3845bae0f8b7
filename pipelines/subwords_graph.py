"""Subwords in TensorFlow ops: the twin of ``pipelines.subwords``, with equal ids for any text.

The search is sentencepiece's own (``unigram_model.cc``, ``EncodeOptimized``), on characters: each
position in turn continues its best path by every piece that begins there. Sums are rounded to
float32 as there, and compared before they are, so that ties and near ties fall alike.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pipelines.subwords import SPACE, SubwordEncoder
from pipelines.text import END, PAD, SPECIAL_TOKENS, START, UNKNOWN
from pipelines.text_graph import fold_case

_SPACE, _BLANK = ord(SPACE), ord(" ")
_SHIFT = 2**21  # above every code point
_NO_CHARACTER = _SHIFT - 1


class SubwordEncoderGraph(tf.Module):
    """The search of one ``SubwordEncoder``, all rows of a batch at once; core kernels only.

    Args:
        encoder: the adapted encoder in NumPy.
    """

    def __init__(self, encoder: SubwordEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        children, pieces = _trie(encoder.vocabulary[len(SPECIAL_TOKENS) :])
        self.longest = max(map(len, encoder.vocabulary[len(SPECIAL_TOKENS) :]))
        self.pieces = tf.constant(pieces)
        scores = np.where(pieces >= 0, encoder.scores[pieces], 0).astype(np.float32)
        self.scores = tf.constant(scores)
        self.unknown = tf.constant(encoder.unknown_score)
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(children), tf.int64), tf.constant(list(children.values()), tf.int64)
        )
        self.children = tf.lookup.StaticHashTable(initializer, default_value=-1)

    def ragged(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """``<string>[batch]`` to ``<int32>[batch, (time)]``, START and END included."""
        points, lengths = self._points(texts)
        ids, scores = self._candidates(points, lengths)
        found = self._best(ids, scores, lengths)
        found = found[:, : self.encoder.max_length]
        ends = tf.ones_like(lengths)[:, None]
        return tf.concat([ends * START, found, ends * END], axis=1)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """``<string>[batch]`` to right-padded ``<int32>[batch, time]``."""
        return self.ragged(texts).to_tensor(PAD)

    def _points(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Characters ``<int32>[batch, time]`` with spaces as sentencepiece has them; lengths."""
        points = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        if self.encoder.lowercase:
            points = points.with_flat_values(fold_case(points.flat_values))
        # A space counts behind another character only; the first of a row has a space before it.
        flat = points.flat_values
        before = tf.concat([[_BLANK], flat[:-1]], 0)[: tf.size(flat)]
        first = points.with_flat_values(tf.range(tf.size(flat)))
        first = tf.gather(first.row_starts(), first.value_rowids()) == tf.range(
            tf.size(flat, out_type=tf.int64)
        )
        blank = flat == _BLANK
        kept = tf.ragged.boolean_mask(
            points, points.with_flat_values(~(blank & (first | (before == _BLANK))))
        )
        flat = kept.flat_values
        kept = kept.with_flat_values(tf.where(flat == _BLANK, _SPACE, flat))
        prefix = tf.RaggedTensor.from_row_lengths(
            tf.fill([tf.reduce_sum(tf.cast(kept.row_lengths() > 0, tf.int32))], _SPACE),
            tf.cast(kept.row_lengths() > 0, tf.int64),
        )
        points = tf.concat([prefix, kept], axis=1)
        lengths = tf.cast(points.row_lengths(), tf.int32)
        dense = points.to_tensor(_NO_CHARACTER)
        # Spaces at the end are dropped, also those that the text spells as U+2581.
        places = tf.range(1, tf.shape(dense)[1] + 1)
        written = (dense != _SPACE) & tf.sequence_mask(lengths, tf.shape(dense)[1])
        lengths = tf.reduce_max(tf.where(written, places, 0), axis=1)
        lengths = tf.maximum(lengths, 0)  # the maximum of no characters is negative
        mask = tf.sequence_mask(lengths, tf.shape(dense)[1])
        return tf.where(mask, dense, _NO_CHARACTER), lengths

    def _candidates(self, points: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Pieces that begin at each character, by their length.

        Returns:
            Ids ``<int32>[batch, time, longest]``, -1 where there is none, and their scores.
        """
        time = tf.shape(points)[1]
        padded = tf.pad(points, [[0, 0], [0, self.longest]], constant_values=_NO_CHARACTER)
        node = tf.zeros_like(points, tf.int64)
        ids, scores = [], []
        for offset in range(self.longest):
            character = tf.cast(padded[:, offset : offset + time], tf.int64)
            node = self.children.lookup(node * _SHIFT + character)  # of no node there is no child
            at = tf.maximum(node, 0)
            ids.append(tf.where(node >= 0, tf.gather(self.pieces, at), -1))
            scores.append(tf.gather(self.scores, at))
        # A character that is no piece by itself is unknown.
        lone = (ids[0] < 0) & tf.sequence_mask(lengths, time)
        ids[0] = tf.where(lone, UNKNOWN, ids[0])
        scores[0] = tf.where(lone, self.unknown, scores[0])
        return tf.stack(ids, 2), tf.stack(scores, 2)

    def _best(self, ids: tf.Tensor, scores: tf.Tensor, lengths: tf.Tensor) -> tf.RaggedTensor:
        """The best path of each row: ``<int32>[batch, (pieces)]``."""
        rows, time = tf.shape(ids)[0], tf.shape(ids)[1]
        begins = tf.TensorArray(tf.int32, time + 1, element_shape=[None])
        chosen = tf.TensorArray(tf.int32, time + 1, element_shape=[None])
        width = self.longest + 1
        # The window holds the best paths that end at this character and the next ones.
        window = (
            tf.zeros([rows, width], tf.float32),
            tf.fill([rows, width], -1),
            tf.fill([rows, width], -1),
        )

        def step(at, window, begins, chosen):
            best, starts, ends = window
            begins = begins.write(at, starts[:, 0])
            chosen = chosen.write(at, ends[:, 0])
            piece, score = ids[:, at], scores[:, at]
            # In float64 until it is kept, as sentencepiece has it; an unknown one is rounded first.
            exact = tf.cast(score, tf.float64) + tf.cast(best[:, :1], tf.float64)
            rounded = tf.cast(exact, tf.float32)
            exact = tf.where(piece == UNKNOWN, tf.cast(rounded, tf.float64), exact)
            better = (starts[:, 1:] < 0) | (exact > tf.cast(best[:, 1:], tf.float64))
            better &= piece >= 0
            after = (
                tf.where(better, rounded, best[:, 1:]),
                tf.where(better, at, starts[:, 1:]),
                tf.where(better, piece, ends[:, 1:]),
            )
            fresh = (0.0, -1, -1)
            moved = [
                tf.pad(one, [[0, 0], [0, 1]], constant_values=value)
                for one, value in zip(after, fresh, strict=True)
            ]
            return at + 1, tuple(moved), begins, chosen

        at, window, begins, chosen = tf.while_loop(
            lambda at, *_: at < time, step, (0, window, begins, chosen),
            shape_invariants=(
                tf.TensorShape([]), (tf.TensorShape([None, width]),) * 3,
                tf.TensorShape(None), tf.TensorShape(None),
            ),
        )  # fmt: skip
        begins = begins.write(at, window[1][:, 0]).stack()
        chosen = chosen.write(at, window[2][:, 0]).stack()
        return _followed_back(begins, chosen, lengths)


def _followed_back(begins: tf.Tensor, chosen: tf.Tensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Pieces of the paths that end at ``lengths``; neighbouring unknown characters are one.

    Args:
        begins: ``<int32>[time + 1, batch]``, where the best piece that ends there begins.
        chosen: its id.
        lengths: ``<int32>[batch]``.
    """
    rows = tf.range(tf.size(lengths))

    def step(at, written, number):
        place = tf.stack([at, rows], 1)
        inside = at > 0
        written = written.write(number, tf.where(inside, tf.gather_nd(chosen, place), -1))
        return tf.where(inside, tf.gather_nd(begins, place), 0), written, number + 1

    written = tf.TensorArray(tf.int32, 0, dynamic_size=True, element_shape=[None])
    # One step at least, also where no text has a piece: TensorFlow stacks no empty array.
    _, written, number = tf.while_loop(
        lambda at, _, number: tf.reduce_any(at > 0) | (number == 0), step, (lengths, written, 0),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape(None), tf.TensorShape([])),
    )  # fmt: skip
    pieces = tf.reshape(written.stack(), [number, tf.size(lengths)])
    ids = tf.reverse(tf.transpose(pieces), [1])
    before = tf.pad(ids[:, :-1], [[0, 0], [1, 0]], constant_values=-1)[:, : tf.shape(ids)[1]]
    return tf.ragged.boolean_mask(ids, (ids >= 0) & ~((ids == UNKNOWN) & (before == UNKNOWN)))


def _trie(pieces: tuple[str, ...]) -> tuple[dict[int, int], np.ndarray]:
    """Children by ``node * 2**21 + character``, and the id of the piece at each node, or -1."""
    children: dict[int, int] = {}
    found = [-1]
    for identity, piece in enumerate(pieces, len(SPECIAL_TOKENS)):
        node = 0
        for character in piece:
            key = node * _SHIFT + ord(character)
            if key not in children:
                children[key] = len(found)
                found.append(-1)
            node = children[key]
        found[node] = identity
    return children, np.array(found, np.int32)
