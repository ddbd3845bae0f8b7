"""Batches by length: nothing lost, little padding, other company each epoch, one order a seed."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batching import SPREAD
from pipelines.encoded import EncodedRows
from pipelines.lanes import LaneRows
from pipelines.ragged import Field, Ragged

PAD = -7


def rows_of(lengths):
    """Row i holds the number i + 1, repeated; its target is i."""
    rows = [np.full(n, i + 1) for i, n in enumerate(lengths)]
    inputs = {"tokens": Ragged.of(rows, np.int32)}
    return EncodedRows(inputs, {"y": np.arange(len(lengths))}, fields={"tokens": Field(PAD)})


def materialise(batches):
    return [(x["tokens"], y["y"].tolist()) for x, y in batches.as_numpy_iterator()]


def epoch_of(lengths, epoch, batch_size=8, seed=3):
    return [
        rows
        for _, rows in materialise(rows_of(lengths).training_batches(batch_size, seed).one(epoch))
    ]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(0, 2**62),
    st.integers(0, 1000),
)
def test_every_row_comes_once_and_whole(lengths, batch_size, seed, epoch):
    encoded = rows_of(lengths)
    epochs = encoded.training_batches(batch_size, seed)
    for batches in (encoded.batches(batch_size), epochs.one(epoch)):
        got, seen = materialise(batches), []
        assert len(got) == epochs.steps == -(-len(lengths) // batch_size)
        sizes = [len(labels) for _, labels in got]
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1, "no batch has a smaller gradient's noise"
        for tokens, labels in got:
            assert tokens.shape[1] == max(lengths[label] for label in labels)
            for row, label in zip(tokens, labels, strict=True):
                assert (row == label + 1).sum() == lengths[label]
                assert (row[lengths[label] :] == PAD).all(), "right padding only"
                seen.append(label)
        assert sorted(seen) == list(range(len(lengths)))


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=20, max_size=200), st.integers(2, 16))
def test_padding_is_bounded(lengths, batch_size):
    """No row is padded for one that is longer by more than the spread, but for neighbours."""
    ordered = np.sort(lengths)
    for epoch in range(2):
        for rows in epoch_of(lengths, epoch, batch_size):
            least, most = (function(lengths[row] for row in rows) for function in (min, max))
            after, before = ordered > least * (1 + SPREAD) + 1, ordered * (1 + SPREAD) + 1 < most
            between = np.count_nonzero(after & before)
            assert between < len(rows), (
                "those lie between the two, however their lengths were jittered"
            )


def test_seeds_and_epochs():
    lengths = np.random.default_rng(0).integers(1, 50, 200)

    def order(seed, first, count):
        epochs = rows_of(lengths).training_batches(8, seed)
        stream = epochs.starting_with(first).take(count * epochs.steps)
        labels = [labels for _, labels in materialise(stream)]
        return [labels[i * epochs.steps : (i + 1) * epochs.steps] for i in range(count)]

    three = order(3, 0, 3)
    tf.random.set_seed(77)
    assert three == order(3, 0, 3), "one seed, one order, whatever the process has drawn"
    assert three[1] != three[0], "another order each epoch"
    assert order(3, 2, 1) == three[2:], "an epoch's order does not depend on those before it"
    assert order(4, 0, 1)[0] != three[0]
    assert order(1, 0, 1) != order(0, 1, 1), "seed and epoch are two numbers, not their sum"
    for epoch in three:
        assert sorted(sum(epoch, [])) == list(range(200))


def test_company_and_place_differ_between_epochs():
    lengths = np.arange(100, 500)  # no two alike: without jitter their neighbours never change
    first, second = ({frozenset(rows) for rows in epoch_of(lengths, e)} for e in (0, 1))
    assert not first & second
    means = np.array([lengths[rows].mean() for rows in epoch_of(lengths, 0)])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4, "long and short mixed"


def test_length_saves_padding():
    lengths = np.random.default_rng(0).integers(1, 400, 1000)
    epochs = rows_of(lengths).training_batches(16, seed=0)
    cells = sum(tokens.size for tokens, _ in materialise(epochs.one(0)))
    assert cells < 1.08 * lengths.sum(), "shuffled batches alone would hold 1.9 times the tokens"


def test_rows_of_one_length_are_merely_shuffled():
    """Two of a thousand rows, always in other batches, and no order kept."""
    encoded = EncodedRows({"x": np.arange(1000)}, {"y": np.arange(1000)})
    one = np.concatenate([x["x"] for x, _ in encoded.training_batches(10, 0).one(0)])
    assert sorted(one) == list(range(1000))
    assert abs(np.corrcoef(one, np.arange(1000))[0, 1]) < 0.1
    in_order = np.concatenate([x["x"] for x, _ in encoded.batches(10)])
    assert np.array_equal(in_order, np.arange(1000)), "and not even that where nothing is trained"


def test_columns_of_every_type():
    words = Ragged.of([[b"a", b"b"], [b"c"]], object)
    frames = Ragged.of([np.ones((3, 2)), np.ones((1, 2))], np.float32, (2,))
    weights = {"y": Ragged.of([[1, 1], [1]], np.float32)}
    rows = EncodedRows({"words": words, "frames": frames}, {"y": words}, weights)
    inputs, targets, found = next(rows.batches(2).as_numpy_iterator())
    assert inputs["words"].tolist() == targets["y"].tolist() == [[b"a", b"b"], [b"c", b""]]
    assert inputs["frames"].shape == (2, 3, 2)
    assert inputs["frames"].sum() == 8
    assert found["y"].tolist() == [[1, 1], [1, 0]]


def test_no_examples():
    for make in (EncodedRows.batches, lambda rows, size: rows.training_batches(size, 0)):
        with pytest.raises(ValueError, match="no examples"):
            make(rows_of([]), 2)


def test_who_lets_go_of_batches_never_waits_for_a_thread_that_tunes():
    rows, lanes = rows_of([3, 1, 2]), LaneRows(Ragged.of([np.arange(4, 9)], np.int32), 4)
    epochs = [rows.training_batches(2, 0), lanes.training_batches(2, 0)]
    found = [rows.batches(2), lanes.batches(2)]
    found += [made for one in epochs for made in (one.one(0), one.starting_with(0))]
    assert [batches.options().autotune.enabled for batches in found] == [False] * 6
