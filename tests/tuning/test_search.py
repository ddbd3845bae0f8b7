"""The search around KerasTuner: where it begins, when it ends, and what a failure leaves."""

import csv
import gc
import json
import time

import keras
import keras_tuner as kt
import numpy as np
import pytest

from pipelines.errors import DataError
from tuning.leaderboard import read_search, write_csv
from tuning.search import STRATEGIES, SearchError, SearchPlan, search

DEFAULTS = {"units": 4, "rate": 0.01, "deep": False}
_RANDOM = np.random.default_rng(0)
X = _RANDOM.normal(size=(48, 3)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]], "float32")).astype("float32")


@pytest.fixture(scope="module", autouse=True)
def young_heap():
    """KerasTuner collects garbage twice a trial: without the heap of what is imported, quickly."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class TinyHyperModel(kt.HyperModel):
    """A dense regression; what ``broken`` is true of cannot be built."""

    def __init__(self, broken=lambda values: False, pause=0.0, fails=False):
        super().__init__()
        self.broken, self.pause, self.fails, self.fits = broken, pause, fails, 0

    def build(self, hp):
        # None of the defaults is the first choice: KerasTuner's own first draw is not this one.
        units = hp.Choice("units", [2, 3, 4, 5, 6, 7, 8], default=4)
        rate = hp.Float("rate", 1e-3, 1e-1, sampling="log", default=0.01)
        deep = hp.Boolean("deep", default=False)
        if self.broken(hp.values):
            raise ValueError(f"no layer\nhas {units} units")
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
        if deep:
            model.add(keras.layers.Dense(2))
        model.add(keras.layers.Dense(1))
        model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=True)
        return model

    def fit(self, hp, model, **kwargs):
        self.fits += 1
        if self.fails:
            raise RuntimeError("the machine is too small")
        time.sleep(self.pause)
        return model.fit(X, Y, batch_size=48, validation_data=(X, Y), **kwargs)


def plan(strategy="random", trials=3, epochs=1, seed=0):
    return SearchPlan(strategy, trials, epochs, "val_loss", "min", seed)


def begun(directory, **options):
    """What the tune stage leaves beside KerasTuner's files, for ``read_search``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "search.json").write_text(json.dumps({"mode": "min", **options}))
    return directory


def in_order(rows):
    return sorted(rows, key=lambda row: row.trial)


@pytest.mark.parametrize("strategy", ["random", "bayesian", "hyperband"])
def test_first_trial_is_the_spaces_defaults(tmp_path, strategy):
    rows = search(TinyHyperModel(), plan(strategy, trials=1), tmp_path)
    assert [row.config for row in rows] == [DEFAULTS]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_search_ends_at_the_number_of_trials(tmp_path, strategy):
    # More than a Hyperband bracket of 2 epochs holds, so that the limit ends it, not the bracket.
    rows = search(TinyHyperModel(), plan(strategy, trials=5, epochs=2), tmp_path)
    assert len(rows) == 5
    assert {row.state for row in rows} == {"COMPLETED"}
    scores = [row.score for row in rows]
    assert scores == sorted(scores)


def test_unknown_strategy_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(SearchError, match="'lucky'; use one of random, bayesian, hyperband, grid"):
        search(TinyHyperModel(), plan("lucky"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_repeats_the_search_exactly(tmp_path, seed):
    first, second = (
        in_order(search(TinyHyperModel(), plan(seed=seed), tmp_path / name)) for name in "ab"
    )
    assert [(row.values, row.score) for row in first] == [(row.values, row.score) for row in second]


def test_another_seed_draws_other_trials_after_the_first(tmp_path):
    first, second = (
        in_order(search(TinyHyperModel(), plan(trials=2, seed=seed), tmp_path / str(seed)))
        for seed in (1, 2)
    )
    assert first[0].values == second[0].values
    assert first[1].values != second[1].values


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_started_again_keeps_finished_trials_and_goes_on(tmp_path, strategy):
    before = {row.trial: row for row in search(TinyHyperModel(), plan(strategy, 2), tmp_path)}
    again, told = TinyHyperModel(), []
    rows = search(again, plan(strategy, 4), tmp_path, lambda row, _: told.append(row.trial))
    assert len(rows) == 4
    assert {row.trial: row for row in rows if row.trial in before} == before
    assert again.fits == 2
    assert sorted(told) == sorted({row.trial for row in rows} - set(before))


def test_started_again_when_all_is_done_trains_nothing(tmp_path):
    before = search(TinyHyperModel(), plan(trials=2), tmp_path)
    again = TinyHyperModel()
    assert search(again, plan(trials=2), tmp_path) == before
    assert again.fits == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_failing_trial_is_kept_with_its_message_and_the_search_goes_on(tmp_path, strategy):
    rows = search(
        TinyHyperModel(broken=lambda values: values["deep"]), plan(strategy, trials=5), tmp_path
    )
    failed = [row for row in rows if row.config["deep"]]
    assert failed
    assert all((row.state, row.score) == ("FAILED", None) for row in failed)
    assert all(row.message == f"has {row.config['units']} units" for row in failed)
    assert rows[0].state == "COMPLETED"
    assert rows[-len(failed) :] == failed
    assert len(rows) == 5


def test_many_failures_in_a_row_do_not_end_the_search(tmp_path):
    # KerasTuner gives up after three, such as three models that are too large for the machine.
    broken = TinyHyperModel(broken=lambda values: values["rate"] != 0.01)
    rows = search(broken, plan(trials=6), tmp_path)
    assert [row.state for row in rows] == ["COMPLETED"] + 5 * ["FAILED"]
    assert rows[0].config == DEFAULTS


def test_a_failed_trial_is_tried_once_more(tmp_path):
    failing = TinyHyperModel(fails=True)
    with pytest.raises(SearchError):
        search(failing, plan(trials=1), tmp_path)
    assert failing.fits == 2


@pytest.mark.parametrize("trials", [1, 4])
def test_a_search_in_which_every_trial_fails_says_why(tmp_path, trials):
    with pytest.raises(SearchError, match="the machine is too small") as error:
        search(TinyHyperModel(fails=True), plan(trials=trials), tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_time_ends_a_search(tmp_path, strategy):
    started = time.perf_counter()
    rows = search(TinyHyperModel(pause=0.3), plan(strategy, trials=500), tmp_path, max_seconds=0.5)
    assert time.perf_counter() - started < 10
    assert 1 <= len(rows) < 20
    assert {row.state for row in rows} == {"COMPLETED"}


def test_time_ends_a_trial_after_its_epoch(tmp_path):
    (row,) = search(TinyHyperModel(pause=0.2), plan(epochs=50), tmp_path, max_seconds=0.1)
    assert row.epochs == 1
    assert row.score is not None


def test_each_trial_is_told_with_the_ranking_so_far(tmp_path):
    told = []
    rows = search(TinyHyperModel(), plan(), tmp_path, lambda row, rows: told.append((row, rows)))
    assert [len(ranking) for _, ranking in told] == [1, 2, 3]
    assert all(row in ranking for row, ranking in told)
    assert told[-1][1] == rows


def test_leaderboard_file_holds_what_the_trials_hold(tmp_path):
    rows = search(
        TinyHyperModel(broken=lambda values: values["units"] in (2, 5, 6)),
        plan(trials=5, epochs=2),
        tmp_path,
    )
    assert {row.state for row in rows} == {"COMPLETED", "FAILED"}
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["rank"] for line in table] == ["1", "2", "3", "4", "5"]
    assert list(table[0]) == [
        "rank", "trial", "state", "score", "epochs", "seconds", "parameters", *sorted(DEFAULTS)
    ]  # fmt: skip
    for line, row in zip(table, rows, strict=True):
        assert (line["trial"], line["state"]) == (row.trial, row.state)
        assert line["score"] == ("" if row.score is None else str(row.score))
        assert {name: line[name] for name in DEFAULTS} == {
            name: str(value) for name, value in row.config.items()
        }
    best = rows[0]
    units, deep = best.config["units"], best.config["deep"]
    head = (units + 1) * 2 + 3 if deep else units + 1
    assert best.parameters == 4 * units + head
    assert best.epochs == 2
    assert best.seconds > 0


def test_leaderboard_takes_trials_whose_spaces_differ(tmp_path):
    (row,) = search(TinyHyperModel(), plan(trials=1), tmp_path)
    other = type(row)("9", "FAILED", None, None, None, None, {"new": "a,b", "tuner/epochs": 1}, "x")
    write_csv([row, other], tmp_path / "two.csv")
    with (tmp_path / "two.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["new"], second["new"]) == ("", "a,b")
    assert "tuner/epochs" not in first


def test_nothing_is_printed_on_stdout(tmp_path, capfd):
    broken = TinyHyperModel(broken=lambda values: values["deep"])
    search(broken, plan(), tmp_path)
    search(broken, plan(trials=4), tmp_path)
    assert capfd.readouterr().out == ""


def test_a_search_is_read_back_as_it_ended(tmp_path):
    rows = search(TinyHyperModel(), plan(), begun(tmp_path))
    assert read_search(tmp_path) == rows


def test_a_torn_trial_file_is_left_out_of_the_leaderboard(tmp_path):
    rows = search(TinyHyperModel(), plan(), begun(tmp_path))
    path = tmp_path / "trials" / f"trial_{rows[1].trial}" / "trial.json"
    path.write_text(path.read_text()[:40])
    assert read_search(tmp_path) == [rows[0], rows[2]]


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '"min"'])
def test_what_is_no_search_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "search.json").write_text(content)
    with pytest.raises(DataError, match=r"search\.json is missing or broken") as error:
        read_search(tmp_path)
    assert str(tmp_path) in str(error.value)
