"""Which recurrent layers run on cuDNN: as Keras itself decides, with a GPU that is feigned."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from models.cudnn import kernel_choices, obstacles
from models.recurrent import rebuilt_without_cudnn
from models.weight_dropout import WeightDroppedLSTM
from tasks.stages.kernels import kernels_of

KERAS = importlib.import_module("keras.src.backend.tensorflow.rnn")


@pytest.fixture
def asked(monkeypatch):
    """Keras believes that there is a GPU; which kernels it asks for."""
    calls = []

    def kernel(name):
        def call(*_, **__):
            calls.append(name)
            raise tf.errors.NotFoundError(None, None, "no such device")  # Keras then loops

        return call

    monkeypatch.setattr(KERAS, "_is_gpu_available", lambda: True)
    monkeypatch.setattr(KERAS, "_cudnn_lstm", kernel("LSTM"))
    monkeypatch.setattr(KERAS, "_cudnn_gru", kernel("GRU"))
    return calls


LAYERS = {
    "lstm": lambda: layers.LSTM(3),
    "gru": lambda: layers.GRU(3),
    "simple rnn": lambda: layers.SimpleRNN(3),
    "dropout": lambda: layers.LSTM(3, dropout=0.2),
    "dropped weights": lambda: WeightDroppedLSTM(3, rate=0.5),
    "recurrent dropout": lambda: layers.LSTM(3, recurrent_dropout=0.2),
    "relu": lambda: layers.LSTM(3, activation="relu"),
    "hard sigmoid": lambda: layers.GRU(3, recurrent_activation="hard_sigmoid"),
    "tanh of TensorFlow": lambda: layers.LSTM(3, activation=tf.tanh),
    "tanh of ops": lambda: layers.LSTM(3, activation=keras.ops.tanh),
    "tanh of one's own": lambda: layers.LSTM(3, activation=lambda x: keras.ops.tanh(x)),
    "unrolled": lambda: layers.GRU(3, unroll=True),
    "no bias": lambda: layers.LSTM(3, use_bias=False),
    "reset before": lambda: layers.GRU(3, reset_after=False),
    "told not to": lambda: layers.LSTM(3, use_cudnn=False),
    "backwards": lambda: layers.GRU(3, go_backwards=True, return_sequences=True),
    "float16": lambda: layers.LSTM(3, dtype="mixed_float16"),
    "bfloat16": lambda: layers.GRU(3, dtype="mixed_bfloat16"),
    "cells in a loop": lambda: layers.RNN(layers.LSTMCell(3)),
    "both ways": lambda: layers.Bidirectional(layers.LSTM(3)),
    "both ways with relu": lambda: layers.Bidirectional(layers.GRU(3, activation="relu")),
    "one way with relu": lambda: layers.Bidirectional(
        layers.LSTM(3), backward_layer=layers.LSTM(3, activation="relu", go_backwards=True)
    ),
    "nested": lambda: keras.Sequential([keras.Input((4, 2)), layers.GRU(3)]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_keras_decides_as_is_said(asked, name):
    layer = LAYERS[name]()
    inputs = keras.Input((4, 2))
    model = keras.Model(inputs, layer(inputs))
    (choice,) = kernel_choices(model)
    asked.clear()
    model(np.ones((2, 4, 2), np.float32), training=True)
    ways = 2 if choice.both_ways else 1
    if choice.cudnn:
        assert asked == [choice.kind.removeprefix("WeightDropped")] * ways
    else:
        # Of two ways one alone may have a kernel; the layer then still waits for the other.
        assert len(asked) == (name == "one way with relu")
        assert choice.obstacles
    assert choice.units == 3
    assert choice.both_ways == name.endswith("ways") or "way" in name


def test_the_kernels_take_every_precision_that_is_promised():
    from tensorflow.python.framework import kernels

    found = {
        tf.dtypes.as_dtype(dtype).name
        for kernel in kernels.get_registered_kernels_for_op("CudnnRNNV3").kernel
        for constraint in kernel.constraint for dtype in constraint.allowed_values.list.type
    }  # fmt: skip
    if not found:
        pytest.skip("this TensorFlow is built without CUDA")
    assert {"bfloat16", "float16", "float32"} <= found


def test_every_obstacle_has_a_sentence():
    layer = layers.GRU(
        3, activation="relu", recurrent_activation="hard_sigmoid", unroll=True, use_bias=False,
        reset_after=False, recurrent_dropout=0.25, use_cudnn=False,
    )  # fmt: skip
    assert obstacles(layer) == [
        "use_cudnn=False", "recurrent_dropout=0.25, which must be 0",
        "activation=relu, which must be tanh", "recurrent_activation=hard_sigmoid, not sigmoid",
        "unroll=True", "use_bias=False", "reset_after=False",
    ]  # fmt: skip


def test_layers_in_their_order_with_masks_and_cells_of_other_layers():
    @keras.saving.register_keras_serializable("test_cudnn")
    class Stepping(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.cell = layers.LSTMCell(5, name="stepped")

        def call(self, x):
            return self.cell(x[:, 0], [keras.ops.zeros_like(x[:, 0]) @ keras.ops.ones((6, 5))] * 2)[
                0
            ]

    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="first")(x)
    model = keras.Model(ids, Stepping()(x))
    rows, note = kernels_of(model)
    assert [(row["layer"], row["cudnn"], row["directions"]) for row in rows] == [
        ("first", True, 2), ("stepped", False, 1),
    ]  # fmt: skip
    assert rows[0]["mask"] is True
    assert "1 of 2 recurrent layers" in note
    assert "padded on the right" in note
    assert "step by step" in rows[1]["why"]
    rows, note = kernels_of(rebuilt_without_cudnn(keras.Model(ids, model.layers[2].output)))
    assert [row["why"] for row in rows] == ["use_cudnn=False"]
    assert "0 of 1 recurrent layer with" in note
    plain = keras.Model(ids, layers.Embedding(9, 4)(ids))
    assert kernels_of(plain) == ([], "this model has no recurrent layer; a GPU runs its "
                                     "operations as they are")  # fmt: skip
