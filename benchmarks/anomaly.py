"""Detectors on the Numenta Anomaly Benchmark's files beside simple baselines.

    python benchmarks/anomaly.py --data ../shared/data/nab

Each file is a series of its own: the first 15 % of its rows, NAB's probation, are train (12) and
validation (3), the rest is judged with labels that nothing before has read but to leave labelled
anomalies out of a threshold. All thresholds come from train. The networks raise an alarm
for each event; simple detectors raise one at most a quarter of a season. NAB's score is over
all files together, at that threshold and at the best for the labels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from measuring import report

import tasks
from models.anomaly_detection import robust_threshold
from models.anomaly_detection_baselines import moving_mad, seasonal_residual, z_score
from pipelines.anomaly_detection import SeriesExample
from tasks.kinds.anomaly_detection.baseline import label_scores
from tasks.stages.predicting import keras_responses
from tasks.stages.run_directory import Run
from tasks.stages.training import train

SPLIT, WINDOW = "0.12,0.03,0.85", 64
SCORERS = ("residual", "autoencoder")
# Scores of each row, and which of them raise alarms; None: those with none in the rows before.
Judged = tuple[np.ndarray, np.ndarray | None]


def main() -> None:
    """Trains, scores and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/nab"))
    parser.add_argument("--files", nargs="+", help="some of the files, by their names")
    parser.add_argument("--scorers", nargs="+", default=list(SCORERS), choices=SCORERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep runs and pictures here, and use those there")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: {options.data} is not there; name NAB's folder with --data")
        return
    paths = sorted((options.data / "data").rglob("*.csv"))
    paths = [path for path in paths if not options.files or path.stem in options.files]
    scores: dict[str, list[Judged]] = {}
    watched: list[SeriesExample] = []
    quiet: list[int] = []
    for path in paths:
        found, test, season = file_scores(path, options)
        watched.append(test)
        quiet.append(season)
        for name, mine in found.items():
            scores.setdefault(name, []).append(mine)
    rows = [
        row for i, path in enumerate(paths) for row in file_rows(path, i, scores, watched, quiet)
    ]
    for name, mine in scores.items():
        found = judged(mine, watched, max(quiet, key=quiet.count))
        rows.append({"file": "all", "detector": name, **found})
    report(
        "anomaly", [row for part in rows for row in (part if isinstance(part, list) else [part])]
    )


def judged(found: list[Judged], watched: list[SeriesExample], quiet: int) -> dict[str, float]:
    """All metrics of one detector over some files."""
    scores, alarms = zip(*found, strict=True)
    return label_scores(scores, watched, quiet, None if alarms[0] is None else alarms)


def file_scores(path: Path, options) -> tuple[dict[str, Judged], SeriesExample, int]:
    """Scores of every detector for one file, in units of its threshold, and its alarms."""
    task = tasks.get("anomaly")
    labels = str(options.data / "labels" / "combined_windows.json")
    with path.open() as file:
        rows = sum(1 for _ in file) - 1
    window = min(WINDOW, int(0.03 * rows))  # validation must hold one
    data = task.data_options(str(path), split=SPLIT, labels=labels, window=window)
    splits = task.load(data)
    test, found = splits.test[0], {}
    for scorer in options.scorers:
        began = time.perf_counter()
        settings = task.with_settings(task.settings, {"scorer": scorer})
        keras.utils.set_random_seed(options.seed)
        with tempfile.TemporaryDirectory() as scratch:
            run = Run((options.out or Path(scratch)) / f"{path.stem}-{scorer}")
            if not run.finished:
                train(task, data, settings, run, seed=options.seed, splits=splits)
            pre, model = run.preprocessor(), run.model()
        response = keras_responses(task, model, pre, [test.raw()])
        found[scorer] = response["score"][0], pre.raised(response, 0)
        print(f"{path.stem} {scorer}: {time.perf_counter() - began:.0f} s", flush=True)
    values = test.series.values.astype(np.float64)
    rows = int(splits.train.starts.max()) + splits.train.lookback
    season = pre.frequency.season
    simple = {
        "z-score": z_score(values, rows),
        "moving median": moving_mad(values, rows),
        "seasonal residual": seasonal_residual(values, rows, season),
    }
    for name, mine in simple.items():
        found[name] = mine / max(robust_threshold(mine[:rows], "evt", 1e-4), 1e-12), None
    return found, test, pre.quiet


def file_rows(
    path: Path, i: int, scores: dict, watched: list[SeriesExample], quiet: list[int]
) -> list:
    """Scores of one file by each detector."""
    return [
        {"file": path.stem, "detector": name,
         **judged([mine[i]], [watched[i]], quiet[i])}
        for name, mine in scores.items()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
