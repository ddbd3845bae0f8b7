"""The equations of the cells against Keras, and their derivatives against small differences."""

import keras
import numpy as np
import pytest

from common.errors import ConfigError
from models.cells import CellWeights, gates, states, step, step_derivative

LAYERS = {
    "tanh": lambda: keras.layers.SimpleRNN(5, bias_initializer="random_normal"),
    "relu": lambda: keras.layers.SimpleRNN(5, activation="relu", bias_initializer="random_normal"),
    "lstm": lambda: keras.layers.LSTM(5, bias_initializer="random_normal"),
    "gru": lambda: keras.layers.GRU(5, bias_initializer="random_normal"),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    keras.utils.set_random_seed(3)
    made = LAYERS[request.param]()
    made.build((None, None, 3))
    return made


def test_steps_equal_keras(layer):
    x = np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float32)
    expected = np.asarray(layer(x))
    found = states(CellWeights.of(layer), x)
    assert found.shape == (8, 4, CellWeights.of(layer).width)
    assert not found[0].any()
    np.testing.assert_allclose(found[-1][:, :5], expected, atol=1e-6)


def test_derivative_is_the_limit_of_differences(layer):
    weights = CellWeights.of(layer)
    draw = np.random.default_rng(1)
    x, state = draw.normal(size=(2, 3)), draw.normal(size=(2, weights.width))
    found = step_derivative(weights, x, state)
    for j in range(weights.width):
        shift = np.zeros(weights.width)
        shift[j] = 1e-6
        slope = (step(weights, x, state + shift) - step(weights, x, state - shift)) / 2e-6
        np.testing.assert_allclose(found[:, :, j], slope, atol=1e-8)


def test_one_step_by_hand():
    # One unit, W = U = 1, b = 0, x = 1, h = 0.5, c = 2.
    one, x = np.ones((1, 1)), np.ones((1, 1))
    simple = CellWeights("simple_rnn", one, one, np.zeros(1))
    assert step(simple, x, np.full((1, 1), 0.5))[0, 0] == pytest.approx(np.tanh(1.5))
    lstm = CellWeights("lstm", np.ones((1, 4)), np.ones((1, 4)), np.zeros(4))
    gate = 1 / (1 + np.exp(-1.5))
    c = gate * 2 + gate * np.tanh(1.5)
    np.testing.assert_allclose(step(lstm, x, np.array([[0.5, 2.0]])), [[gate * np.tanh(c), c]])
    assert gates(lstm, x, np.array([[0.5, 2.0]]))["f"][0, 0] == pytest.approx(gate)
    gru = CellWeights("gru", np.ones((1, 3)), np.ones((1, 3)), np.zeros((2, 3)))
    h = gate * 0.5 + (1 - gate) * np.tanh(1 + gate * 0.5)
    assert step(gru, x, np.full((1, 1), 0.5))[0, 0] == pytest.approx(h)


@pytest.mark.parametrize(
    "other",
    [
        keras.layers.Dense(2),
        keras.layers.GRU(2, reset_after=False),
        keras.layers.LSTM(2, activation="relu"),
        keras.layers.SimpleRNN(2, use_bias=False),
    ],
)
def test_other_layers_are_refused(other):
    other.build((None, 3, 3))
    with pytest.raises(ConfigError, match="is not a SimpleRNN"):
        CellWeights.of(other)
