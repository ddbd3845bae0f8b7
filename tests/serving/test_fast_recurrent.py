"""The quick layers of the exported SavedModel, equal to Keras's in every configuration."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from keras import layers

from serving.fast_recurrent import FastRecurrent, fast_copy
from serving.savedmodel import forbidden_nodes
from tests.serving.native_onnx.parity import ragged_ids, randomise
from tests.serving.native_onnx.test_recurrent_onnx import CELLS, SHAPES, configurations, embedded


def check(ids, outputs, quick=True):
    model = keras.Model(ids, outputs)
    randomise(model)
    copy = fast_copy(model)
    assert any(isinstance(layer, FastRecurrent) for layer in copy.layers) == quick
    random = np.random.default_rng(1)
    batches = [ragged_ids(random, b, t, empty=empty) for b, t, empty in SHAPES]
    for batch in [*batches, np.zeros((2, 3), np.int32), ragged_ids(random, 2, 8)]:
        for ours, theirs in zip(
            keras.tree.flatten(copy(batch, training=False)),
            keras.tree.flatten(model(batch, training=False)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, atol=2e-6, rtol=2e-6)


@settings(max_examples=25, deadline=None)
@given(configurations())
def test_every_configuration_equals_keras(configuration):
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
    check(ids, keras.tree.flatten(layer(x, **arguments)))


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("units", [5, 130])  # below and above what counts as few
def test_stacks_of_few_and_of_many_units(cell, units):
    ids, x = embedded()
    for _ in range(2):
        y = layers.Bidirectional(CELLS[cell](units, return_sequences=True))(x)
        x = layers.LayerNormalization()(layers.Dropout(0.5)(y))
    check(ids, [layers.Dense(2)(CELLS[cell](units)(x)), x])


def test_other_layers_stay_keras_own():
    ids, x = embedded()
    check(ids, layers.RNN(layers.GRUCell(3))(x), quick=False)


def test_masks_reach_the_layers_behind():
    ids, x = embedded()
    x = layers.GRU(3, return_sequences=True)(x)
    check(ids, layers.GlobalAveragePooling1D()(layers.Dense(2)(x)[:, :1]))


def test_a_savedmodel_of_it_needs_only_tensorflow(tmp_path):
    ids, x = embedded()
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    model = keras.Model(ids, layers.GRU(4)(x))
    randomise(model)
    copy = fast_copy(model)
    module = tf.Module()
    module.saved = [variable.value for variable in copy.variables]
    spec = tf.TensorSpec([None, None], tf.int32, "ids")
    serve = tf.function(lambda ids: {"y": copy(ids, training=False)}).get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": serve})
    assert forbidden_nodes(tmp_path / "saved") == []
    batch = ragged_ids(np.random.default_rng(0), 3, 9)
    np.save(tmp_path / "ids.npy", batch)
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "ids = tf.constant(np.load('ids.npy'))\n"
        "serve = tf.saved_model.load('saved').signatures['serving_default']\n"
        "np.save('y.npy', serve(ids=ids)['y'].numpy())\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('serving', 'models')]\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(Path(tmp_path) / "y.npy"), model(batch), atol=2e-6)
