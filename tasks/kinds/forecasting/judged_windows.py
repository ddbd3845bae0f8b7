"""Forecasts beside the truth, window by window, for a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.forecasting import ForecastPreprocessor
from pipelines.frequency import iso
from pipelines.windows import Windows
from tasks.kinds.forecasting.finishing import blocks_of

if TYPE_CHECKING:
    from reports.judged import Judged

_FIRST = 4  # steps that are shown, and the last


def judged_windows(
    pre: ForecastPreprocessor, mean: np.ndarray, examples: Windows, others: np.ndarray | None = None
) -> Judged:
    """Each window with its forecast; windows of one stretch of time are resampled together.

    Args:
        pre: preprocessor of the run.
        mean: forecasts ``<float32>[windows, horizon, targets]``.
        examples: windows of test.
        others: forecasts of the baseline, if known.
    """
    from reports.judged import Judged, JudgedExample

    truth, table = examples.future(), examples.table
    ours, theirs = _errors(pre, truth, mean), others
    if others is not None:
        theirs = _errors(pre, truth, others)
    blocks = blocks_of(pre, examples)
    times = table.times[examples.starts + examples.lookback - 1]
    first = pre.frequency.after(times, np.ones(1, np.int64)).reshape(len(examples), -1)[:, 0]
    words = [str(t) for t in first] if pre.frequency.counter else iso(first)
    rows = []
    for i in range(len(examples)):
        name = examples.names[i]
        rows.append(JudgedExample(
            f"{name + ' ' if name else ''}from {words[i]}",
            _values(pre, truth[i]), _values(pre, mean[i]),
            {key: (float(values[i]), 1) for key, values in ours.items()},
            loss=float(ours["mse"][i]), block=int(blocks[i]),
            baseline={} if theirs is None else {k: (float(v[i]), 1) for k, v in theirs.items()},
        ))  # fmt: skip
    return Judged(rows, things="windows", text=True, graded=True)


def _errors(
    pre: ForecastPreprocessor, truth: np.ndarray, mean: np.ndarray
) -> dict[str, np.ndarray]:
    """``point_scores`` of each window: ``<float64>[windows]``."""
    error = truth - mean
    scaled = error / pre.target_scale
    each = {
        "mse": np.square(scaled),
        "mae": np.abs(scaled),
        "mase": np.abs(error) / np.array(pre.seasonal_error),
    }
    return {name: values.mean((1, 2), dtype=np.float64) for name, values in each.items()}


def _values(pre: ForecastPreprocessor, rows: np.ndarray) -> str:
    """The first steps and the last of the first column."""
    column = [f"{value:.4g}" for value in rows[:, 0]]
    if len(column) > _FIRST + 1:
        column = [*column[:_FIRST], "…", column[-1]]
    return f"{pre.targets[0]}: {' '.join(column)}"
