"""Length-bucketed, padded, cached and prefetched batches.

A recurrent layer costs as many steps as the longest row of its batch has, so rows of like length
belong together. Rows are shuffled first and then gathered by length: batches differ from epoch to
epoch, and two iterations under one seed give the same batches in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

# To look for Python's own control flow in these functions costs each process up to a second.
_plain = tf.autograph.experimental.do_not_convert


def bucket_boundaries(lengths: Sequence[int], buckets: int = 10) -> list[int]:
    """Upper bounds (exclusive) that part ``lengths`` into buckets of about equal work.

    The bounds are quantiles of the lengths; equal ones fall together.

    >>> bucket_boundaries([1, 2, 3, 4, 5, 6, 7, 8], buckets=4)
    [3, 5, 7]
    """
    quantiles = np.quantile(lengths, np.arange(1, buckets) / buckets, method="lower")
    return [int(bound) + 1 for bound in np.unique(quantiles) if bound < max(lengths)]


@dataclass(frozen=True)
class ShuffledEpochs:
    """Training batches: another order in each epoch, the same one for the same seed and epoch.

    The order depends on nothing else, so that a training that was killed goes on with the batches
    it would have seen.

    Attributes:
        batches_of: batches of the epoch of this number, a tensor.
        steps: batches in each epoch.
        options: of tf.data; its own choice unless told.
    """

    batches_of: Callable[[tf.Tensor], tf.data.Dataset]
    steps: int
    options: tf.data.Options | None = None

    def one(self, epoch: int) -> tf.data.Dataset:
        """Batches of one epoch."""
        return self.starting_with(epoch).take(self.steps)

    def starting_with(self, epoch: int) -> tf.data.Dataset:
        """One epoch after the other without end; ``fit`` takes ``steps`` of it an epoch."""
        numbers = tf.data.Dataset.range(epoch, 2**31)
        # Two suffice; tuned automatically, the buffer grows for as long as training goes.
        batches = numbers.flat_map(self.batches_of).prefetch(2)
        return batches.with_options(self.options) if self.options else batches


def shuffled_epochs(
    examples: tf.data.Dataset,
    *,
    length_key: str | Sequence[str],
    batch_size: int,
    seed: int,
    buckets: int = 10,
    lengths: Sequence[int] | None = None,
    padding: Mapping[str, Any] | None = None,
) -> ShuffledEpochs:
    """Shuffles the examples of each epoch and batches them by length.

    Args:
        examples: as for ``bucketed_batches``.
        length_key: as for ``bucketed_batches``.
        batch_size: rows in a batch.
        seed: decides the order, together with the number of the epoch.
        buckets: number of length classes.
        lengths: as for ``bucketed_batches``.
        padding: as for ``bucketed_batches``.

    Raises:
        ValueError: there is no example.
    """
    examples, lengths = _remembered(examples, length_key, lengths)
    boundaries = bucket_boundaries(lengths, buckets)

    @_plain
    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        # flat_map traces this in a graph of its own; with a seed there, the order follows from the
        # numbers below alone, and not from the seed that the rest of the process happens to use.
        tf.compat.v1.get_default_graph().seed = 1
        # The factor keeps (seed 0, epoch 1) apart from (seed 1, epoch 0).
        mixed = seed * 1_000_003 + epoch
        rows = examples.shuffle(len(lengths), seed=mixed, reshuffle_each_iteration=False)
        return _bucketed(rows, length_key, boundaries, batch_size, padding)

    return ShuffledEpochs(batches_of, _number_of_batches(lengths, boundaries, batch_size))


def bucketed_batches(
    examples: tf.data.Dataset,
    *,
    length_key: str | Sequence[str],
    batch_size: int,
    buckets: int = 10,
    lengths: Sequence[int] | None = None,
    padding: Mapping[str, Any] | None = None,
) -> tf.data.Dataset:
    """Batches of ``(inputs, targets[, weights])``, each padded to its own longest row.

    Args:
        examples: unbatched, deterministic from one pass to the next.
        length_key: the input whose first axis is the length; of several the longest counts.
        batch_size: rows in a batch.
        buckets: number of length classes.
        lengths: length of every example; they are then taken to be in memory. With None this
            function makes a first pass, after which they are.
        padding: value that lengthens an input, target or weight, by name; zero where not named.

    Raises:
        ValueError: there is no example.
    """
    examples, lengths = _remembered(examples, length_key, lengths)
    boundaries = bucket_boundaries(lengths, buckets)
    steps = _number_of_batches(lengths, boundaries, batch_size)
    batches = _bucketed(examples, length_key, boundaries, batch_size, padding)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def _remembered(
    examples: tf.data.Dataset, length_key: str | Sequence[str], lengths: Sequence[int] | None
) -> tuple[tf.data.Dataset, Sequence[int]]:
    """The examples, kept in memory, and their lengths."""
    if lengths is None:
        examples, names = examples.cache(), _names(length_key)
        lengths = [
            max(len(inputs[name]) for name in names) for inputs, *_ in examples.as_numpy_iterator()
        ]
    if not len(lengths):
        raise ValueError("no examples to batch")
    return examples, lengths


def _names(length_key: str | Sequence[str]) -> Sequence[str]:
    return (length_key,) if isinstance(length_key, str) else length_key


def _bucketed(
    examples: tf.data.Dataset,
    length_key: str | Sequence[str],
    boundaries: list[int],
    batch_size: int,
    padding: Mapping[str, Any] | None,
) -> tf.data.Dataset:
    names, values = _names(length_key), padding or {}
    if not names:  # every row is as long as the others
        return examples.batch(batch_size)

    def value(path: str, spec: tf.TensorSpec) -> tf.Tensor:
        usual = "" if spec.dtype == tf.string else 0
        return tf.cast(values.get(path, usual), spec.dtype) if usual == 0 else tf.constant(
            values.get(path, usual))  # fmt: skip

    def values_of(part: Any) -> Any:
        if not isinstance(part, Mapping):
            return value("", part)
        return {name: value(name, spec) for name, spec in part.items()}

    return examples.bucket_by_sequence_length(
        _plain(lambda inputs, *_: tf.reduce_max([tf.shape(inputs[name])[0] for name in names])),
        bucket_boundaries=boundaries,
        bucket_batch_sizes=[batch_size] * (len(boundaries) + 1),
        padding_values=tuple(values_of(part) for part in examples.element_spec),
    )


def _number_of_batches(lengths: Sequence[int], boundaries: list[int], batch_size: int) -> int:
    counts = np.bincount(np.searchsorted(boundaries, lengths, side="right"))
    return int(np.sum(-(-counts // batch_size)))
