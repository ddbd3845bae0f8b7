"""Bucketed batches: nothing lost, little padding, the same under a seed."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batching import bucket_boundaries, bucketed_batches, shuffled_epochs


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
    batches = bucketed_batches(dataset(lengths), length_key="tokens", batch_size=batch_size)
    epochs = shuffled_epochs(dataset(lengths), length_key="tokens", batch_size=batch_size, seed=1)
    assert epochs.steps == batches.cardinality().numpy() == len(materialise(batches))
    seen = []
    got = materialise(epochs.one(7))
    assert len(got) == epochs.steps
    for tokens, labels in got:
        assert len(labels) <= batch_size
        for row, label in zip(tokens, labels, strict=True):
            assert (row == label + 1).sum() == lengths[label]
            assert (row[lengths[label] :] == 0).all(), "right padding only"
            seen.append(label)
    assert sorted(seen) == list(range(len(lengths)))


def test_seeds_and_epochs():
    lengths = np.random.default_rng(0).integers(1, 50, 200)

    def order(seed, first, count):
        epochs = shuffled_epochs(dataset(lengths), length_key="tokens", batch_size=8, seed=seed)
        stream = epochs.starting_with(first).take(count * epochs.steps)
        labels = [labels for _, labels in materialise(stream)]
        return [labels[i * epochs.steps : (i + 1) * epochs.steps] for i in range(count)]

    three = order(3, 0, 3)
    assert three == order(3, 0, 3), "one seed, one order"
    assert three[1] != three[0], "another order each epoch"
    assert order(3, 2, 1) == three[2:], "an epoch's order does not depend on those before it"
    assert order(4, 0, 1)[0] != three[0]
    for epoch in three:
        assert sorted(sum(epoch, [])) == list(range(200))


def test_bucketing_saves_padding():
    lengths = np.random.default_rng(0).integers(1, 400, 1000)
    epochs = shuffled_epochs(dataset(lengths), length_key="tokens", batch_size=16, seed=0)
    batches = epochs.one(0)
    cells = sum(tokens.size for tokens, _ in materialise(batches))
    assert cells < 1.2 * lengths.sum(), "shuffled batches alone would hold 1.9 times the tokens"


def test_no_examples():
    with pytest.raises(ValueError, match="no examples"):
        bucketed_batches(dataset([]), length_key="tokens", batch_size=2)


@pytest.mark.parametrize("seed", [None, 3])
def test_known_lengths_change_nothing_but_the_first_pass(seed):
    lengths, common = [3, 1, 4, 1, 5, 9, 2, 6], {"length_key": "tokens", "batch_size": 2}
    if seed is None:
        ways = [bucketed_batches(dataset(lengths), **common, lengths=n) for n in (None, lengths)]
    else:
        ways = [
            shuffled_epochs(dataset(lengths), **common, seed=seed, lengths=n).one(1)
            for n in (None, np.array(lengths))
        ]
    one, other = ([(x.tolist(), y) for x, y in materialise(way)] for way in ways)
    assert one == other
