"""``keras.layers.RNN`` around cells, and layers over pictures, one for each step of a film."""

import keras
import numpy as np
import pytest
from keras import layers

from serving.errors import ServingError
from serving.native_onnx import build_onnx
from tests.serving.native_onnx.parity import assert_same, randomise, with_holes

DRAWN = np.random.default_rng(5)

CELLS = {
    "lstm": lambda: layers.RNN(layers.LSTMCell(3)),
    "gru": lambda: layers.RNN(layers.GRUCell(3, reset_after=False), return_sequences=True),
    "simple": lambda: layers.RNN(layers.SimpleRNNCell(3, "relu"), go_backwards=True),
    "states": lambda: layers.RNN(layers.LSTMCell(3), return_sequences=True, return_state=True),
    "stack": lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True),
    "stack, last": lambda: layers.RNN([layers.SimpleRNNCell(3), layers.LSTMCell(2)]),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_layer_around_cells(case):
    x = keras.Input((None, 4), name="x")
    model = keras.Model(x, CELLS[case]()(x))
    randomise(model)
    assert_same(model, {"x": DRAWN.normal(size=(3, 6, 4)).astype("float32")})


def test_a_masked_cell_holds_its_state():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    y = layers.RNN(layers.LSTMCell(3), return_sequences=True)(x)
    model = keras.Model({"ids": ids}, {"y": y})
    randomise(model)
    assert_same(model, {"ids": with_holes(DRAWN, 4, 7)})


class Leaky(layers.SimpleRNNCell):
    pass


def masked(cell):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    return keras.Model(ids, layers.RNN(cell, name="own")(x))


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (lambda: Leaky(3), "'own'.*Leaky"),
        (lambda: [layers.GRUCell(2), layers.LSTMCell(2)], "'own'.*StackedRNNCells"),
    ],
)
def test_what_is_no_cell_of_onnx_is_named(cell, said):
    with pytest.raises(ServingError, match=said):
        build_onnx(masked(cell()))


PICTURES = {
    "conv": lambda: layers.Conv2D(3, 3, activation="relu"),
    "same": lambda: layers.Conv2D(4, (3, 2), strides=2, padding="same", groups=2),
    "dilated": lambda: layers.Conv2D(3, 2, dilation_rate=2, use_bias=False),
    "max": lambda: layers.MaxPooling2D(2),
    "max, same": lambda: layers.MaxPooling2D((3, 2), strides=2, padding="same"),
    "average": lambda: layers.AveragePooling2D(2, padding="same"),
    "global max": lambda: layers.GlobalMaxPooling2D(),
    "global average": lambda: layers.GlobalAveragePooling2D(keepdims=True),
}


@pytest.mark.parametrize("case", PICTURES)
def test_layers_over_pictures(case):
    x = keras.Input((7, 6, 2), name="x")
    model = keras.Model(x, PICTURES[case]()(x))
    randomise(model)
    assert_same(model, {"x": DRAWN.normal(size=(3, 7, 6, 2)).astype("float32")})


def test_a_film_is_read_picture_by_picture():
    x = keras.Input((None, 8, 8, 1), name="film")
    y = layers.TimeDistributed(layers.Conv2D(2, 3, activation="relu"))(x)
    y = layers.TimeDistributed(layers.MaxPooling2D())(y)
    y = layers.TimeDistributed(layers.GlobalAveragePooling2D())(y)
    model = keras.Model(x, layers.Dense(2)(layers.LSTM(3)(y)))
    randomise(model)
    for steps in (1, 5):
        assert_same(model, {"film": DRAWN.normal(size=(2, steps, 8, 8, 1)).astype("float32")})
