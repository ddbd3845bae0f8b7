"""The language model: states that are carried, the loss by hand, and what is exported."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.language import language_cores, language_model, window_loss
from models.language_config import LanguageConfig
from models.language_layers import Carry, UnitTable
from models.weight_dropout import DROPPED

SIZE = 12
SMALL = LanguageConfig(units=8, embedding_dim=6, dropout=0.0, input_dropout=0.0)


def text(rows, time, seed=0):
    return np.random.default_rng(seed).integers(4, SIZE, (rows, time)).astype(np.int32)


def scored(model, tokens, begins, following=None):
    following = text(*tokens.shape, 1) if following is None else following
    begins = np.broadcast_to(np.array(begins), len(tokens))
    inputs = {"tokens": tokens, "following": following, "begins": begins}
    return model(inputs)["log_probabilities"].numpy()


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
@pytest.mark.parametrize("tied", [True, False])
def test_windows_give_what_one_pass_over_the_whole_gives(cell, tied):
    keras.utils.set_random_seed(0)
    model = language_model(SMALL.updated(cell=cell, tied=tied), SIZE)
    tokens, following = text(3, 20), text(3, 20, 1)
    whole = scored(model, tokens, True)
    parts = [
        scored(model, tokens[:, part], part.start == 0, following[:, part])
        for part in (slice(0, 7), slice(7, 8), slice(8, 20))
    ]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-5)
    # One row begins anew, the others go on.
    mixed = scored(model, tokens, [False, True, False])
    np.testing.assert_allclose(mixed[1], whole[1], atol=1e-5)
    assert np.abs(mixed[0] - whole[0]).max() > 1e-4


def test_other_rows_than_the_last_batch_s_begin_anew():
    carry = Carry([2])
    first = carry(np.array([True, True]))[0]
    assert not first.numpy().any()
    carry([np.zeros((2, 1), np.float32), np.ones((2, 2), np.float32)], keep=True)
    assert carry(np.array([False, True]))[0].numpy().tolist() == [[1, 1], [0, 0]]
    assert not carry(np.array([False, False, False]))[0].numpy().any()


def test_the_loss_is_that_of_the_units_that_follow():
    each = np.log(np.array([[0.25, 0.8, 0.1]], np.float32))
    found = float(window_loss(np.array([[1, 2, 0]]), each))  # the last is padding
    assert found == pytest.approx(-(np.log(0.25) + np.log(0.8)) / 2, rel=1e-5)
    assert float(window_loss(np.zeros((1, 3)), each)) == 0


def table(scores, **more):
    """A table whose scores of the vector 1 are given."""
    layer = UnitTable(len(scores), 1, **more)
    layer.build(None)
    layer.embeddings.assign(np.array(scores, np.float32)[:, None])
    return layer


def test_log_probabilities_and_smoothing_by_hand():
    shares = np.array([0.5, 0.25, 0.25])
    layer = table(np.log(shares), smoothing=0.3)
    x, chosen = np.ones((1, 2, 1), np.float32), np.array([[1, 0]])
    found = layer([x, chosen], mode="choose").numpy()
    np.testing.assert_allclose(found, np.log([[0.25, 0.5]]), rtol=1e-5)
    smooth = layer([x, chosen], mode="choose", training=True).numpy()
    every = np.log(shares).mean()
    np.testing.assert_allclose(smooth, 0.7 * np.log([[0.25, 0.5]]) + 0.3 * every, rtol=1e-5)


def test_sampled_units_learn_nearly_the_same():
    """The gradient beside all units and, on average, beside some of them point the same way."""
    keras.utils.set_random_seed(0)
    scores = np.random.default_rng(0).normal(size=50)
    x, chosen = np.ones((64, 1, 1), np.float32), np.random.default_rng(1).integers(0, 50, (64, 1))

    def gradient(sampled):
        layer = table(scores, sampled=sampled)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(layer([x, chosen], mode="choose", training=True))
        found = tape.gradient(loss, [layer.embeddings.value])[0]
        return tf.convert_to_tensor(found).numpy()[:, 0]

    full, some = gradient(0), np.mean([gradient(25) for _ in range(60)], 0)
    assert np.corrcoef(full, some)[0, 1] > 0.95


def test_an_untrained_model_knows_nothing():
    """Its loss is about the logarithm of the number of units."""
    keras.utils.set_random_seed(0)
    model = language_model(SMALL, 500)
    tokens = np.random.default_rng(0).integers(4, 500, (4, 30))
    loss = float(window_loss(tokens, scored(model, tokens, True, tokens)))
    assert loss == pytest.approx(np.log(500), rel=0.01)


def test_cores_give_what_the_model_gives():
    keras.utils.set_random_seed(0)
    model = language_model(SMALL, SIZE)
    tokens, following = text(2, 9), text(2, 9, 1)
    want = scored(model, tokens, True, following)
    cores = language_cores(model)
    zeros = {name: np.zeros((2, 8), np.float32) for name in cores["next"].input if name != "tokens"}
    found = cores["model"]({"tokens": tokens, "following": following, **zeros})
    np.testing.assert_allclose(found["log_probabilities"], want, atol=1e-5)
    every = cores["next"]({"tokens": tokens, **zeros})["log_probabilities"].numpy()
    np.testing.assert_allclose(np.exp(every).sum(-1), 1, rtol=1e-5)
    chosen = np.take_along_axis(every, following[..., None], 2)[..., 0]
    np.testing.assert_allclose(chosen, want, atol=1e-5)


def test_a_saved_model_is_the_same(tmp_path):
    model = language_model(SMALL.updated(unit_dropout=0.2), SIZE)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert np.array_equal(scored(model, text(2, 5), True), scored(again, text(2, 5), True))


def test_hidden_units_are_hidden_wherever_they_stand():
    keras.utils.set_random_seed(0)
    model = language_model(SMALL.updated(unit_dropout=0.5), SIZE)
    embedding = model.get_layer("embedding")
    tokens = np.tile(np.arange(SIZE), (1, 3))
    found = embedding(tokens, training=True).numpy().reshape(3, SIZE, -1)
    table = embedding.embeddings.numpy()
    assert np.array_equal(found[0], found[1])
    hidden = ~found[0].any(-1)
    assert 0 < hidden.sum() < SIZE
    np.testing.assert_allclose(found[0][~hidden], 2 * table[~hidden], rtol=1e-6)


@pytest.mark.parametrize("cell", list(DROPPED))
def test_dropped_weights_are_dropped_at_all_steps_and_in_training_alone(cell, tmp_path):
    keras.utils.set_random_seed(0)
    layer = DROPPED[cell](5, 0.5, return_sequences=True)
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    plain = layer(x).numpy()
    np.testing.assert_allclose(layer.plain()(x), plain, atol=1e-6)
    dropped = layer(x, training=True).numpy()
    np.testing.assert_allclose(dropped[:, 0], plain[:, 0], atol=1e-6)  # nothing recurs yet
    assert np.abs(dropped[:, 1:] - plain[:, 1:]).max() > 1e-3
    assert np.array_equal(layer(x), plain)
    model = language_model(SMALL.updated(cell=cell, weight_dropout=0.3), SIZE)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    want = scored(model, text(2, 5), True)
    assert np.array_equal(scored(again, text(2, 5), True), want)
    core = language_cores(again)["model"]
    zeros = {n: np.zeros((2, 8), np.float32) for n in core.input if n.startswith("recurrent")}
    found = core({"tokens": text(2, 5), "following": text(2, 5, 1), **zeros})
    np.testing.assert_allclose(found["log_probabilities"], want, atol=1e-5)


def test_the_gradient_reaches_the_weights_that_were_kept():
    keras.utils.set_random_seed(0)
    layer = DROPPED["lstm"](4, 0.5)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32))
    layer(x)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True))
    gradient = tape.gradient(loss, layer.cell.recurrent_kernel.value)
    zeros = float(tf.reduce_mean(tf.cast(gradient == 0, tf.float32)))
    assert 0.3 < zeros < 0.7
