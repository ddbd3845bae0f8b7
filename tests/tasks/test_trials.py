"""A trial of a task: trained in one go, in rounds or in pieces, it gives one and the same model."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

import tasks
from common.errors import DataError
from models.callbacks import read_history
from tasks.kinds.contract import DataOptions
from tasks.stages.run_directory import Run
from tasks.stages.trainers import trainer_spec
from tasks.stages.training import Trained, train
from tasks.stages.trials import TaskTrainer, drawn_settings
from tuning.jobs import TrainerSpec, TrialJob
from tuning.strategies import discover

TASK = tasks.get("sentiment")
DATA = DataOptions("synthetic:200")
SETTINGS = TASK.with_settings(
    TASK.settings, {"units": 8, "embedding_dim": 8, "epochs": 2, "batch_size": 32}
)
VALUES = {"cell": "simple_rnn", "bidirectional": False, "layers": 1, "units": 8,
          "embedding_dim": 8, "pooling": "max", "dropout": 0.2, "learning_rate": 0.02}  # fmt: skip
SEED = 2  # whose second epoch is the better one


@pytest.fixture(scope="module")
def spec():
    return trainer_spec(TASK, DATA, SETTINGS, TASK.load(DATA).fingerprint)


@pytest.fixture(scope="module")
def trainer(spec):
    return TrainerSpec(**json.loads(json.dumps(asdict(spec)))).prepare()


@pytest.fixture(scope="module")
def whole(trainer, tmp_path_factory):
    """An undisturbed trial: its run and its result."""
    place = tmp_path_factory.mktemp("whole")
    result = trainer.train(job_at(place, 2), lambda: True)
    return place / "run-0", result


@pytest.fixture
def cheap(trainer, monkeypatch):
    """Without the measurement of the latency, which takes longer than such a training."""
    monkeypatch.setattr(trainer, "_latency", lambda model: None)


def history(run):
    return [{k: v for k, v in row.items() if k != "seconds"}
            for row in read_history(run / "history.csv")]  # fmt: skip


def weights(run):
    return Run(run).model().get_weights()


def assert_same_training(run, other):
    """Bit by bit."""
    assert history(run) == history(other)
    for one, two in zip(weights(run), weights(other), strict=True):
        np.testing.assert_array_equal(one, two)


def job_at(place, until, seeds=(SEED,), parent=None):
    return TrialJob("0001", str(place), VALUES, list(seeds), until=until, parent=parent)


def test_values_become_settings_and_the_rest_stays(spec):
    drawn = drawn_settings(TASK, SETTINGS, VALUES)
    assert {name: getattr(drawn.model, name) for name in VALUES} == VALUES
    expected = {**SETTINGS.model.to_dict(), **VALUES}
    assert drawn.model.to_dict() == expected
    assert drawn.preprocessing == SETTINGS.preprocessing
    # The defaults of the space are the settings that it was declared with.
    space = discover(lambda hp: TASK.search_space(hp, SETTINGS))
    defaults = {hp.name: hp.default for hp in space.space}
    assert drawn_settings(TASK, SETTINGS, defaults) == SETTINGS


def test_a_trainer_spec_is_plain_json_and_its_key_follows_its_content(spec):
    assert json.loads(json.dumps(spec.arguments)) == spec.arguments
    other = TASK.with_settings(SETTINGS, {"dropout": 0.1})
    keys = {trainer_spec(TASK, DATA, settings, "f").key for settings in (SETTINGS, SETTINGS, other)}
    assert len(keys) == 2


def test_a_file_is_named_in_full_for_processes_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "reviews.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    made = trainer_spec(TASK, DataOptions("reviews.csv"), SETTINGS, "f")
    assert made.arguments["source"] == str(tmp_path.resolve() / "reviews.csv")
    assert trainer_spec(TASK, DATA, SETTINGS, "f").arguments["source"] == "synthetic:200"


def test_other_examples_than_the_searchs_are_refused(spec):
    arguments = {**spec.arguments, "fingerprint": "0123456789abcdef"}
    with pytest.raises(
        DataError, match="holds other examples here than where the search began"
    ) as no:
        TaskTrainer(**arguments)
    assert "fingerprint 0123456789ab, here " in str(no.value)
    assert "synthetic:200" in str(no.value)


def test_a_trial_tells_what_its_run_holds(whole):
    run, result = whole
    scores = [row["val_accuracy"] for row in history(run)]
    assert len(scores) == 2
    assert result["scores"] == [max(scores)]
    assert (result["epochs"], result["stopped"]) == (2, False)
    assert result["best_epoch"] == scores.index(max(scores)) + 1
    model = Run(run).model()
    assert result["parameters"] == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert result["latency_ms"] > 0
    config = Run(run).config()
    assert (config["seed"], config["task"]) == (SEED, "sentiment")
    assert {name: config["model"][name] for name in VALUES} == VALUES
    metrics = json.loads((run / "metrics.json").read_text())["metrics"]
    assert metrics == {"validation": {"accuracy": max(scores)}}, "the test part stays unread"


def test_training_anew_from_its_seed_gives_a_trials_score(whole, tmp_path):
    run, result = whole
    settings = drawn_settings(TASK, SETTINGS, VALUES)
    told = train(TASK, DATA, settings, Run(tmp_path / "run"), seed=SEED)
    assert told["metrics"]["validation"]["accuracy"] == pytest.approx(result["scores"][0], abs=1e-7)
    assert told["parameters"] == result["parameters"]
    assert_same_training(tmp_path / "run", run)


def test_a_hyperband_trial_that_goes_on_is_an_undisturbed_training(whole, trainer, cheap, tmp_path):
    parent, child = tmp_path / "0001", tmp_path / "0002"
    signs = ([], [])
    first = trainer.train(job_at(parent, 1), lambda: signs[0].append(1) or True)
    assert (first["epochs"], first["stopped"]) == (1, False)
    begun = history(parent / "run-0")
    second = trainer.train(
        job_at(child, 2, parent=str(parent)), lambda: signs[1].append(1) or True
    )  # fmt: skip
    assert (second["scores"], second["epochs"]) == (whole[1]["scores"], 2)
    assert_same_training(child / "run-0", whole[0])
    assert history(parent / "run-0") == begun, "the parent stays as it was"
    assert len(signs[1]) == len(signs[0]) > 0, "one epoch was trained, not two"


def test_a_cut_trial_that_goes_on_is_an_undisturbed_training(whole, trainer, cheap, tmp_path):
    cut = trainer.train(job_at(tmp_path, 2), lambda: False)
    assert (cut["stopped"], cut["epochs"], len(cut["scores"])) == (True, 1, 1)
    assert cut["scores"][0] == history(tmp_path / "run-0")[0]["val_accuracy"]
    assert Run(tmp_path / "run-0").finished, "what there is can be the best so far"
    rest = trainer.train(job_at(tmp_path, 2), lambda: True)
    assert (rest["stopped"], rest["epochs"], rest["scores"]) == (False, 2, whole[1]["scores"])
    assert_same_training(tmp_path / "run-0", whole[0])


@pytest.mark.slow
def test_what_is_told_to_end_in_its_last_epoch_is_whole(trainer, cheap, tmp_path):
    told = trainer.train(job_at(tmp_path / "one", 1), lambda: False)
    assert (told["stopped"], told["epochs"]) == (False, 1)
    two = trainer.train(job_at(tmp_path / "two", 1, seeds=(SEED, SEED + 1)), lambda: False)
    assert (two["stopped"], len(two["scores"])) == (True, 1), "an execution is missing"


@pytest.mark.slow
def test_executions_are_trainings_of_their_own_seeds(whole, trainer, cheap, tmp_path):
    both = trainer.train(job_at(tmp_path / "both", 2, seeds=(SEED, SEED + 1)), lambda: True)
    other = trainer.train(job_at(tmp_path / "other", 2, seeds=(SEED + 1,)), lambda: True)
    assert both["scores"] == whole[1]["scores"] + other["scores"]
    assert history(tmp_path / "both" / "run-1") != history(whole[0])
    assert_same_training(tmp_path / "both" / "run-1", tmp_path / "other" / "run-0")


@pytest.mark.slow
def test_another_seed_begins_anew_and_the_same_does_not(whole, trainer, cheap, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run-0")
    signs = []
    same = trainer.train(job_at(tmp_path, 2), lambda: signs.append(1) or True)
    assert (same["scores"], signs) == (whole[1]["scores"], [])
    trainer.train(job_at(tmp_path, 1, seeds=(SEED + 1,)), lambda: True)
    assert len(history(tmp_path / "run-0")) == 1
    assert Run(tmp_path / "run-0").config()["seed"] == SEED + 1


def test_a_model_that_onnx_cannot_hold_has_no_latency(trainer, monkeypatch):
    from serving.errors import ServingError

    def refuse(*_):
        raise ServingError("no such operator")

    monkeypatch.setattr("tasks.stages.trials.export_onnx", refuse)
    ready = trainer.ready
    settings = drawn_settings(TASK, SETTINGS, VALUES)
    model = TASK.build(settings, ready.preprocessor, ready.counts)
    assert trainer._latency(Trained(model, ready.preprocessor, None, 0)) is None


def test_a_trial_that_misses_a_bound_ends_and_does_not_go_on(trainer, tmp_path):
    job = replace(job_at(tmp_path, 3), bounds=[2.0, None])
    done = trainer.train(job, lambda: True)
    facts = {name: done[name] for name in ("epochs", "pruned", "stopped", "latency_ms")}
    assert facts == {"epochs": 1, "pruned": True, "stopped": False, "latency_ms": None}
    assert done["curve"] == done["scores"]
    signs = []
    # As after a kill between the last backup and the result.
    assert trainer.train(job, lambda: signs.append(1) or True) == done
    assert signs == []
