"""Calibrates the witnesses that need a memory but no network (``pipelines.anomaly_watch``)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.anomaly_detection import MIN_SCALE, robust_threshold
from models.anomaly_detection_config import AnomalyConfig
from pipelines.anomaly_watch import LEAST_CHANGE, LEVEL_RATE, STILL_RATE, Watch


def calibrated_watch(
    scores: list[np.ndarray],
    rows: list[np.ndarray],
    normal: list[np.ndarray],
    config: AnomalyConfig,
    quiet: int,
) -> Watch:
    """What the witnesses that need no network are measured in, from the training rows.

    Args:
        scores: of a calibrated detector with steps, ``<float32>[time, expectations]`` each.
        rows: scaled, ``<float32>[time, columns]`` each.
        normal: the rows of each that count, ``<bool>[time]``.
        config: threshold and alarm_rate are read.
        quiet: of the watch.
    """
    count = scores[0].shape[-1]
    mean_change = np.concatenate([
        _moving(np.abs(np.diff(mine, axis=0, prepend=mine[:1])), STILL_RATE)[kept]
        for mine, kept in zip(rows, normal, strict=True)
    ])  # fmt: skip
    away = np.concatenate([
        np.abs(mine - _before(mine, LEVEL_RATE))[kept]
        for mine, kept in zip(rows, normal, strict=True)
    ])  # fmt: skip
    scale = np.maximum(np.median(away, 0), MIN_SCALE)
    change = np.maximum(np.median(mean_change, 0), LEAST_CHANGE)
    plain = Watch(count, quiet, _plain(scale), _plain(change))
    found = np.concatenate([
        plain.over(mine[None], values[None])[0][0][kept]
        for mine, values, kept in zip(scores, rows, normal, strict=True)
    ])  # fmt: skip
    rate = config.alarm_rate / plain.witnesses
    level, unrest, still = (
        max(robust_threshold(mine, config.threshold, rate), 1e-3) for mine in found.T[count:]
    )
    unit = _plain(scale * level)
    return replace(plain, unit=unit, unrest=unrest, still=still, columns=len(unit))


def _moving(x: np.ndarray, rate: float) -> np.ndarray:
    """Exponential moving average of the rows, beginning at the median."""
    from scipy.signal import lfilter

    start = np.median(x, 0)
    return start + lfilter([rate], [1, rate - 1], x - start, axis=0)


def _before(x: np.ndarray, rate: float) -> np.ndarray:
    """The moving average of the rows before each one, beginning at the first."""
    from scipy.signal import lfilter

    following = x[:1] + lfilter([rate], [1, rate - 1], x - x[:1], axis=0)
    return np.concatenate([x[:1], following[:-1]])


def _plain(x: np.ndarray) -> tuple[float, ...]:
    return tuple(float(one) for one in x)
