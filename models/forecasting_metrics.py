"""How far forecasts are from what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

MOST_BLOCKS = 40
FEWEST_BLOCKS = 4  # that an interval is drawn from
MOST_COLUMNS = 8  # of which errors in units are metrics; those of all are in errors.csv


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
        np.square((truth - said) / scale).mean((1, 2), dtype=np.float64) for said in (mean, naive)
    )
    if not theirs.sum():
        return {}  # nothing is better than right
    ratio, away = block_ratio(ours, theirs, blocks)
    scores = {"skill": 1 - ratio}
    if np.isfinite(away):
        scores |= {"skill_low": scores["skill"] - away, "skill_high": scores["skill"] + away}
    return scores


def direction_scores(
    truth: np.ndarray, mean: np.ndarray, last: np.ndarray, rises: np.ndarray, blocks: np.ndarray
) -> dict[str, float]:
    """``direction``: how often the forecast is on that side of the last value where the truth is.

    A half is what a coin gets; ``direction_constant`` what one gets who always says the direction
    in which train went. Steps at which the truth is the last value are left out, and those at which
    the forecast is: it says no direction there. ``direction_low`` and ``direction_high`` bound it
    with 95 %, as those of skill.

    Args:
        truth: ``<float>[windows, horizon, targets]``.
        mean: of the same shape.
        last: ``<float>[windows, targets]``, the last value seen.
        rises: ``<bool>[targets]``, whether train rose more often than it fell.
        blocks: see ``time_blocks``.
    """
    moved, said = np.sign(truth - last[:, None]), np.sign(mean - last[:, None])
    counted = ((moved != 0) & (said != 0)).sum((1, 2), dtype=np.float64)
    if not counted.sum():
        return {}
    hits = ((moved == said) & (moved != 0)).sum((1, 2), dtype=np.float64)
    share, away = block_ratio(hits, counted, blocks)
    constant = moved == np.where(rises, 1, -1)
    scores = {"direction": share, "direction_constant": float(constant.sum() / (moved != 0).sum())}
    if np.isfinite(away):
        low, high = max(0.0, share - away), min(1.0, share + away)
        scores |= {"direction_low": low, "direction_high": high}
    return scores


def block_ratio(over: np.ndarray, under: np.ndarray, blocks: np.ndarray) -> tuple[float, float]:
    """The sum of one over the sum of the other, and how far it may be off with 95 %.

    Errors of windows that follow one another are alike, so stretches of time count as what is
    drawn, not windows (Carlstein 1986, the sets of which the bootstraps of Kuensch 1989 and of
    Politis & Romano 1992 draw too); the ratio's error is linear in their sums, and Student's t says
    how little few of them tell. With fewer than ``FEWEST_BLOCKS`` the distance is infinite.

    Args:
        over: ``<float>[windows]``.
        under: of the same shape; above 0 in sum.
        blocks: see ``time_blocks``.
    """
    ours, theirs = block_sums(over, blocks), block_sums(under, blocks)
    ratio, count = ours.sum() / theirs.sum(), len(ours)
    if count < FEWEST_BLOCKS:
        return float(ratio), np.inf
    error = np.sqrt(np.square(ours - ratio * theirs).sum() * count / (count - 1))
    return float(ratio), float(stats.t.ppf(0.975, count - 1) * error / theirs.sum())


def unit_scores(truth: np.ndarray, mean: np.ndarray, columns: Sequence[str]) -> dict[str, float]:
    """``mae_<column>`` and ``rmse_<column>``, in the data's own units.

    Args:
        truth: ``<float>[windows, horizon, targets]``.
        mean: of the same shape.
        columns: names of the targets; none are told of more than ``MOST_COLUMNS``.
    """
    if len(columns) > MOST_COLUMNS:
        return {}
    found = {}
    for i, column in enumerate(columns):
        error = truth[..., i].astype(np.float64) - mean[..., i]
        found[f"mae_{column}"] = float(np.abs(error).mean())
        found[f"rmse_{column}"] = float(np.sqrt(np.square(error).mean()))
    return found


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64))
