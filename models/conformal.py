"""Intervals that cover what they promise: conformalised quantile regression.

Source: Romano, Patterson & Candes 2019. On examples that the model did not learn from, an interval
is widened (or narrowed) by the quantile of how far the truth lay outside (or inside) of it. Series
drift, so the latest examples count most (Barber, Candes, Ramdas & Tibshirani 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import numpy as np

HALF_LIFE = 1 / 8  # of the validation part: after it an example counts half


def recency_weights(times: np.ndarray) -> np.ndarray:
    """Weights of examples by their times ``<int64>[examples]``, halved each eighth of the span."""
    age = (times.max() - times) / max(1, times.max() - times.min())
    return 2.0 ** (-age / HALF_LIFE)


def conformal_offsets(
    truth: np.ndarray,
    quantiles: np.ndarray,
    levels: Sequence[float],
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """What to add to each quantile, for each step and column by itself.

    Args:
        truth: ``<float>[examples, horizon, columns]``.
        quantiles: ``<float>[examples, horizon, columns, levels]``, sorted.
        levels: rising and symmetric about a half; the median itself stays.
        weights: ``<float>[examples]``; all alike if None.

    Returns:
        ``<float32>[horizon, columns, levels]``.
    """
    weights = np.ones(len(truth)) if weights is None else weights
    # As many alike examples as these weighted ones are worth (Kish's effective sample size).
    count = weights.sum() ** 2 / np.square(weights).sum()
    offsets = np.zeros(quantiles.shape[1:], np.float32)
    for low in range(len(levels) // 2):
        high = len(levels) - 1 - low
        outside = np.maximum(quantiles[..., low] - truth, truth - quantiles[..., high])
        # The finite-sample level of the paper; with few examples it is the largest of them.
        level = min(1.0, (levels[high] - levels[low]) * (count + 1) / count)
        width = _weighted_quantile(outside, level, weights)
        offsets[..., low], offsets[..., high] = -width, width
    return offsets


def _weighted_quantile(values: np.ndarray, level: float, weights: np.ndarray) -> np.ndarray:
    """The smallest value with a share ``level`` of the weight at or below it, along axis 0."""
    order = np.argsort(values, 0)
    share = np.cumsum(weights[order], 0) / weights.sum()
    place = np.minimum((share < level - 1e-12).sum(0), len(values) - 1)
    return np.take_along_axis(np.take_along_axis(values, order, 0), place[None], 0)[0]


def calibrate_intervals(
    model: keras.Model,
    validation: Iterable,
    levels: Sequence[float],
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Sets the offsets of a model of ``models.forecasting``; the mean is left alone.

    Args:
        model: its layer ``quantiles`` is changed.
        validation: batches of (inputs, ``{"quantiles": <float>[batch, horizon, columns]}``).
        levels: of the quantiles.
        weights: of the examples; all alike if None.

    Returns:
        The offsets.
    """
    layer = model.get_layer("quantiles")
    pairs = [(model.predict_on_batch(x)["quantiles"], np.asarray(y["quantiles"]))
             for x, y in validation]  # fmt: skip
    quantiles = np.concatenate([found for found, _ in pairs]) - np.asarray(layer.offset)
    truth = np.concatenate([truth for _, truth in pairs])
    offsets = conformal_offsets(truth, quantiles, levels, weights)
    layer.offset.assign(offsets)
    return offsets
