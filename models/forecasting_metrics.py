"""How far forecasts are from what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

MOST_BLOCKS = 40
FEWEST_BLOCKS = 4  # that an interval is drawn from


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


def time_blocks(times: np.ndarray, step: float, horizon: int) -> np.ndarray:
    """Numbers the stretches of time that windows lie in: ``<int64>[windows]``, from 0 on.

    A stretch is two horizons long or more, so that hardly any window shares its future with one of
    another stretch.

    Args:
        times: ``<int64>[windows]``, of the same row of each window.
        step: seconds from one row to the next.
        horizon: rows.
    """
    span = max(2 * horizon * step, (times.max() - times.min() + 1) / MOST_BLOCKS)
    return np.unique(((times - times.min()) // span).astype(np.int64), return_inverse=True)[1]


def block_sums(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """``<float>[windows, ...]`` summed by block: ``<float64>[blocks, ...]``."""
    sums = np.zeros((blocks.max() + 1, *values.shape[1:]))
    np.add.at(sums, blocks, values)
    return sums


def skill_scores(
    truth: np.ndarray,
    mean: np.ndarray,
    naive: np.ndarray,
    scale: np.ndarray,
    blocks: np.ndarray,
) -> dict[str, float]:
    """``skill``: by which share of the naive forecast's squared error that of ``mean`` is lower.

    ``skill_low`` and ``skill_high`` bound it with 95 %, by how much the blocks of time differ; with
    few blocks they are left out.

    Args:
        truth: ``<float>[windows, horizon, targets]``.
        mean: of the same shape.
        naive: likewise.
        scale: of each target.
        blocks: see ``time_blocks``.
    """
    ours, theirs = (
        block_sums((np.square((truth - said) / scale)).mean((1, 2), dtype=np.float64), blocks)
        for said in (mean, naive)
    )
    if not theirs.sum():
        return {}  # nothing is better than right
    ratio, count = ours.sum() / theirs.sum(), len(ours)
    scores = {"skill": float(1 - ratio)}
    if count >= FEWEST_BLOCKS:
        error = np.sqrt(np.square(ours - ratio * theirs).sum() * count / (count - 1))
        away = float(stats.t.ppf(0.975, count - 1) * error / theirs.sum())
        scores |= {"skill_low": scores["skill"] - away, "skill_high": scores["skill"] + away}
    return scores


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64))
