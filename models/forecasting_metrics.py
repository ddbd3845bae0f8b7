"""How far forecasts are from what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def point_scores(
    truth: np.ndarray, mean: np.ndarray, scale: np.ndarray, seasonal_error: Sequence[float]
) -> dict[str, float]:
    """``mse`` and ``mae`` of standardised values, and ``mase``.

    Args:
        truth: ``<float>[windows, horizon, targets]``, in the data's units.
        mean: of the same shape.
        scale: of each target.
        seasonal_error: of each target: mean absolute error of the season before, on train
            (Hyndman & Koehler 2006).
    """
    error = truth - mean
    return {
        "mse": _mean((error / scale) ** 2),
        "mae": _mean(np.abs(error / scale)),
        "mase": _mean(np.abs(error) / np.array(seasonal_error)),
    }


def quantile_scores(
    truth: np.ndarray,
    quantiles: np.ndarray,
    scale: np.ndarray,
    levels: Sequence[float],
    intervals: Mapping[str, tuple[int, int]],
) -> dict[str, float]:
    """``quantile_loss`` of standardised values, and the ``coverage_<name>`` of intervals.

    Args:
        truth: ``<float>[windows, horizon, targets]``.
        quantiles: ``[windows, horizon, targets, levels]``.
        scale: of each target.
        levels: rising.
        intervals: places of their ends among the levels, by name.
    """
    away = (truth[..., None] - quantiles) / np.asarray(scale)[:, None]
    level = np.array(levels, np.float32)
    scores = {"quantile_loss": _mean(np.maximum(level * away, (level - 1) * away))}
    for name, (low, high) in intervals.items():
        inside = (truth >= quantiles[..., low]) & (truth <= quantiles[..., high])
        scores[f"coverage_{name}"] = _mean(inside)
    return scores


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64))
