"""Word vectors from the flag to the finished run, for every kind that embeds words."""

import json
from pathlib import Path

import keras_tuner
import numpy as np
import pytest

import tasks
from common.errors import ConfigError, DataError
from models.config import WordConfig
from pipelines.text import SPECIAL_TOKENS
from tasks.kinds.contract import DataOptions
from tasks.kinds.word_vectors import WordCounts
from tasks.stages.run_directory import Run
from tasks.stages.trainers import trainer_spec
from tasks.stages.training import evaluate, fit_run, prepare, train

SENTIMENT = tasks.get("sentiment")
WITH_WORDS = [task for task in map(tasks.get, tasks.names()) if "vectors" in task.model.names()]
SMALL = {"units": 4, "layers": 1, "epochs": 2, "batch_size": 32, "wide": "none"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with data and vectors, which is the working directory."""
    rows = "".join(f"a {word} film {i % 9},{word}\n" for i in range(60) for word in ("good", "bad"))
    (tmp_path / "rev.csv").write_text("text,label\n" + rows, encoding="utf-8")
    (tmp_path / "v.txt").write_text("good 1 2 3\nbad -1 2 3\nfilm 0 1 0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_of(**changes):
    return SENTIMENT.with_settings(SENTIMENT.settings, {**SMALL, "vectors": "v.txt", **changes})


def test_there_are_tasks_that_embed_words():
    assert {"sentiment"} < {task.name for task in WITH_WORDS}


@pytest.mark.parametrize("task", WITH_WORDS, ids=lambda task: task.name)
def test_what_cannot_be_done_is_refused_before_anything_is_read(task, project):
    def check(**changes):
        task.check(task.with_settings(task.settings, changes), DataOptions("no such place"))

    check(vectors="v.txt", freeze_vectors=True)
    check()
    with pytest.raises(ConfigError, match="--vectors none.txt is not there"):
        check(vectors="none.txt")
    with pytest.raises(ConfigError, match="is a directory"):
        check(vectors=str(project))
    with pytest.raises(ConfigError, match="--freeze-vectors"):
        check(freeze_vectors=True)


def test_bytes_have_no_vectors_of_words(project):
    with pytest.raises(ConfigError, match="--level word"):
        SENTIMENT.check(settings_of(level="byte"), DataOptions("rev.csv"))


@pytest.mark.parametrize("task", WITH_WORDS, ids=lambda task: task.name)
def test_a_search_tries_nothing_that_is_given(task, project):
    def names(settings):
        hp = keras_tuner.HyperParameters()
        task.search_space(hp, settings)
        return {one.name for one in hp.space}

    plain = names(task.settings)
    given = names(task.with_settings(task.settings, {"vectors": "v.txt"}))
    assert plain ^ given == {"embedding_dim", "freeze_vectors"}
    assert "embedding_dim" in plain
    # Of an encoder only the rate is open: a cell that is tried would not be the one that is built.
    given = names(task.with_settings(task.settings, {"encoder": "run"}))
    assert plain ^ given == {"cell", "units", "embedding_dim", "encoder_rate"}


def test_trials_elsewhere_are_given_the_whole_path(project):
    made = trainer_spec(SENTIMENT, DataOptions("rev.csv"), settings_of(), "f").arguments
    assert made["settings"]["model"]["vectors"] == str(project / "v.txt")


def test_start_and_end_are_no_words_of_training(project):
    ready = prepare(SENTIMENT, settings_of(), SENTIMENT.load(DataOptions("rev.csv")))
    # Each text has four words, of which "a" and a number have no vectors.
    words = len(ready.preprocessor.encoder.vocabulary) - len(SPECIAL_TOKENS)
    assert ready.counts.notes == (
        f"v.txt has vectors of 3 numbers for 3 of the {words} words of training, "
        "50% of its tokens.",
    )


def test_without_a_file_nothing_is_said():
    assert WordCounts.of(WordConfig(), np.array([1, 1]), ["", "a"], str).notes == ()


def test_texts_that_are_cut_are_told(project):
    splits = SENTIMENT.load(DataOptions("rev.csv"))
    settings = SENTIMENT.with_settings(SENTIMENT.settings, {"max_length": 4, "truncate": "tail"})
    (note,) = prepare(SENTIMENT, settings, splits).counts.notes
    assert "fill --max-length 4; of longer ones the end is read" in note
    settings = SENTIMENT.with_settings(settings, {"max_length": 5})
    assert prepare(SENTIMENT, settings, splits).counts.notes == ()


@pytest.mark.slow
def test_a_finished_run_needs_no_file(project):
    run, told = Run(project / "run"), []
    result = train(
        SENTIMENT, DataOptions("rev.csv"), settings_of(freeze_vectors=True), run, tell=told.append
    )
    note = next(line for line in told if "v.txt has vectors" in line)
    assert note in result["remarks"]
    assert note in json.loads((run.path / "metrics.json").read_text())["remarks"]
    Path("v.txt").unlink()
    good = run.preprocessor().encoder.vocabulary.index("good")
    table = run.model().get_layer("embedding").embeddings.numpy()
    assert table[good].tolist() == [1, 2, 3]
    assert evaluate(run)["metrics"] == result["metrics"]


@pytest.mark.slow
def test_a_training_that_goes_on_needs_the_file_that_it_began_with(project):
    run, data, settings = Run(project / "run"), DataOptions("rev.csv"), settings_of()
    ready = prepare(SENTIMENT, settings, SENTIMENT.load(data))
    fit_run(SENTIMENT, data, settings, run, ready, seed=0, title="", until=1)
    Path("v.txt").rename("elsewhere.txt")
    with pytest.raises(ConfigError, match="a run that goes on needs the one it began with"):
        train(SENTIMENT, data, run.settings(), run)
    Path("v.txt").write_text("good 1 2\nbad -1 2\n", encoding="utf-8")
    with pytest.raises(DataError, match="vectors.*have changed since training began"):
        train(SENTIMENT, data, run.settings(), run)
    Path("elsewhere.txt").rename("v.txt")
    assert train(SENTIMENT, data, run.settings(), run)["epochs"] == 2
