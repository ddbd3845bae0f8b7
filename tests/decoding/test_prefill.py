"""Beginnings of unequal length: each is read as if it were alone."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from markov import graph_step, model, some, step, traced_prefill

from decoding import prefill_graph, sampling
from decoding.prefill import prefill
from decoding.stepping import DecodingError


def beginnings(seed, lengths, pad=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 3, (len(lengths), max(lengths, default=1))).astype(np.int32)
    lengths = np.array(lengths, np.int32)
    return np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, pad).astype(np.int32), lengths


@given(st.integers(0, 10**6), st.lists(st.integers(1, 5), max_size=5))
@settings(max_examples=60)
def test_beginnings_are_read_together_as_alone_and_in_both_forms(seed, lengths):
    ids, lengths = beginnings(seed, lengths)
    _, states = model(seed, len(ids))
    last, after = prefill(step, ids, lengths, states)
    assert last.dtype == np.int32
    graph_last, graph_after = traced_prefill(ids, lengths, states)
    np.testing.assert_array_equal(graph_last, last)
    for name, array in after.items():
        np.testing.assert_array_equal(graph_after[name], array)
    for i, n in enumerate(lengths):
        own, alone = some([i], ids[:, :n], states)
        for t in range(n - 1):
            alone = {**alone, **step(own[:, t], alone)[1]}
        assert last[i] == own[0, -1]
        assert after["before"][i] == alone["before"][0]


def test_a_search_goes_on_where_the_beginning_ended():
    ids, lengths = beginnings(4, [3, 1, 5])
    _, states = model(4, 3)
    more = {"end": None, "seed": [1, 2, 3], "max_tokens": 4}
    found = sampling.sample(step, *prefill(step, ids, lengths, states), **more)
    for i, n in enumerate(lengths):
        own, alone = some([i], ids[:, :n], states)
        more["seed"] = [i + 1]
        want = sampling.sample(step, *prefill(step, own, [n], alone), **more)
        assert found.ids[i].tolist() == want.ids[0].tolist()
        assert found.scores[i] == want.scores[0]


def test_one_id_is_handed_on_unread():
    def never(ids, states):
        raise AssertionError

    ids, states = np.array([[2], [1]]), {"x": np.ones(2, np.float32)}
    last, after = prefill(never, ids, [1, 1], states)
    assert last.tolist() == [2, 1]
    assert after["x"].tolist() == [1, 1]
    last, after = prefill(never, np.zeros((0, 3), int), [], {"x": np.ones(0)})
    assert (last.shape, after["x"].shape) == ((0,), (0,))


def test_the_states_that_were_given_stay_as_they_were():
    ids, lengths = beginnings(1, [4, 2])
    _, states = model(1, 2)
    _, after = prefill(step, ids, lengths, states)
    assert after["before"].any()
    assert not states["before"].any()


@pytest.mark.parametrize(("ids", "lengths", "words"), [
    ([[1, 2]], [0], "lengths must be from 1 to"),
    ([[1, 2]], [3], "lengths must be from 1 to"),
    ([[1, 2]], [2**32 + 1], "lengths must be from 1 to"),
    (np.zeros((1, 0), int), [0], "lengths must be from 1 to"),
    ([1, 2], [1, 1], "beginnings"),
    ([[1, 2]], [[1]], "lengths"),
    ([[1, 2]], [1, 1], "lengths"),
    ([[0.5, 2]], [1], "beginnings"),
    ([[1, 2]], [1.5], "lengths"),
])  # fmt: skip
def test_beginnings_that_cannot_be_are_refused(ids, lengths, words):
    ids, lengths = np.asarray(ids), np.asarray(lengths)
    _, states = model(0, 1)
    with pytest.raises(DecodingError, match=words):
        prefill(step, ids, lengths, states)
    with pytest.raises(DecodingError, match=words):
        prefill_graph.prefill(graph_step, tf.constant(ids), tf.constant(lengths), states)


def test_a_graph_refuses_an_empty_beginning_as_it_runs():
    _, states = model(0, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="lengths must be from 1 to"):
        traced_prefill(np.array([[1, 2]], np.int32), np.array([0], np.int32), states)
