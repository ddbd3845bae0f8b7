"""Recurrent layers step by step: what Keras computes, and what its gates were."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.stepwise import saturated, stepwise

RNG = np.random.default_rng(0)


def model_of(layer, masked=False, features=3):
    x = keras.Input((None, features))
    y = keras.layers.Masking()(x) if masked else x
    return keras.Model(x, layer(y))


def randomised(model):
    for weight in model.weights:
        weight.assign(RNG.normal(size=weight.shape) * 0.5)
    return model


CASES = {
    "lstm": lambda: keras.layers.LSTM(4, return_sequences=True),
    "lstm states": lambda: keras.layers.LSTM(4, return_state=True, return_sequences=True),
    "lstm last": lambda: keras.layers.LSTM(4),
    "lstm backwards": lambda: keras.layers.LSTM(4, return_sequences=True, go_backwards=True),
    "lstm no bias": lambda: keras.layers.LSTM(4, use_bias=False, activation="relu"),
    "gru": lambda: keras.layers.GRU(4, return_sequences=True),
    "gru reset first": lambda: keras.layers.GRU(4, reset_after=False, return_sequences=True),
    "gru no bias": lambda: keras.layers.GRU(4, use_bias=False, return_sequences=True),
    "gru zeroed": lambda: keras.layers.GRU(4, return_sequences=True, zero_output_for_mask=True),
    "rnn": lambda: keras.layers.SimpleRNN(4, return_sequences=True),
    "rnn relu": lambda: keras.layers.SimpleRNN(4, activation="relu"),
    "both": lambda: keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True)),
    "both last": lambda: keras.layers.Bidirectional(keras.layers.LSTM(4)),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_steps_give_what_keras_gives(name, masked):
    model = randomised(model_of(CASES[name](), masked))
    x = RNG.normal(size=(3, 5, 3)).astype(np.float32)
    if masked:
        x[0, 3:], x[1, 1:] = 0, 0
    wanted = keras.tree.flatten(model(x))
    with stepwise(model) as calls:
        found = keras.tree.flatten(model(x))
    for want, got in zip(wanted, found, strict=True):
        np.testing.assert_allclose(want, got, atol=1e-6)
    after = keras.tree.flatten(model(x))  # the layers are as they were
    assert all(np.array_equal(a, b) for a, b in zip(wanted, after, strict=True))
    if name == "both":
        assert [one.backwards for one in calls] == [False, True]
        assert calls[1].inside.tolist() == calls[0].inside.tolist()
        if masked:
            assert calls[0].valid.sum(1).tolist() == [3, 1, 5]
            assert calls[0].distances[0].tolist() == [2, 1, 0, 0, 0]
            # It reads the padding first: of its last step it has read all.
            assert calls[1].distances[0].tolist() == [3, 3, 2, 1, 0]


def test_a_gate_by_hand():
    layer = keras.layers.LSTM(1)
    model = model_of(layer, features=1)
    # Gates in the order of Keras: input, forget, candidate, output.
    weights = [[1.0, 2.0, 0.5, -1.0]], [[0.0] * 4], [0.0, 0.0, 0.0, 1.0]
    layer.set_weights([np.array(one, np.float32) for one in weights])
    with stepwise(model) as calls:
        model(np.array([[[1.0], [2.0]]], np.float32))
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    (one,) = calls
    got = {name: one.array(steps)[0, :, 0] for name, steps in one.gates.items()}
    np.testing.assert_allclose(got["input"], [sigmoid(1), sigmoid(2)], rtol=1e-6)
    np.testing.assert_allclose(got["forget"], [sigmoid(2), sigmoid(4)], rtol=1e-6)
    np.testing.assert_allclose(got["candidate"], [np.tanh(0.5), np.tanh(1)], rtol=1e-6)
    np.testing.assert_allclose(got["output"], [sigmoid(0), sigmoid(-1)], rtol=1e-6)
    c1 = sigmoid(1) * np.tanh(0.5)
    c2 = sigmoid(4) * c1 + sigmoid(2) * np.tanh(1)
    np.testing.assert_allclose(one.array(one.states["c"])[0, :, 0], [c1, c2], rtol=1e-6)
    assert one.activations == {
        "input": "sigmoid", "forget": "sigmoid", "candidate": "tanh", "output": "sigmoid",
        "h": "tanh",
    }  # fmt: skip


def test_the_gradient_of_a_state_is_the_product_of_its_steps():
    layer = keras.layers.SimpleRNN(1, activation="linear")
    model = model_of(layer, features=1)
    layer.set_weights([np.float32([[1.0]]), np.float32([[0.5]]), np.float32([0.0])])
    with tf.GradientTape() as tape, stepwise(model) as calls:
        loss = tf.reduce_sum(model(np.ones((1, 4, 1), np.float32), training=False))
    gradients = tape.gradient(loss, calls[0].states["h"])
    assert [float(one[0, 0]) for one in gradients] == [0.125, 0.25, 0.5, 1.0]


def test_a_layer_that_is_called_twice_has_two_names():
    layer = keras.layers.GRU(2, return_state=True, return_sequences=True, name="cell")
    x = keras.Input((None, 1))
    y, state = layer(x)
    y, _ = layer(x, initial_state=[state])
    model = randomised(keras.Model(x, y))
    inner = keras.Input((None, 1))
    nested = keras.Model(inner, model(inner))
    values = RNG.normal(size=(2, 3, 1)).astype(np.float32)
    with stepwise(nested) as calls:
        found = nested(values)
    assert [one.name for one in calls] == ["cell", "cell/2"]
    np.testing.assert_allclose(found, nested(values), atol=1e-6)


def test_what_has_no_bounds_is_never_saturated():
    assert saturated(np.ones(3), "relu") is None
    low, high = saturated(np.array([-0.9, 0.7, 0.9]), "tanh")
    assert low.tolist() == [True, False, False]
    assert high.tolist() == [False, False, True]
