"""Batches of rows of like length, each padded to its own longest row.

A recurrent layer costs as many steps as the longest row of its batch has, so rows of like length
belong together. For training, rows are sorted by a length that is jittered anew in each epoch, cut
into batches of one size and taken in random order: company and order differ from epoch to epoch,
and two iterations under one seed give the same batches in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pipelines.ragged import Columns, Fields, Ragged

Batch = tuple[dict[str, tf.Tensor], ...]  # inputs, targets and perhaps weights
# To look for Python's own control flow in these functions costs each process up to a second.
plain = tf.autograph.experimental.do_not_convert
# tf.data neither rewrites nor tunes a dataset: its rewrites copy what a function has captured, all
# rows; and the thread that tunes sleeps for longer and longer, while whoever lets go of an iterator
# waits until it wakes, ten seconds into an iterator's life up to ten more.
AS_BUILT = tf.data.Options()
AS_BUILT.experimental_optimization.apply_default_optimizations = False
AS_BUILT.autotune.enabled = False
# Rows whose lengths differ by less than this share may meet in a batch, however many lie between.
SPREAD = 0.1


@dataclass(frozen=True)
class ShuffledEpochs:
    """Training batches: another order in each epoch, the same one for the same seed and epoch.

    The order depends on nothing else, so that a training that was killed goes on with the batches
    it would have seen.

    Attributes:
        maker: takes the number of an epoch, a tensor; gives a function from the number of a batch,
            a tensor too, to that batch of the epoch.
        steps: batches in each epoch.
    """

    maker: Callable[[tf.Tensor], Callable[[tf.Tensor], Batch]]
    steps: int

    def one(self, epoch: int) -> tf.data.Dataset:
        """Batches of one epoch."""
        return self.starting_with(epoch).take(self.steps)

    def starting_with(self, epoch: int) -> tf.data.Dataset:
        """One epoch after the other without end; ``fit`` takes ``steps`` of it an epoch."""
        numbers, steps = tf.data.Dataset.range(epoch, 2**31), tf.data.Dataset.range(self.steps)
        batches = numbers.flat_map(
            plain(lambda epoch: steps.map(plain(self.maker(epoch)), tf.data.AUTOTUNE))
        )
        return batches.prefetch(2).with_options(AS_BUILT)


def shuffled_epochs(
    parts: Sequence[Columns],
    lengths: np.ndarray,
    batch_size: int,
    seed: int,
    fields: Fields,
    spread: float = SPREAD,
) -> ShuffledEpochs:
    """Every row once an epoch, in batches of like length that come in random order.

    All batches of an epoch are of one size, give or take a row: a smaller one at the end would be
    noisier than the others and would have the last word.

    Args:
        parts: as for ``length_batches``.
        lengths: as for ``length_batches``.
        batch_size: most rows in a batch.
        seed: decides the order, together with the number of the epoch.
        fields: as for ``length_batches``.
        spread: by how much at most, as a share, a length is lengthened at random before rows are
            sorted by it. With 0 rows of a rare length would have the same company in each epoch;
            the more, the more is padded.

    Raises:
        ValueError: there is no row.
    """
    gather, ends = gatherer(parts, fields), _ends(len(lengths), batch_size)
    costs, steps = tf.constant(lengths, tf.float64), len(ends) - 1

    def maker(epoch: tf.Tensor) -> Callable[[tf.Tensor], Batch]:
        draw = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
        jitter, equal = tf.unstack(
            tf.random.stateless_uniform([2, len(lengths)], draw, dtype=tf.float64)
        )
        # Lengths are whole numbers: what is added decides between equal ones alone.
        order = tf.argsort(costs * (1 + spread * jitter) + equal)
        turns = tf.random.experimental.stateless_shuffle(tf.range(steps), draw)
        return lambda number: gather(order[ends[turns[number]] : ends[turns[number] + 1]])

    return ShuffledEpochs(maker, steps)


def length_batches(
    parts: Sequence[Columns], lengths: np.ndarray, batch_size: int, fields: Fields
) -> tf.data.Dataset:
    """Every row once, equally long ones in their order; the long ones first, so that what does not
    fit into memory fails at once.

    Args:
        parts: inputs, targets and perhaps weights: named columns, one row for each example.
        lengths: ``<int64>[examples]``, what each row costs.
        batch_size: most rows in a batch.
        fields: padding of ragged columns by name; zero, or no text, where not named.

    Raises:
        ValueError: there is no row.
    """
    gather, ends = gatherer(parts, fields), _ends(len(lengths), batch_size)
    order = tf.constant(np.argsort(-np.asarray(lengths), kind="stable"))
    numbers = tf.data.Dataset.range(len(ends) - 1)
    batches = numbers.map(plain(lambda i: gather(order[ends[i] : ends[i + 1]])))
    return batches.prefetch(2).with_options(AS_BUILT)


def gatherer(parts: Sequence[Columns], fields: Fields) -> Callable[[tf.Tensor], Batch]:
    """A function from numbers of rows ``<int>[batch]`` to their batch, padded.

    Args:
        parts: as for ``length_batches``; they are copied once.
        fields: likewise.
    """

    def tensor(column: np.ndarray | Ragged) -> tf.Tensor | tf.RaggedTensor:
        if not isinstance(column, Ragged):
            return tf.convert_to_tensor(column)
        return tf.RaggedTensor.from_row_splits(column.values, column.ends, validate=False)

    tensors = [{name: tensor(column) for name, column in part.items()} for part in parts]

    def batch(name: str, column: tf.Tensor | tf.RaggedTensor, rows: tf.Tensor) -> tf.Tensor:
        found = tf.gather(column, rows)
        if not isinstance(column, tf.RaggedTensor):
            return found
        usual = "" if column.dtype == tf.string else 0
        padding = fields[name].padding if name in fields else usual
        return found.to_tensor(padding if usual == "" else tf.cast(padding, column.dtype))

    return lambda rows: tuple(
        {name: batch(name, column, rows) for name, column in part.items()} for part in tensors
    )


def _ends(rows: int, batch_size: int) -> tf.Tensor:
    """Where each of as few batches as it takes begins, and where the last one ends."""
    if not rows:
        raise ValueError("no examples to batch")
    steps = -(-rows // batch_size)
    return tf.constant(np.arange(steps + 1) * rows // steps)
