"""Programs of translation over a small random model: NumPy and TensorFlow alike."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.errors import ConfigError, DataError
from models.translation import translation_cores, translation_model
from models.translation_config import TranslationConfig
from pipelines.pairs import TextPair
from pipelines.preprocessor import load_preprocessor
from pipelines.program import KerasCore, LoadedProgram
from pipelines.text import END, PAD, START
from pipelines.translation import (
    TranslationDecoding,
    TranslationPreprocessing,
    TranslationPreprocessor,
)
from serving.savedmodel import ServingModule

PAIRS = [
    TextPair(f"{who} {does} in the {where}.", f"{wer} {tut} im {wo}.")
    for who, wer in (("A man", "Ein Mann"), ("Two dogs", "Zwei Hunde"), ("She", "Sie"))
    for does, tut in (("runs", "läuft"), ("sleeps", "schläft"))
    for where, wo in (("park", "Park"), ("snow", "Schnee"), ("garden", "Garten"))
]
TEXTS = ["A man runs in the park.", "", "snow", "Zebra \U0001f600", "Two dogs sleeps in the snow."]


def adapted(**settings):
    wanted = TranslationPreprocessing(**{"vocabulary_size": 90, "max_length": 50, **settings})
    return TranslationPreprocessor.adapt(wanted, TranslationDecoding(max_tokens=12), PAIRS)


def cores_of(preprocessor, spread=1.0):
    keras.utils.set_random_seed(3)
    sizes = [len(side.vocabulary) for side in (preprocessor.source, preprocessor.target)]
    config = TranslationConfig(
        units=6, embedding_dim=5, share_embeddings=preprocessor.is_shared, dropout=0.0
    )
    model = translation_model(config, *sizes, preprocessor.is_shared)
    draw = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(draw.normal(0, spread, weight.shape))
    return translation_cores(model)


@pytest.fixture(scope="module")
def both():
    """(program in NumPy, its signature in TensorFlow), by the name of the program."""
    preprocessor = adapted()
    cores = cores_of(preprocessor)
    module = ServingModule(cores, preprocessor)
    loadable = {name: KerasCore(core) for name, core in cores.items()}
    return {
        name: (LoadedProgram(program, loadable), module.functions[name])
        for name, program in preprocessor.programs.items()
    }


def answered(program, function, **request):
    request = {name: np.asarray(value) for name, value in request.items()}
    kinds = {"U": object, "i": np.int32, "f": np.float32, "b": bool}
    request = {name: value.astype(kinds[value.dtype.kind]) for name, value in request.items()}
    got = program.run({n: encoded(v) for n, v in request.items()})
    tensors = {name: tf.constant(value) for name, value in request.items()}
    return got, {name: tensor.numpy() for name, tensor in function(**tensors).items()}


def encoded(values):
    if values.dtype != object:
        return values
    return np.array([one.encode() for one in values], object)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beam": [1]},
        {"beam": [3], "n_best": [3]},
        {"n_best": [2], "coverage_penalty": [0.5]},
        {"length_penalty": [0.0, 1.0, 2.0, 0.3, 0.6]},
        {"max_tokens": [1, 2, 3, 4, 5]},
        {"max_tokens": [0]},
        {"align": [False]},
    ],
)
def test_both_implementations_search_alike(both, settings):
    got, want = answered(*both["serving_default"], text=TEXTS, **settings)
    assert sorted(got) == sorted(want)
    for name, array in got.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, want[name], atol=2e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(array, want[name], err_msg=name)


@pytest.mark.parametrize("settings", [{"beam": [3], "n_best": [2]}, {"beam": [1]}])
def test_a_beam_that_is_too_wide_for_all_texts_searches_some_at_a_time(both, monkeypatch, settings):
    program, function = both["serving_default"]
    together, _ = answered(program, function, text=TEXTS, **settings)
    monkeypatch.setattr("pipelines.translation.MOST_SCORES", 150)
    apart, _ = answered(program, function, text=TEXTS, **settings)
    for name, array in together.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(apart[name], array, atol=2e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(apart[name], array, err_msg=name)


def test_a_graph_refuses_a_beam_that_is_too_wide_for_all_texts(monkeypatch):
    preprocessor = adapted()
    monkeypatch.setattr(
        "pipelines.translation_graph.MOST_SCORES", 12 * len(preprocessor.target.vocabulary)
    )
    graph = preprocessor.graph()
    assert graph.bounded(tf.constant(4), tf.constant(3)) == 4
    assert graph.bounded(tf.constant(12), tf.constant(0)) == 12
    with pytest.raises(ValueError, match="fewer texts in a request, or a smaller beam"):
        graph.bounded(tf.constant(5), tf.constant(3))


@pytest.mark.parametrize("text", [[""], ["", " "]])
def test_both_implementations_answer_nothing_but_empty_texts_alike(both, text):
    for limit in (0, 12):
        got, want = answered(*both["serving_default"], text=text, max_tokens=[limit])
        assert got["source_length"].tolist() == [2] * len(text)
        for name in ("hypotheses", "target_tokens", "target_length"):
            np.testing.assert_array_equal(got[name], want[name])
        assert got["attention"].shape == want["attention"].shape
        np.testing.assert_allclose(got["attention"], want["attention"], atol=2e-5)


def test_both_implementations_score_alike(both):
    targets = ["Ein Mann läuft im Park.", "x", "", "\U0001f600", "Hunde"]
    got, want = answered(*both["score"], text=TEXTS, target=targets)
    for name, array in got.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, want[name], atol=2e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(array, want[name], err_msg=name)
    np.testing.assert_allclose(got["score"], got["log_probabilities"].sum(1), rtol=1e-5)


def test_what_is_found_scores_as_the_search_says(both):
    program, _ = both["serving_default"]
    request = {
        "text": np.array([text.encode() for text in TEXTS], object),
        "length_penalty": np.zeros(1, np.float32),
        "max_tokens": np.array([100], np.int32),
        "beam": np.array([8], np.int32),
    }
    found = program.run(request)
    scored = both["score"][0].run({"text": request["text"], "target": found["text"]})
    limits = program.program.times * found["source_length"] + 10
    compared = 0
    for i, (mine, again) in enumerate(
        zip(found["target_tokens"], scored["target_tokens"], strict=True)
    ):
        mine, again = list(filter(None, mine)), list(filter(None, again))
        if [*mine, b"[END]"] == again:  # text may be cut into other pieces than it was written in
            # What reached its greatest length was not ended.
            count = len(mine) + (len(mine) < limits[i])
            want = scored["log_probabilities"][i, :count].sum()
            assert want == pytest.approx(found["scores"][i, 0], abs=1e-3)
            compared += 1
    assert compared


def test_attention_is_a_share_for_each_token_and_can_be_left_out(both):
    program, _ = both["serving_default"]
    text = np.array([one.encode() for one in TEXTS], object)
    found = program.run({"text": text})
    lengths = found["target_length"], found["source_length"]
    assert found["attention"].shape == (5, max(lengths[0]), max(lengths[1]))
    for weights, target, source in zip(found["attention"], *lengths, strict=True):
        np.testing.assert_allclose(weights[:target].sum(1), 1, atol=1e-5)
        assert not weights[target:].any()
        assert not weights[:, source:].any()
    without = program.run({"text": text, "align": np.array([False])})
    assert without["attention"].shape == (5, 0, 0)
    np.testing.assert_array_equal(without["text"], found["text"])
    answers = adapted().answers(without, TEXTS)
    assert "attention" not in answers[0]
    with pytest.raises(ValueError, match="align"):
        program.run({"text": text, "align": np.array([True, False, True, True, True])})


def test_no_translation_holds_the_unknown_token(both):
    found = both["serving_default"][0].run({"text": np.array([b"Zebra"] * 3, object)})
    assert not {b"[UNK]", b"[PAD]", b"[START]", b"[END]"} & set(found["target_tokens"].ravel())


def test_a_text_without_words_has_an_answer_of_some_length(both):
    found = both["serving_default"][0].run({"text": np.array([b""], object)})
    assert found["source_length"].tolist() == [2]  # the start and the end
    assert found["target_length"][0] <= 12


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({}, "SubwordEncoder"),
        ({"level": "word"}, "TextEncoder"),
        ({"level": "char"}, "TextEncoder"),
    ],
)
@pytest.mark.parametrize("shared", [True, False])
def test_saved_and_loaded(tmp_path, settings, level, shared):
    size = {} if settings or shared else {"vocabulary_size": 60}
    preprocessor = adapted(**settings, **size, shared_vocabulary=shared)
    assert type(preprocessor.source).__name__ == level
    preprocessor.save(tmp_path)
    again = load_preprocessor(tmp_path)
    assert again.is_shared == shared
    for side in ("source", "target"):
        mine, theirs = getattr(preprocessor, side), getattr(again, side)
        assert mine.vocabulary == theirs.vocabulary
        np.testing.assert_array_equal(mine(TEXTS), theirs(TEXTS))
    assert again.settings == preprocessor.settings


def test_characters_where_targets_are_single_words():
    pairs = [TextPair(f"the {day} of May", f"05-{day}") for day in range(10, 30)]
    found = TranslationPreprocessor.adapt(TranslationPreprocessing(), TranslationDecoding(), pairs)
    assert found.target.level == "char"


def test_training_pairs_are_shifted_by_one():
    preprocessor = adapted()
    encoded = preprocessor.encoded(PAIRS[:3])
    for i, pair in enumerate(PAIRS[:3]):
        whole = preprocessor.target.encode(pair.target)
        tokens, following = encoded.inputs["tokens"].rows()[i], encoded.targets["logits"].rows()[i]
        assert tokens[0] == START
        assert following[-1] == END
        np.testing.assert_array_equal(tokens, whole[:-1])
        np.testing.assert_array_equal(following, whole[1:])
        assert PAD not in following


def test_wrong_inputs_are_one_sentence():
    with pytest.raises(DataError, match="input 1"):
        adapted().to_request(["a", 5])
    with pytest.raises(ConfigError, match="at most beam"):
        TranslationDecoding(beam=2, n_best=3)


def test_how_long_translations_may_be_follows_from_training():
    pairs = [TextPair("5", "five"), TextPair("999", "nine hundred and ninety-nine"), PAIRS[0]]
    settings = TranslationPreprocessing(level="char")
    found = TranslationPreprocessor.adapt(settings, TranslationDecoding(), pairs)
    assert found.times == 4  # (2 + 28 - 10) / (2 + 3)
    assert adapted().times == 1
