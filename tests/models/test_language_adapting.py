"""Dynamic evaluation and the neural cache: by hand, and what leaves a model as it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.language import language_model, reading_model
from models.language_cache import ReadWindow, cache_nats
from models.language_config import LanguageConfig
from models.language_dynamic import STEADY, DynamicEvaluation
from pipelines.lanes import in_order

SIZE = 12


@keras.saving.register_keras_serializable("test")
class Bias(keras.layers.Layer):
    """A model of one bias: the log-probability of each unit that follows, of two."""

    def build(self, input_shape):
        self.bias = self.add_weight((2,), "zeros", name="bias")

    def call(self, following):
        scores = tf.nn.log_softmax(tf.convert_to_tensor(self.bias))
        return tf.gather(scores, following - 4)


def bias_model():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    following = keras.Input((None,), dtype="int32", name="following")
    begins = keras.Input((), dtype="bool", name="begins")
    inputs = {"tokens": tokens, "following": following, "begins": begins}
    return keras.Model(inputs, {"log_probabilities": Bias()(following)})


def windows_of(units, window=2):
    return list(in_order([np.array([2, *units], np.int32)], window))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def by_hand(windows, step, decay, root, mean):
    """The same in NumPy: foretold, then a step down the gradient and one back."""
    bias, total = np.zeros(2), 0.0
    for window in windows:
        found = window["following"][0] - 4
        shares = softmax(bias)
        total -= np.log(shares[found]).sum()
        gradient = shares - np.bincount(found, minlength=2) / len(found)
        back = np.minimum(decay * root / mean, 1) * -bias
        bias = bias - step * gradient / (root + STEADY * mean) + back
    return total


def test_dynamic_evaluation_by_hand():
    model = bias_model()
    known = windows_of([4, 4, 4, 5])
    evaluation = DynamicEvaluation(model, known)
    # The gradients of the two windows: (-1/2, 1/2) and (0, 0).
    root = np.full(2, np.sqrt(0.25 / 2))
    seen = windows_of([4, 4, 5, 4, 4])
    plain = evaluation.nats(seen, 0.0, 0.3)
    assert plain == pytest.approx(5 * np.log(2), rel=1e-6)
    for step, decay in ((0.1, 0.0), (0.1, 0.5), (0.3, 9.0)):
        found = evaluation.nats(seen, step, decay)
        assert found == pytest.approx(by_hand(seen, step, decay, root, root.mean()), rel=1e-5)
        assert found != pytest.approx(plain, rel=1e-3)
    assert not np.any(model.get_weights()[0])


def test_the_gradient_s_size_is_that_of_single_rows():
    """Two rows whose gradients do not point the same way count as one of the usual size each."""
    tokens = np.full((2, 1), 4, np.int32)
    both = {"tokens": tokens, "following": np.array([[4], [4]], np.int32),
            "begins": np.ones(2, bool)}  # fmt: skip
    evaluation = DynamicEvaluation(bias_model(), [both])
    np.testing.assert_allclose(evaluation._roots[0], np.sqrt([0.5, 0.5]), rtol=1e-6)


CELLS = [("lstm", True, 8), ("gru", False, 6), ("simple_rnn", True, 6)]


def small_model(cell="lstm", tied=True, units=8):
    keras.utils.set_random_seed(0)
    config = LanguageConfig(units=units, embedding_dim=6, cell=cell, tied=tied, layers=2)
    return language_model(config, SIZE)


def repeated(times):
    once = np.random.default_rng(0).integers(4, SIZE, 9)
    return np.array([2, *np.tile(once, times)], np.int32)


def plain_nats(model, units):
    """All of a text in one window."""
    (window,) = in_order([units], len(units))
    return -float(tf.reduce_sum(model(window)["log_probabilities"]))


@pytest.mark.parametrize(("cell", "tied", "units"), CELLS)
def test_a_text_that_repeats_itself_is_learnt_and_the_model_stays_as_it_was(cell, tied, units):
    model, text = small_model(cell, tied, units), repeated(30)
    before, plain = model.get_weights(), plain_nats(model, text)
    evaluation = DynamicEvaluation(model, in_order([text[:100]], 10))
    assert evaluation.nats(in_order([text], 7), 0.0, 0.1) == pytest.approx(plain, rel=1e-5)
    assert evaluation.nats(in_order([text], 7), 0.001, 0.01) < 0.99 * plain
    for got, want in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, want)
    # Nor does an error in the middle leave it changed.
    spoilt = [*in_order([text[:20]], 7), {"tokens": "none"}]
    with pytest.raises(TypeError):
        evaluation.nats(spoilt, 0.01, 0.0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_the_cache_by_hand():
    """Three states in a cache of two; the first unit has the model alone."""
    hidden = np.array([[1, 0], [0, 2], [1, 1]], np.float32)
    plain = np.log(np.array([0.5, 0.25, 0.125], np.float32))
    following = np.array([7, 8, 7], np.int32)
    theta, share = 0.5, 0.4
    # The second sees 7 alone; the third, (1, 1), sees 7 after (1, 0) and 8 after (0, 2).
    third = np.exp(0.5) / (np.exp(0.5) + np.exp(1.0))
    want = -np.log(0.5) - np.log(0.6 * 0.25) - np.log(0.6 * 0.125 + 0.4 * third)
    whole = [ReadWindow(plain, hidden, following)]
    parts = [
        ReadWindow(plain[i : i + 1], hidden[i : i + 1], following[i : i + 1]) for i in range(3)
    ]
    for windows in (whole, parts):
        found = cache_nats(windows, 2, [0.0, theta], [0.0, share])
        assert found[1, 1] == pytest.approx(want, rel=1e-6)
        np.testing.assert_allclose(found[:, 0], -plain.sum(dtype=float), rtol=1e-6)
        uniform = -np.log(0.5) - np.log(0.6 * 0.25) - np.log(0.6 * 0.125 + 0.4 / 2)
        assert found[0, 1] == pytest.approx(uniform, rel=1e-6)
    # A cache of one has 8 alone before the third.
    short = -np.log(0.5) - np.log(0.6 * 0.25) - np.log(0.6 * 0.125)
    assert cache_nats(parts, 1, [theta], [share])[0, 0] == pytest.approx(short, rel=1e-6)


@pytest.mark.parametrize(("cell", "tied", "units"), CELLS)
def test_a_cache_over_the_states_of_a_model(cell, tied, units):
    model, text = small_model(cell, tied, units), repeated(12)
    reading, windows = reading_model(model), []
    for window in in_order([text], 10):
        found = reading(window)
        each, hidden = (found[name][0].numpy() for name in ("log_probabilities", "hidden"))
        windows.append(ReadWindow(each, hidden, window["following"][0]))
    plain = plain_nats(model, text)
    # The scores are made of the hidden states.
    output = model.get_layer("embedding" if tied else "output")
    scores = tf.nn.log_softmax(output(windows[0].hidden, mode="score")).numpy()
    chosen = scores[np.arange(10), windows[0].following]
    np.testing.assert_allclose(chosen, windows[0].log_probabilities, atol=1e-5)
    found = cache_nats(windows, 50, [1.0], [0.0, 0.5])[0]
    assert found[0] == pytest.approx(plain, rel=1e-5)
    assert found[1] < 0.95 * plain
