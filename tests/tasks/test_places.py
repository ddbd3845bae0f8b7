"""Runs and searches find their data by its content, however its place is spelled or moved."""

import json
import os
import shutil
from pathlib import Path

import pytest

import seqloom
import tasks
from common.errors import DataError
from tasks.kinds.contract import DataOptions
from tasks.stages.console import load_run
from tasks.stages.places import absolute, located, place_names, recorded
from tasks.stages.run_directory import Run
from tasks.stages.trainers import trainer_spec
from tasks.stages.training import evaluate, fit_run, prepare
from tasks.stages.tuning import SearchOptions, tune

SENTIMENT, ANOMALY = tasks.get("sentiment"), tasks.get("anomaly")
ROWS = "".join(f"a {word} film {i},{word}\n" for i in range(60) for word in ("good", "bad"))
SMALL = SENTIMENT.with_settings(
    SENTIMENT.settings,
    {"units": 4, "embedding_dim": 4, "layers": 1, "epochs": 1, "batch_size": 32, "wide": "none"},
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with data, which is the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "rev.csv").write_text("text,label\n" + ROWS, encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def run_of(folder):
    run = Run(folder)
    run.create(SENTIMENT, DataOptions("rev.csv"), SMALL, 0)
    return run


def test_each_path_of_the_data_options_is_a_place():
    assert place_names(SENTIMENT) == ("source",)
    assert place_names(ANOMALY) == ("source", "labels")


def test_paths_are_made_absolute_for_processes_elsewhere_and_names_are_not(project):
    (project / "w.json").write_text("{}")
    given = DataOptions("rev.csv", 3, {"labels": "w.json", "target": "rev.csv"})
    assert absolute(ANOMALY, given) == DataOptions(
        str(project / "rev.csv"), 3, {"labels": str(project / "w.json"), "target": "rev.csv"}
    )
    assert absolute(SENTIMENT, DataOptions("synthetic:50")) == DataOptions("synthetic:50")
    made = trainer_spec(ANOMALY, given, ANOMALY.settings, "f").arguments
    assert made["reading"]["labels"] == str(project / "w.json")


def test_a_run_knows_its_data_from_any_working_directory(project, tmp_path, monkeypatch):
    run = run_of(Path("runs/r"))
    assert run.config()["data"]["source"] == "rev.csv", "as it was given"
    monkeypatch.chdir(tmp_path)
    assert Run(project / "runs" / "r").data().source == str(project / "rev.csv")
    assert Run("project/runs/r").data().source == str(project / "rev.csv")


def test_a_folder_that_was_moved_with_run_and_data_is_whole(project, tmp_path, monkeypatch):
    run_of(Path("runs/r"))
    monkeypatch.chdir(tmp_path)
    shutil.move(project, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert Run(moved / "runs" / "r").data().source == str(moved / "rev.csv")


def test_the_best_of_a_search_that_was_moved_is_whole_too(project, tmp_path, monkeypatch):
    run_of(Path("s/trials/0007/run-1"))
    shutil.copytree("s/trials/0007/run-1", "s/best")
    monkeypatch.chdir(tmp_path)
    shutil.move(project, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert Run(moved / "s" / "best").data().source == str(moved / "rev.csv")


def test_a_run_of_an_earlier_version_has_no_places(project):
    data = DataOptions("rev.csv")
    assert located(SENTIMENT, data, {}, project) == data
    assert recorded(SENTIMENT, DataOptions("synthetic"), project) == {}


def test_data_that_is_gone_is_named_with_the_way_out(project, tmp_path, monkeypatch):
    run = run_of(project / "r")
    os.rename("rev.csv", "moved.csv")
    with pytest.raises(DataError, match="say where with --data") as error:
        load_run(run)
    assert str(run.path) in str(error.value)
    run.save_environment(0, SENTIMENT.load(DataOptions("moved.csv")).fingerprint)
    assert len(load_run(run, "moved.csv").train) > 0
    (project / "other.csv").write_text("text,label\n" + ROWS + "one more,good\n", encoding="utf-8")
    with pytest.raises(DataError, match="has changed since"):
        load_run(run, "other.csv")


def command(capsys, monkeypatch, *arguments):
    """What a command prints with ``--json``."""
    monkeypatch.setattr("sys.argv", ["seqloom", *map(str, arguments), "--json"])
    with pytest.raises(SystemExit) as end:
        seqloom.main()
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    return json.loads(said.out), said.err


@pytest.mark.slow
def test_a_training_goes_on_with_the_same_data_from_another_place(
    project, tmp_path, monkeypatch, capsys
):
    task, data = SENTIMENT, DataOptions("rev.csv", seed=3)
    settings = SENTIMENT.with_settings(SMALL, {"epochs": 2})
    run = Run(project / "r")
    ready = prepare(task, settings, task.load(data))
    fit_run(task, data, settings, run, ready, seed=0, title="begun", until=1)
    os.rename("rev.csv", tmp_path / "moved.csv")
    monkeypatch.chdir(tmp_path)
    again = ("train", "sentiment", "--resume", "--out", project / "r", "--data", "./moved.csv")
    result, said = command(capsys, monkeypatch, *again)
    assert result["epochs"] == 2
    assert "note: the run began with the data at rev.csv; now ./moved.csv is read" in said
    assert run.config()["data"]["source"] == "./moved.csv", "the new place is kept"
    monkeypatch.chdir(project)
    assert evaluate(run)["metrics"] == result["metrics"]
    os.rename(tmp_path / "moved.csv", tmp_path / "again.csv")
    # Its splits are made with the seed of the training, or test would hold what was trained on.
    moved, _ = command(capsys, monkeypatch, "evaluate", "r", "--data", tmp_path / "again.csv")
    assert moved["metrics"] == result["metrics"]


def test_a_search_goes_on_under_any_spelling_of_its_place(project, tmp_path, monkeypatch):
    options = SearchOptions(trials=1, epochs=1, workers=1, threads=1)

    def search(source, directory):
        said = []
        result = tune(SENTIMENT, DataOptions(source), SMALL, options, directory, tell=said.append)
        return result["best"]["score"], [line for line in said if line.startswith("note: ")]

    score, notes = search("rev.csv", Path("s"))
    assert notes == []
    for source in ("./rev.csv", str(project / "rev.csv"), "../project/rev.csv"):
        found, notes = search(source, Path("s"))
        assert found == score
        assert len(notes) == 1
        assert source in notes[0]
    monkeypatch.chdir(tmp_path)
    shutil.move(project, tmp_path / "elsewhere")
    found, notes = search("elsewhere/rev.csv", Path("elsewhere/s"))
    assert (found, len(notes)) == (score, 1)
    (tmp_path / "elsewhere" / "rev.csv").write_text("text,label\n" + ROWS[:-20] + "\n")
    with pytest.raises(DataError, match="the content of the data has changed"):
        search("elsewhere/rev.csv", Path("elsewhere/s"))
