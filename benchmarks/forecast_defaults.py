"""Forecasts as `seqloom train forecast` gives them when nobody sets anything but the horizon.

    python benchmarks/forecast_defaults.py --data ../shared/data
    python benchmarks/forecast_defaults.py --data ../shared/data --only ETTh1-96 stocks-1

Every case stands beside the last value, the season before, ridge regression, exponential smoothing
and, where train holds years, the mean of the same days of earlier years. A case that is measured
again replaces its row in the results; the others stay, each with its date and command.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import date
from pathlib import Path

from measuring import RESULTS, report

import tasks
from tasks.stages.run_directory import Run
from tasks.stages.training import train

NAME = "forecast_defaults"
ETT = {"split": "8640,2880,2880"}
# By name: file, and how it is read.
CASES = {
    "ETTh1-24": ("ett/ETTh1.csv", {**ETT, "horizon": 24}),
    "ETTh1-96": ("ett/ETTh1.csv", {**ETT, "horizon": 96}),
    "ETTh1-336": ("ett/ETTh1.csv", {**ETT, "horizon": 336}),
    "airline-12": (
        "brownlee_series/airline-passengers.csv", {"split": "0.5,0.17,0.33", "horizon": 12},
    ),
    "temperatures-7": (
        "brownlee_series/daily-min-temperatures.csv", {"split": "0.8,0.1,0.1", "horizon": 7},
    ),
    "stocks-1": ("stocks/stockdata.csv", {"horizon": 1}),
    "stocks-24": ("stocks/stockdata.csv", {"horizon": 24}),
    "seattle-1": ("weather/2016-weather-data-seattle.csv", {"horizon": 1}),
    "seattle-7": ("weather/2016-weather-data-seattle.csv", {"horizon": 7}),
}  # fmt: skip


def main() -> None:
    """Trains each case, and reports after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the runs, with their pictures, here")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: {options.data} is not there; name the folder of the series with --data")
        return
    path = RESULTS / f"{NAME}.json"
    rows = (
        {row["case"]: row for row in json.loads(path.read_text())["rows"]} if path.is_file() else {}
    )
    for name in options.only:
        rows[name] = row(name, options)
        report(NAME, [rows[case] for case in CASES if case in rows])


def row(name: str, options: argparse.Namespace) -> dict:
    """One training and its scores."""
    task, (file, reading) = tasks.get("forecast"), CASES[name]
    data = task.data_options(str(options.data / file), **reading)
    with tempfile.TemporaryDirectory() as scratch:
        run = Run((options.out or Path(scratch)) / name)
        result = train(task, data, task.settings, run, seed=options.seed)
        config, found = run.config(), run.preprocessor().validated
    test, baseline = result["metrics"]["test"], result["baseline"]["test"]
    model = config["model"]
    chosen = {key: model[key] for key in ("units", "segment", "batch_size", "normalise", "linear")}
    return {
        "case": name,
        "date": date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "lookback": config["data"]["reading"]["lookback"],
        **chosen,
        "validation mse": result["metrics"]["validation"]["mse"],
        "validation network mse": found["mse"]["network"],
        "validation baseline mse": found["mse"].get(found["baseline"]),
        "network share": found["network_share"],
        "blended with": found["baseline"],
        **{key: value for key, value in test.items() if key != "quantile_loss"},
        "baseline": result["baseline"]["name"],
        **{f"baseline {key}": baseline[key] for key in baseline if key.startswith("mae_")},
        **{key: value for key, value in baseline.items() if key.endswith("_mse")},
        "epochs": result["epochs"],
        "training s": result["seconds"],
        "remarks": result["remarks"],
    }


if __name__ == "__main__":
    main()
