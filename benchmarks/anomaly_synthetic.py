"""What a detector finds of anomalies that were made, and how often it calls: kind by kind.

    python benchmarks/anomaly_synthetic.py

One detector is trained on clean days of five-minute rows with noise. Then each kind of anomaly is
written several times into the days that follow, in a series of its own each, and each is judged
with the rows around it: was there an alarm while it lasted, how many, and how many elsewhere?
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from measuring import report

import tasks
from pipelines.anomaly_detection import alarms
from tasks.stages.predicting import keras_responses
from tasks.stages.run_directory import Run
from tasks.stages.training import train

DAY, TRAIN_DAYS, AFTER_DAYS, TIMES = 288, 10, 6, 8
NOISE = 0.3
BEGIN = DAY * (TRAIN_DAYS + 2)
LONG = 2 * DAY  # rows of what lasts


def clean(draw: np.random.Generator, days: int) -> np.ndarray:
    """A wave each day and noise that remembers a little: ``<float64>[rows]``."""
    rows = np.arange(days * DAY)
    noise = np.zeros(len(rows))
    for t, shock in enumerate(draw.normal(0, NOISE, len(rows))):
        noise[t] = 0.5 * noise[t - 1] + shock if t else shock
    return 10 + 3 * np.sin(2 * np.pi * rows / DAY) + noise


def shift(x: np.ndarray, draw: np.random.Generator) -> slice:
    """Another level from here to the end."""
    x[BEGIN:] += draw.choice([-1, 1]) * draw.uniform(4, 8)
    return slice(BEGIN, len(x))


def drift(x: np.ndarray, draw: np.random.Generator) -> slice:
    """Slowly off within two days, and there it stays."""
    size = draw.choice([-1, 1]) * draw.uniform(4, 8)
    x[BEGIN:] += size * np.minimum(np.arange(len(x) - BEGIN) / LONG, 1)
    return slice(BEGIN, len(x))


def spike(x: np.ndarray, draw: np.random.Generator) -> slice:
    """One to three rows."""
    rows = slice(BEGIN, BEGIN + int(draw.integers(1, 4)))
    x[rows] += draw.choice([-1, 1]) * draw.uniform(5, 8)
    return rows


def stuck(x: np.ndarray, draw: np.random.Generator) -> slice:
    """The same value for two days."""
    rows = slice(BEGIN, BEGIN + LONG)
    x[rows] = x[BEGIN + int(draw.integers(0, DAY))]
    return rows


def missing(x: np.ndarray, draw: np.random.Generator) -> slice:
    """A tenth of a day without rows: nothing to find, and nobody to call."""
    x[BEGIN : BEGIN + DAY // 10] = np.nan
    return slice(0, 0)


def variance(x: np.ndarray, draw: np.random.Generator) -> slice:
    """Three times the noise for two days."""
    rows = slice(BEGIN, BEGIN + LONG)
    x[rows] += draw.normal(0, 2 * np.sqrt(2) * NOISE, LONG)
    return rows


def nothing(x: np.ndarray, draw: np.random.Generator) -> slice:
    """As in train."""
    return slice(0, 0)


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], slice]] = {
    "level shift": shift,
    "drift": drift,
    "spike": spike,
    "stuck value": stuck,
    "change of variance": variance,
    "missing rows": missing,
    "nothing": nothing,
}


def main() -> None:
    """Trains, spoils and counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=int, default=TIMES, help="series of each kind")
    options = parser.parse_args()
    draw = np.random.default_rng(options.seed)
    days = TRAIN_DAYS + AFTER_DAYS
    task, stamps = (
        tasks.get("anomaly"),
        pd.date_range("2024-01-01", periods=days * DAY, freq="5min"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "train.csv"
        pd.DataFrame({"time": stamps, "x": clean(draw, days)}).to_csv(path, index=False)
        data = task.data_options(
            str(path), split=f"{DAY * (TRAIN_DAYS - 1)},{DAY},{AFTER_DAYS * DAY}"
        )
        keras.utils.set_random_seed(options.seed)
        run = Run(Path(scratch) / "run")
        train(task, data, task.settings, run, seed=options.seed)
        pre, model = run.preprocessor(), run.model()
    times = stamps.to_numpy().astype("datetime64[s]").astype(np.int64)
    rows = []
    for kind, spoil in KINDS.items():
        hits, inside, outside, before = 0, 0, 0, 0
        for _ in range(options.times):
            x = clean(draw, days)
            span = spoil(x, draw)
            kept = ~np.isnan(x)
            raw = {"values": x[kept, None].astype(np.float32), "time": times[kept]}
            response = keras_responses(task, model, pre, [raw])
            called = np.zeros(len(x), bool)
            called[kept] = pre.raised(response, 0)
            called[: DAY * TRAIN_DAYS] = False
            hits += called[span].any()
            inside += called[span].sum()
            outside += called.sum() - called[span].sum()
            quiet = np.zeros(len(x), bool)
            quiet[kept] = alarms(response["anomaly"][0], pre.quiet)
            before += quiet[span].sum()
        rows.append({
            "kind": kind, "series": options.times,
            "recall": hits / options.times if span.stop else None,
            "alarms in each": inside / options.times if span.stop else None,
            "by the quiet alone": before / options.times if span.stop else None,
            "alarms elsewhere": outside / options.times,
        })  # fmt: skip
    report("anomaly_synthetic", rows)


if __name__ == "__main__":
    main()
