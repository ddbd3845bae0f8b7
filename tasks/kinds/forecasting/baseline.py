"""The baselines of forecasting, judged on the same windows by the same metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.forecasting_baselines import ExponentialSmoothing, Ridge, seasonal_naive
from pipelines.forecasting import ForecastPreprocessor
from pipelines.splits import Splits
from pipelines.windows import Windows, covered_rows

CHUNK = 1024  # windows at a time
MOST_ROWS = 300_000  # beyond it exponential smoothing, which goes row by row, takes minutes
MOST_SERIES = 50
MOST_FITTED = 20_000


def forecast_baselines(pre: ForecastPreprocessor, splits: Splits) -> dict[str, Any]:
    """Metrics of the baseline that is best on validation, and the mse of all.

    Returns:
        ``{"name", "validation": {"mse", "mae", "mase"}, "test": {"mse", "mae", "mase",
        "<baseline>_mse"...}}``.
    """
    parts = {"validation": splits.validation, "test": splits.test}
    found = {"seasonal_naive": {name: _naive(pre, part) for name, part in parts.items()}}
    found["ridge"] = _ridge(pre, splits, parts)
    table = splits.train.table
    if len(table.times) <= MOST_ROWS and len(table.names) <= MOST_SERIES:
        found["exponential_smoothing"] = {
            name: _smoothing(pre, splits.train, part) for name, part in parts.items()
        }
    scores = {
        name: {part: _scores(pre, parts[part], mean) for part, mean in means.items()}
        for name, means in found.items()
    }
    best = min(scores, key=lambda name: scores[name]["validation"]["mse"])
    every = {f"{name}_mse": score["test"]["mse"] for name, score in scores.items()}
    return {
        "name": best.replace("_", " "),
        "validation": scores[best]["validation"],
        "test": {**scores[best]["test"], **every},
    }


def _scores(pre: ForecastPreprocessor, part: Windows, mean: np.ndarray) -> dict[str, float]:
    error = part.future() - mean
    scaled = error / pre.scaler.first(len(pre.targets)).scale
    return {
        "mse": float(np.mean(scaled**2, dtype=np.float64)),
        "mae": float(np.mean(np.abs(scaled), dtype=np.float64)),
        "mase": float(np.mean(np.abs(error) / np.array(pre.seasonal_error))),
    }


def _pasts(part: Windows, step: int = 1) -> np.ndarray:
    """``<float32>[windows, lookback, targets]``."""
    rows = part.starts[::step, None] + np.arange(part.lookback)
    return part.table.values[:, : part.table.targets][rows]


def _naive(pre: ForecastPreprocessor, part: Windows) -> np.ndarray:
    season = pre.frequency.season
    return np.concatenate([
        seasonal_naive(_pasts(part[i : i + CHUNK]), pre.horizon, season)
        for i in range(0, len(part), CHUNK)
    ])  # fmt: skip


def _ridge(
    pre: ForecastPreprocessor, splits: Splits, parts: dict[str, Windows]
) -> dict[str, np.ndarray]:
    scaler = pre.scaler.first(len(pre.targets))
    step = -(-len(splits.train) // MOST_FITTED)
    train = splits.train[::step]
    ridge = Ridge(scaler.apply(_pasts(train)), scaler.apply(train.future()))
    chosen = splits.validation[:: -(-len(splits.validation) // 2000)]
    ridge.choose(scaler.apply(_pasts(chosen)), scaler.apply(chosen.future()))
    return {
        name: np.concatenate([
            scaler.invert(ridge.predict(scaler.apply(_pasts(part[i : i + CHUNK]))))
            for i in range(0, len(part), CHUNK)
        ])
        for name, part in parts.items()
    }  # fmt: skip


def _smoothing(pre: ForecastPreprocessor, train: Windows, part: Windows) -> np.ndarray:
    """One model a series, its weights from the rows of train, run on to each window's end."""
    table = part.table
    found = np.zeros((len(part), pre.horizon, table.targets), np.float32)
    series = np.searchsorted(table.offsets, part.starts, "right") - 1
    for number in np.unique(series):
        first, end = table.offsets[number], table.offsets[number + 1]
        rows = table.values[first:end, : table.targets]
        mine = train.starts[(train.starts >= first) & (train.starts < end)]
        seen = covered_rows(Windows(table, mine, train.lookback, train.horizon))
        season = pre.frequency.season if len(seen) >= 2 * pre.frequency.season else 1
        model = ExponentialSmoothing(seen[:, : table.targets], season)
        which = np.flatnonzero(series == number)
        origins = part.starts[which] - first + part.lookback - 1
        found[which] = model.forecasts(rows, origins, pre.horizon)
    return found
