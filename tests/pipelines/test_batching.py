"""Bucketed batches: nothing lost, little padding, the same under a seed."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batching import bucket_boundaries, bucketed_batches


def dataset(lengths):
    """Row i holds the number i + 1, repeated; its target is i."""
    spec = {"tokens": tf.TensorSpec([None], tf.int32)}, tf.TensorSpec([], tf.int32)
    rows = [({"tokens": np.full(n, i + 1)}, i) for i, n in enumerate(lengths)]
    return tf.data.Dataset.from_generator(lambda: rows, output_signature=spec)


def materialise(batches):
    return [(x["tokens"], y.tolist()) for x, y in batches.as_numpy_iterator()]


def test_boundaries_by_hand():
    assert bucket_boundaries([1, 2, 3, 4, 5, 6, 7, 8], buckets=4) == [3, 5, 7]
    assert bucket_boundaries([5, 5, 5]) == []
    assert bucket_boundaries([1, 1, 1, 9], buckets=2) == [2]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 8))
def test_every_row_comes_once_and_whole(lengths, batch_size):
    batches = bucketed_batches(
        dataset(lengths), length_key="tokens", batch_size=batch_size, shuffle_seed=1
    )
    seen = []
    got = materialise(batches)
    assert len(got) == batches.cardinality().numpy()
    for tokens, labels in got:
        assert len(labels) <= batch_size
        for row, label in zip(tokens, labels, strict=True):
            assert (row == label + 1).sum() == lengths[label]
            assert (row[lengths[label] :] == 0).all(), "right padding only"
            seen.append(label)
    assert sorted(seen) == list(range(len(lengths)))


def test_seeds_and_epochs():
    lengths = np.random.default_rng(0).integers(1, 50, 200)

    def epochs(seed):
        batches = bucketed_batches(
            dataset(lengths), length_key="tokens", batch_size=8, shuffle_seed=seed
        )
        return [[labels for _, labels in materialise(batches)] for _ in range(2)]

    first, second = epochs(3)
    assert (first, second) == tuple(epochs(3)), "one seed, one order"
    assert first != second, "another order each epoch"
    assert first != epochs(4)[0]


def test_bucketing_saves_padding():
    lengths = np.random.default_rng(0).integers(1, 400, 1000)
    batches = bucketed_batches(dataset(lengths), length_key="tokens", batch_size=16, shuffle_seed=0)
    cells = sum(tokens.size for tokens, _ in materialise(batches))
    assert cells < 1.2 * lengths.sum(), "shuffled batches alone would hold 1.9 times the tokens"


def test_no_examples():
    with pytest.raises(ValueError, match="no examples"):
        bucketed_batches(dataset([]), length_key="tokens", batch_size=2)
