"""All trials ranked: their order, what they cost, and the files they are read from."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from common.files import write_json
from tuning.leaderboard import (
    COLUMNS,
    Search,
    TrialLimits,
    TrialRow,
    best_row,
    chosen_rows,
    pareto_front,
    ranked,
    read_search,
    trial_row,
    write_csv,
)
from tuning.search_lock import SearchLock


def row(trial, score, parameters=None, latency_ms=None, state="COMPLETED", **values):
    return TrialRow(trial, state, values, score=score, parameters=parameters, latency_ms=latency_ms)


# By hand: 0002 is as good as 0001 and came later; 0004 failed; 0005 has not ended.
ROWS = [
    row("0000", 0.5, 100, 4.0),
    row("0001", 0.9, 300, 2.0),
    row("0002", 0.9, 300, 1.0),
    row("0003", 0.7, 200, 3.0),
    row("0004", None, state="FAILED"),
    row("0005", None, state="RUNNING"),
    row("0006", 0.8, None, None, state="STOPPED"),
]


def trials(rows):
    return [row.trial for row in rows]


def test_best_comes_first_and_what_has_no_score_last():
    assert trials(ranked(ROWS, "max")) == ["0001", "0002", "0006", "0003", "0000", "0004", "0005"]
    assert trials(ranked(ROWS, "min")) == ["0000", "0003", "0006", "0001", "0002", "0004", "0005"]
    assert trials(ranked(ROWS[::-1], "max")) == trials(ranked(ROWS, "max"))


def test_the_best_has_a_score_and_stays_below_the_limits():
    best_first = ranked(ROWS, "max")
    assert best_row(best_first).trial == "0001"
    assert best_row(best_first, TrialLimits(parameters=299)).trial == "0003"
    assert best_row(best_first, TrialLimits(latency_ms=1.5)).trial == "0002"
    assert best_row(best_first, TrialLimits(latency_ms=3.0, parameters=200)).trial == "0003"
    # What a stopped trial costs is not known here, so no limit lets it pass.
    assert best_row(best_first[2:]).trial == "0006"
    assert best_row(best_first[2:], TrialLimits(parameters=1000)).trial == "0003"
    assert best_row(best_first, TrialLimits(parameters=99)) is None
    assert best_row(ROWS[4:6]) is None


def test_a_failed_or_running_trial_is_never_the_best_whatever_it_had_reached():
    for state in ("FAILED", "RUNNING", "SKIPPED"):
        assert best_row([row("0000", 1.0, state=state), row("0001", 0.1)]).trial == "0001"


def test_the_front_by_hand():
    best_first = ranked(ROWS, "max")
    assert trials(pareto_front(best_first, "parameters")) == ["0001", "0003", "0000"]
    # 0002 has the score of 0001 at half its latency.
    assert trials(pareto_front(best_first, "latency_ms")) == ["0002"]
    assert trials(pareto_front(ranked(ROWS, "min"), "latency_ms")) == ["0000", "0003", "0002"]
    assert pareto_front([ROWS[4], ROWS[6]], "parameters") == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_the_front_is_all_that_nothing_beats(pairs):
    rows = [row(f"{n:04d}", score, cost) for n, (score, cost) in enumerate(pairs)]
    front = {(r.score, r.parameters) for r in pareto_front(ranked(rows, "max"), "parameters")}
    for score, cost in pairs:
        beaten = any((s > score and c <= cost) or (s == score and c < cost) for s, c in pairs)
        assert ((score, cost) in front) == (not beaten)
    assert len(front) == len(pareto_front(ranked(rows, "max"), "parameters")), "one of equals"


@pytest.mark.parametrize("mode", ["max", "min"])
def test_of_equal_scores_the_smaller_model_is_first_whatever_was_measured(mode):
    rows = [
        row("0000", 0.9, 300, 9.0), row("0001", 0.9, 100, 8.0), row("0002", 0.9, None, 1.0),
        row("0003", 0.9, 100, 1.0),
    ]  # fmt: skip
    assert trials(ranked(rows, mode)) == ["0001", "0003", "0000", "0002"]
    assert trials(ranked(rows[::-1], mode)) == trials(ranked(rows, mode))
    # Ranked by number of parameters, yet the front of latency knows the fastest of equals.
    assert trials(pareto_front(ranked(rows, mode), "latency_ms")) == ["0003"]
    assert trials(pareto_front(ranked(rows, mode), "parameters")) == ["0001"]


def test_rows_below_limits_and_on_a_front_are_chosen():
    search = Search(Path(), {"mode": "max"}, ranked(ROWS, "max"))
    assert chosen_rows(search, TrialLimits()) == search.rows
    assert trials(chosen_rows(search, TrialLimits(parameters=200))) == ["0003", "0000"]
    assert trials(chosen_rows(search, TrialLimits(), "latency")) == ["0002"]
    assert trials(chosen_rows(search, TrialLimits(latency_ms=1.0), "parameters")) == ["0002"]
    with pytest.raises(DataError, match="--pareto is 'price'; use one of latency, parameters"):
        chosen_rows(search, TrialLimits(), "price")


def write_record(directory, record):
    path = directory / "trials" / record["trial"] / "trial.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def begun(directory, mode="max"):
    (directory / "search.json").write_text(json.dumps({"mode": mode, "format": 2}))
    return directory


def test_a_record_becomes_a_row():
    record = {"trial": "0003", "state": "COMPLETED", "values": {"units": 8}, "score": 0.5,
              "parent": "0001", "bracket": 2, "round": 1, "seed": 77, "until": 9,
              "attempts": [{"outcome": "died"}, {"outcome": "completed"}]}  # fmt: skip
    assert trial_row(record) == TrialRow(
        "0003", "COMPLETED", {"units": 8}, score=0.5, seed=77, parent="0001", bracket=2, round=1,
        attempts=2,
    )  # fmt: skip


def test_a_search_is_read_from_its_files_ranked(tmp_path):
    begun(tmp_path, "min")
    for each in ROWS[:4]:
        write_record(tmp_path, {**asdict(each), "attempts": []})
    search = read_search(tmp_path)
    assert search.mode == "min"
    assert search.rows == ranked(ROWS[:4], "min")


def test_a_torn_record_is_left_out(tmp_path):
    begun(tmp_path)
    paths = [write_record(tmp_path, {**asdict(each), "attempts": []}) for each in ROWS[:3]]
    paths[1].write_text(paths[1].read_text()[:40])
    (tmp_path / "trials" / "0009").mkdir()
    assert trials(read_search(tmp_path).rows) == ["0002", "0000"]


def test_curves_are_read_from_the_histories_of_all_executions(tmp_path):
    begun(tmp_path)
    for execution, scores in enumerate(([0.1, 0.5], [0.2])):
        run = tmp_path / "trials" / "0000" / f"run-{execution}"
        run.mkdir(parents=True)
        lines = [f"{epoch},{score}\n" for epoch, score in enumerate(scores)]
        (run / "history.csv").write_text("epoch,val_score\n" + "".join(lines))
    assert read_search(tmp_path).curves("0000") == [
        [{"epoch": 0.0, "val_score": 0.1}, {"epoch": 1.0, "val_score": 0.5}],
        [{"epoch": 0.0, "val_score": 0.2}],
    ]
    assert read_search(tmp_path).curves("0001") == []


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '"min"'])
def test_what_is_no_search_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "search.json").write_text(content)
    with pytest.raises(DataError, match=r"search\.json is missing or broken") as error:
        read_search(tmp_path)
    assert str(tmp_path) in str(error.value)


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_leaderboard_is_a_table_of_trials_whose_spaces_may_differ(tmp_path):
    one = replace(ROWS[0], values={"units": 8, "name": 'a,"b"\nc'}, seed=3, attempts=2)
    other = replace(ROWS[4], values={"new": True})
    write_csv([one, other], tmp_path / "leaderboard.csv")
    first, second = read_csv(tmp_path / "leaderboard.csv")
    assert list(first) == [
        "rank", "trial", "state", *COLUMNS, "seed", "attempts", "pruned", "name", "new", "units"
    ]  # fmt: skip
    assert (first["rank"], first["trial"], first["state"]) == ("1", "0000", "COMPLETED")
    assert (first["score"], first["parameters"], first["latency_ms"]) == ("0.5", "100", "4.0")
    assert (first["units"], first["name"], first["new"]) == ("8", 'a,"b"\nc', "")
    assert (first["seed"], first["attempts"]) == ("3", "2")
    assert (second["rank"], second["score"], second["new"]) == ("2", "", "True")


def test_a_trial_that_nobody_runs_is_not_said_to_run(tmp_path):
    write_json(tmp_path / "search.json", {"mode": "max"})
    write_json(tmp_path / "trials" / "0000" / "trial.json", {"trial": "0000", "state": "RUNNING"})
    lock = SearchLock(tmp_path)
    assert [one.state for one in read_search(tmp_path).rows] == ["RUNNING"]
    lock.close()  # what a kill does, too
    assert [one.state for one in read_search(tmp_path).rows] == ["INTERRUPTED"]
