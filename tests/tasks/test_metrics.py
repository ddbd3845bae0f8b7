"""Which score decides: declared by the kind, chosen by a flag, kept in the run."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

import seqloom
import tasks
from common.errors import ConfigError, DataError
from tasks.front.training import found_task
from tasks.kinds.contract import DataOptions
from tasks.stages.beginning import Choices, begin
from tasks.stages.reporting import run_commands
from tasks.stages.run_directory import Run
from tasks.stages.tables import flag_rows
from tasks.stages.trainers import trainer_spec
from tasks.stages.trials import TaskTrainer
from tests.test_cli import assert_refused, call

DATA = DataOptions("synthetic:120")


def begun(path, metric=""):
    """A run whose training has begun: what it is is written, and no more."""
    task = replace(tasks.get("sentiment"), chosen_by=metric)
    run = Run(path)
    path.mkdir()
    run.save_environment(0, task.load(DATA).fingerprint)
    run.create(task, DATA, task.settings, 0)
    return run


@pytest.mark.parametrize("name", tasks.names())
def test_the_first_metric_decides_unless_another_is_chosen(name):
    task = tasks.get(name)
    names = [metric.name for metric in task.metrics]
    assert len(set(names)) == len(names)
    assert task.metric == task.metrics[0]
    assert all(replace(task, chosen_by=one).metric.name == one for one in names)
    # Epochs are chosen by what every epoch measures.
    for one in names:
        assert replace(task, chosen_by=one).watched.each_epoch
    with pytest.raises(ConfigError, match=f"{name} has no metric 'x' to choose by; there are: "):
        replace(task, chosen_by="x")


@pytest.mark.parametrize("command", ["train", "tune", "run"])
def test_a_metric_that_the_task_does_not_have_is_refused(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = call(command, "sentiment", "--data", "synthetic:120", "--metric", "bleu")
    assert_refused(outcome, ["no metric 'bleu'", "accuracy, macro_f1"])
    assert not list(tmp_path.iterdir())


def test_the_flags_of_a_task_name_its_metrics():
    (row,) = [row for row in flag_rows(tasks.get("translation")) if row["flag"] == "--metric"]
    assert row["default"] == "bleu"
    assert "bleu, chrf, exact" in row["meaning"]


def test_python_chooses_by_a_metric_too(tmp_path):
    for start in (seqloom.train, seqloom.tune):
        with pytest.raises(ConfigError, match="classify has no metric 'bleu'"):
            start("classify", "synthetic:120", metric="bleu", out=tmp_path / "a")
    assert not list(tmp_path.iterdir())
    assert found_task("classify", "macro_f1").metric.name == "macro_f1"
    assert found_task(replace(tasks.get("classify"), chosen_by="macro_f1")).chosen_by == "macro_f1"


def test_a_run_keeps_its_metric(tmp_path):
    run = begun(tmp_path / "run", "macro_f1")
    assert run.config()["metric"] == run.task().metric.name == "macro_f1"
    assert begun(tmp_path / "usual").task().metric.name == "accuracy"
    (line,) = [line for _, line in run_commands(run) if "--resume" in line]
    assert "--metric" not in line
    (tmp_path / "run" / "model.keras").write_text("")
    assert any("--metric macro_f1" in line for _, line in run_commands(run))


def test_a_run_of_an_earlier_version_has_the_usual_metric(tmp_path):
    run = begun(tmp_path / "run", "macro_f1")
    text = (run.path / "config.json").read_text()
    (run.path / "config.json").write_text(text.replace('"metric": "macro_f1",', ""))
    assert run.task().metric.name == "accuracy"


def test_a_training_like_another_is_chosen_by_the_same(tmp_path):
    task, like = tasks.get("sentiment"), Choices(like=begun(tmp_path / "a", "macro_f1").path)
    assert begin(task, like, tmp_path / "b").task.metric.name == "macro_f1"
    other = begin(replace(task, chosen_by="accuracy"), like, tmp_path / "b")
    assert other.task.metric.name == "accuracy"


def test_a_training_that_goes_on_keeps_its_metric(tmp_path):
    task, run = tasks.get("sentiment"), begun(tmp_path / "a", "macro_f1")
    assert begin(task, Choices(), run.path, resume=True).task.metric.name == "macro_f1"
    with pytest.raises(DataError, match="was begun with --metric macro_f1; give none, or that"):
        begin(replace(task, chosen_by="accuracy"), Choices(), run.path, resume=True)


def test_trials_are_scored_by_the_metric():
    task = replace(tasks.get("sentiment"), chosen_by="macro_f1")
    spec = trainer_spec(task, DATA, task.settings, task.load(DATA).fingerprint)
    trainer = TaskTrainer(**spec.arguments)
    assert trainer.task.metric.name == "macro_f1"
    best = {"val_accuracy": 0.9, "val_macro_f1": 0.6}
    assert trainer._score(SimpleNamespace(history=SimpleNamespace(best=best))) == 0.6
