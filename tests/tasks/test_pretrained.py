"""Encoders of language models in classifiers, taggers and translators: what is taken, and what is
refused."""

import subprocess
import sys

import numpy as np
import pytest

import tasks
from common.errors import ConfigError, DataError
from tasks.kinds.contract import DataOptions
from tasks.kinds.pretrained import RECURRENT
from tasks.stages.run_directory import Run
from tasks.stages.training import prepare, train

pytestmark = pytest.mark.slow  # each begins with a language model that is trained first

DATA = DataOptions("synthetic:120")
SIZES = {"units": 12, "embedding_dim": 10, "layers": 1, "epochs": 1, "cell": "gru"}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Language models on the words of the synthetic reviews, for both directions, and of subwords
    and characters; "dates" on the sources of the synthetic translations."""
    base = tmp_path_factory.mktemp("encoders")
    reviews = [{"text": one.text} for one in tasks.get("sentiment").load(DATA).train]
    dates = [{"text": one.source} for one in tasks.get("translation").load(DATA).train]
    task = tasks.get("language")
    found = {}
    for name, changes in {
        "forward": {"level": "token"},
        "backward": {"level": "token", "backward": True},
        "char": {"level": "char", "backward": True},
        "dates": {"level": "char", "weight_dropout": 0.2},
        "pieces": {"level": "subword", "vocabulary_size": 300, "cell": "lstm"},
        "wide": {"level": "token", "backward": True, "units": 16},
    }.items():
        settings = task.with_settings(task.settings, {**SIZES, **changes})
        rows = dates if name == "dates" else reviews
        train(task, DataOptions(rows), settings, Run(base / name))
        found[name] = str(base / name)
    return found


def built(kind, data=DATA, **changes):
    task = tasks.get(kind)
    settings = task.with_settings(task.settings, changes)
    task.check(settings, data)
    splits = task.load(data)
    ready = prepare(task, settings, splits)
    return ready, task.build(settings, ready.preprocessor, ready.counts)


def recurrent(path):
    return Run(path).model().get_layer(RECURRENT).cell.get_weights()


def rows_by_name(names, table):
    return dict(zip(names[4:], table[4:], strict=True))


def check_vectors_of(path, vocabulary, table):
    """Rows of the names that both have are equal, the others are not all the same; which those
    are."""
    language = Run(path)
    units = language.preprocessor().units
    theirs = language.model().get_layer("embedding").embeddings.numpy()
    wanted, got = rows_by_name(units.names, theirs), rows_by_name(vocabulary, table)
    shared, others = set(wanted) & set(got), set(got) - set(wanted)
    assert len(shared) > 20
    for name in shared:
        np.testing.assert_array_equal(got[name], wanted[name])
    assert len(others) == len({got[name].tobytes() for name in others})
    return others


def states_of(path, text):
    """What the recurrent layer of a language model gives for each unit of a text that it reads."""
    model, numbers = Run(path).model(), Run(path).preprocessor().numbers(text)
    return model.get_layer(RECURRENT)(model.get_layer("embedding")(numbers[None]))[0].numpy()[0]


def test_a_classifier_begins_with_the_states_of_both_language_models(encoders):
    ready, model = built(
        "sentiment", encoder=encoders["forward"], encoder_backward=encoders["backward"]
    )
    text = " ".join(ready.preprocessor.encoder.vocabulary[10:15])
    tokens = np.array([ready.preprocessor.encoder.encode(text)])
    layer = model.get_layer("gru_0")
    found = layer(model.get_layer("embedding")(tokens)).numpy()[0]
    forward, backward = np.split(found, 2, axis=-1)
    for mine, path in ((forward, "forward"), (backward[::-1], "backward")):
        np.testing.assert_allclose(mine, states_of(encoders[path], text), atol=1e-6)
    for each in (layer.forward_layer, layer.backward_layer):
        assert all(variable.value.rate == 0.3 for variable in each.trainable_variables)
    assert "of the" in ready.counts.notes[0]
    assert ready.vectors_fingerprint


def test_what_a_tagger_reads_besides_words_begins_at_random(encoders):
    ready, model = built("tagging", encoder=encoders["forward"])
    # Words that only the language model has are known too.
    plain, _ = built("tagging")
    mine, others = ready.preprocessor.features.words, plain.preprocessor.features.words
    assert mine[: len(others)] == others
    assert len(mine) > len(others)
    layer = model.get_layer("gru_0")
    kernel, taken = layer.forward_layer.get_weights()[0], recurrent(encoders["forward"])[0]
    np.testing.assert_array_equal(kernel[: len(taken)], taken)
    assert len(kernel) > len(taken)
    assert kernel[len(taken) :].std() > 0


def test_a_translator_begins_with_characters_and_both_directions(encoders):
    ready, model = built(
        "translation", encoder=encoders["dates"], encoder_backward=encoders["char"],
        share_embeddings=False, shared_vocabulary=False,
    )  # fmt: skip
    table = model.get_layer("source_table").embeddings.numpy()
    forward, backward = np.split(table, 2, axis=1)
    assert forward.shape[1] == SIZES["embedding_dim"]
    others = check_vectors_of(encoders["dates"], ready.preprocessor.source.vocabulary, forward)
    assert len(others) < 5
    layer, nothing = model.get_layer("encoder_gru_0"), np.zeros_like(recurrent(encoders["char"])[0])
    for each, path in ((layer.forward_layer, "dates"), (layer.backward_layer, "char")):
        (kernel, *got), (taken, *want) = each.get_weights(), recurrent(encoders[path])
        halves = [taken, nothing] if path == "dates" else [nothing, taken]
        np.testing.assert_array_equal(kernel, np.concatenate(halves))
        for mine, theirs in zip(got, want, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(forward, backward)
    assert "characters of training" in ready.counts.notes[0]
    assert ready.vectors_fingerprint


def test_of_a_shared_table_what_both_spell_alike_is_taken(encoders):
    reviews = [one.text for one in tasks.get("sentiment").load(DATA).train]
    rows = [{"source": text, "target": f"{text[:30]} ä {i}"} for i, text in enumerate(reviews)]
    ready, model = built(
        "translation", DataOptions(rows), level="subword", vocabulary_size=320,
        encoder=encoders["pieces"],
    )  # fmt: skip
    layer = model.get_layer("target_table")
    pieces, table = ready.preprocessor.source.vocabulary, layer.embeddings.numpy()
    assert "\u00e4" in "".join(check_vectors_of(encoders["pieces"], pieces, table))
    got = model.get_layer("encoder_lstm_0").forward_layer.get_weights()
    for mine, want in zip(got, recurrent(encoders["pieces"]), strict=True):
        np.testing.assert_array_equal(mine, want)
    rates, found = layer.embeddings.value.rate[:, 0], ready.counts.vectors[1]
    assert set(rates[found]) == {np.float32(0.3)}
    assert set(rates[~found]) == {np.float32(1)}


def test_a_translator_trains_what_it_did_not_take(encoders, tmp_path):
    task = tasks.get("translation")
    changes = {"encoder": encoders["char"], "encoder_rate": 0.0, "epochs": 1, "average": 0.0}
    with pytest.raises(DataError, match="reads to the beginning"):
        built("translation", **changes)
    changes["encoder"] = encoders["dates"]
    settings = task.with_settings(task.settings, changes)
    train(task, DATA, settings, Run(tmp_path / "run"))
    model, vocabulary = Run(tmp_path / "run").model(), Run(tmp_path / "run").preprocessor().source
    layer = model.get_layer("encoder_gru_0")
    for got, want in zip(
        layer.forward_layer.get_weights(), recurrent(encoders["dates"]), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=1e-6)
    ready, before = built("translation", **changes)
    table, found = ready.counts.vectors
    got = model.get_layer("target_table").embeddings.numpy()
    assert ready.preprocessor.source.vocabulary == vocabulary.vocabulary
    np.testing.assert_allclose(got[found], table[found], atol=1e-6)
    others = np.flatnonzero(~found[1:]) + 1
    begun = before.get_layer("target_table").embeddings.numpy()
    assert len(others)
    assert not np.allclose(got[others], begun[others])
    assert not np.allclose(model.get_layer("target_table").bias.numpy(), 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "forward"}, "no language model of characters.*--level char"),
        ({"encoder": "forward", "level": "subword"}, "no language model of subwords"),
        ({"encoder": "dates", "level": "word"}, "no language model of words"),
        ({"encoder": "dates", "encoder_backward": "dates"}, "reads to the end"),
        ({"encoder": "char"}, "reads to the beginning"),
        ({"encoder": "nowhere"}, "--encoder nowhere holds no finished run"),
        ({"encoder_backward": "char"}, "other half"),
    ],
)
def test_what_does_not_fit_a_translator_is_refused_in_a_sentence(encoders, changes, message):
    changes = {name: encoders.get(value, value) for name, value in changes.items()}
    with pytest.raises((ConfigError, DataError), match=message):
        built("translation", **changes)


def test_a_language_model_of_another_script_is_refused(encoders):
    rows = [{"source": chr(0x4E00 + i) * 3, "target": "a"} for i in range(60)]
    with pytest.raises(DataError, match="has none of the characters"):
        built("translation", DataOptions(rows), encoder=encoders["dates"])


def test_a_rate_of_nought_leaves_what_was_taken_as_it_is(encoders, tmp_path):
    task = tasks.get("sentiment")
    changes = {"encoder": encoders["forward"], "encoder_rate": 0.0, "epochs": 1, "wide": "none"}
    settings = task.with_settings(task.settings, changes)
    train(task, DATA, settings, Run(tmp_path / "run"))
    layer = Run(tmp_path / "run").model().get_layer("gru_0")
    for got, want in zip(
        layer.forward_layer.get_weights(), recurrent(encoders["forward"]), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=1e-6)
    assert not np.allclose(layer.backward_layer.get_weights()[0], 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "nowhere"}, "holds no finished run"),
        ({"encoder_backward": "forward"}, "other half"),
        ({"encoder": "char"}, "no language model of words.*--level token"),
        ({"encoder": "backward"}, "reads to the beginning"),
        ({"encoder": "forward", "encoder_backward": "wide"}, "different kinds or sizes"),
        ({"encoder": "forward", "level": "byte"}, "vectors of words"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(encoders, changes, message):
    changes = {name: encoders.get(value, value) for name, value in changes.items()}
    with pytest.raises((ConfigError, DataError), match=message):
        built("sentiment", **changes)


def test_a_process_that_has_read_nothing_else_knows_all_layers(encoders):
    code = "import sys; from tasks.kinds.pretrained import _loaded; "
    code += "_loaded(sys.argv[1], False, ('char',))"
    subprocess.run([sys.executable, "-c", code, encoders["dates"]], check=True)
