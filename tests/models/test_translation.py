"""The encoder-decoder: attention, loss and steps by hand; padding changes nothing."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.errors import ConfigError
from models.translation import FEED, translation_cores, translation_model
from models.translation_config import ATTENTIONS, TranslationConfig
from models.translation_layers import AttentionDecoder, SmoothedCrossEntropy, smoothed_nats
from pipelines.program import KerasCore
from pipelines.text import START

SIZE = 20
SMALL = TranslationConfig(units=8, embedding_dim=6, dropout=0.0)
SOURCE = np.array([[2, 5, 6, 7, 3], [2, 9, 3, 0, 0]], np.int32)
TOKENS = np.array([[2, 8, 9, 4], [2, 7, 0, 0]], np.int32)


def spread(model):
    """Weights far enough from zero that every one of them shows."""
    draw = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + draw.normal(0, 0.2, weight.shape).astype(np.float32))
    return model


def made(**settings):
    keras.utils.set_random_seed(0)
    return spread(translation_model(SMALL.updated(**settings), SIZE, SIZE, True))


def log_probabilities(model, source, tokens):
    return tf.nn.log_softmax(model({"source": source, "tokens": tokens})["logits"]).numpy()


# ---- the loss


def test_label_smoothing_by_hand():
    # Three tokens; of the second row's target nothing counts but its first position.
    targets = np.array([[1, 2], [2, 0]])
    logits = np.log(np.array([[[1, 2, 1], [1, 1, 2]], [[2, 1, 1], [9, 9, 9]]], np.float32))
    plain = [math.log(4 / 2), math.log(4 / 2), math.log(4 / 1)]
    assert float(SmoothedCrossEntropy(0.0)(targets, logits)) == pytest.approx(sum(plain) / 3)
    # 0.7 of the target's loss, and 0.3 shared by all three tokens: each row's are 1/4, 1/4, 1/2.
    all_tokens = (2 * math.log(4) + math.log(2)) / 3
    want = [0.7 * one + 0.3 * all_tokens for one in plain]
    assert float(SmoothedCrossEntropy(0.3)(targets, logits)) == pytest.approx(sum(want) / 3)


def test_the_gradient_of_label_smoothing_is_the_difference_of_the_distributions():
    logits = np.random.default_rng(0).normal(0, 2, (3, 5)).astype(np.float32)
    targets, given = np.array([4, 0, 2]), tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = smoothed_nats(given, tf.constant(targets, tf.int32), 0.25)
    shares = np.full((3, 5), 0.25 / 5) + 0.75 * np.eye(5)[targets]
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found, -(shares * np.log(softmax)).sum(1), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(found, given), softmax - shares, atol=1e-6)


def test_a_batch_of_padding_costs_nothing():
    zeros = SmoothedCrossEntropy(0.1)(np.zeros((2, 3)), np.zeros((2, 3, 4), np.float32))
    assert float(zeros) == 0.0


def test_the_first_loss_is_about_that_of_a_guess():
    keras.utils.set_random_seed(0)
    model = translation_model(SMALL, SIZE, SIZE, True)
    loss = float(
        SmoothedCrossEntropy()(TOKENS, model({"source": SOURCE, "tokens": TOKENS})["logits"])
    )
    assert loss == pytest.approx(math.log(SIZE), abs=0.1)


# ---- attention


def decoder_of(attention):
    layer = AttentionDecoder("simple_rnn", 1, 2, 2, attention, False)
    shapes = [(None, None, 2)] * 3
    layer.build(*shapes, (None, None), [(None, 2)])
    return layer


def weights_of(layer, hidden, keys):
    scores = layer._scores(layer._weights(), tf.constant(hidden), tf.constant(keys))
    return tf.nn.softmax(scores).numpy()


@pytest.mark.parametrize("attention", ["general", "dot"])
def test_products_as_attention_by_hand(attention):
    keys = np.array([[[math.log(2), 0.0], [0.0, math.log(3)]]], np.float32)
    hidden = np.array([[1.0, 2.0]], np.float32)
    # Scores log 2 and 2 log 3, so shares 2 to 9.
    found = weights_of(decoder_of(attention), hidden, keys)
    np.testing.assert_allclose(found, [[2 / 11, 9 / 11]], rtol=1e-5)
    several = weights_of(decoder_of(attention), hidden[:, None], keys)
    np.testing.assert_allclose(several[:, 0], found, rtol=1e-5)


def test_additive_attention_by_hand():
    layer = decoder_of("additive")
    layer.query.kernel.assign([[1.0, 0.0], [0.0, 1.0]])
    layer.scale.assign([2.0, -1.0])
    keys = np.array([[[0.5, 0.0], [0.0, 1.0]]], np.float32)
    hidden = np.array([[0.5, -1.0]], np.float32)
    scores = [2 * math.tanh(1.0) - math.tanh(-1.0), 2 * math.tanh(0.5) - math.tanh(0.0)]
    shares = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(weights_of(layer, hidden, keys), [shares], rtol=1e-5)
    several = weights_of(layer, hidden[:, None], keys)
    np.testing.assert_allclose(several, [[shares]], rtol=1e-5)


def test_a_step_with_input_feeding_by_hand():
    """One unit, one source position: h = tanh(e + fed + h), then tanh of h and the memory."""
    layer = AttentionDecoder("simple_rnn", 1, 1, 1, "dot", True)
    shapes = [(None, None, 1)] * 3
    layer.build(*shapes, (None, None), [(None, 1)])
    layer.cells[0].kernel.assign([[1.0], [0.5]])  # of the embedding, and of what is fed
    layer.cells[0].recurrent_kernel.assign([[0.25]])
    layer.combine.kernel.assign([[1.0], [2.0]])  # of h, and of the context
    embedded, memory = np.array([[[0.1], [0.2]]], np.float32), np.array([[[0.3]]], np.float32)
    got = layer(embedded, memory, memory, np.array([[5]]), [np.array([[0.4]], np.float32)])
    h = math.tanh(0.1 + 0.25 * 0.4)
    first = math.tanh(h + 2 * 0.3)
    second = math.tanh(math.tanh(0.2 + 0.5 * first + 0.25 * h) + 2 * 0.3)
    np.testing.assert_allclose(got.numpy(), [[[first], [second]]], rtol=1e-5)


# ---- steps


@pytest.mark.parametrize("cell", ["gru", "lstm", "simple_rnn"])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("feeding", [True, False])
def test_steps_give_what_the_whole_target_gives(cell, attention, feeding):
    layers = 2 if attention == "general" else 1
    model = made(cell=cell, attention=attention, input_feeding=feeding, layers=layers)
    check_steps(model, feeding)


@pytest.mark.parametrize(
    "settings",
    [
        {"tie_output": False},
        {"share_embeddings": False},
        {"bidirectional": False, "attention": "dot"},
        {"layers": 3, "cell": "lstm"},
    ],
)
def test_steps_of_other_models(settings):
    check_steps(made(**settings), True)


def check_steps(model, feeding):
    whole = log_probabilities(model, SOURCE, TOKENS)
    cores = {name: KerasCore(core) for name, core in translation_cores(model).items()}
    states = cores["encoder"]({"source": SOURCE})
    if feeding:
        states[FEED] = np.zeros((2, SMALL.embedding_dim), np.float32)
    assert set(cores["step"].states) == set(states) - {"memory", "keys"}
    for at in range(4):
        found = cores["step"]({"tokens": TOKENS[:, at], "source": SOURCE, **states})
        rows = slice(None) if at < 2 else slice(1)  # the second target has two tokens
        got = found["log_probabilities"][rows]
        np.testing.assert_allclose(got, whole[rows, at], atol=5e-6)
        np.testing.assert_allclose(found["attention"].sum(1), 1, atol=1e-5)
        assert (found["attention"][1, 3:] == 0).all()
        states |= {n: found[f"{n}_next"] for n in cores["step"].states}


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_padding_of_the_source_changes_nothing(cell, attention):
    model = made(cell=cell, attention=attention, layers=2)
    alone = log_probabilities(model, SOURCE[1:, :3], TOKENS[1:, :2])
    np.testing.assert_allclose(log_probabilities(model, SOURCE, TOKENS)[1, :2], alone[0], atol=1e-5)


def test_gradients_with_and_without_input_feeding_are_those_of_differences():
    """Of a number of weights: the loop's gradient is TensorFlow's own, through what is captured."""
    for feeding in (True, False):
        model = made(input_feeding=feeding, units=3, embedding_dim=4)
        loss = SmoothedCrossEntropy(0.1)

        def value(model=model, loss=loss):
            return loss(TOKENS, model({"source": SOURCE, "tokens": TOKENS})["logits"])

        with tf.GradientTape() as tape:
            found = value()
        gradients = tape.gradient(found, [w.value for w in model.trainable_weights])
        assert all(gradient is not None for gradient in gradients)
        for weight, gradient in list(zip(model.trainable_weights, gradients, strict=True))[1::3]:
            dense = tf.convert_to_tensor(gradient).numpy()
            place = np.unravel_index(np.abs(dense).argmax(), dense.shape)
            values, far = [], 1e-2
            for sign in (1, -1):
                moved = weight.numpy()
                moved[place] += sign * far
                before = weight.numpy()
                weight.assign(moved)
                values.append(float(value()))
                weight.assign(before)
            slope = (values[0] - values[1]) / (2 * far)
            assert slope == pytest.approx(float(dense[place]), rel=0.05, abs=1e-3), weight.path


def test_two_vocabularies_cannot_share_a_table():
    with pytest.raises(ConfigError, match="--no-share-embeddings"):
        translation_model(SMALL, SIZE, SIZE + 1, False)
    model = translation_model(SMALL.updated(share_embeddings=False), 30, SIZE, False)
    assert model.output["logits"].shape[-1] == SIZE
    assert START < SIZE
