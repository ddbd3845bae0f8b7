"""Encoders of language models in classifiers and taggers: what is taken, and what is refused."""

import numpy as np
import pytest

import tasks
from common.errors import ConfigError, DataError
from tasks.kinds.contract import DataOptions
from tasks.kinds.pretrained import RECURRENT
from tasks.stages.run_directory import Run
from tasks.stages.training import prepare, train

DATA = DataOptions("synthetic:120")
SIZES = {"units": 12, "embedding_dim": 10, "layers": 1, "epochs": 1, "cell": "gru"}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Two language models on the words of the synthetic reviews, for both directions, and one of
    characters."""
    base = tmp_path_factory.mktemp("encoders")
    reviews = tasks.get("sentiment").load(DATA)
    rows = [{"text": one.text} for one in reviews.train]
    task = tasks.get("language")
    found = {}
    for name, changes in {
        "forward": {"level": "token"},
        "backward": {"level": "token", "backward": True},
        "char": {"level": "char"},
        "wide": {"level": "token", "backward": True, "units": 16},
    }.items():
        settings = task.with_settings(task.settings, {**SIZES, **changes})
        train(task, DataOptions(rows), settings, Run(base / name))
        found[name] = str(base / name)
    return found


def built(kind, **changes):
    task = tasks.get(kind)
    settings = task.with_settings(task.settings, changes)
    task.check(settings, DATA)
    splits = task.load(DATA)
    ready = prepare(task, settings, splits)
    return ready, task.build(settings, ready.preprocessor, ready.counts)


def recurrent(path):
    return Run(path).model().get_layer(RECURRENT).get_weights()


def test_a_classifier_begins_with_words_and_both_directions(encoders):
    ready, model = built(
        "sentiment", encoder=encoders["forward"], encoder_backward=encoders["backward"]
    )
    language = Run(encoders["forward"])
    names = language.preprocessor().units.names
    table = language.model().get_layer("embedding").embeddings.numpy()
    vocabulary = ready.preprocessor.encoder.vocabulary
    word = vocabulary[10]
    mine = model.get_layer("embedding").embeddings.numpy()[10]
    np.testing.assert_array_equal(mine, table[names.index(word)])
    layer = model.get_layer("gru_0")
    for each, path in ((layer.forward_layer, "forward"), (layer.backward_layer, "backward")):
        for got, want in zip(each.get_weights(), recurrent(encoders[path]), strict=True):
            np.testing.assert_array_equal(got, want)
        assert all(variable.value.rate == 0.3 for variable in each.trainable_variables)
    assert "of the" in ready.counts.notes[0]
    assert ready.vectors_fingerprint


def test_what_a_tagger_reads_besides_words_begins_at_random(encoders):
    _, model = built("tagging", encoder=encoders["forward"])
    layer = model.get_layer("gru_0")
    kernel, taken = layer.forward_layer.get_weights()[0], recurrent(encoders["forward"])[0]
    np.testing.assert_array_equal(kernel[: len(taken)], taken)
    assert len(kernel) > len(taken)
    assert kernel[len(taken) :].std() > 0


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
        ({"encoder": "char"}, "no language model of words"),
        ({"encoder": "backward"}, "reads to the beginning"),
        ({"encoder": "forward", "encoder_backward": "wide"}, "different kinds or sizes"),
        ({"encoder": "forward", "level": "byte"}, "vectors of words"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(encoders, changes, message):
    changes = {name: encoders.get(value, value) for name, value in changes.items()}
    with pytest.raises((ConfigError, DataError), match=message):
        built("sentiment", **changes)
