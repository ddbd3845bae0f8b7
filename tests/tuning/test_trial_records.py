"""The trials on the disk: whole after any death, the best kept, what nobody needs removed."""

import csv
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.files import write_json
from tuning import trial_records
from tuning.leaderboard import STATES, TrialLimits, ranked, trial_row
from tuning.strategy import Proposal
from tuning.trial_records import TrialRecords

KEPT = ["config.json", "history.csv"]
MODEL = ["model.keras", "preprocessor"]
STATE = ["backup", "best.weights.h5"]
BEST = sorted([*KEPT, *MODEL, "trial.json"])  # which trial it is


@pytest.fixture
def records(tmp_path):
    return TrialRecords(tmp_path, "max")


def trained(records, number, *scores, state="COMPLETED", epochs=2, parameters=100, **more):
    """A trial as its process leaves it, with one execution for each score."""
    records.begin(number, Proposal({"units": number}, epochs))
    for execution, score in enumerate(scores):
        run = records.path(number) / f"run-{execution}"
        write_json(run / "config.json", {"seed": 10 * number + execution})
        rows = "".join(f"{epoch},{score}\n" for epoch in range(epochs))
        (run / "history.csv").write_text(f"epoch,val_score\n{rows}")
        (run / "model.keras").write_text(f"model of {number}/{execution} at {score}")
        (run / "best.weights.h5").write_text("weights")
        write_json(run / "backup" / "state.json", {})
        write_json(run / "preprocessor" / "preprocessor.json", {})
    mean = sum(scores) / len(scores) if scores else None
    records.by_number[number] |= {"state": state, "score": mean, "scores": list(scores)}
    records.by_number[number] |= {"parameters": parameters, **more}
    records.save(number)


def content(run):
    return sorted(path.name for path in run.iterdir())


def best_model(records):
    return (records.directory / "best" / "model.keras").read_text()


def test_what_was_recorded_is_read_back_by_the_next_owner(records):
    draw = Proposal({"units": 8}, until=3, parent=0, bracket=1, round=1)
    trained(records, 0, 0.5)
    records.begin(1, draw)
    records.skip(2)
    again = TrialRecords(records.directory, "max")
    assert again.by_number == records.by_number
    assert again.rows == records.rows
    record = again.by_number[1]
    assert (record["state"], record["parent"], record["until"]) == ("RUNNING", "0000", 3)
    assert (record["bracket"], record["round"], record["attempts"]) == (1, 1, [])
    assert [again.rows[number].state for number in range(3)] == ["COMPLETED", "RUNNING", "SKIPPED"]


@pytest.mark.parametrize("torn", ["", "{", '{"trial": "0001", "sta'])
def test_a_torn_record_counts_as_absent(records, torn):
    for number in range(3):
        trained(records, number, 0.5)
    (records.path(1) / "trial.json").write_text(torn)
    (records.path(2) / ".trial.json.123").write_text(torn)
    (records.directory / "trials" / "0003").mkdir()
    assert sorted(TrialRecords(records.directory, "max").by_number) == [0, 2]


def test_the_leaderboard_is_written_with_each_record(records):
    trained(records, 0, 0.5)
    trained(records, 1, 0.7)
    records.begin(2, Proposal({"units": 2}, 1))
    with (records.directory / "leaderboard.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(line["rank"], line["trial"], line["state"], line["score"]) for line in table] == [
        ("1", "0001", "COMPLETED", "0.7"),
        ("2", "0000", "COMPLETED", "0.5"),
        ("3", "0002", "RUNNING", ""),
    ]


def test_a_long_leaderboard_is_written_as_its_length_allows(records, monkeypatch):
    monkeypatch.setattr(trial_records, "LEADERBOARD_ROWS", 4)
    written = []
    monkeypatch.setattr(trial_records, "write_csv", lambda rows, path: written.append(len(rows)))
    for number in range(12):
        records.skip(number)
    # Of up to four trials after each, of up to eight after each second, then after each third.
    assert written == [1, 2, 3, 4, 6, 8, 11]
    records.write_leaderboard()
    records.write_leaderboard()
    assert written[-1] == 12
    assert written.count(12) == 1


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from(STATES)), max_size=25)
)
@settings(max_examples=30, deadline=None)
def test_the_order_kept_from_save_to_save_is_that_of_sorting(saves):
    with tempfile.TemporaryDirectory() as place:
        records = TrialRecords(Path(place), "max")
        for number, score, state in saves:
            records.by_number[number] = {
                "trial": f"{number:04d}", "state": state, "values": {}, "attempts": [],
                "score": score or None,
            }  # fmt: skip
            records.save(number)
        rows = [trial_row(record) for record in records.by_number.values()]
        assert records.ranking() == ranked(rows, "max")
        begun = (n for n, row in records.rows.items() if row.state in ("RUNNING", "STOPPED"))
        assert records.unfinished == sorted(begun)


def test_numbers_of_five_digits_come_after_those_of_four(records):
    for number in (10000, 9999):
        records.skip(number)
    assert [row.trial for row in records.ranking()] == ["9999", "10000"]


def test_what_was_pruned_is_not_looked_for_again(records, monkeypatch):
    for number in range(3):
        trained(records, number, 0.5 + number / 10)
    records.prune(TrialLimits(), set())
    looked = []
    monkeypatch.setattr(records, "path", lambda number: looked.append(number) or records.directory)
    records.prune(TrialLimits(), set())
    assert looked == []


def test_epochs_of_all_executions_are_counted(records):
    assert records.epochs_done(0) == 0
    trained(records, 0, 0.1, 0.2, epochs=3)
    (records.path(0) / "run-1" / "history.csv").write_text("epoch,val_score\n0,0.2\n")
    assert records.epochs_done(0) == 3 + 1
    (records.path(0) / "run-1" / "history.csv").write_text("")
    assert records.epochs_done(0) == 3


def test_the_best_is_the_best_execution_of_the_best_trial_without_its_state(records):
    assert records.keep_best(TrialLimits()) is None
    assert not (records.directory / "best").exists()
    trained(records, 0, 0.5, 0.9, 0.4)
    trained(records, 1, 0.55, 0.6)
    assert records.keep_best(TrialLimits()).trial == "0000"  # 0.6 on average against 0.575
    assert best_model(records) == "model of 0/1 at 0.9"
    assert content(records.directory / "best") == BEST
    trained(records, 2, 0.7)
    assert records.keep_best(TrialLimits()).trial == "0002"
    assert best_model(records) == "model of 2/0 at 0.7"
    assert [path.name for path in records.directory.glob(".best*")] == []


def test_the_least_score_is_the_best_where_less_is_better(tmp_path):
    records = TrialRecords(tmp_path, "min")
    trained(records, 0, 0.5, 0.4)
    trained(records, 1, 0.9)
    assert records.keep_best(TrialLimits()).trial == "0000"
    assert best_model(records) == "model of 0/1 at 0.4"


def test_a_best_that_is_the_same_run_is_not_copied_again(records):
    trained(records, 0, 0.5)
    records.keep_best(TrialLimits())
    before = (records.directory / "best" / "model.keras").stat()
    trained(records, 1, 0.4)
    records.keep_best(TrialLimits())
    after = (records.directory / "best" / "model.keras").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_best_follows_a_trial_that_was_cut_and_has_gone_on(records):
    trained(records, 0, 0.5, state="STOPPED", epochs=2)
    records.keep_best(TrialLimits())
    trained(records, 0, 0.6, epochs=9)
    records.keep_best(TrialLimits())
    assert best_model(records) == "model of 0/0 at 0.6"


def test_the_best_follows_a_hyperband_trial_that_goes_on_from_it_with_its_seed(records):
    trained(records, 0, 0.5)
    records.keep_best(TrialLimits())
    trained(records, 9, 0.8, parent="0000", epochs=6)
    # The seed is the first round's, and the settings are: their configurations are equal.
    shutil.copy(records.path(0) / "run-0" / "config.json", records.path(9) / "run-0")
    assert records.keep_best(TrialLimits()).trial == "0009"
    assert best_model(records) == "model of 9/0 at 0.8"


def test_a_limit_chooses_another_best(records):
    trained(records, 0, 0.9, parameters=500, latency_ms=3.0)
    trained(records, 1, 0.7, parameters=200, latency_ms=1.0)
    records.keep_best(TrialLimits())
    assert best_model(records) == "model of 0/0 at 0.9"
    assert records.keep_best(TrialLimits(parameters=300)).trial == "0001"
    assert best_model(records) == "model of 1/0 at 0.7"
    assert records.keep_best(TrialLimits(latency_ms=0.5)) is None
    assert best_model(records) == "model of 1/0 at 0.7"
    assert records.keep_best(TrialLimits()).trial == "0000"
    assert best_model(records) == "model of 0/0 at 0.9"


@pytest.mark.parametrize("dies_at", range(1, 7))
def test_best_is_whole_again_after_a_death_at_any_step(records, monkeypatch, dies_at):
    """Of copying, of the two renames and of what is removed before and after them."""
    trained(records, 0, 0.5)
    records.keep_best(TrialLimits())
    trained(records, 1, 0.9)
    steps = 0

    class Death(BaseException):
        pass

    def mortal(function):
        def step(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == dies_at:
                raise Death
            return function(*args, **kwargs)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", mortal(shutil.rmtree))
        patch.setattr(shutil, "copytree", mortal(shutil.copytree))
        patch.setattr(os, "replace", mortal(os.replace))
        with pytest.raises(Death):
            records.keep_best(TrialLimits())
    best = records.directory / "best"
    if best.exists():
        assert best_model(records) in ("model of 0/0 at 0.5", "model of 1/0 at 0.9")
        assert content(best) == BEST
    again = TrialRecords(records.directory, "max")
    again.keep_best(TrialLimits())
    assert best_model(again) == "model of 1/0 at 0.9"
    assert content(best) == BEST


def test_a_copy_that_was_half_made_is_made_anew(records):
    trained(records, 0, 0.5)
    (records.directory / ".best-new").mkdir()
    (records.directory / ".best-new" / "half").write_text("")
    records.keep_best(TrialLimits())
    assert content(records.directory / "best") == BEST


def test_losers_lose_their_models_and_all_that_ended_their_states(records):
    trained(records, 0, 0.5, 0.4)
    trained(records, 1, 0.9, 0.8)
    trained(records, 2, 0.7)
    trained(records, 3, state="FAILED")
    records.prune(TrialLimits(), set())
    for execution in (0, 1):
        assert content(records.path(0) / f"run-{execution}") == KEPT
        assert content(records.path(1) / f"run-{execution}") == sorted(KEPT + MODEL)
    assert content(records.path(2) / "run-0") == KEPT
    assert (records.path(2) / "trial.json").exists()


def test_a_failed_trials_leavings_are_removed(records):
    trained(records, 0, 0.5)
    trained(records, 1, 0.9, state="FAILED", score=None)
    records.prune(TrialLimits(), set())
    assert content(records.path(1) / "run-0") == KEPT


def test_both_fronts_of_score_against_cost_keep_their_models(records):
    trained(records, 0, 0.9, parameters=300, latency_ms=3.0)  # the best
    trained(records, 1, 0.8, parameters=400, latency_ms=1.0)  # the fastest
    trained(records, 2, 0.7, parameters=100, latency_ms=4.0)  # the smallest
    trained(records, 3, 0.6, parameters=200, latency_ms=2.0)  # beaten in both
    records.prune(TrialLimits(), set())
    kept = [(records.path(number) / "run-0" / "model.keras").exists() for number in range(4)]
    assert kept == [True, True, True, False]


def test_the_best_below_the_limits_keeps_its_model_though_it_is_on_no_front(records):
    trained(records, 0, 0.9, parameters=300, latency_ms=1.0)
    trained(records, 1, 0.8, parameters=300, latency_ms=2.0)
    trained(records, 2, 0.7, parameters=100, latency_ms=None)
    trained(records, 3, 0.6, parameters=100, latency_ms=1.0)
    records.prune(TrialLimits(latency_ms=1.5, parameters=200), set())
    kept = [(records.path(number) / "run-0" / "model.keras").exists() for number in range(4)]
    assert kept == [True, False, True, True]


def test_needed_states_stay_without_the_model(records):
    trained(records, 0, 0.9)
    trained(records, 1, 0.5)
    records.prune(TrialLimits(), {1})
    assert content(records.path(0) / "run-0") == sorted(KEPT + MODEL)
    assert content(records.path(1) / "run-0") == sorted(KEPT + STATE)
    records.prune(TrialLimits(), set())
    assert content(records.path(1) / "run-0") == KEPT


@pytest.mark.parametrize("state", ["STOPPED", "RUNNING"])
def test_what_has_not_ended_keeps_everything(records, state):
    trained(records, 0, 0.9)
    trained(records, 1, 0.5, state=state)
    records.prune(TrialLimits(), set())
    assert content(records.path(1) / "run-0") == sorted(KEPT + MODEL + STATE)


def test_a_best_whose_model_was_given_up_under_other_limits_is_left_as_it_is(records):
    trained(records, 0, 0.9, parameters=300)
    trained(records, 1, 0.8, parameters=400)
    records.keep_best(TrialLimits())
    records.prune(TrialLimits(), set())
    # No front and no limit of then kept 0001; now 0000 is too dear.
    records.by_number[0]["parameters"] = 500
    records.save(0)
    assert records.keep_best(TrialLimits(parameters=450)).trial == "0001"
    assert best_model(records) == "model of 0/0 at 0.9"


def test_a_record_is_whole_whenever_the_owner_dies(records, monkeypatch):
    trained(records, 0, 0.5)
    before = json.loads((records.path(0) / "trial.json").read_text())

    def death(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", death)
        records.by_number[0]["score"] = 0.6
        with pytest.raises(KeyboardInterrupt):
            records.save(0)
    assert json.loads((records.path(0) / "trial.json").read_text()) == before
    assert content(records.path(0)) == ["run-0", "trial.json"]
