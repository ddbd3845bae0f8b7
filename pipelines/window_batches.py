"""Windows as ``tf.data`` batches: TensorFlow gathers the rows of a batch from the one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.batching import AS_BUILT, ShuffledEpochs
from pipelines.windows import Windows

Batch = dict[str, tf.Tensor]


def gatherer(windows: Windows) -> Callable[[tf.Tensor], Batch]:
    """A function from starts ``<int64>[batch]`` to the rows of their windows.

    A mapped file stays on disk: TensorFlow reads its pages as they are gathered. An array in
    memory is copied once.

    Returns:
        ``{"values" <float32>[batch, lookback, inputs], "known" [batch, lookback + horizon, known],
        "time" <int64>[batch] of the last row of the past, "times" [batch, lookback],
        "future" <float32>[batch, horizon, targets]}``.
    """
    table, lookback = windows.table, windows.lookback
    values, times = _shared(table.values), tf.convert_to_tensor(table.times)
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


def _shared(array: np.ndarray) -> tf.Tensor:
    """A tensor over the same memory, where the array is a file mapped into it."""
    mapped = isinstance(array, np.memmap) and array.flags.c_contiguous and array.flags.writeable
    # TensorFlow's kernels want tensors at multiples of 64 bytes; maps begin at pages.
    if not mapped or array.ctypes.data % 64:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(np.asarray(array).__dlpack__())


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
    batches = starts.map(lambda rows: prepare(gather(rows)), tf.data.AUTOTUNE).prefetch(2)
    return batches.with_options(AS_BUILT)


def shuffled_windows(
    windows: Windows, prepare: Callable[[Batch], Any], batch_size: int, seed: int
) -> ShuffledEpochs:
    """The same in another order each epoch: all windows are shuffled, not a buffer of them."""
    gather = gatherer(windows)
    starts = tf.constant(windows.starts)

    def maker(epoch: tf.Tensor) -> Callable[[tf.Tensor], Any]:
        order = tf.random.experimental.stateless_shuffle(
            starts, tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
        )
        return lambda i: prepare(gather(order[i * batch_size : (i + 1) * batch_size]))

    return ShuffledEpochs(maker, -(-len(windows) // batch_size))
