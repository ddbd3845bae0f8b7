"""The embedding of words: first values, what training leaves as it is, what is saved."""

import keras
import numpy as np
import pytest

from models.embedding import word_embedding
from models.text_classification import compile_classifier, text_classifier
from models.text_classification_config import TextConfig

WORDS, SIZE = 2000, 6


def pretrained(found=slice(4, 1000), spread=3.0):
    rows = np.zeros(WORDS, bool)
    rows[found] = True
    table = np.random.default_rng(0).normal(0, spread, (WORDS, SIZE)).astype(np.float32)
    return np.where(rows[:, None], table, 0).astype(np.float32), rows


def values_of(layer):
    return layer.embeddings.numpy()


def test_vectors_begin_as_given_and_all_other_words_as_widely_spread():
    keras.utils.set_random_seed(0)
    table, found = pretrained()
    values = values_of(word_embedding(WORDS, 50, (table, found)))
    assert values.shape == (WORDS, SIZE), "the file decides, not embedding_dim"
    np.testing.assert_array_equal(values[found], table[found])
    assert not values[0].any()
    others = values[1:][~found[1:]]
    assert others.std() == pytest.approx(3.0, rel=0.05)
    assert abs(others.mean()) < 0.15


def test_words_differ_even_where_vectors_do_not():
    keras.utils.set_random_seed(0)
    table, found = pretrained(spread=0.0)
    values = values_of(word_embedding(WORDS, 50, (table, found)))
    assert 0.01 < values[1:][~found[1:]].std() < 0.1


def test_the_seed_decides():
    made = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        made.append(values_of(word_embedding(WORDS, 4, pretrained())))
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()


def test_without_vectors_it_is_keras_own_table_and_is_trained():
    keras.utils.set_random_seed(0)
    layer = word_embedding(WORDS, 5, frozen=True, mask_zero=True)
    keras.utils.set_random_seed(0)
    plain = keras.layers.Embedding(WORDS, 5)
    for one in (layer, plain):
        one.build((None, None))
    np.testing.assert_array_equal(values_of(layer), values_of(plain))
    assert layer.trainable
    assert layer.mask_zero


@pytest.mark.parametrize("frozen", [True, False])
def test_a_saved_model_has_the_values_and_no_trace_of_a_file(frozen, tmp_path):
    tokens = keras.Input((None,), dtype="int32")
    layer = word_embedding(WORDS, 4, pretrained(), frozen=frozen, mask_zero=True)
    model = keras.Model(tokens, layer(tokens))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(values_of(again.get_layer("embedding")), values_of(layer))
    assert again.get_layer("embedding").trainable is not frozen
    assert set(layer.get_config()) == set(keras.layers.Embedding(2, 2).get_config())


def fitted(vectors, frozen, epochs=3):
    """Trains on texts of one word each, which no other text has.

    Returns:
        Values of the table before and after, and the accuracy on texts of words that training
        never had.
    """
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    tokens = np.array([[2, word, 3] for word in range(4, 404)], "int32")
    labels = rng.integers(0, 2, len(tokens))
    if vectors:
        table = rng.normal(0, 1, (404, SIZE)).astype(np.float32)
        table[4:, 0] = 2.0 * labels - 1
        found = np.arange(404) >= 4
        vectors = np.where(found[:, None], table, 0).astype(np.float32), found
    # The average of weights is for longer trainings.
    config = TextConfig(
        units=4, embedding_dim=SIZE, wide="none", dropout=0.0, token_dropout=0.0, average=0.0,
        learning_rate=0.01, freeze_vectors=frozen,
    )  # fmt: skip
    model = text_classifier(config, 404, 2, None, vectors or None)
    compile_classifier(model, config)
    before = values_of(model.get_layer("embedding"))
    first, rest = slice(0, 200), slice(200, 400)
    targets = dict.fromkeys(model.output, labels[first])
    model.fit({"tokens": tokens[first]}, targets, batch_size=20, epochs=epochs, verbose=0)
    logits = model.predict_on_batch({"tokens": tokens[rest]})["answer"]
    accuracy = (logits.argmax(1) == labels[rest]).mean()
    return before, values_of(model.get_layer("embedding")), accuracy


@pytest.mark.slow
def test_vectors_that_hold_the_answer_answer_for_words_that_training_never_had():
    _, _, without = fitted(None, False)
    before, after, accuracy = fitted(True, False)
    assert without < 0.65
    assert accuracy > 0.9
    assert (after != before).any()


def test_frozen_vectors_stay_as_they_are():
    before, after, accuracy = fitted(True, True)
    np.testing.assert_array_equal(before, after)
    assert accuracy > 0.9
