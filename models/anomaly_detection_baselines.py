"""Scores that need no network: far from the mean, from the recent median, from the usual day."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

NORMAL = 1.4826  # median absolute deviation to standard deviation, of a normal distribution
RECENT = 288  # rows of the moving median
TINY = 1e-9


def z_score(values: np.ndarray, train: int) -> np.ndarray:
    """Distance from the training mean in standard deviations, of the farthest column.

    Args:
        values: ``<float>[rows, columns]``.
        train: how many rows, from the first, are train.

    Returns:
        ``<float64>[rows]``.
    """
    mean, spread = values[:train].mean(0), values[:train].std(0)
    return (np.abs(values - mean) / (spread + TINY)).max(1)


def moving_mad(values: np.ndarray, train: int) -> np.ndarray:
    """Distance from the median of the last rows, in units of their median absolute deviation.

    Causal: a row is judged by the ``RECENT`` rows before it. Where they hardly differ, the unit is
    a hundredth of train's standard deviation at least.
    """
    before = np.concatenate([np.repeat(values[:1], RECENT, 0), values[:-1]])
    found = np.zeros(len(values))
    floor = values[:train].std(0) / 100 + TINY
    for start in range(0, len(values), 4096):
        rows = before[start : start + 4096 + RECENT - 1]
        recent = sliding_window_view(rows, RECENT, axis=0)[: len(values) - start]
        median = np.median(recent, -1)
        deviation = NORMAL * np.median(np.abs(recent - median[..., None]), -1)
        away = np.abs(values[start : start + 4096] - median) / np.maximum(deviation, floor)
        found[start : start + 4096] = away.max(1)
    return found


def seasonal_residual(values: np.ndarray, train: int, season: int) -> np.ndarray:
    """Distance from the median of train at the same phase of the season, in robust deviations."""
    if train < 2 * season:
        season = 1
    phase = np.arange(len(values)) % season
    profile = np.stack([np.median(values[:train][i::season], 0) for i in range(season)])
    away = np.abs(values - profile[phase])
    spread = NORMAL * np.median(away[:train], 0)
    return (away / np.maximum(spread, values[:train].std(0) / 100 + TINY)).max(1)
