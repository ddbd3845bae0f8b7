"""The quick layers of the exported SavedModel, equal to Keras's in every configuration."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from serving import fast_recurrent
from serving.fast_recurrent import FastRecurrent, fast_copy
from serving.savedmodel import forbidden_nodes
from tests.serving.native_onnx.parity import left_padded, ragged_ids, randomise, with_holes
from tests.serving.native_onnx.test_recurrent_onnx import CELLS, SHAPES, configurations, embedded


def check(ids, outputs):
    model = keras.Model(ids, outputs)
    randomise(model)
    copy = fast_copy(model)
    assert any(isinstance(layer, FastRecurrent) for layer in copy.layers)
    random = np.random.default_rng(1)
    for rows, time, empty in (*SHAPES, (2, 8, True)):
        ragged = ragged_ids(random, rows, time, empty=empty)
        assert_equal(copy, model, ragged)
        holes = with_holes(random, rows + 2, time)
        assert_equal(copy, model, np.concatenate([left_padded(ragged), holes]))


def assert_equal(copy, model, batch):
    for ours, theirs in zip(
        keras.tree.flatten(copy(batch, training=False)),
        keras.tree.flatten(model(batch, training=False)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


def without_fused_kernel(patch):
    patch.setattr(fast_recurrent, "FUSED_PRODUCT_OF_SMALL", 0)


@settings(max_examples=4, deadline=None)
@given(configurations(), st.booleans())
def test_every_configuration_equals_keras(configuration, fused):
    check_configuration(configuration, fused)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=False)
@given(configurations(), st.booleans())
def test_many_configurations_equal_keras(configuration, fused):
    check_configuration(configuration, fused)


def check_configuration(configuration, fused):
    cell, options, direction, merge, masked, stated = configuration
    keras.backend.clear_session()
    ids, x = embedded(masked)
    layer = CELLS[cell](3, go_backwards=direction == "backward", **options)
    if direction == "both":
        layer = layers.Bidirectional(layer, merge_mode=merge)
    arguments = {}
    if stated:
        count = (2 if cell == "lstm" else 1) * (2 if direction == "both" else 1)
        first = layers.GlobalMaxPooling1D()(x)
        arguments["initial_state"] = [layers.Dense(3)(first) for _ in range(count)]
        if masked:
            arguments["mask"] = x._keras_mask
    with pytest.MonkeyPatch.context() as patch:
        if not fused:
            without_fused_kernel(patch)
        check(ids, keras.tree.flatten(layer(x, **arguments)))


@pytest.mark.slow
def test_every_way_to_merge_directions():
    ids, x = embedded()
    outputs = [
        layers.Bidirectional(layers.GRU(3, return_sequences=sequences), merge_mode=merge)(x)
        for merge in ("concat", "sum", "mul", "ave", None)
        for sequences in (False, True)
    ]
    check(ids, keras.tree.flatten(outputs))


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_mask_that_keras_drops_beside_states_is_dropped_here(cell):
    ids, x = embedded()
    state = layers.Dense(3)(x[:, 0])
    # Keras holds a product with a number to be sparse, which no loop would accept.
    states = [state, 2 * state] * (1 + (cell == "lstm"))
    layer = layers.Bidirectional(CELLS[cell](3, return_sequences=True))
    check(ids, layer(x, initial_state=states))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_stacks(cell, fused, monkeypatch):
    if not fused:
        without_fused_kernel(monkeypatch)
    ids, x = embedded()
    for _ in range(2):
        y = layers.Bidirectional(CELLS[cell](5, return_sequences=True))(x)
        x = layers.LayerNormalization()(layers.Dropout(0.5)(y))
    check(ids, [layers.Dense(2)(CELLS[cell](5)(x)), x])


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RNN(layers.GRUCell(3)),
        lambda: layers.GRU(3, stateful=True),
        lambda: layers.Bidirectional(layers.LSTM(3, unroll=True, return_sequences=True)),
    ],
    ids=["custom cell", "stateful", "unrolled"],
)
def test_other_layers_stay_keras_own(make):
    ids = keras.Input((7,), 3, dtype="int32")
    model = keras.Model(ids, make()(layers.Embedding(9, 4, mask_zero=True)(ids)))
    copy = fast_copy(model)
    assert not any(isinstance(layer, FastRecurrent) for layer in copy.layers)
    assert_equal(copy, model, ragged_ids(np.random.default_rng(0), 3, 7))


def test_models_inside_of_models_and_half_precision():
    ids, x = embedded()
    reader = layers.GRU(3, return_sequences=True, dtype="mixed_float16", name="reader")
    model = keras.Model(ids, layers.LSTM(3)(keras.Sequential([reader], name="inner")(x)))
    copy = fast_copy(model)
    reader = copy.get_layer("inner").get_layer("reader")
    assert isinstance(reader, FastRecurrent)
    assert reader.layer.compute_dtype == "float32"
    kept = copy.get_weights()
    copy.set_weights(kept)
    for ours, again, theirs in zip(kept, copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, again)
        np.testing.assert_array_equal(ours, theirs)


def test_masks_reach_the_layers_behind():
    ids, x = embedded()
    x = layers.GRU(3, return_sequences=True)(x)
    check(ids, layers.GlobalAveragePooling1D()(layers.Dense(2)(x)[:, :1]))


def test_a_savedmodel_of_it_needs_only_tensorflow(tmp_path):
    ids, x = embedded()
    x = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(x)
    model = keras.Model(ids, layers.GRU(4)(x))
    randomise(model)
    copy = fast_copy(model)
    module = tf.Module()
    module.saved = [variable.value for variable in copy.variables]
    spec = tf.TensorSpec([None, None], tf.int32, "ids")
    serve = tf.function(lambda ids: {"y": copy(ids, training=False)}).get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": serve})
    assert forbidden_nodes(tmp_path / "saved") == []
    # So many rows that the fused kernel gives way to the loop, and so few that it does not.
    batches = [ragged_ids(np.random.default_rng(0), rows, 9) for rows in (3, 100)]
    np.savez(tmp_path / "ids.npz", *batches)
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "serve = tf.saved_model.load('saved').signatures['serving_default']\n"
        "batches = np.load('ids.npz').values()\n"
        "np.savez('y.npz', *(serve(ids=tf.constant(ids))['y'].numpy() for ids in batches))\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('serving', 'models')]\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)
    for batch, answer in zip(batches, np.load(tmp_path / "y.npz").values(), strict=True):
        np.testing.assert_allclose(answer, model(batch), atol=1e-5)
