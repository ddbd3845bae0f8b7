"""Windows as ``tf.data`` batches: TensorFlow gathers the rows of a batch from the one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pipelines.batching import ShuffledEpochs
from pipelines.windows import Windows

Batch = dict[str, tf.Tensor]


def gatherer(windows: Windows) -> Callable[[tf.Tensor], Batch]:
    """A function from starts ``<int64>[batch]`` to the rows of their windows.

    The tensors share the memory of the table's arrays, mapped files among them: nothing is copied
    but the batch.

    Returns:
        ``{"values" <float32>[batch, lookback, inputs], "known" [batch, lookback + horizon, known],
        "time" <int64>[batch] of the last row of the past, "times" [batch, lookback],
        "future" <float32>[batch, horizon, targets]}``.
    """
    table, lookback = windows.table, windows.lookback
    values, times = tf.convert_to_tensor(table.values), tf.convert_to_tensor(table.times)
    steps = tf.range(lookback + windows.horizon, dtype=tf.int64)

    def gather(starts: tf.Tensor) -> Batch:
        rows = tf.gather(values, starts[:, None] + steps)
        return {
            "values": rows[:, :lookback, : table.inputs],
            "known": rows[:, :, table.inputs :],
            "time": tf.gather(times, starts + (lookback - 1)),
            "times": tf.gather(times, starts[:, None] + steps[:lookback]),
            "future": rows[:, lookback:, : table.targets],
        }

    return gather


def window_batches(
    windows: Windows, prepare: Callable[[Batch], Any], batch_size: int
) -> tf.data.Dataset:
    """Batches in order.

    Args:
        windows: which.
        prepare: from gathered rows to what the model takes, as TensorFlow ops.
        batch_size: windows a batch.
    """
    gather = gatherer(windows)
    starts = tf.data.Dataset.from_tensor_slices(windows.starts).batch(batch_size)
    return starts.map(lambda rows: prepare(gather(rows)), tf.data.AUTOTUNE).prefetch(2)


def shuffled_windows(
    windows: Windows, prepare: Callable[[Batch], Any], batch_size: int, seed: int
) -> ShuffledEpochs:
    """The same in another order each epoch: all windows are shuffled, not a buffer of them."""
    gather = gatherer(windows)
    starts = tf.constant(windows.starts)

    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            starts, tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
        )
        rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return rows.map(lambda found: prepare(gather(found)), tf.data.AUTOTUNE)

    return ShuffledEpochs(batches_of, -(-len(windows) // batch_size))
