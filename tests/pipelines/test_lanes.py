"""Windows of documents that are read side by side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.lanes import LaneRows, in_order
from pipelines.ragged import Ragged


def lanes(*lengths, window=4):
    """Documents whose units are numbered through, none twice."""
    first, rows = 4, []
    for length in lengths:
        rows.append(np.arange(first, first + length + 1))
        first += length + 1
    return LaneRows(Ragged.of(rows, np.int32), window)


def batches(dataset):
    return [
        ({n: x.numpy() for n, x in a.items()}, b["log_probabilities"].numpy()) for a, b in dataset
    ]


def test_a_document_is_read_on_from_window_to_window():
    found = batches(lanes(10).batches(2))
    tokens = [inputs["tokens"].tolist() for inputs, _ in found]
    # Two rows of five units each, in two windows.
    assert tokens == [[[4, 5], [9, 10]], [[6, 7, 8], [11, 12, 13]]]
    assert [inputs["begins"].tolist() for inputs, _ in found] == [[True, True], [False, False]]
    assert found[0][1].tolist() == [[5, 6], [10, 11]]
    assert found[1][1].tolist() == [[7, 8, 9], [12, 13, 14]]


def test_short_documents_are_padded_and_begin_anew():
    found = batches(lanes(2, 4).batches(2))
    assert len(found) == 1
    assert found[0][0]["tokens"].tolist() == [[7, 8, 9, 10], [4, 5, 0, 0]]
    assert found[0][1].tolist() == [[8, 9, 10, 11], [5, 6, 0, 0]]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=30),
    st.integers(1, 9), st.integers(1, 12), st.integers(0, 5),
)  # fmt: skip
def test_each_unit_is_foretold_once_an_epoch_from_the_one_before(lengths, rows, window, epoch):
    every = lanes(*lengths, window=window)
    epochs = every.training_batches(rows, seed=1)
    found = batches(epochs.one(epoch))
    assert len(found) == epochs.steps
    pairs = []
    for inputs, following in found:
        assert len(following) <= rows
        inside = following != 0
        assert np.array_equal(inside, inputs["tokens"] != 0)
        assert (following - inputs["tokens"])[inside].tolist() == [1] * inside.sum()
        pairs += following[inside].tolist()
    ends = np.cumsum([length + 1 for length in lengths]) + 4
    firsts = {4, *ends[:-1].tolist()}
    assert sorted(pairs) == [unit for unit in range(4, ends[-1]) if unit not in firsts]
    assert len(pairs) == len(every)


@pytest.mark.parametrize("seed", [0, 3])
def test_windows_differ_from_epoch_to_epoch_and_follow_from_the_seed(seed):
    epochs = lanes(400, window=20).training_batches(2, seed)
    first, again, second = (batches(epochs.one(epoch)) for epoch in (0, 0, 1))

    def widths(found):
        return [following.shape[1] for _, following in found]

    assert widths(first) == widths(again) != widths(second)
    assert min(widths(first)) >= 10
    assert max(widths(first)) <= 30


def test_documents_in_order_have_each_unit_once():
    documents = [np.array([2, 5, 6, 7, 8], np.int32), np.array([2], np.int32), np.array([2, 9])]
    found = list(in_order(documents, 3))
    assert [one["tokens"][0].tolist() for one in found] == [[2, 5, 6], [7], [2]]
    assert [one["following"][0].tolist() for one in found] == [[5, 6, 7], [8], [9]]
    assert [one["begins"].tolist() for one in found] == [[True], [False], [True]]
