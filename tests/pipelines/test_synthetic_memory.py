"""The adding problem and the copy task: what they ask, and what answering without memory costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.synthetic_memory import adding_problem, copy_task


@given(size=st.integers(1, 20), length=st.integers(2, 60), seed=st.integers(0, 1000))
def test_adding_marks_one_number_in_each_half(size, length, seed):
    x, y = adding_problem(size, length, np.random.default_rng(seed))
    assert x.shape == (size, length, 2)
    assert y.shape == (size, 1)
    assert x.dtype == y.dtype == np.float32
    assert (x[:, : length // 2, 1].sum(1) == 1).all()
    assert (x[:, length // 2 :, 1].sum(1) == 1).all()
    for row, answer in zip(x, y, strict=True):
        assert answer[0] == pytest.approx(row[row[:, 1] == 1, 0].sum(), abs=1e-6)


def test_answering_one_costs_a_sixth():
    _, y = adding_problem(200_000, 2, np.random.default_rng(0))
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, abs=0.002)


@given(
    size=st.integers(1, 10), pause=st.integers(1, 40), count=st.integers(1, 6),
    symbols=st.integers(1, 9), seed=st.integers(0, 1000),
)  # fmt: skip
def test_copy_shows_the_symbols_once_and_then_the_signal(size, pause, count, symbols, seed):
    x, y = copy_task(size, pause, np.random.default_rng(seed), count, symbols)
    assert x.shape == (size, pause + 2 * count, symbols + 2)
    assert (x.sum(2) == 1).all()
    ids = x.argmax(2)
    np.testing.assert_array_equal(ids[:, :count], y)
    assert (ids[:, count + pause - 1] == symbols + 1).all()
    rest = np.delete(ids[:, count:], pause - 1, axis=1)
    assert (rest == symbols).all()


def test_what_is_too_short_is_refused():
    draw = np.random.default_rng(0)
    with pytest.raises(DataError, match="2 or more, not 1"):
        adding_problem(1, 1, draw)
    with pytest.raises(DataError, match="1 step or more, not 0"):
        copy_task(1, 0, draw)
