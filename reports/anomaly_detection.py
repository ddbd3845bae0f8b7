"""Anomalies marked on their series, and answers as a csv."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.anomaly_detection import SeriesExample
from pipelines.answer_files import AskedFile, beside, write_answer_rows
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
    raw: Sequence[dict[str, Any]],
    answers: Sequence[dict[str, Any]],
    path: Path,
    asked: AskedFile | None = None,
) -> list[Path]:
    """Writes the rows and what they were found to be, and a png beside it.

    Args:
        raw: series.
        answers: to them.
        path: of a csv, tsv or jsonl file.
        asked: the file that the series are of. Its rows are written as they are there, with
            ``score,anomaly,alarm,<column>_expected...`` after their own columns; a row that was
            not used has none. Without it a row is ``series,time,score,anomaly,alarm,<column>,
            <column>_expected...``.
    """
    names = list(answers[0]["expected"])
    found = [row for pair in zip(raw, answers, strict=True) for row in _judged_rows(*pair)]
    lines = asked.by_line() if asked else {}
    if lines and all(line in lines for line, _ in found):
        of_line = dict(found)
        rows = [beside(columns, of_line.get(line, {})) for line, columns in lines.items()]
    else:
        places = (place for pair in zip(raw, answers, strict=True) for place in _places(*pair))
        rows = [beside(*pair) for pair in zip(places, (row for _, row in found), strict=True)]
    write_answer_rows(path, rows)
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


def _judged_rows(
    one: dict[str, Any], answer: dict[str, Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line in its file of each row of a series, -1 if it has none, and what was found."""
    alarms, lines = set(answer["alarms"]), one.get("lines")
    for i, score in enumerate(answer["score"]):
        expected = {f"{name}_expected": _rounded(v[i]) for name, v in answer["expected"].items()}
        verdict = {"score": _rounded(score), "anomaly": answer["anomaly"][i]}
        line = -1 if lines is None else int(lines[i])
        yield line, {**verdict, "alarm": int(i in alarms), **expected}


def _places(one: dict[str, Any], answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Series, time and values of each row."""
    times = answer.get("times", range(1, len(answer["score"]) + 1))
    for time, values in zip(times, one["values"], strict=True):
        row = {"series": answer["series"], "time": time}
        yield {**row, **dict(zip(answer["expected"], map(_rounded, values), strict=True))}


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
