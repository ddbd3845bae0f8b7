"""The baselines of forecasting, judged on the same windows by the same metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.forecasting_baselines import (
    MAX_WINDOWS,
    ExponentialSmoothing,
    Ridge,
    seasonal_naive,
)
from models.forecasting_metrics import point_scores
from pipelines.forecasting import ForecastPreprocessor
from pipelines.splits import Splits
from pipelines.windows import Windows, covered_rows

CHUNK = 1024  # windows at a time
MAX_ROWS = 300_000  # beyond it exponential smoothing, which goes row by row, takes minutes
MAX_SERIES = 50


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
    if len(table.times) <= MAX_ROWS and len(table.names) <= MAX_SERIES:
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
    scale = pre.scaler.first(len(pre.targets)).scale
    return point_scores(part.future(), mean, scale, pre.seasonal_error)


def _naive(pre: ForecastPreprocessor, part: Windows) -> np.ndarray:
    season = pre.frequency.season
    return np.concatenate([
        seasonal_naive(part[i : i + CHUNK].past(), pre.horizon, season)
        for i in range(0, len(part), CHUNK)
    ])  # fmt: skip


def _ridge(
    pre: ForecastPreprocessor, splits: Splits, parts: dict[str, Windows]
) -> dict[str, np.ndarray]:
    scaler = pre.scaler.first(len(pre.targets))
    step = -(-len(splits.train) // MAX_WINDOWS)
    train = splits.train[::step]
    ridge = Ridge(scaler.apply(train.past()), scaler.apply(train.future()))
    chosen = splits.validation[:: -(-len(splits.validation) // 2000)]
    ridge.choose(scaler.apply(chosen.past()), scaler.apply(chosen.future()))
    return {
        name: np.concatenate([
            scaler.invert(ridge.predict(scaler.apply(part[i : i + CHUNK].past())))
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
