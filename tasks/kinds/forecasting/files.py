"""Forecasts of a person's own file: the windows to ask about, the csv and picture of answers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError
from common.files import write_aside
from pipelines.forecasting import ForecastPreprocessor
from pipelines.series import Series
from pipelines.series_reader import SeriesColumns, read_series
from tasks.stages.console import tell


def last_windows(
    path: Path, columns: SeriesColumns, pre: ForecastPreprocessor
) -> list[dict[str, Any]]:
    """The last window of each series of a file, to be forecast from where it ends.

    Where columns are known in advance, the rows of the future must be there, with these columns
    filled and the targets empty.

    Raises:
        DataError: the file cannot be read, or is too short.
    """
    if not path.is_file():
        raise DataError(f"--file {path} is not there; name a csv or tsv file")
    series, notes = read_series(path, columns, open_end=bool(pre.known))
    for note in notes:
        tell(f"note: {note}")
    return [_last_window(one, path, pre) for one in series]


def _last_window(one: Series, path: Path, pre: ForecastPreprocessor) -> dict[str, Any]:
    targets, inputs = len(pre.targets), len(pre.targets) + len(pre.covariates)
    now = len(one) - int(np.isnan(one.values[:, :targets]).all(1)[::-1].argmin())
    first, end = now - pre.lookback, now + pre.horizon if pre.known else now
    if first < 0:
        raise DataError(
            f"{path}: {one.name} has {now} rows; this model looks back over {pre.lookback}"
        )
    if end > len(one):
        raise DataError(
            f"{path}: {one.name} has {len(one) - now} rows after the last {one.columns[0]}; "
            f"{', '.join(pre.known)} must be given for all {pre.horizon} steps of the future, "
            "in rows with empty targets"
        )
    return {
        "series": one.name,
        "values": one.values[first:now, :inputs],
        "time": int(one.times[now - 1]),
        "known": one.values[first:end, inputs:],
        "times": one.times[first:now],
    }


def write_forecasts(
    raw: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]], path: Path
) -> list[Path]:
    """Writes ``series,time,column,mean,q0.025...`` rows, and a png of the same name."""
    from tasks.kinds.forecasting.pictures import draw_future

    levels = [name for name in _columns(answers[0])[0][1] if name != "mean"]
    with write_aside(path) as file:
        writer = csv.writer(file)
        writer.writerow(["series", "time", "column", "mean", *(f"q{level}" for level in levels)])
        for answer in answers:
            for column, values in _columns(answer):
                for step, mean in enumerate(values["mean"]):
                    rest = [f"{values[level][step]:.7g}" for level in levels]
                    time = answer["times"][step] if "times" in answer else step + 1
                    writer.writerow([answer["series"], time, column, f"{mean:.7g}", *rest])
    picture = path.with_suffix(".png")
    draw_future(raw, answers, picture)
    return [path, picture]


def _columns(answer: dict[str, Any]) -> list[tuple[str, dict[str, list[float]]]]:
    return [(name, value) for name, value in answer.items() if name not in ("series", "times")]
