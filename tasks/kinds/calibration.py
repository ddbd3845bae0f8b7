"""Probabilities that are kept: one temperature, fitted on validation (Guo et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

BINS = 10
TEMPERATURES = (0.05, 20.0)


def fitted_temperature(model: keras.Model, batches: Iterable, output: str) -> float:
    """The temperature by which the cross-entropy of a model's classes is least.

    Of n labels each is taken for certain but for 1 / (n + 2), as Platt (1999) does it: where all
    answers are right, the best temperature would be 0, and whatever is asked certain.

    Args:
        model: with ``output``, logits ``<float>[batch, classes]``, among its outputs.
        batches: of inputs, and targets with ``output``; a label of -1 is left out.
        output: name of the output.
    """
    from scipy.special import logsumexp

    logits, labels = [], []
    for inputs, targets, *_ in batches:
        logits.append(model.predict_on_batch(inputs)[output].astype(np.float64))
        labels.append(np.asarray(targets[output]))
    z, y = np.concatenate(logits), np.concatenate(labels)
    z, y = z[y >= 0], y[y >= 0]
    if not len(y) or z.shape[1] < 2:
        return 1.0

    doubt = 1 / (len(y) + 2)
    targets = np.full(z.shape, doubt / (z.shape[1] - 1))
    targets[np.arange(len(y)), y] = 1 - doubt

    def cross_entropy(temperature: float) -> float:
        scaled = z / temperature
        return float(np.mean(logsumexp(scaled, 1) - np.sum(targets * scaled, 1)))

    return best_temperature(cross_entropy)


def best_temperature(loss: Callable[[float], float]) -> float:
    """The temperature of the least loss, within ``TEMPERATURES``."""
    from scipy.optimize import minimize_scalar

    bounds = tuple(np.log(TEMPERATURES))
    return float(np.exp(minimize_scalar(lambda x: loss(np.exp(x)), bounds=bounds,
                                        method="bounded", options={"xatol": 1e-3}).x))  # fmt: skip


def doubted_loss(confidence: np.ndarray, right: np.ndarray) -> float:
    """Cross-entropy of answers being right with the probabilities promised, each as certain as
    Platt (1999) takes it.

    Args:
        confidence: ``<float>[answers]``, promised.
        right: ``<bool>[answers]``.
    """
    p = np.clip(np.asarray(confidence, np.float64), 1e-9, 1 - 1e-9)
    count = np.sum(right)
    certain = (count + 1) / (count + 2), 1 / (len(p) - count + 2)
    wanted = np.where(right, *certain)
    return float(-np.mean(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)))


def calibration_error(confidence: np.ndarray, right: Sequence[bool]) -> float:
    """Expected calibration error (Naeini et al. 2015): how far the share of right answers is from
    what was promised, on average over ten bins of confidence."""
    right = np.asarray(right, float)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(right[bins == i].mean() - confidence[bins == i].mean()) * np.mean(bins == i)
        for i in np.unique(bins)
    ]
    return float(np.sum(gaps))
