"""The text classifier: its paths, their losses, and the weight between them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.text_classification import (
    SHARES,
    AnswerAccuracy,
    PathsLoss,
    TokenDropout,
    WeightedSum,
    choose_share,
    text_classifier,
)
from models.text_classification_config import TextConfig
from models.wide import count_wide_tables

VOCABULARY = ["[PAD]", "[UNK]", "[START]", "[END]", "good", "bad", "film", "not"]
TOKENS = np.array([[2, 4, 6, 3, 0], [2, 7, 4, 6, 3], [2, 5, 6, 3, 0], [2, 7, 5, 6, 3]], "int32")
LABELS = np.array([1, 0, 0, 1])


def model_of(labels=LABELS, **changes):
    keras.utils.set_random_seed(0)
    config = TextConfig(units=4, embedding_dim=5, **changes)
    rows = [row[row > 0] for row in TOKENS]
    tables = count_wide_tables(rows, labels, VOCABULARY, 2)
    return text_classifier(config, len(VOCABULARY), 2, None if config.wide == "none" else tables)


def test_token_dropout_spares_special_tokens_and_does_nothing_when_answering():
    layer = TokenDropout(0.9, seed=1)
    tokens = np.tile(np.array([[2, 5, 6, 7, 4, 3, 0, 0]], "int32"), (50, 1))
    np.testing.assert_array_equal(np.asarray(layer(tokens)), tokens)
    dropped = np.asarray(layer(tokens, training=True))
    np.testing.assert_array_equal(dropped[:, [0, 5, 6, 7]], tokens[:, [0, 5, 6, 7]])
    share = (dropped[:, 1:5] == 1).mean()
    assert 0.8 < share < 1


def test_loss_and_accuracy_by_hand():
    # Two paths and the answer; only the paths are punished, only the answer is counted.
    stacked = np.array([[[0.0, 0.0], [np.log(3), 0.0], [0.0, 5.0]]], "f4")
    loss = float(PathsLoss()(np.array([0]), stacked))
    assert loss == pytest.approx(np.log(2) + np.log(4 / 3), rel=1e-5)
    metric = AnswerAccuracy()
    metric.update_state(np.array([0]), stacked)
    assert float(metric.result()) == 0.0


def test_first_loss_of_the_recurrent_path_is_chance():
    outputs = model_of().predict_on_batch({"tokens": TOKENS})
    assert outputs.shape == (4, 3, 2)
    deep = float(PathsLoss()(LABELS, outputs[:, [0, 2]]))
    assert deep == pytest.approx(np.log(2), rel=0.2)


@pytest.mark.parametrize("wide", ["none", "words", "characters"])
def test_a_gradient_reaches_every_trainable_weight(wide):
    # By LABELS no n-gram speaks for a class: its evidence, and the gradient of it, would be zero.
    model = model_of(np.array([1, 1, 0, 0]), wide=wide, layers=2)
    with tf.GradientTape() as tape:
        loss = PathsLoss()(LABELS, model({"tokens": TOKENS}))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert len(gradients) == len(model.trainable_variables) > 0
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.abs(tf.convert_to_tensor(gradient).numpy()).max() > 0, variable.path


def heads_model(deep, wide):
    """A model whose two paths give fixed logits by token."""
    tokens = keras.Input((1,), dtype="int32", name="tokens")
    paths = []
    for logits in (deep, wide):
        layer = keras.layers.Embedding(len(logits), 2)
        paths.append(keras.layers.Flatten()(layer(tokens)))
        layer.set_weights([np.array(logits, "f4")])
    return keras.Model({"tokens": tokens}, WeightedSum(name="heads")(paths))


@pytest.mark.parametrize(("who", "expected"), [("deep", SHARES[-1]), ("wide", SHARES[0])])
def test_the_path_that_knows_gets_the_weight(who, expected):
    right, wrong = [[2.0, 0], [0, 2.0]], [[0.0, 2], [1.5, 0]]
    model = heads_model(*((right, wrong) if who == "deep" else (wrong, right)))
    accuracy = choose_share(model, [({"tokens": np.array([[0], [1]])}, np.array([0, 1]))])
    assert float(model.get_layer("heads").share) == pytest.approx(expected)
    assert accuracy == 1.0
    answer = model.predict_on_batch({"tokens": np.array([[0], [1]])})[:, -1]
    np.testing.assert_array_equal(answer.argmax(1), [0, 1])


def test_one_path_alone_has_all_of_the_answer():
    model = model_of(wide="none")
    outputs = model.predict_on_batch({"tokens": TOKENS})
    np.testing.assert_array_equal(outputs[:, 0], outputs[:, 1])
    accuracy = choose_share(model, [({"tokens": TOKENS}, LABELS)])
    assert accuracy == (outputs[:, 0].argmax(1) == LABELS).mean()
