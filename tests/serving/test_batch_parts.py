"""A batch in parts against the whole batch."""

import shutil
import threading

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from pipelines.ragged import Field
from serving.batch_parts import BusyCores, cut, joined, time_axes
from serving.errors import RequestError
from serving.native_onnx import export_onnx
from serving.onnx_core import OnnxCore

FIELDS = {"ids": Field(0, unique=True), "y": Field(0.0, "length")}


@given(st.lists(st.integers(0, 40), min_size=1, max_size=50), st.integers(1, 8))
def test_parts_hold_every_row_once_and_none_is_empty(lengths, count):
    lengths, count = np.array(lengths), min(count, len(lengths))
    rows = cut(lengths, count)
    assert len(rows) == count
    assert all(map(len, rows))
    order = np.concatenate(rows)
    assert sorted(order) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) >= 0).all()


def test_parts_have_about_as_many_steps_each():
    # Steps in order of length: 1 1 2 2 2 4 4 8; half of 24 are in the first six and 12 remain.
    rows = cut(np.array([8, 1, 4, 2, 1, 2, 4, 2]), 2)
    assert [part.tolist() for part in rows] == [[1, 4, 3, 5, 7, 2], [6, 0]]
    # One long row is a part by itself, and equal ones stay in their order.
    assert [part.tolist() for part in cut(np.array([90, 1, 1]), 2)] == [[1, 2], [0]]
    assert [part.tolist() for part in cut(np.zeros(4, int), 2)] == [[0, 1], [2, 3]]


def test_outputs_come_back_in_the_order_of_the_batch():
    short, long = {"y": np.array([[1.0], [2.0]])}, {"y": np.array([[3.0, 4.0]])}
    whole = joined([short, long], [np.array([2, 0]), np.array([1])])["y"]
    assert whole.tolist() == [[2.0, 0.0], [3.0, 4.0], [1.0, 0.0]]


def test_only_an_axis_of_which_every_input_may_be_lengthened_is_trimmed():
    shapes = {"ids": ("batch", "time"), "x": ("batch", "time", 3), "states": ("batch", 4)}
    mark = Field(0, unique=True)
    assert time_axes(shapes, {"ids": mark}) == []
    assert time_axes(shapes, {"ids": Field(0), "x": Field(0.0)}) == []
    (axis,) = time_axes(shapes, {"ids": mark, "x": Field(0.0)})
    assert axis.names == ("ids", "x")
    assert axis.lengths({"ids": np.array([[5, 0, 7, 0], [0] * 4])}).tolist() == [3, 0]


def test_idle_cores_are_shared_out():
    busy = BusyCores()
    with busy.taken(2, 4) as first, busy.taken(4, 4) as second, busy.taken(4, 4) as third:
        assert (first, second, third) == (2, 2, 1)
    with busy.taken(8, 4) as all_of_them:
        assert all_of_them == 4


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """Two layers both ways, per step and at the end, on three of four imagined cores."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    x = layers.Bidirectional(layers.GRU(5, return_sequences=True))(x)
    last = layers.Bidirectional(layers.SimpleRNN(3))(x)
    model = keras.Model({"ids": ids}, {"y": layers.Dense(2)(x), "last": last})
    path = tmp_path_factory.mktemp("parts") / "model.onnx"
    export_onnx(model, path)
    core = OnnxCore(path, 3, FIELDS)
    core._cores = 4
    return core


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("serving.onnx_core.MIN_ROWS", 1)
    monkeypatch.setattr("serving.onnx_core.MIN_STEPS", 1)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 3))
def test_answers_are_those_of_the_whole_batch(core, lengths, more):
    ids = np.zeros((len(lengths), max(1, *lengths, 1) + more), np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = 1 + np.arange(length) % 8
    found, want = core({"ids": ids}), core.unchecked({"ids": ids})
    np.testing.assert_allclose(found["last"], want["last"], atol=1e-6)
    assert found["y"].shape == want["y"].shape
    for row, other, length in zip(found["y"], want["y"], lengths, strict=True):
        np.testing.assert_allclose(row[:length], other[:length], atol=1e-6)


def test_a_bad_row_of_any_part_fails_the_batch(core):
    for at in range(6):
        ids = np.ones((6, 4), np.int32)
        ids[at, 0] = 99
        with pytest.raises(RequestError):
            core({"ids": ids})
    assert core({"ids": np.ones((6, 4), np.int32)})["last"].shape == (6, 6)


def test_a_file_that_is_not_known_to_answer_row_by_row_is_run_whole(core, monkeypatch):
    monkeypatch.setattr(OnnxCore, "_in_parts", None)
    whole = OnnxCore(core._path, 3)
    assert whole({"ids": np.ones((6, 4), np.int32)})["last"].shape == (6, 6)


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_is_replaced_or_gone_answers_as_before(core, tmp_path, there):
    path, ids = tmp_path / "model.onnx", np.ones((6, 4), np.int32)
    shutil.copy(core._path, path)
    served = OnnxCore(path, 3, FIELDS)
    path.unlink()
    if there:
        path.write_bytes(b"another one")
    np.testing.assert_allclose(served({"ids": ids})["last"], core({"ids": ids})["last"], atol=1e-6)


def test_many_threads_ask_at_once(core):
    ids = np.random.default_rng(0).integers(1, 9, (12, 7)).astype(np.int32)
    want, found = core.unchecked({"ids": ids})["last"], []

    def ask():
        found.extend(core({"ids": ids})["last"] for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 120
    for each in found:
        np.testing.assert_allclose(each, want, atol=1e-6)
