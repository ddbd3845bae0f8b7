"""A search's directory as version 0.1 wrote it: read, and continued, under today's names."""

import json

import keras_tuner as kt
import pytest

from tuning.leaderboard import best_row, read_search
from tuning.search_config import save_search_config
from tuning.strategies import discover
from tuning.trial_records import TrialRecords

SEARCH = """{
  "format": 2, "task": "sentiment", "data": {"source": "synthetic:200", "seed": 0, "reading": {}},
  "data_fingerprint": "0123456789abcdef", "model": {"units": 64}, "preprocessor": {},
  "strategy": "bayesian", "trials": 2, "epochs": 6, "metric": "val_accuracy", "mode": "max",
  "seed": 0, "executions": 1, "lag": 5,
  "space": [{"class_name": "Choice", "config": {"name": "units", "default": 64, "conditions": [],
             "values": [32, 64], "ordered": true}}]
}"""
TRIALS = (
    """{"trial": "0000", "state": "CUT", "values": {"units": 64}, "until": 6, "parent": null,
        "bracket": null, "round": null, "seed": 7, "score": 0.75, "scores": [0.75], "epochs": 2,
        "best_epoch": 2, "parameters": 100, "latency_ms": 0.5, "seconds": 4.0, "spread": null,
        "message": null, "ended_at": 5.0,
        "attempts": [{"outcome": "died", "epochs_before": 0, "blame": "trial", "seconds": null},
                     {"outcome": "cut", "epochs_before": 0, "seconds": 4.0}]}""",
    """{"trial": "0001", "state": "COMPLETED", "values": {"units": 32}, "until": 6, "parent": null,
        "bracket": null, "round": null, "seed": 8, "score": 0.7, "scores": [0.7], "epochs": 6,
        "attempts": [{"outcome": "completed", "epochs_before": 0, "seconds": 9.0}]}""",
)


@pytest.fixture
def old_search(tmp_path):
    (tmp_path / "search.json").write_text(SEARCH)
    for number, record in enumerate(TRIALS):
        directory = tmp_path / "trials" / f"{number:04d}"
        directory.mkdir(parents=True)
        (directory / "trial.json").write_text(record)
    return tmp_path


def asked(**changes):
    """The same search, as the current version asks for it."""
    about = {name: value for name, value in json.loads(SEARCH).items() if name != "lag"}
    del about["format"]
    space = discover(lambda hp: hp.Choice("units", [32, 64], default=64))
    assert space.get_config()["space"] == kt.HyperParameters.from_config(
        {"space": about["space"], "values": {}}
    ).get_config()["space"]  # fmt: skip
    return about | {"max_pending": 3, "space": space.get_config()["space"]} | changes


def test_an_old_leaderboard_is_read(old_search):
    rows = read_search(old_search).rows
    assert [(row.trial, row.state, row.attempts) for row in rows] == [
        ("0000", "STOPPED", 2), ("0001", "COMPLETED", 1)
    ]  # fmt: skip
    assert best_row(rows).trial == "0000"


def test_old_records_have_the_names_of_today(old_search):
    records = TrialRecords(old_search, "max")
    assert [records.by_number[n]["state"] for n in range(2)] == ["STOPPED", "COMPLETED"]
    attempts = records.by_number[0]["attempts"]
    assert attempts[0]["cause"] == "trial"
    assert "blame" not in attempts[0]
    records.save(0)
    text = (old_search / "trials" / "0000" / "trial.json").read_text()
    assert json.loads(text)["state"] == "STOPPED"


def test_an_old_search_goes_on_with_its_lag_as_max_pending(old_search):
    saved = save_search_config(old_search, asked(trials=9))
    assert saved["max_pending"] == 5
    written = json.loads((old_search / "search.json").read_text())
    assert (written["max_pending"], written["trials"]) == (5, 9)
    assert "lag" not in written
