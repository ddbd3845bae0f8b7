"""Forecasts as pictures and as a csv: fans against the truth, error by horizon, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.answer_files import AskedFile, beside, write_answer_rows
from pipelines.forecasting import ForecastPreprocessor
from pipelines.ragged import Arrays
from pipelines.windows import Windows
from reports.forecasting_errors import write_errors

BLUE, ORANGE, GREY = "#2c6fad", "#d9730d", "#8a8f98"
MOST_COLUMNS = 4
FANS = 3
MOST_PANELS = 24  # of a page of many series


def draw_forecasts(
    pre: ForecastPreprocessor, outputs: Arrays, examples: Windows, directory: Path
) -> list[str]:
    """Writes ``fans.png``, ``error_by_horizon.png`` and ``residuals.png``, the errors in the data's
    units (``write_errors``), and of several series ``series.png``."""
    directory.mkdir(parents=True, exist_ok=True)
    figures = {
        "fans.png": _fans(pre, outputs, examples),
        "error_by_horizon.png": _error_by_horizon(pre, outputs, examples),
        "residuals.png": _residuals(pre, outputs, examples),
    }
    if len(set(examples.names)) > 1:
        figures["series.png"] = _many_series(pre, outputs, examples)
    for name, figure in figures.items():
        figure.savefig(directory / name, dpi=110)
    return [*figures, *write_errors(pre, outputs, examples, directory)]


def panels(count: int) -> tuple[int, int]:
    """Rows and columns of so many small pictures: one below the other, or up to four in a row."""
    columns = 1 if count <= 3 else min(4, int(np.ceil(np.sqrt(count))))
    return -(-count // columns), columns


def _many_series(pre: ForecastPreprocessor, outputs: Arrays, examples: Windows) -> Figure:
    """The last forecast of each series, the worst first; of many those evenly between."""
    error = np.abs(examples.future() - outputs["mean"])
    relative = (error / np.array(pre.seasonal_error)).mean((1, 2))
    every = sorted(examples.by_series().values(), key=lambda mine: -relative[mine].mean())
    picks = np.unique(np.linspace(0, len(every) - 1, MOST_PANELS).astype(int))
    rows, columns = panels(len(picks))
    figure = Figure((3.4 * columns, 2.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    past = min(pre.lookback, 3 * pre.horizon)
    for ax, pick in zip(axes, picks, strict=False):
        place = int(every[pick][-1])
        window = examples[place]
        steps = np.arange(1 - past, pre.horizon + 1)
        times = pre.frequency.axis(pre.frequency.after(np.int64(window["time"]), steps))
        ax.plot(times[:past], window["values"][-past:, 0], color=GREY, lw=1)
        truth = examples[place : place + 1].future()[0, :, 0]
        ax.plot(times[past:], truth, color="black", lw=1.2)
        _fan(ax, times[past:], outputs["mean"][place, :, 0], outputs["quantiles"][place, :, 0])
        off = error[every[pick]][..., 0].mean()
        _title(ax, f"{window['series']}: off by {off:.3g} on average")
    for ax in axes[len(picks) :]:
        ax.axis("off")
    shown = f"{len(picks)} of {len(every)} series" if len(picks) < len(every) else "all series"
    figure.suptitle(f"{pre.targets[0]}: last forecast of {shown}, the worst first", fontsize=9)
    return figure


def _fans(pre: ForecastPreprocessor, outputs: Arrays, examples: Windows) -> Figure:
    """Some forecasts of the test part, evenly over it, for the first columns."""
    columns = min(len(pre.targets), MOST_COLUMNS)
    places = np.linspace(0, len(examples) - 1, FANS).astype(int)
    figure = Figure((4.6 * len(places), 2.4 * columns), layout="constrained")
    axes = figure.subplots(columns, len(places), squeeze=False)
    past = min(pre.lookback, 3 * pre.horizon)
    truth = examples.future()
    for j, place in enumerate(places):
        window = examples[int(place)]
        steps = np.arange(1 - past, pre.horizon + 1)
        times = pre.frequency.axis(pre.frequency.after(np.int64(window["time"]), steps))
        back, ahead = times[:past], times[past:]
        for c in range(columns):
            ax = axes[c, j]
            ax.plot(back, window["values"][-past:, c], color=GREY, lw=1)
            ax.plot(ahead, truth[place, :, c], color="black", lw=1.2, label="truth")
            _fan(ax, ahead, outputs["mean"][place, :, c], outputs["quantiles"][place, :, c])
            _title(ax, f"{pre.targets[c]}, {window['series']}" if j == 0 else "")
    axes[0, 0].legend(frameon=False, fontsize=7, loc="upper left")
    return figure


def _fan(ax, dates, mean, quantiles) -> None:
    levels = quantiles.shape[-1]
    for low in range(levels // 2):
        ax.fill_between(
            dates, quantiles[:, low], quantiles[:, levels - 1 - low],
            color=BLUE, alpha=0.15 + 0.1 * low, lw=0,
        )  # fmt: skip
    ax.plot(dates, mean, color=BLUE, lw=1.2, label="forecast, 80% and 95%")


def _error_by_horizon(pre: ForecastPreprocessor, outputs: Arrays, examples: Windows) -> Figure:
    """Root of the mean squared error at each step, beside the spread that was promised."""
    scale = pre.target_scale
    truth = examples.future()
    error = (truth - outputs["mean"]) / scale
    steps = np.arange(1, pre.horizon + 1)
    figure = Figure((7.5, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for c, column in enumerate(pre.targets[:10]):
        left.plot(steps, np.sqrt((error[..., c] ** 2).mean(0)), lw=1, label=column)
    left.plot(steps, np.sqrt((error**2).mean((0, 2))), color="black", lw=1.6, label="all")
    left.set(xlabel="steps ahead", ylabel="RMSE, standardised")
    left.legend(frameon=False, fontsize=7)
    for share, low in ((0.95, 0), (0.8, 1)):
        q = outputs["quantiles"]
        inside = (truth >= q[..., low]) & (truth <= q[..., q.shape[-1] - 1 - low])
        right.plot(steps, inside.mean((0, 2)), lw=1.2, label=f"{share:.0%} interval")
        right.axhline(share, color=GREY, lw=0.8, ls=":")
    right.set(xlabel="steps ahead", ylabel="covered share of the truth", ylim=(0.5, 1.0))
    right.legend(frameon=False, fontsize=7)
    return figure


def _residuals(pre: ForecastPreprocessor, outputs: Arrays, examples: Windows) -> Figure:
    """Of the first step: over time, and how they are spread."""
    scale = pre.target_scale
    error = ((examples.future() - outputs["mean"]) / scale)[:, 0]
    figure = Figure((7.5, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    for c, column in enumerate(pre.targets[:MOST_COLUMNS]):
        left.plot(error[:, c], lw=0.6, label=column)
        right.hist(error[:, c], bins=60, histtype="step", density=True)
    left.axhline(0, color="black", lw=0.6)
    left.set(xlabel="window of the test part", ylabel="truth less forecast, 1 step")
    left.legend(frameon=False, fontsize=7)
    right.set(xlabel="standardised residual", ylabel="density")
    return figure


def draw_future(
    raw: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]], path: Path
) -> None:
    """The last of the past and the fan of the future, for each series and column."""
    every = [
        (window, answer, name, i)
        for window, answer in zip(raw, answers, strict=True)
        for i, name in enumerate(n for n in answer if n not in ("series", "times"))
    ]
    chosen = every[:MOST_PANELS]
    rows, columns = panels(len(chosen))
    figure = Figure((8 if columns == 1 else 3.6 * columns, 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(chosen) :]:
        ax.axis("off")
    if len(chosen) < len(every):
        figure.suptitle(f"the first {len(chosen)} of {len(every)} forecasts", fontsize=9)
    for ax, (window, answer, name, i) in zip(axes, chosen, strict=False):
        values = answer[name]
        count = len(values["mean"])
        shown = min(len(window["values"]), 3 * count)
        dated = "times" in window and "times" in answer and isinstance(answer["times"][0], str)
        back = _dates(window["times"][-shown:]) if dated else np.arange(1 - shown, 1)
        ahead = np.array(answer["times"], "datetime64[s]") if dated else np.arange(1, count + 1)
        ax.plot(back, np.asarray(window["values"])[-shown:, i], color=GREY, lw=1)
        levels = [level for level in values if level != "mean"]
        _fan(ax, ahead, np.array(values["mean"]), np.array([values[k] for k in levels]).T)
        _title(ax, f"{name}, {answer['series']}" if answer["series"] else name)
    figure.savefig(path, dpi=110)


def _title(ax, text: str) -> None:
    ax.set_title(text, fontsize=8, loc="left")
    ax.tick_params(labelsize=7)
    for label in ax.get_xticklabels():
        label.set_rotation(20)


def _dates(times: np.ndarray) -> np.ndarray:
    return np.asarray(times, np.int64).astype("datetime64[s]")


def write_forecasts(
    raw: Sequence[dict[str, Any]],
    answers: Sequence[dict[str, Any]],
    path: Path,
    asked: AskedFile | None = None,
) -> list[Path]:
    """Writes ``series,time,column,mean,q0.025...`` rows, and a png of the same name.

    Args:
        raw: windows.
        answers: to them.
        path: of a csv, tsv or jsonl file.
        asked: the file that the windows are of. Forecasts have no row there; those of its columns
            that tell of a whole series, such as its ids, come first in each row.
    """
    rows = []
    for one, answer in zip(raw, answers, strict=True):
        about = _series_columns(one, answer, asked)
        for column, values in _columns(answer):
            for step in range(len(values["mean"])):
                time = answer["times"][step] if "times" in answer else step + 1
                found = {"series": answer["series"], "time": time, "column": column}
                for name, numbers in values.items():
                    name = name if name == "mean" else f"q{name}"
                    found[name] = float(f"{numbers[step]:.7g}")
                rows.append(beside(about, found))
    write_answer_rows(path, rows)
    picture = path.with_suffix(".png")
    draw_future(raw, answers, picture)
    return [path, picture]


def _series_columns(
    one: dict[str, Any], answer: dict[str, Any], asked: AskedFile | None
) -> dict[str, Any]:
    """Columns of a file that are the same in all rows of one of its series."""
    lines = asked.by_line if asked else {}
    rows = [lines[line] for line in one.get("lines", ()) if line in lines]
    if not rows or len(rows) == len(lines):
        return {}  # one series in the file: what never changes there tells nothing apart
    return {
        name: value
        for name, value in rows[0].items()
        if name not in answer
        and value not in ("", None)
        and all(row[name] == value for row in rows)
    }


def _columns(answer: dict[str, Any]) -> list[tuple[str, dict[str, list[float]]]]:
    return [(name, value) for name, value in answer.items() if name not in ("series", "times")]
