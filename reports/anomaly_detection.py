"""Anomalies marked on their series, and answers as a csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from common.files import write_aside
from pipelines.anomaly_detection import SeriesExample
from pipelines.frequency import Frequency
from pipelines.responses import Responses
from pipelines.series import Series

BLUE, RED, SHADE, GREY = "#2c6fad", "#c8372d", "#f2c14e", "#8a8f98"
MOST_SERIES, MOST_COLUMNS = 8, 3


def draw_detections(
    outputs: Responses, examples: Sequence[SeriesExample], directory: Path
) -> list[str]:
    """Writes ``anomalies_<series>.png`` for the first series."""
    directory.mkdir(parents=True, exist_ok=True)
    names = []
    for i, one in enumerate(examples[:MOST_SERIES]):
        name = f"anomalies_{_plain(one.series.name)}.png"
        figure = _figure(one.series, outputs["score"][i], outputs["anomaly"][i], one.first)
        figure.savefig(directory / name, dpi=110)
        names.append(name)
    return names


def _figure(series: Series, score: np.ndarray, anomaly: np.ndarray, first: int) -> Figure:
    columns = series.columns[:MOST_COLUMNS]
    figure = Figure((9, 1.6 * len(columns) + 1.6), layout="constrained")
    *panels, below = figure.subplots(len(columns) + 1, 1, sharex=True)
    dates = series.frequency.axis(series.times)
    marked = np.flatnonzero(np.asarray(anomaly) == 1)
    for c, ax in enumerate(panels):
        ax.plot(dates, series.values[:, c], color=BLUE, lw=0.7)
        ax.plot(dates[marked], series.values[marked, c], ".", color=RED, ms=3)
        ax.set_title(series.columns[c], fontsize=8, loc="left")
    below.plot(dates, np.maximum(score, 1e-3), color=GREY, lw=0.7)
    below.axhline(1, color=RED, lw=0.8, ls="--")
    below.set_yscale("log")
    below.set_title("score; 1 is the threshold", fontsize=8, loc="left")
    for ax in (*panels, below):
        for start, end in series.windows:
            ax.axvspan(dates[start], dates[end], color=SHADE, alpha=0.4, lw=0)
        if first:
            ax.axvspan(dates[0], dates[first], color=GREY, alpha=0.12, lw=0)
        ax.tick_params(labelsize=7)
    return figure


def write_detections(
    raw: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]], path: Path
) -> list[Path]:
    """Writes ``series,time,score,anomaly,<column>,<column>_expected...`` and a png beside it."""
    names = list(answers[0]["expected"])
    with write_aside(path) as file:
        writer = csv.writer(file)
        columns = [column for name in names for column in (name, f"{name}_expected")]
        writer.writerow(["series", "time", "score", "anomaly", "alarm", *columns])
        for one, answer in zip(raw, answers, strict=True):
            times = answer.get("times", range(1, len(answer["score"]) + 1))
            alarms = set(answer["alarms"])
            for i, time in enumerate(times):
                values = [
                    f"{value:.7g}"
                    for c, name in enumerate(names)
                    for value in (one["values"][i][c], answer["expected"][name][i])
                ]
                verdict = [f"{answer['score'][i]:.6g}", answer["anomaly"][i], int(i in alarms)]
                writer.writerow([answer["series"], time, *verdict, *values])
    one, answer = raw[0], answers[0]
    values = np.asarray(one["values"], np.float32)
    times = np.asarray(one.get("time", np.arange(len(values))), np.int64)
    counted = "times" not in answer or not isinstance(answer["times"][0], str)
    step = Frequency(1, counter=counted)  # only tells whether the axis has dates
    series = Series(answer["series"], times, values, tuple(names), step)
    picture = path.with_suffix(".png")
    figure = _figure(series, np.array(answer["score"]), np.array(answer["anomaly"]), 0)
    figure.savefig(picture, dpi=110)
    return [path, picture]


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
