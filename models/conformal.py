"""Intervals that cover what they promise: conformalised quantile regression.

Source: Romano, Patterson & Candes 2019. On examples that the model did not learn from, an interval
is widened (or narrowed) by the quantile of how far the truth lay outside (or inside) of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import numpy as np


def conformal_offsets(
    truth: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]
) -> np.ndarray:
    """What to add to each quantile, for each step and column by itself.

    Args:
        truth: ``<float>[examples, horizon, columns]``.
        quantiles: ``<float>[examples, horizon, columns, levels]``.
        levels: rising and symmetric about a half; the median itself stays.

    Returns:
        ``<float32>[horizon, columns, levels]``.
    """
    ordered, count = np.sort(quantiles, -1), len(truth)
    offsets = np.zeros(quantiles.shape[1:], np.float32)
    for low in range(len(levels) // 2):
        high = len(levels) - 1 - low
        outside = np.maximum(ordered[..., low] - truth, truth - ordered[..., high])
        # The finite-sample level of the paper; with few examples it is the greatest of them.
        level = min(1.0, (levels[high] - levels[low]) * (count + 1) / count)
        width = np.quantile(outside, level, axis=0, method="higher")
        offsets[..., low], offsets[..., high] = -width, width
    return offsets


def calibrate_intervals(
    model: keras.Model, validation: Iterable, levels: Sequence[float]
) -> np.ndarray:
    """Sets the offsets of a ``models.forecaster``; the mean is left alone.

    Args:
        model: its layer ``calibrated`` is changed.
        validation: batches of (inputs, ``<float>[batch, horizon, columns]``).
        levels: of the quantiles.

    Returns:
        The offsets.
    """
    layer = model.get_layer("calibrated")
    pairs = [(model.predict_on_batch(inputs), np.asarray(truth)) for inputs, truth in validation]
    outputs = np.concatenate([output for output, _ in pairs]) - np.asarray(layer.offset)
    truth = np.concatenate([truth for _, truth in pairs])
    offsets = conformal_offsets(truth, outputs[..., 1:], levels)
    layer.offset.assign(np.concatenate([np.zeros_like(offsets[..., :1]), offsets], -1))
    return offsets
