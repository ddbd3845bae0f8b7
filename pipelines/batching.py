"""Length-bucketed, padded, cached and prefetched batches.

A recurrent layer costs as many steps as the longest row of its batch has, so rows of like length
belong together. Rows are shuffled first and then gathered by length: batches differ from epoch to
epoch, and two iterations under one seed give the same batches in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def bucket_boundaries(lengths: Sequence[int], buckets: int = 10) -> list[int]:
    """Upper bounds (exclusive) that part ``lengths`` into buckets of about equal work.

    The bounds are quantiles of the lengths; equal ones fall together.

    >>> bucket_boundaries([1, 2, 3, 4, 5, 6, 7, 8], buckets=4)
    [3, 5, 7]
    """
    quantiles = np.quantile(lengths, np.arange(1, buckets) / buckets, method="lower")
    return [int(bound) + 1 for bound in np.unique(quantiles) if bound < max(lengths)]


def bucketed_batches(
    examples: tf.data.Dataset,
    *,
    length_key: str,
    batch_size: int,
    shuffle_seed: int | None = None,
    buckets: int = 10,
) -> tf.data.Dataset:
    """Batches of ``(inputs, target)`` examples, each padded with zeros to its own longest row.

    Args:
        examples: unbatched ``(inputs, target)``, deterministic from one pass to the next; kept in
            memory after the first pass, which this function makes.
        length_key: the input whose first axis is the length.
        batch_size: rows a batch.
        shuffle_seed: seed of the order, another one each epoch; None keeps the order of examples
            within a bucket (for evaluation).
        buckets: number of length classes.

    Raises:
        ValueError: there is no example.
    """
    examples = examples.cache()
    lengths = [len(inputs[length_key]) for inputs, _ in examples.as_numpy_iterator()]
    if not lengths:
        raise ValueError("no examples to batch")
    if shuffle_seed is not None:
        examples = examples.shuffle(len(lengths), seed=shuffle_seed)
    boundaries = bucket_boundaries(lengths, buckets)
    batches = examples.bucket_by_sequence_length(
        lambda inputs, _: tf.shape(inputs[length_key])[0],
        bucket_boundaries=boundaries,
        bucket_batch_sizes=[batch_size] * (len(boundaries) + 1),
    )
    return batches.apply(
        tf.data.experimental.assert_cardinality(_number_of_batches(lengths, boundaries, batch_size))
    ).prefetch(tf.data.AUTOTUNE)


def _number_of_batches(lengths: Sequence[int], boundaries: list[int], batch_size: int) -> int:
    counts = np.bincount(np.searchsorted(boundaries, lengths, side="right"))
    return int(np.sum(-(-counts // batch_size)))
