"""Every kind reads a DataFrame, a dict of parts, and the files that these are stored as."""

import numpy as np
import pandas as pd
import pytest

import tasks
from pipelines.frames import stored
from tasks.kinds.contract import DataOptions
from tasks.stages.run_directory import Run
from tasks.stages.training import evaluate, train


def reviews():
    return pd.DataFrame({"text": [f"text {n}" for n in range(40)], "label": [True, False] * 20})


def sensor():
    index = pd.date_range("2020-01-01", periods=600, freq="h", tz="Europe/Berlin")
    values = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)
    return pd.DataFrame(values, columns=["a", "b"], index=index)


FRAMES = {
    "sentiment": (reviews, {}),
    "forecast": (sensor, {"target": "a", "known": "b", "lookback": 24, "horizon": 6}),
    "anomaly": (sensor, {"target": "a", "window": 16}),
}


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("name", FRAMES)
def test_memory_and_what_it_is_stored_as_are_one_data_set(name, in_parts, tmp_path):
    make, reading = FRAMES[name]
    frame, task = make(), tasks.get(name)
    cuts = np.array([6, 8]) * len(frame) // 10
    parts = dict(zip(("train", "dev", "test"), np.split(np.arange(len(frame)), cuts), strict=True))
    source = {part: frame.iloc[rows] for part, rows in parts.items()} if in_parts else frame
    here = task.load(DataOptions(source, reading=reading))
    there = task.load(DataOptions(stored(source, tmp_path / "data"), reading=reading))
    assert here.fingerprint == there.fingerprint
    assert (here.name, here.notes) == (there.name, there.notes)
    assert len(here.train) == len(there.train)
    assert len(here.test) == len(there.test)


@pytest.mark.slow
def test_a_run_keeps_the_table_that_it_learned_from(tmp_path):
    task, run = tasks.get("sentiment"), Run(tmp_path / "run")
    settings = task.with_settings(task.settings, {**task.quick, "epochs": 1})
    trained = train(task, task.data_options(reviews()), settings, run)
    assert run.config()["data"]["source"] == str(tmp_path / "run" / "data")
    assert evaluate(Run(tmp_path / "run"))["metrics"] == trained["metrics"]
