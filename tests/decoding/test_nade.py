"""Drawing sets of units: by hand, by counting, and equally in NumPy and TensorFlow."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding import nade, nade_graph
from decoding.nade import NadeWeights

# Two units, one hidden: reading of the second and writing of the first are never used together.
SMALL = NadeWeights(np.array([[2.0], [9.0]], np.float32), np.array([[1.0], [3.0]], np.float32))


def drawn(bias, hidden, weights, seeds, temperature=1.0, module=nade, position=0):
    rows = len(bias)
    arguments = [
        np.asarray(bias, np.float32),
        None if hidden is None else np.asarray(hidden, np.float32),
        np.asarray(seeds, np.int64),
        np.full(rows, position, np.int64),
        np.full(rows, temperature, np.float32),
    ]
    if module is nade_graph:
        arguments = [None if a is None else tf.constant(a) for a in arguments]
    bias, hidden, *rest = arguments
    return [np.asarray(x) for x in module.draw_units(bias, hidden, weights, *rest)]


def test_greedy_units_and_their_probability_by_hand():
    units, each, total = drawn([[-0.2, -2.6]], [[0.0]], SMALL, [0], temperature=0.0)
    # sigmoid(0) = 0.5: the first score is -0.2 + 1 * 0.5 = 0.3, so it is on, and adds 2 to the
    # hidden unit: the second is -2.6 + 3 * sigmoid(2) = -2.6 + 3 * 0.880797 = 0.042391.
    assert units.tolist() == [[1.0, 1.0]]
    np.testing.assert_allclose(each, [[0.574443, 0.510596]], atol=1e-6)
    np.testing.assert_allclose(total, np.log(0.574443 * 0.510596), atol=1e-5)
    # One that is off leaves the hidden unit: -2.6 + 3 * 0.5 = -1.1.
    units, each, _ = drawn([[-0.6, -2.6]], [[0.0]], SMALL, [0], temperature=0.0)
    assert units.tolist() == [[0.0, 0.0]]
    np.testing.assert_allclose(each[0, 1], 0.249740, atol=1e-6)


def test_each_set_is_drawn_as_often_as_it_is_probable():
    rows = 20_000
    bias, hidden = np.tile([[0.1, -1.0]], (rows, 1)), np.zeros((rows, 1))
    units, _, total = drawn(bias, hidden, SMALL, np.arange(rows))
    seen = 0.0
    for wanted in itertools.product((0.0, 1.0), repeat=2):
        mine = (units == wanted).all(1)
        probability = float(np.exp(total[mine][0]))
        assert mine.mean() == pytest.approx(probability, abs=0.015)
        seen += probability
    assert seen == pytest.approx(1.0, abs=1e-6)


def test_units_without_weights_are_independent():
    units, each, total = drawn([[0.0, 5.0, -5.0]], None, None, [3], temperature=0.0)
    assert units.tolist() == [[0.0, 1.0, 0.0]]
    expected = 1 / (1 + np.exp([0.0, -5.0, 5.0]))
    np.testing.assert_allclose(each[0], expected, atol=1e-6)
    np.testing.assert_allclose(total, np.log(0.5 * expected[1] * (1 - expected[2])), atol=1e-6)


def test_a_row_hangs_on_its_seed_and_position_alone():
    bias, hidden = np.zeros((3, 2)), np.zeros((3, 1))
    together, *_ = drawn(bias, hidden, SMALL, [5, 6, 7])
    alone, *_ = drawn(bias[:1], hidden[:1], SMALL, [6])
    assert together[1].tolist() == alone[0].tolist()
    places = [drawn(bias[:1], hidden[:1], SMALL, [6], position=p)[0].tolist() for p in range(12)]
    assert len({str(one) for one in places}) > 1


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 4),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    st.integers(0, 2**31 - 1),
)
def test_tensorflow_draws_the_same(rows, units, estimated, temperature, seed):
    random = np.random.default_rng(seed)
    bias, hidden = random.normal(0, 2, (rows, units)), random.normal(0, 2, (rows, 3))
    weights = NadeWeights(*random.normal(0, 1, (2, units, 3)).astype(np.float32))
    weights, hidden = (weights, hidden) if estimated else (None, None)
    seeds = seed + np.arange(rows)
    one = drawn(bias, hidden, weights, seeds, temperature, position=7)
    other = drawn(bias, hidden, weights, seeds, temperature, nade_graph, position=7)
    np.testing.assert_array_equal(one[0], other[0])
    for a, b in zip(one[1:], other[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
