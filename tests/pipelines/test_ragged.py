"""Rows of different lengths: whatever they are batched with, each comes back as it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ragged import (
    Field,
    Ragged,
    as_lists,
    instances,
    join,
    lengthened,
    padded,
    plain,
    split,
    take,
    trim,
)

# Two fields of one length, one of another, a square one, and one that is the same for all.
FIELDS = {
    "ids": Field(-1, "n"),
    "scores": Field(0, "n"),
    "flags": Field(True, "n"),
    "words": Field(b"", "m"),
    "table": Field(0.5, ("n", "m")),
}


def one(n, m, seed):
    """A batch of one row."""
    rng = np.random.default_rng(seed)
    return {
        "ids": rng.integers(0, 9, (1, n)),
        "scores": rng.normal(size=(1, n, 2)).astype(np.float32),
        "flags": rng.normal(size=(1, n)) > 0,
        "words": np.array([b"w%d" % i for i in range(m)], object).reshape(1, m),
        "table": rng.normal(size=(1, n, m)),
        "label": rng.integers(0, 9, (1, 3)),
        "n": np.array([n]),
        "m": np.array([m]),
    }


SIZES = st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 99))


def assert_same(found, want):
    assert found.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(found[name], want[name], err_msg=name)
        assert found[name].dtype == want[name].dtype


@given(st.lists(SIZES, min_size=1, max_size=7), st.data(), st.booleans())
def test_in_any_grouping_each_row_comes_back_alone(sizes, data, with_nothing):
    rows = [one(*size) for size in sizes]
    cuts = data.draw(st.lists(st.integers(1, len(rows)), unique=True, max_size=3))
    found = []
    bounds = sorted({0, *cuts, len(rows)})
    batches = [join(rows[a:b], FIELDS) for a, b in zip(bounds, bounds[1:], strict=False)]
    if with_nothing:  # a request of no rows
        batches.insert(len(batches) // 2, take(batches[0], slice(0), FIELDS))
    # Joined again, as the server joins requests of several rows.
    for row in split(join(batches, FIELDS), FIELDS):
        found.append({name: value[None] for name, value in row.items()})
    for mine, want in zip(found, rows, strict=True):
        assert_same({n: np.asarray(v, want[n].dtype) for n, v in mine.items()}, want)


@given(st.lists(SIZES, min_size=1, max_size=5), st.integers(0, 3))
def test_more_padding_is_taken_off(sizes, more):
    batch = join([one(*size) for size in sizes], FIELDS)
    longer = {
        name: np.pad(
            array,
            [(0, more if axis in FIELDS[name].axes else 0) for axis in range(array.ndim)],
            constant_values=FIELDS[name].padding,
        )
        if name in FIELDS and array.dtype != object
        else array
        for name, array in batch.items()
    }
    assert_same(trim(longer, FIELDS), batch)
    assert_same(trim(batch, FIELDS), batch)


@given(st.lists(SIZES, min_size=2, max_size=6), st.data())
def test_some_rows_are_as_they_would_be_by_themselves(sizes, data):
    rows = [one(*size) for size in sizes]
    begin = data.draw(st.integers(0, len(rows) - 1))
    end = data.draw(st.integers(begin + 1, len(rows)))
    assert_same(take(join(rows, FIELDS), slice(begin, end), FIELDS), join(rows[begin:end], FIELDS))


def test_padding_by_hand():
    rows = [np.array([1, 2, 3]), np.array([4]), np.array([], np.int64)]
    assert padded(rows, 7).tolist() == [[1, 2, 3], [4, 7, 7], [7, 7, 7]]
    square = lengthened([np.ones((1, 1, 2)), np.zeros((1, 2, 1))], 5, (1, 2))
    assert square.tolist() == [[[1, 1], [5, 5]], [[0, 5], [0, 5]]]


def test_without_a_length_an_array_is_lengthened_and_never_trimmed():
    fields = {"x": Field(0)}
    joined = join([{"x": np.ones((1, 3))}, {"x": np.ones((1, 1))}], fields)
    assert joined["x"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert take(joined, slice(1, 2), fields)["x"].tolist() == [[1, 0, 0]]


def test_no_rows_have_no_length():
    none = {"x": np.ones((0, 4)), "n": np.zeros(0, int)}
    assert trim(none, {"x": Field(0, "n")})["x"].shape == (0, 0)
    assert split(none, {"x": Field(0, "n")}) == []
    assert Ragged.of([], np.int32, (2,)).values.shape == (0, 2)
    assert Ragged.of([], np.int32).rows() == []


@given(st.lists(st.lists(st.integers(-9, 9), max_size=5), max_size=6))
def test_ragged_keeps_the_rows(rows):
    ragged = Ragged.of(rows, np.int16)
    assert [row.tolist() for row in ragged.rows()] == rows
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert len(ragged) == len(rows)
    assert ragged.values.dtype == np.int16


def test_what_json_has():
    arrays = {"a": np.array([[1, 2], [3, 0]]), "w": np.array([b"\xc3\xa9", b"x"], object),
              "n": np.array([2, 1])}  # fmt: skip
    assert instances(arrays, {"a": Field(0, "n")}) == [
        {"a": [1, 2], "w": "é", "n": 2},
        {"a": [3], "w": "x", "n": 1},
    ]
    assert instances({"a": np.array([[1.5], [2.5]])}) == [[1.5], [2.5]]
    assert plain(np.array([[b"\xff"]], object)) == [["\ufffd"]]
    assert as_lists({"x": np.float32(0.5), "y": [np.array([1])]}) == {"x": 0.5, "y": [[1]]}


def test_arrays_that_may_not_be_lengthened_must_be_alike():
    with pytest.raises(ValueError, match="dimension"):
        join([{"x": np.ones((1, 3))}, {"x": np.ones((1, 1))}], {})
