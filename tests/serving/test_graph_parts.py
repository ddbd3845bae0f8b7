"""A batch in two halves inside a TensorFlow graph against the whole batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from pipelines.program import KerasCore
from pipelines.ragged import Field
from serving import graph_parts
from serving.fast_recurrent import fast_copy
from serving.graph_parts import in_parts

FIELDS = {"ids": Field(0, unique=True), "x": Field(0.0, "length")}


def network(fields, monkeypatch, minimum=1):
    """Two inputs of one length; an answer at every step, and one for each row."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.Input((None, 2), name="x")
    y = layers.Concatenate()([layers.Embedding(9, 4)(ids), x])
    mask = keras.ops.not_equal(ids, 0)
    y = layers.GRU(5, return_sequences=True)(y, mask=mask)
    last = layers.SimpleRNN(3, go_backwards=True)(y, mask=mask)
    y = layers.Dense(2, bias_initializer="ones")(y)
    model = keras.Model({"ids": ids, "x": x}, {"y": y, "last": last})
    core = KerasCore(fast_copy(model))
    for name in ("MIN_UNITS", "MIN_STEPS", "MIN_STATE"):
        monkeypatch.setattr(graph_parts, name, min(minimum, 1) if name == "MIN_UNITS" else minimum)
    cut = in_parts(core, fields)
    specs = {"ids": tf.TensorSpec([None, None], tf.int32), "x": tf.TensorSpec([None, None, 2])}
    return model, tf.function(cut, input_signature=[specs], autograph=False)


@pytest.fixture(scope="module")
def parted():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield network(FIELDS, monkeypatch)


def batch_of(lengths, more=0):
    steps = max(1, *lengths, 1) + more
    ids = np.zeros((len(lengths), steps), np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = 1 + np.arange(length) % 8
    x = np.random.default_rng(0).normal(size=(*ids.shape, 2)).astype(np.float32)
    return {"ids": ids, "x": x * (ids > 0)[..., None]}


@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 3))
def test_answers_are_those_of_the_whole_batch(parted, lengths, more):
    model, cut = parted
    batch = batch_of(lengths, more)
    found, want = cut(batch), model(batch)
    np.testing.assert_allclose(found["last"], want["last"], atol=1e-6)
    assert found["y"].shape == want["y"].shape
    for row, other, length in zip(found["y"], want["y"], lengths, strict=True):
        np.testing.assert_allclose(row[:length], other[:length], atol=1e-6)


def test_steps_that_are_padding_for_the_short_half_are_left_out(parted):
    _, cut = parted
    y = cut(batch_of([9, 1, 9, 2]))["y"].numpy()
    assert not y[[1, 3], 2:].any(), "the half of the rows of one and two steps ends there"
    assert y[[0, 2]].all(), "and that of nine does not"


def test_no_rows(parted):
    _, cut = parted
    batch = {"ids": np.zeros((0, 3), np.int32), "x": np.zeros((0, 3, 2), np.float32)}
    assert [tuple(cut(batch)[name].shape) for name in ("y", "last")] == [(0, 3, 2), (0, 3)]


@pytest.mark.parametrize(("fields", "minimum"), [(FIELDS, 1000), (None, 1)])
def test_small_batches_are_run_whole_and_so_are_rows_that_may_depend_on_each_other(
    fields, minimum, monkeypatch
):
    model, whole = network(fields, monkeypatch, minimum)
    batch = batch_of([9, 1, 9, 2])
    found = whole(batch)["y"].numpy()
    np.testing.assert_allclose(found, model(batch)["y"], atol=1e-6)
    assert found.all(), "nothing was left out"
