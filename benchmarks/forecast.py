"""Forecasts of ETTh1 and of smaller series beside their baselines, and what intervals cover.

    python benchmarks/forecast.py --data ../shared/data
    python benchmarks/forecast.py --data ../shared/data --only ETTh1 --horizons 24 96

ETTh1 is split as in the literature (8640, 2880 and 2880 rows), standardised by train, all seven
columns forecast; scores are on standardised values over every window of the test part. Settings
were chosen on validation; test is read once. The last cases are trained with the defaults, but for
the number of epochs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measuring import report

import tasks
from tasks.stages.run_directory import Run
from tasks.stages.training import train

ETT = {"split": "8640,2880,2880"}
MIDDLE = {"units": 128, "embedding_dim": 128, "epochs": 14}
LARGE = {"linear": False, "segment": 48, "batch_size": 128, "epochs": 12}
SMALL = {"units": 16, "embedding_dim": 16, "dropout": 0.1, "epochs": 200, "patience": 30,
         "batch_size": 16, "average": 0.9}  # fmt: skip
# Data, horizon, how it is read, and what differs from the defaults.
CASES = [
    ("ETTh1", 24, {**ETT, "lookback": 336}, MIDDLE),
    ("ETTh1", 48, {**ETT, "lookback": 336}, MIDDLE),
    ("ETTh1", 96, {**ETT, "lookback": 720}, LARGE),
    ("ETTh1", 192, {**ETT, "lookback": 720}, {**LARGE, "epochs": 8}),
    ("ETTh1", 336, {**ETT, "lookback": 720}, {**LARGE, "epochs": 8}),
    ("ETTh1", 720, {**ETT, "lookback": 720}, {**LARGE, "epochs": 6}),
    ("airline-passengers", 12, {"lookback": 24, "split": "0.5,0.17,0.33"},
     {**SMALL, "segment": 12, "normalise": "mean_std"}),
    ("daily-min-temperatures", 7, {"lookback": 365, "split": "0.8,0.1,0.1"},
     {**SMALL, "segment": 7, "epochs": 40, "batch_size": 64}),
    ("stockdata", 1, {"lookback": 168}, {}),
    ("stockdata", 24, {"lookback": 168}, {}),
    ("2016-weather-data-seattle", 7, {"lookback": 60, "target": "Mean_TemperatureC"},
     {"epochs": 3}),
    ("synthetic:4000", 24, {"lookback": 168}, {"epochs": 4}),
]  # fmt: skip
FOLDERS = {"ETTh1": "ett", "stockdata": "stocks", "2016-weather-data-seattle": "weather"}


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="+", default=sorted({case[0] for case in CASES}))
    parser.add_argument("--horizons", nargs="+", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the runs, with their pictures, here")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: {options.data} is not there; name the folder of the series with --data")
        return
    rows = []
    for name, horizon, reading, changes in CASES:
        if name not in options.only or horizon not in (options.horizons or [horizon]):
            continue
        path = options.data / FOLDERS.get(name, "brownlee_series") / f"{name}.csv"
        source = name if name.startswith("synthetic") else str(path)
        rows.append(row(name, horizon, source, reading, changes, options))
        print(rows[-1], flush=True)
    report("forecast", rows)


def row(name: str, horizon: int, source: str, reading: dict, changes: dict, options) -> dict:
    """One training and its scores."""
    task = tasks.get("forecast")
    data = task.data_options(source, horizon=horizon, **reading)
    settings = task.with_settings(task.settings, changes)
    with tempfile.TemporaryDirectory() as scratch:
        run = Run((options.out or Path(scratch)) / f"{name}-{horizon}")
        result = train(task, data, settings, run, seed=options.seed)
        found = run.preprocessor().validated
    test, baseline = result["metrics"]["test"], result["baseline"]["test"]
    return {
        "data": name,
        "horizon": horizon,
        "lookback": reading["lookback"],
        "validation mse": result["metrics"]["validation"]["mse"],
        "validation network mse": found["mse"]["network"],
        "network share": found["network_share"],
        "blended with": found["baseline"],
        "windows": found["windows"],
        "independent": found["independent_windows"],
        **{key: value for key, value in test.items() if key != "quantile_loss"},
        **{key: value for key, value in baseline.items() if key.endswith("_mse")},
        "epochs": result["epochs"],
        "training s": result["seconds"],
    }


if __name__ == "__main__":
    main()
