"""Gradients across time by hand, silent units, and a short training that learns."""

import keras
import numpy as np
import pytest

from common.errors import ConfigError
from models.cells import CellWeights
from models.memory import (
    dead_units,
    gradient_norm,
    gradient_reach,
    learn,
    memory_layer,
    memory_network,
    new_weights,
    normal_recurrence,
    saturated_share,
)


def weights_of(cell):
    keras.utils.set_random_seed(0)
    return new_weights(cell, 6, 2)


def test_without_input_tanh_shrinks_by_its_recurrent_weights_alone():
    # At h = 0 the slope of tanh is 1: the product of the Jacobians is a power of U.
    recurrent = np.diag([0.5, 0.25])
    weights = CellWeights("simple_rnn", np.ones((1, 2)), recurrent, np.zeros(2))
    reach = gradient_reach(weights, np.zeros((3, 20, 1)))
    np.testing.assert_allclose(reach.hidden, 0.5 ** np.arange(21.0))
    np.testing.assert_allclose(reach.state, reach.hidden)
    squares = 0.25 ** np.arange(21.0) + 0.0625 ** np.arange(21.0)
    np.testing.assert_allclose(reach.typical, np.sqrt(squares / 2))


def test_lstm_without_recurrent_weights_forgets_by_its_gate_alone():
    # c[t] = f c[t-1] with f = sigmoid(bias): the constant error carousel.
    bias = np.repeat([0.0, 1.0, 0.0, 0.0], 2)
    weights = CellWeights("lstm", np.zeros((1, 8)), np.zeros((2, 8)), bias)
    reach = gradient_reach(weights, np.zeros((1, 30, 1)), back=10)
    assert len(reach.state) == 11
    forget = 1 / (1 + np.exp(-1))
    ratios = reach.state[2:] / reach.state[1:-1]
    np.testing.assert_allclose(ratios, forget)
    np.testing.assert_allclose(reach.hidden[1:], 0)  # h by h alone: nothing recurs


@pytest.mark.parametrize("cell", ["tanh", "relu", "lstm", "gru"])
def test_reach_equals_the_gradient_that_tensorflow_finds(cell):
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    layer = memory_layer(cell, 4)
    x = np.random.default_rng(0).normal(size=(1, 6, 2)).astype(np.float32)
    begin = [tf.zeros((1, 4)) for _ in range(2 if cell == "lstm" else 1)]
    layer(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(begin)
        last = layer(x, initial_state=begin)
    found = np.linalg.norm(tape.jacobian(last, begin[0], experimental_use_pfor=False)[0, :, 0], 2)
    reach = gradient_reach(CellWeights.of(layer), x)
    assert reach.hidden[6] == pytest.approx(found, rel=1e-4)


def test_dead_and_saturated_units_by_hand():
    kernel = np.array([[1.0, -1.0, 1.0]])
    weights = CellWeights("simple_rnn", kernel, np.zeros((3, 3)), np.array([0, 0, -5.0]), relu=True)
    x = np.array([[[1.0], [2.0]], [[3.0], [0.5]]])
    assert dead_units(weights, x) == pytest.approx(2 / 3)
    assert dead_units(weights, -x) == pytest.approx(2 / 3)
    assert dead_units(weights, np.concatenate([x, -x])) == pytest.approx(1 / 3)
    tanh = CellWeights("simple_rnn", np.array([[1.0]]), np.zeros((1, 1)), np.zeros(1))
    assert (
        saturated_share(tanh, x) == 0.5
    )  # tanh(2) = 0.964 and tanh(3) are, tanh(1) and tanh(0.5) not


def test_relu_begins_as_the_identity():
    weights = weights_of("relu")
    np.testing.assert_array_equal(weights.recurrent, np.eye(6))
    assert weights.relu


def test_unknown_cells_are_refused():
    with pytest.raises(ConfigError, match="there are: tanh, relu, lstm, gru"):
        memory_layer("transformer", 3)


def test_a_short_training_learns_the_mean_of_two_steps():
    draw = np.random.default_rng(0)

    def batch(size=32):
        x = draw.random((size, 2, 1), np.float32)
        return x, x.mean(1)

    validation = batch(100)
    keras.utils.set_random_seed(0)
    network = memory_network("tanh", validation, keras.optimizers.Adam(0.02, global_clipnorm=1), 8)
    network.jit_compile = False  # to compile takes longer than this training
    assert gradient_norm(network, validation) > 0
    found = learn(network, batch, validation, solved=0.005, seconds=60, updates=300)
    assert found.best < 0.005 < found.losses[0][1]
    assert found.losses[-1][0] <= 300


def test_classes_are_answered_at_the_last_steps():
    x, y = np.zeros((5, 7, 3), np.float32), np.tile(np.arange(4, dtype=np.int32), (5, 1))
    network = memory_network("tanh", (x, y), keras.optimizers.SGD(), 3)
    assert network.output_shape == (None, 4, 4)


def test_a_training_that_diverges_ends():
    x, y = np.ones((4, 30, 1), np.float32), np.ones((4, 1), np.float32)
    network = memory_network("relu", (x, y), keras.optimizers.SGD(1e6), 4)
    network.jit_compile = False
    found = learn(network, lambda: (x, y), (x, y), solved=0, seconds=20, updates=500, every=5)
    assert not np.isfinite(found.losses[-1][1])
    assert found.losses[-1][0] < 500


def test_the_seed_alone_decides_the_first_weights():
    first, second = weights_of("relu"), weights_of("relu")
    np.testing.assert_array_equal(first.kernel, second.kernel)


def test_recurrence_has_the_radius_that_was_asked_for():
    keras.utils.set_random_seed(0)
    found = new_weights("tanh", 300, 1, recurrent_initializer=normal_recurrence(0.5, 300))
    assert np.abs(np.linalg.eigvals(found.recurrent)).max() == pytest.approx(0.5, abs=0.05)


def test_forget_bias_is_that_of_the_forget_gate():
    weights = weights_of("lstm").with_forget_bias(3.0)
    np.testing.assert_array_equal(weights.bias, np.repeat([0.0, 3.0, 0.0, 0.0], 6))
