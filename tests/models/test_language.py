"""The language model: states that are carried, the loss by hand, and what is exported."""

import keras
import numpy as np
import pytest

from models.language import language_cores, language_model, window_loss
from models.language_config import LanguageConfig
from models.language_layers import Carry

SIZE = 12
SMALL = LanguageConfig(units=8, embedding_dim=6, dropout=0.0, input_dropout=0.0)


def text(rows, time, seed=0):
    return np.random.default_rng(seed).integers(4, SIZE, (rows, time)).astype(np.int32)


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
@pytest.mark.parametrize("tied", [True, False])
def test_windows_give_what_one_pass_over_the_whole_gives(cell, tied):
    keras.utils.set_random_seed(0)
    model = language_model(SMALL.updated(cell=cell, tied=tied), SIZE)
    tokens = text(3, 20)

    def scores(tokens, begins):
        return model({"tokens": tokens, "begins": np.full(len(tokens), begins)})["logits"].numpy()

    whole = scores(tokens, True)
    parts = [
        scores(tokens[:, :7], True),
        scores(tokens[:, 7:8], False),
        scores(tokens[:, 8:], False),
    ]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-5)
    # One row begins anew, the others go on.
    mixed = model({"tokens": tokens, "begins": np.array([False, True, False])})["logits"].numpy()
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
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1 / 3] * 3]], np.float32))
    following = np.array([[1, 2, 0]])  # the last is padding
    found = float(window_loss()(following, logits))
    assert found == pytest.approx(-(np.log(0.25) + np.log(0.8)) / 2, rel=1e-5)
    smooth = float(window_loss(0.3)(following, logits))
    every = -(np.log([0.5, 0.25, 0.25]).mean() + np.log([0.1, 0.1, 0.8]).mean()) / 2
    assert smooth == pytest.approx(0.7 * found + 0.3 * every, rel=1e-5)
    assert float(window_loss()(np.zeros((1, 3)), logits)) == 0


def test_an_untrained_model_knows_nothing():
    """Its loss is about the logarithm of the number of units."""
    keras.utils.set_random_seed(0)
    model = language_model(SMALL, 500)
    tokens = np.random.default_rng(0).integers(4, 500, (4, 30))
    inputs = {"tokens": tokens, "begins": np.ones(4, bool)}
    loss = float(window_loss()(tokens, model(inputs)["logits"]))
    assert loss == pytest.approx(np.log(500), rel=0.01)


def test_cores_give_the_log_probabilities_of_what_follows():
    keras.utils.set_random_seed(0)
    model = language_model(SMALL, SIZE)
    tokens, following = text(2, 9), text(2, 9, 1)
    logits = model({"tokens": tokens, "begins": np.ones(2, bool)})["logits"].numpy()
    each = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    cores = language_cores(model)
    zeros = {name: np.zeros((2, 8), np.float32) for name in cores["next"].input if name != "tokens"}
    found = cores["model"]({"tokens": tokens, "following": following, **zeros})
    chosen = np.take_along_axis(each, following[..., None], 2)[..., 0]
    np.testing.assert_allclose(found["log_probabilities"], chosen, atol=1e-5)
    np.testing.assert_allclose(
        cores["next"]({"tokens": tokens, **zeros})["log_probabilities"], each, atol=1e-5
    )


def test_a_saved_model_is_the_same(tmp_path):
    model = language_model(SMALL.updated(unit_dropout=0.2), SIZE)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    inputs = {"tokens": text(2, 5), "begins": np.ones(2, bool)}
    assert np.array_equal(model(inputs)["logits"], again(inputs)["logits"])


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
