"""Errors of forecasts in the data's own units: by series, column and step, as a csv and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.answer_files import write_answer_rows
from pipelines.forecasting import ForecastPreprocessor
from pipelines.ragged import Arrays
from pipelines.windows import Windows
from reports.page import NumberText, paragraph, table

MOST_STEPS = 24  # that are told one by one; of a longer horizon so many are picked
MOST_ROWS = 100  # of the table of a page
MOST_SERIES = 1000  # whose steps are told one by one


def write_errors(
    pre: ForecastPreprocessor, outputs: Arrays, examples: Windows, directory: Path
) -> list[str]:
    """Writes ``errors.csv``, and what a page shows of it as ``errors.html``.

    A row is a series (``all`` of them together where there are several), a column and a step
    (``all`` for their mean): ``windows``, ``mae``, ``rmse``, ``bias`` (forecast less truth, on
    average), ``last_value_mae`` of the last value that was seen, and ``coverage_80``. Of more than
    ``MOST_SERIES`` series each has the mean of its steps alone.

    Returns:
        The names of the files.
    """
    rows = error_rows(pre, outputs, examples)
    write_answer_rows(directory / "errors.csv", rows)
    whole = [row for row in rows if row["step"] == "all"]
    shown = [_readable(row) for row in whole[:MOST_ROWS]]
    steps = [_readable(row) for row in rows if row["series"] == rows[0]["series"]]
    steps = [row for row in steps if row["step"] != "all"][:MOST_ROWS]
    text = paragraph(
        "Errors on the test part in the data's own units; all of them are in errors.csv."
    )
    page = text + table(shown) + (table(steps, tall=True) if pre.horizon > 1 else "")
    (directory / "errors.html").write_text(page, encoding="utf-8")
    return ["errors.csv", "errors.html"]


def error_rows(
    pre: ForecastPreprocessor, outputs: Arrays, examples: Windows
) -> list[dict[str, Any]]:
    """The rows of ``errors.csv``, see ``write_errors``; of a horizon beyond ``MOST_STEPS`` some of
    the steps, the first and the last among them."""
    truth, last = examples.future().astype(np.float64), examples.last()[:, None]
    error = outputs["mean"] - truth
    levels, low, high = pre.levels, outputs["quantiles"][..., 1], outputs["quantiles"][..., -2]
    inside = (truth >= low) & (truth <= high) if len(levels) > 2 else np.zeros(truth.shape)
    measures = {
        "mae": np.abs(error), "rmse": np.square(error), "bias": error,
        "last_value_mae": np.abs(last - truth), "coverage_80": inside,
    }  # fmt: skip
    groups = list(examples.by_series().values())
    order, sizes = np.concatenate(groups), np.array(list(map(len, groups)))
    starts = np.cumsum(sizes) - sizes
    means = {
        name: np.add.reduceat(values[order], starts, 0, np.float64) / sizes[:, None, None]
        for name, values in measures.items()
    }  # (series, horizon, targets) each
    told = [
        (examples.names[mine[0]], len(mine), {name: found[i] for name, found in means.items()})
        for i, mine in enumerate(groups)
    ]
    if len(groups) > 1:
        every = {name: values.mean(0, dtype=np.float64) for name, values in measures.items()}
        told.insert(0, ("all", len(examples), every))
    steps = np.unique(np.linspace(0, pre.horizon - 1, MOST_STEPS).astype(int)).tolist()
    rows = []
    for series, windows, found in told:
        each = steps if len(groups) <= MOST_SERIES or series == "all" else []
        for c, column in enumerate(pre.targets):
            for step in ("all", *each):
                at = {n: v[:, c].mean() if step == "all" else v[step, c] for n, v in found.items()}
                at["rmse"] = np.sqrt(at["rmse"])
                title = step if step == "all" else step + 1
                about = {"series": series, "column": column, "step": title, "windows": windows}
                rows.append({**about, **{name: _short(value) for name, value in at.items()}})
    return rows


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name.replace("_", " "): NumberText(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in row.items()
    }
