"""The baselines of forecasting, judged on the same windows by the same metrics.

Their intervals are as wide as their errors on validation are, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from models.forecasting_baselines import (
    MAX_WINDOWS,
    NAIVE,
    Climatology,
    ExponentialSmoothing,
    Ridge,
    WindowMap,
)
from models.forecasting_metrics import point_scores, quantile_scores, unit_scores
from pipelines.forecasting import ForecastPreprocessor
from pipelines.splits import Splits
from pipelines.windows import Windows, spans_by_series

CHUNK = 1024  # windows at a time
MAX_ROWS = 300_000  # beyond it exponential smoothing, which goes row by row, takes minutes
MAX_SERIES = 50

# Scaled windows ``<float32>[windows, lookback, targets]`` to ``[windows, horizon, targets]``.
Forecast = Callable[[np.ndarray], np.ndarray]


def forecast_baselines(
    pre: ForecastPreprocessor,
    splits: Splits,
    intervals: Mapping[str, tuple[int, int]],
    metric: str = "mse",
) -> dict[str, Any]:
    """Metrics of the baseline that is best on validation, and the mse of all.

    Args:
        pre: of the run.
        splits: windows.
        intervals: places of their ends among ``pre.levels``, by name.
        metric: by which the best is chosen: "mse", "mae" or "mase"; the mse for any other.

    Returns:
        ``{"name", "validation": {"mse", "mae", "mase", "quantile_loss", "coverage_..."}, "test":
        {the same, "<baseline>_mse"...}}``.
    """
    parts = {"validation": splits.validation, "test": splits.test}
    found = {
        name: {part: forecasts(pre, forecast, parts[part]) for part in parts}
        for name, forecast in window_baselines(pre, splits).items()
    }
    if "year" in pre.calendar:
        climatology = _climatology(pre, splits.train)
        found["climatology"] = {name: climatology(part) for name, part in parts.items()}
    table = splits.train.table
    if len(table.times) <= MAX_ROWS and len(table.names) <= MAX_SERIES:
        found["exponential_smoothing"] = {
            name: _smoothing(pre, splits.train, part) for name, part in parts.items()
        }
    scores = {
        name: {part: _scores(pre, parts[part], mean) for part, mean in means.items()}
        for name, means in found.items()
    }
    point = metric if metric in ("mse", "mae", "mase") else "mse"
    best = min(scores, key=lambda name: scores[name]["validation"][point])
    spread = np.quantile(
        splits.validation.future() - found[best]["validation"], pre.levels, axis=0
    )  # (levels, horizon, targets)
    for part, mean in found[best].items():
        quantiles = mean[..., None] + np.moveaxis(spread, 0, -1)
        scale = pre.target_scale
        scores[best][part] |= quantile_scores(
            parts[part].future(), quantiles, scale, pre.levels, intervals
        )
    every = {f"{name}_mse": score["test"]["mse"] for name, score in scores.items()}
    return {
        "name": best.replace("_", " "),
        "validation": scores[best]["validation"],
        "test": {**scores[best]["test"], **every},
        "answers": found[best]["test"],
    }


def window_baselines(pre: ForecastPreprocessor, splits: Splits) -> dict[str, Forecast]:
    """Baselines that see the window alone, as functions of scaled windows, the simplest first."""
    return {**{name: naive_baseline(name, pre) for name in NAIVE}, "ridge": _ridge(pre, splits)}


def naive_baseline(name: str, pre: ForecastPreprocessor) -> Forecast:
    """One of ``NAIVE`` for windows of this shape."""
    return partial(NAIVE[name], horizon=pre.horizon, season=pre.frequency.season)


def forecasts(pre: ForecastPreprocessor, forecast: Forecast, part: Windows) -> np.ndarray:
    """What a baseline says of each window, in the data's units."""
    return np.concatenate([
        pre.to_units(forecast(pre.to_scaled(part[i : i + CHUNK].past())).astype(np.float32))
        for i in range(0, len(part), CHUNK)
    ])  # fmt: skip


def _scores(pre: ForecastPreprocessor, part: Windows, mean: np.ndarray) -> dict[str, float]:
    truth = part.future()
    return {
        **point_scores(truth, mean, pre.target_scale, pre.seasonal_error),
        **unit_scores(truth, mean, pre.targets),
    }


def _ridge(pre: ForecastPreprocessor, splits: Splits) -> WindowMap:
    train = splits.train[:: -(-len(splits.train) // MAX_WINDOWS)]
    ridge = Ridge(pre.to_scaled(train.past()), pre.to_scaled(train.future()))
    chosen = splits.validation[:: -(-len(splits.validation) // 2000)]
    ridge.choose(pre.to_scaled(chosen.past()), pre.to_scaled(chosen.future()))
    return ridge.map


def _climatology(pre: ForecastPreprocessor, train: Windows) -> Callable[[Windows], np.ndarray]:
    """What the calendar of each series of train says of the future of windows."""
    table, found = train.table, {}
    step = pre.frequency.seconds
    for series, span in spans_by_series(train).items():
        rows = pre.to_scaled(table.values[span, : table.targets])
        found[series] = Climatology(table.times[span], rows, step)

    def said(part: Windows) -> np.ndarray:
        ahead = part.starts[:, None] + part.lookback + np.arange(part.horizon)
        answers = np.zeros((*ahead.shape, table.targets), np.float32)
        for number, mine in part.by_series().items():
            answers[mine] = pre.to_units(found[number](part.table.times[ahead[mine]]))
        return answers

    return said


def _smoothing(pre: ForecastPreprocessor, train: Windows, part: Windows) -> np.ndarray:
    """One model a series, its weights from the rows of train, run on to each window's end."""
    table = part.table
    found = np.zeros((len(part), pre.horizon, table.targets), np.float32)
    covered = spans_by_series(train)
    for number, which in part.by_series().items():
        first, end = table.offsets[number], table.offsets[number + 1]
        rows = pre.to_scaled(table.values[first:end, : table.targets])
        seen = table.values[covered[number]]
        season = pre.frequency.season if len(seen) >= 2 * pre.frequency.season else 1
        model = ExponentialSmoothing(pre.to_scaled(seen[:, : table.targets]), season)
        origins = part.starts[which] - first + part.lookback - 1
        found[which] = pre.to_units(model.forecasts(rows, origins, pre.horizon).astype(np.float32))
    return found
