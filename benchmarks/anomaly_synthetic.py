"""What a detector finds of anomalies that were made, how often it calls, and whom it blames.

    python benchmarks/anomaly_synthetic.py
    python benchmarks/anomaly_synthetic.py --columns 2 10 50

One detector is trained on clean days of five-minute rows with noise. Then each kind of anomaly is
written several times into the days that follow, in a series of its own each, and each is judged
with the rows around it: was there an alarm while it lasted, how many, and how many elsewhere?

With ``--columns`` a machine of so many sensors is made instead, which share a load beside their own
day and noise. Each anomaly is written into one column, and the question is whether its alarms
blame that one. The simple answer beside it is the column that is farthest from its median of train
at that time of the day, in its own robust deviations.
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
from pipelines.anomaly_causes import causing, shares
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


def machine(draw: np.random.Generator, days: int, phases: np.ndarray) -> np.ndarray:
    """Sensors that share a load: ``<float64>[rows, columns]``.

    Args:
        draw: of the noise.
        days: how many.
        phases: part of the day at which each column has its middle, ``<float64>[columns]``.
    """
    load = clean(draw, days) - 10
    columns = [clean(draw, days) for _ in phases]
    shifts = (phases * DAY).astype(int)
    return np.stack([
        x + 0.3 * np.roll(load, shift) for x, shift in zip(columns, shifts, strict=True)
    ], -1)  # fmt: skip


def detector(values: np.ndarray, options, stride: int = 1) -> tuple:
    """A trained task's preprocessor and model, with the time of each row."""
    task = tasks.get("anomaly")
    stamps = pd.date_range("2024-01-01", periods=len(values), freq="5min")
    names = [f"x{c}" for c in range(values.shape[1])]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "train.csv"
        pd.DataFrame(values, columns=names).assign(time=stamps).to_csv(path, index=False)
        data = task.data_options(
            str(path), split=f"{DAY * (TRAIN_DAYS - 1)},{DAY},{AFTER_DAYS * DAY}", stride=stride
        )
        keras.utils.set_random_seed(options.seed)
        run = Run(Path(scratch) / "run")
        train(task, data, task.settings, run, seed=options.seed)
        return run.preprocessor(), run.model(), stamps.to_numpy("datetime64[s]").astype(np.int64)


def blame_rows(columns: int, options) -> list[dict]:
    """How often alarms blame the column that an anomaly was written into, kind by kind."""
    draw = np.random.default_rng(options.seed)
    days, phases = TRAIN_DAYS + AFTER_DAYS, draw.random(columns)
    train_values = machine(draw, days, phases)
    pre, model, times = detector(train_values, options, stride=8)
    seen = train_values[: DAY * TRAIN_DAYS].reshape(TRAIN_DAYS, DAY, columns)
    usual = np.median(seen, 0)
    spread = np.median(np.abs(seen - usual), (0, 1))
    rows = []
    for kind, spoil in KINDS.items():
        found = {"caught": 0, "alarms": 0, "first": 0, "named": 0, "names": 0, "simple": 0}
        for _ in range(options.times):
            x, column = machine(draw, days, phases), int(draw.integers(columns))
            span = spoil(x[:, column], draw)
            if span.stop == 0:
                break
            raw = {"values": x.astype(np.float32), "time": times}
            response = keras_responses(tasks.get("anomaly"), model, pre, [raw])
            called = np.flatnonzero(pre.raised(response, 0)[span]) + span.start
            share = shares(response["contribution"][0][called])
            away = np.abs(x[called] - usual[called % DAY]) / spread
            blamed = causing(share)
            found["caught"] += len(called) > 0
            found["alarms"] += len(called)
            found["first"] += int((share.argmax(-1) == column).sum())
            found["named"] += int(blamed[:, column].sum())
            found["names"] += int(blamed.sum())
            found["simple"] += int((away.argmax(-1) == column).sum())
        else:
            count = max(1, found["alarms"])
            rows.append({
                "columns": columns, "kind": kind, "series": options.times,
                "recall": found["caught"] / options.times, "alarms": found["alarms"],
                "true column first": found["first"] / count,
                "true column named": found["named"] / count,
                "columns named": found["names"] / count,
                "farthest from its day": found["simple"] / count,
                "chance": 1 / columns,
            })  # fmt: skip
    return rows


def main() -> None:
    """Trains, spoils and counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=int, default=TIMES, help="series of each kind")
    parser.add_argument("--columns", type=int, nargs="+", help="sensors of a machine")
    options = parser.parse_args()
    if options.columns:
        report("anomaly_blame", [row for n in options.columns for row in blame_rows(n, options)])
    else:
        report("anomaly_synthetic", alarm_rows(options))


def alarm_rows(options) -> list[dict]:
    """What is found of each kind, and how many alarms there are."""
    draw = np.random.default_rng(options.seed)
    days, task = TRAIN_DAYS + AFTER_DAYS, tasks.get("anomaly")
    pre, model, times = detector(clean(draw, days)[:, None], options)
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
    return rows


if __name__ == "__main__":
    main()
