"""The text classifier: its paths, their losses, and the weight between them."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import tasks
from models import text_classification
from models.text_classification import (
    SHARES,
    TokenDropout,
    WeightedSum,
    choose_share,
    compile_classifier,
    text_classifier,
)
from models.text_classification_config import TextConfig
from models.wide_tables import count_wide_tables
from pipelines.text_examples import TextExample
from serving.native_onnx import export_onnx
from serving.onnx_core import OnnxCore
from tests.serving.native_onnx.parity import assert_same

VOCABULARY = ["[PAD]", "[UNK]", "[START]", "[END]", "good", "bad", "film", "not"]
TOKENS = np.array([[2, 4, 6, 3, 0], [2, 7, 4, 6, 3], [2, 5, 6, 3, 0], [2, 7, 5, 6, 3]], "int32")
LABELS = np.array([1, 0, 0, 1])


def model_of(labels=LABELS, **changes):
    keras.utils.set_random_seed(0)
    config = TextConfig(units=4, embedding_dim=5, **changes)
    rows = [row[row > 0] for row in TOKENS]
    tables = count_wide_tables(rows, labels, VOCABULARY, 2)
    return text_classifier(config, len(VOCABULARY), 2, tables)


def test_token_dropout_spares_special_tokens_and_does_nothing_when_answering():
    layer = TokenDropout(0.9, seed=1)
    tokens = np.tile(np.array([[2, 5, 6, 7, 4, 3, 0, 0]], "int32"), (50, 1))
    np.testing.assert_array_equal(np.asarray(layer(tokens)), tokens)
    dropped = np.asarray(layer(tokens, training=True))
    np.testing.assert_array_equal(dropped[:, [0, 5, 6, 7]], tokens[:, [0, 5, 6, 7]])
    share = (dropped[:, 1:5] == 1).mean()
    assert 0.8 < share < 1


def test_only_the_paths_are_punished_and_only_the_answer_is_counted():
    model = model_of()
    compile_classifier(model, TextConfig())
    targets = dict.fromkeys(model.output, LABELS)
    found = model.evaluate({"tokens": TOKENS}, targets, return_dict=True, verbose=0)
    logits = model.predict_on_batch({"tokens": TOKENS})

    def cross_entropy(z):
        chances = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        return -np.log(chances[np.arange(4), LABELS]).mean()

    paths = cross_entropy(logits["deep"]) + cross_entropy(logits["wide"])
    assert found["loss"] == pytest.approx(paths + sum(map(float, model.losses)), rel=1e-5)
    right = (logits["answer"].argmax(1) == LABELS).mean()
    assert found["answer_accuracy"] == pytest.approx(right)


def test_first_loss_of_the_recurrent_path_is_chance():
    outputs = model_of().predict_on_batch({"tokens": TOKENS})
    assert {name: x.shape for name, x in outputs.items()} == dict.fromkeys(
        ("deep", "wide", "answer"), (4, 2)
    )
    loss = keras.losses.sparse_categorical_crossentropy(LABELS, outputs["deep"], from_logits=True)
    assert float(np.mean(loss)) == pytest.approx(np.log(2), rel=0.2)


@pytest.mark.parametrize("wide", ["none", "words", "characters"])
def test_a_gradient_reaches_every_trainable_weight(wide):
    # By LABELS no n-gram speaks for a class: its evidence, and the gradient of it, would be zero.
    model = model_of(np.array([1, 1, 0, 0]), wide=wide, layers=2)
    with tf.GradientTape() as tape:
        outputs = model({"tokens": TOKENS})
        loss = sum(
            keras.losses.sparse_categorical_crossentropy(LABELS, outputs[name], from_logits=True)
            for name in outputs if name != "answer"
        )  # fmt: skip
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
    answer = WeightedSum(name="heads")(paths)
    return keras.Model({"tokens": tokens}, {"deep": paths[0], "wide": paths[1], "answer": answer})


@pytest.mark.parametrize(("who", "expected"), [("deep", SHARES[-1]), ("wide", SHARES[0])])
def test_the_path_that_knows_gets_the_weight(who, expected):
    right, wrong = [[2.0, 0], [0, 2.0]], [[0.0, 2], [1.5, 0]]
    model = heads_model(*((right, wrong) if who == "deep" else (wrong, right)))
    scores = choose_share(model, [({"tokens": np.array([[0], [1]])}, {"answer": np.array([0, 1])})])
    assert float(model.get_layer("heads").share) == pytest.approx(expected)
    assert scores == {"accuracy": 1.0, "macro_f1": 1.0}
    answer = model.predict_on_batch({"tokens": np.array([[0], [1]])})["answer"]
    np.testing.assert_array_equal(answer.argmax(1), [0, 1])


def test_one_path_alone_has_all_of_the_answer():
    model = model_of(wide="none")
    outputs = model.predict_on_batch({"tokens": TOKENS})
    assert set(outputs) == {"deep", "answer"}
    np.testing.assert_array_equal(outputs["deep"], outputs["answer"])
    scores = choose_share(model, [({"tokens": TOKENS}, {"answer": LABELS})])
    assert scores["accuracy"] == (outputs["deep"].argmax(1) == LABELS).mean()


def test_the_metric_decides_which_path_answers():
    # The linear path is sure of the common label, which is right nine times; the recurrent one
    # knows the rare label, and is unsure of the common one.
    labels = np.array([0] * 9 + [1])
    model = heads_model([[0.3, 0.0], [0.0, 4.0]], [[3.0, 0.0], [3.0, 0.0]])
    batches = [({"tokens": labels[:, None]}, {"answer": labels})]
    scores = choose_share(model, batches, "macro_f1")
    assert scores == {"accuracy": 1.0, "macro_f1": 1.0}
    worst = heads_model([[0.0, 1.0], [0.0, 1.0]], [[0.3, 0.0], [0.3, 0.0]])
    # All answers are one label, whatever the share: 9 of 10 are right, and F1 is (18 / 19 + 0) / 2.
    scores = choose_share(worst, batches, "macro_f1")
    assert scores == pytest.approx({"accuracy": 0.9, "macro_f1": 9 / 19})
    assert float(worst.get_layer("heads").share) < 0.3


def test_of_many_classes_some_examples_are_weighed_and_all_are_judged(monkeypatch):
    monkeypatch.setattr(text_classification, "WEIGHED_CLASSES", 1)
    # Every second example counts: those at even places, of which the recurrent path knows all.
    model = heads_model([[2.0, 0], [0, 2.0], [9.0, 0]], [[0.0, 1], [1.0, 0], [0, 1.0]])
    tokens, labels = np.array([0, 2, 1, 2, 0, 2]), np.array([0, 1, 1, 1, 0, 1])
    batches = [({"tokens": tokens[:, None]}, {"answer": labels})]
    scores = choose_share(model, batches)
    assert float(model.get_layer("heads").share) == pytest.approx(SHARES[-1])
    # The three at odd places are answered wrongly, and are counted all the same.
    assert scores == pytest.approx({"accuracy": 3 / 6, "macro_f1": (2 * 2 / 7 + 2 * 1 / 5) / 2})


@pytest.mark.parametrize("wide", ["none", "characters"])
def test_pairs_of_letters_are_embedded_where_words_have_no_spaces(wide, tmp_path):
    vocabulary = [*VOCABULARY[:4], *"很好不坏"]
    rows = [row[row > 0] for row in TOKENS]
    tables = count_wide_tables(rows, LABELS, vocabulary, 2, letters=lambda word: len(word) == 1)
    config = TextConfig(units=4, embedding_dim=5, wide=wide)
    model = text_classifier(config, len(vocabulary), 2, tables)
    assert model.get_layer("pair_embedding").input_dim == tables.pairs + 1
    assert_same(model, {"tokens": TOKENS})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, logits in model.predict_on_batch({"tokens": TOKENS}).items():
        np.testing.assert_array_equal(loaded.predict_on_batch({"tokens": TOKENS})[name], logits)
    # The order of letters within a bag of the same ones is seen before the recurrent layer.
    model.get_layer("embedding").embeddings.assign(np.zeros((len(vocabulary), 5)))
    one, other = TOKENS[[1, 1]].copy()
    other[1:4] = other[[3, 1, 2]]
    deep = model.predict_on_batch({"tokens": np.stack([one, other])})["deep"]
    assert not np.allclose(deep[0], deep[1])
    without = text_classifier(config.updated(pairs=False), len(vocabulary), 2, tables)
    assert "pair_embedding" not in [layer.name for layer in without.layers]


def test_letters_and_pairs_do_not_see_the_padding_of_their_batch(tmp_path):
    """In scripts without spaces pairs are embedded too, and have no mask of their own."""
    letters = [chr(0x4E00 + i) for i in range(30)]
    draw = random.Random(0)
    examples = [
        TextExample("".join(draw.choices(letters, k=draw.randint(3, 20))), "ab"[i % 2])
        for i in range(60)
    ]
    task = tasks.get("sentiment")
    settings = task.with_settings(task.settings, {"units": 4, "embedding_dim": 4})
    preprocessor = task.adapt(settings, examples)
    encoded = preprocessor.encoded(examples)
    model = task.build(settings, preprocessor, task.count(settings, preprocessor, encoded))
    assert "letters_and_pairs" in {layer.name for layer in model.layers}
    tokens = np.array([preprocessor.encoder.encode(examples[0].text)], np.int32)
    alone = model.predict_on_batch({"tokens": tokens})
    padded = model.predict_on_batch({"tokens": np.pad(tokens, ((0, 0), (0, 25)))})
    for name, logits in alone.items():
        np.testing.assert_allclose(padded[name], logits, atol=1e-6, err_msg=name)
    export_onnx(model, tmp_path / "m.onnx", right_padded={"tokens": 0})
    core = OnnxCore(tmp_path / "m.onnx")
    found = core({"tokens": np.pad(tokens, ((0, 0), (0, 9)))})
    np.testing.assert_allclose(found["answer"], alone["answer"], atol=1e-5)
