"""The tagger's layers and its variants: by hand, saved, and as ONNX."""

import keras
import numpy as np
import pytest
from keras import ops

from models.intent import intent_model
from models.intent_config import IntentConfig
from models.tagging import table_rows, tag_loss, tagger, word_rates
from models.tagging_config import TaggingConfig
from models.tagging_layers import (
    CharacterConvolution,
    FormEmbedding,
    RareWordDropout,
    WindowScores,
    templates,
)
from serving.native_onnx import export_onnx
from serving.onnx_core import OnnxCore

TAGS = ("O", "B-P", "I-P", "E-P", "S-P")
SIZES = {"words": 40, "characters": 20, "forms": 30}
SMALL = {"units": 6, "embedding_dim": 5, "character_dim": 3, "character_units": 4, "form_dim": 2}
VARIANTS = {
    "default": ({}, 8, 10),
    "one cell of each direction": ({"cell": "gru", "bidirectional": False, "layers": 2}, 8, 10),
    "recurrent characters": ({"characters": "rnn"}, 8, 10),
    "words alone": ({"characters": "none", "form_dim": 0, "wide": False}, 8, 10),
    "softmax": ({"head": "softmax"}, 8, 10),
    "softmax alone": ({"head": "softmax", "wide": False}, 8, 10),
    "single characters": ({}, 1, 0),
    "single characters without pairs": ({"pairs": False}, 1, 0),
}


def a_tagger(changes, forms, slots):
    keras.utils.set_random_seed(0)
    config = TaggingConfig(**SMALL).updated(**changes)
    counts = np.arange(SIZES["words"])
    model = tagger(config, SIZES, forms, slots, TAGS, "bioes", counts)
    rng = np.random.default_rng(0)
    for layer in model.layers:  # which begin with zeros
        if layer.name in ("crf", "window"):
            for weight in layer.weights:
                weight.assign(rng.normal(size=weight.shape))
    return model


def a_batch(forms, slots, lengths=(7, 4, 1)):
    rng = np.random.default_rng(1)
    time = max(lengths)
    words = rng.integers(1, SIZES["words"], (len(lengths), time)).astype(np.int32)
    shapes = rng.integers(0, SIZES["forms"], (len(lengths), time, forms)).astype(np.int32)
    letters = rng.integers(0, SIZES["characters"], (len(lengths), time, slots)).astype(np.int32)
    letters[..., slots // 2 :] = 0
    inside = np.arange(time) < np.array(lengths)[:, None]
    batch = {"words": words * inside, "forms": shapes * inside[..., None]}
    if slots:
        batch["characters"] = letters * inside[..., None]
    return batch, inside


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_saved_and_exported_and_does_not_see_padding(variant, tmp_path):
    changes, forms, slots = VARIANTS[variant]
    model = a_tagger(changes, forms, slots)
    batch, inside = a_batch(forms, slots)
    want = model.predict_on_batch(batch)["tags"]
    alone = {name: array[1:2, :4] for name, array in batch.items()}
    np.testing.assert_allclose(model.predict_on_batch(alone)["tags"][0], want[1, :4], atol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    assert np.array_equal(again.predict_on_batch(batch)["tags"], want)
    export_onnx(model, tmp_path / "m.onnx")
    got = OnnxCore(tmp_path / "m.onnx")(batch)["tags"]
    np.testing.assert_allclose(got[inside], want[inside], atol=2e-5)


@pytest.mark.parametrize("head", ["crf", "softmax"])
def test_the_loss_counts_tokens_and_leaves_padding_and_unknown_tags_out(head):
    model = a_tagger({"head": head}, 8, 10)
    loss = tag_loss(model)
    scores = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    tags = np.array([[0, 4, 0], [4, -1, -1]])
    found = ops.convert_to_numpy(loss(tags, scores))
    assert found.shape == (2,)
    if head == "softmax":
        shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        first = -np.log(shares[0, [0, 1, 2], [0, 4, 0]]).sum()
        second = -np.log(shares[1, 0, 4])
    else:
        crf = model.get_layer("crf")
        first, second = ops.convert_to_numpy(crf.loss(tags, scores))
    np.testing.assert_allclose(found, np.array([first, second]) * 2 / 4, rtol=1e-5)
    longer = np.concatenate([scores, np.ones((2, 4, 5), np.float32)], 1)
    padded = np.concatenate([tags, np.full((2, 4), -1)], 1)
    np.testing.assert_allclose(ops.convert_to_numpy(loss(padded, longer)), found, rtol=1e-5)


def test_rare_words_are_hidden_more_often():
    counts = np.array([0, 0, 1, 9, 1000])
    rates = word_rates(counts, 1.0)
    np.testing.assert_allclose(rates, [0, 0, 1 / 2, 1 / 10, 1 / 1001], rtol=1e-6)
    layer = RareWordDropout(rates, seed=1)
    words = np.tile(np.array([0, 1, 2, 3, 4], np.int32), (4000, 1))
    hidden = ops.convert_to_numpy(layer(words, training=True))
    assert np.array_equal(ops.convert_to_numpy(layer(words)), words)
    assert np.array_equal(hidden[:, 0], words[:, 0])
    assert (hidden[:, 2] == 1).mean() == pytest.approx(0.5, abs=0.04)
    assert (hidden[:, 3] == 1).mean() == pytest.approx(0.1, abs=0.03)
    assert (hidden[:, 4] == 1).mean() < 0.01


def test_window_scores_add_up_what_stands_around():
    """Two templates: the word itself, and the word before with it."""
    parts = ((("words", 0, 0),), (("words", 0, -1), ("words", 0, 0)))
    layer = WindowScores(parts, 4096, 2)
    words = np.array([[5, 6, 5, 6]], np.int32)
    inputs = {"words": words, "forms": np.zeros((1, 4, 1), np.int32)}
    assert not np.any(layer(inputs))
    rows = ops.convert_to_numpy(layer.features(inputs))[0]
    assert rows.shape == (4, 2)
    assert rows[0, 0] == rows[2, 0]
    assert rows[1, 0] == rows[3, 0] != rows[0, 0]
    assert rows[1, 1] == rows[3, 1]  # 5 then 6, twice
    assert rows[0, 1] != rows[2, 1]  # nothing before the first
    table = np.zeros((4096, 2), np.float32)
    table[rows[0, 0]], table[rows[1, 1]] = (1, 2), (10, 20)
    layer.weight.assign(table)
    scores = ops.convert_to_numpy(layer(inputs))[0]
    assert scores.tolist() == [[1, 2], [10, 20], [1, 2], [10, 20]]


def test_templates_reach_no_farther_than_two_tokens_and_know_all_forms():
    for forms in (1, 8):
        found = templates(forms)
        assert len(set(found)) == len(found)
        assert max(abs(offset) for one in found for _, _, offset in one) == 2
        columns = {column for one in found for name, column, _ in one if name == "forms"}
        assert columns == set(range(forms))


def test_character_convolution_by_hand():
    """One filter that finds the pair (1, 2): its largest value is the word's."""
    layer = CharacterConvolution(3, 2, 1, width=3)
    letters = np.array([[[1, 2, 0, 0], [2, 1, 2, 0], [2, 2, 0, 0]]], np.int32)
    layer.build(letters.shape)
    layer.embedding.embeddings.assign([[9, 9], [1, 0], [0, 1]])  # padding counts for nothing
    kernel = np.zeros((3, 2, 1), np.float32)
    kernel[1, 0], kernel[2, 1] = 1, 1
    layer.convolution.kernel.assign(kernel)
    layer.convolution.bias.assign([-1.5])
    found = ops.convert_to_numpy(layer(letters))
    np.testing.assert_allclose(found[0, :, 0], [0.5, 0.5, 0.0])


def test_form_embedding_lays_forms_side_by_side():
    layer = FormEmbedding(3, 2)
    forms = np.array([[[0, 2], [1, 1]]], np.int32)
    layer.build(forms.shape)
    layer.embeddings.assign([[0, 1], [2, 3], [4, 5]])
    assert ops.convert_to_numpy(layer(forms))[0].tolist() == [[0, 1, 4, 5], [2, 3, 2, 3]]


def test_rows_of_the_linear_model_stay_within_bounds():
    assert table_rows(10, 5) == 4096
    assert table_rows(200_000, 17) == 2**18
    assert table_rows(50_000, 170) <= 6_000_000 / 170
    assert table_rows(10**9, 2) == 2**18


@pytest.mark.parametrize("head", ["crf", "softmax"])
def test_a_single_tag_and_a_single_intent_are_learnt_at_once(head):
    config = IntentConfig(**SMALL).updated(head=head)
    counts = np.arange(SIZES["words"])
    model = intent_model(config, SIZES, 8, 10, ("O",), "", counts, 1)
    inputs, inside = a_batch(8, 10)
    targets = {"tags": np.where(inside, 0, -1).astype(np.int32), "intents": np.zeros(3, np.int32)}
    # Keras takes the last axis of such scores away before it calls a loss.
    assert model.evaluate(inputs, targets, verbose=0)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["default", "recurrent characters", "single characters"])
def test_a_tagger_learns_in_mixed_precision_and_answers_in_float32(variant):
    changes, forms, slots = VARIANTS[variant]
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = a_tagger(changes, forms, slots)
        inputs, inside = a_batch(forms, slots)
        targets = {"tags": np.where(inside, 0, -1).astype(np.int32)}
        losses = [float(model.train_on_batch(inputs, targets)) for _ in range(2)]
        found = model.predict_on_batch(inputs)["tags"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(losses).all()
    assert losses[0] > 0
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
