"""The quick loops of training against Keras's own: outputs, states and all gradients."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.acceleration import accelerate, is_known
from models.config import RecurrentConfig
from models.fast_loops import STEPS, SecondDerivativeError, _run_size
from models.recurrent import CELLS, recurrent_stack
from models.stepwise import stepwise
from models.training import compile_model
from models.weight_dropout import DROPPED

UNITS, WIDTH = 4, 3
OPTIONS = {  # each with the cells that have it
    "plain": ({}, CELLS),
    "one way back": ({"go_backwards": True}, CELLS),
    "zeros at padding": ({"zero_output_for_mask": True}, CELLS),
    "zeros, back": ({"zero_output_for_mask": True, "go_backwards": True}, CELLS),
    "last only": ({"return_sequences": False}, CELLS),
    "last, zeros": ({"return_sequences": False, "zero_output_for_mask": True}, CELLS),
    "no bias": ({"use_bias": False}, CELLS),
    "reset before": ({"reset_after": False}, ["gru"]),
    "reset before, no bias": ({"reset_after": False, "use_bias": False}, ["gru"]),
    "relu": ({"activation": "relu"}, ["simple_rnn"]),
    "sigmoid": ({"activation": "sigmoid"}, ["simple_rnn"]),
    "linear": ({"activation": "linear"}, ["simple_rnn"]),
    "dropout": ({"dropout": 0.4, "seed": 3}, CELLS),
}
QUICK = ("plain", "zeros, back", "last only", "reset before", "relu")


def layer_of(cell, name, **options):
    settings = {"return_sequences": True, "return_state": True, "bias_initializer": "normal"}
    if cell == "lstm":
        settings["unit_forget_bias"] = False
    layer = CELLS[cell](UNITS, name=name, **settings | options)
    layer.build((None, None, WIDTH))
    return layer


def results(layers, x, states, mask):
    """Outputs and gradients of every layer, by weights, input and first states, in one graph."""
    draw = np.random.default_rng(5)

    def one(layer):
        begins = states[: 2 if isinstance(layer, keras.layers.LSTM) else 1]
        weights = [variable.value for variable in layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch([x, *begins])
            outputs = layer(x, initial_state=begins, mask=mask, training=True)
            loss = tf.add_n([
                tf.reduce_sum(out * draw.normal(size=[one or 7 for one in out.shape[1:]]))
                for out in outputs
            ])  # fmt: skip
        return outputs, tape.gradient(loss, [*weights, x, *begins])

    return tf.function(lambda: [one(layer) for layer in layers])()


def check(options, time, mask, rows=5):
    draw = np.random.default_rng(1)
    x = tf.constant(draw.normal(size=(rows, time, WIDTH)), tf.float32)
    states = [tf.constant(draw.normal(size=(rows, UNITS)), tf.float32) for _ in range(2)]
    found, names = {}, []
    for quick in (False, True):
        keras.utils.set_random_seed(0)
        layers = []
        for name in options:
            settings, cells = OPTIONS[name]
            layers += [layer_of(cell, f"{cell}_{len(layers)}", **settings) for cell in cells]
            names += [(name, cell) for cell in cells]
        if quick:
            for layer in layers:
                accelerate(keras.Sequential([keras.Input((None, WIDTH)), layer]))
        np.random.seed(0)
        found[quick] = results(layers, x, states, mask)
    for name, wanted, got in zip(names, found[False], found[True], strict=False):
        for a, b in zip(tf.nest.flatten(wanted), tf.nest.flatten(got), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=str(name))


def holes(time, rows=5):
    """Right-padded, whole, empty, one with a hole and padding in front, one with its end alone."""
    mask = np.ones((rows, time), bool)
    mask[0, time // 2 :] = False
    mask[2] = False
    mask[3, :2] = mask[3, time // 2] = False
    mask[4, :-1] = False
    return tf.constant(mask)


def test_equals_keras_with_holes_in_the_mask():
    check(QUICK, STEPS + 3, holes(STEPS + 3))


def test_equals_keras_without_a_mask():
    check(("plain", "reset before"), 2 * STEPS, None)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("time", [1, STEPS - 1, 2 * STEPS + 1])
def test_every_option_equals_keras(time, masked):
    check(OPTIONS, time, holes(time) if masked and time > 2 else None)


def model_of(cell, **options):
    config = RecurrentConfig(cell=cell, units=UNITS, embedding_dim=WIDTH, layers=2)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(9, WIDTH, mask_zero=True)(tokens)
    x = recurrent_stack(x, config.updated(dropout=0.0), return_sequences=False)
    return keras.Model(tokens, keras.layers.Dense(1)(x)), config


TOKENS = np.array([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0], [8, 1, 2, 0, 0]], np.int32)


def test_trains_to_the_same_weights_and_saves_as_keras_alone_reads_it(tmp_path):
    trained = []
    for fast in (False, True):
        keras.utils.set_random_seed(0)
        model, config = model_of("gru")
        compile_model(model, config.updated(fast_loops=fast), "mse", None)
        before = model.get_config()
        for _ in range(3):
            model.train_on_batch(TOKENS, np.ones((3, 1), np.float32))
        trained.append(model)
        assert model.get_config() == before
    for a, b in zip(*(one.get_weights() for one in trained), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    fast = trained[1]
    fast.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert all("inner_loop" not in vars(layer) for layer in again._flatten_layers())
    copies = [again, keras.models.clone_model(fast), pickle.loads(pickle.dumps(fast))]  # noqa: S301
    for one in copies[1:]:
        one.set_weights(fast.get_weights())
    answer = fast(TOKENS)
    for one in copies:
        np.testing.assert_allclose(one(TOKENS), answer, atol=1e-6)
    with stepwise(fast) as calls:
        np.testing.assert_allclose(fast(TOKENS), answer, atol=1e-6)
    assert len(calls) == 4
    copied = copy.deepcopy(fast.layers[2].forward_layer)
    assert getattr(copied.inner_loop, "args", (copied,))[0] is copied


def test_empty_and_odd_batches_do_not_crash():
    layer = layer_of("lstm", "lstm")
    accelerate(keras.Sequential([keras.Input((None, WIDTH)), layer]))

    @tf.function(input_signature=[tf.TensorSpec([None, None, WIDTH])])
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, *_ = layer(x, training=True)
        return tape.gradient(y, x)

    for rows, time in ((1, 3), (2, 0), (0, 3), (33, 2)):
        assert gradient(tf.ones([rows, time, WIDTH])).shape == (rows, time, WIDTH)


def test_a_second_derivative_is_refused_by_name():
    layer = layer_of("gru", "reader", return_state=False)
    accelerate(keras.Sequential([keras.Input((None, WIDTH)), layer]))
    x = tf.ones([2, 3, WIDTH])

    def twice():
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(layer(x, training=True) ** 2)
            first = inner.gradient(y, x)
        return outer.gradient(first, x)

    with pytest.raises(SecondDerivativeError, match="'reader'.*fast_loops"):
        tf.function(twice, autograph=False)()


def test_what_is_left_to_keras():
    kept = [
        keras.layers.LSTM(2, unroll=True),
        keras.layers.GRU(2, recurrent_dropout=0.1),
        keras.layers.SimpleRNN(2, stateful=True),
        keras.layers.RNN(keras.layers.GRUCell(2)),
        keras.layers.Dense(2),
    ]
    assert not any(map(is_known, kept))
    assert all(is_known(DROPPED[cell](2, rate=0.5)) for cell in CELLS)
    model = keras.Sequential([keras.Input((3, 2)), kept[0]])
    assert "inner_loop" not in vars(accelerate(model).layers[0])


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_left_out_weights_have_no_gradient(cell):
    keras.utils.set_random_seed(0)
    layer = DROPPED[cell](UNITS, rate=0.5)
    layer.build((None, None, WIDTH))
    accelerate(keras.Sequential([keras.Input((None, WIDTH)), layer]))
    x = tf.random.stateless_normal([4, 6, WIDTH], [1, 2])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
        return tape.gradient(y, layer.cell.recurrent_kernel.value)

    zeros = float(np.mean(np.asarray(gradient()) == 0))
    assert 0.2 < zeros < 0.8


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_dropped_input_has_no_gradient(cell):
    layer = layer_of(cell, cell, dropout=0.4, seed=3, return_state=False)
    accelerate(keras.Sequential([keras.Input((None, WIDTH)), layer]))
    x = tf.ones([64, 2, WIDTH])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return tape.gradient(y, x)

    dropped = np.asarray(gradient()) == 0
    assert 0.2 < np.mean(dropped) < 0.6
    np.testing.assert_array_equal(dropped[:, 0], dropped[:, 1])


@pytest.mark.parametrize(
    ("time", "size"), [(None, 16), (0, 16), (1, 1), (14, 14), (16, 16), (17, 9), (24, 12), (33, 11)]
)
def test_runs_of_a_known_length_are_equal(time, size):
    assert _run_size(time) == size
