"""Intervals that cover what they promise: conformal prediction around learnt quantiles.

On examples that the model did not learn from, an interval is stretched (or shrunk) by the quantile
of how much longer it would have had to be (Romano, Patterson & Candes 2019, in the scaled form of
Sesia & Candes 2020). Series drift, so the latest examples count most (Barber, Candes, Ramdas &
Tibshirani 2023), and windows that overlap count as fewer: what is asked for is the rank of so many
independent ones, and what so few can say of coverage is stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

# After this share of the validation part an example counts half; the first of these is taken that
# leaves ENOUGH independent examples and is no shorter than a cycle of the calendar, or a season
# would pass for a drift. The last counts all alike.
HALF_LIVES = (1 / 8, 1 / 4, 1 / 2, 1.0, np.inf)
ENOUGH = 20
FLOOR = 0.5  # of the mean width, added to each: a network may think itself too sure
LONGEST = 4.0  # times the longest that was seen, where the rank asked for is beyond it
WILDEST = 100.0  # times as wild as a usual window one may count
TINY = 1e-6


@dataclass(frozen=True)
class Calibration:
    """How intervals are set; see ``models.forecasting_blend.Intervals``.

    Attributes:
        scale: ``<float32>[horizon, columns, levels]``, of each quantile's way from the median.
        offset: the same shape, added.
        variance: ``<float32>[columns]``, of the values of a usual window.
        independent: how many independent windows those of validation are worth, at each step.
    """

    scale: np.ndarray
    offset: np.ndarray
    variance: np.ndarray
    independent: tuple[float, ...]


def recency_weights(times: np.ndarray, half_life: float = HALF_LIVES[0]) -> np.ndarray:
    """Weights of examples by their times ``<int64>[examples]``, halved each share of the span."""
    age = (times.max() - times) / max(1, times.max() - times.min())
    return 2.0 ** (-age / half_life)


def weights_worth(times: np.ndarray, overlap: float, cycle: float = 0) -> tuple[np.ndarray, float]:
    """Weights of windows, and how many independent ones they are worth.

    Args:
        times: ``<int64>[windows]``.
        overlap: how many windows that follow one another share a row of the future.
        cycle: seconds of the longest cycle.
    """
    span = max(1, times.max() - times.min())
    for half_life in HALF_LIVES:
        if half_life * span < cycle:
            continue
        weights = recency_weights(times, half_life)
        # Kish's effective sample size.
        count = weights.sum() ** 2 / np.square(weights).sum() / overlap
        if count >= ENOUGH:
            break
    return weights, max(1.0, float(count))


def calibrate(
    truth: np.ndarray,
    centre: np.ndarray,
    quantiles: np.ndarray,
    variance: np.ndarray,
    levels: Sequence[float],
    times: np.ndarray,
    stride: float = 1,
    cycle: float = 0,
) -> Calibration:
    """How much each interval is to be stretched, for each step and column by itself.

    Args:
        truth: ``<float>[windows, horizon, columns]``.
        centre: forecasts that the intervals lie around, of the same shape.
        quantiles: of the network, ``<float>[windows, horizon, columns, levels]``, sorted.
        variance: ``<float>[windows, columns]``, of the values of each window.
        levels: rising and symmetric about a half, which is one of them.
        times: ``<int64>[windows]``.
        stride: rows from one window to the next.
        cycle: see ``weights_worth``.
    """
    usual = np.maximum(variance.mean(0), TINY)
    spread = np.minimum(WILDEST, np.sqrt((variance + usual) / (2 * usual)))
    middle = len(levels) // 2
    scale = np.zeros(quantiles.shape[1:], np.float32)
    offset, counts = np.zeros_like(scale), []
    for step in range(truth.shape[1]):
        # Errors so many steps ahead are alike in windows that begin fewer rows apart.
        weights, count = weights_worth(times, max(1.0, (step + 1) / stride), cycle)
        counts.append(count)
        error = (truth[:, step] - centre[:, step]) / spread
        for low in range(middle):
            high = len(levels) - 1 - low
            reach = [
                np.abs(quantiles[:, step, :, k] - quantiles[:, step, :, middle])
                for k in (low, high)
            ]
            floor = [np.maximum(FLOOR * each.mean(0), TINY) for each in reach]
            longer = np.maximum(-error / (reach[0] + floor[0]), error / (reach[1] + floor[1]))
            stretch = conformal_quantile(longer, levels[high] - levels[low], weights, count)
            scale[step, :, low] = scale[step, :, high] = stretch
            offset[step, :, low], offset[step, :, high] = -stretch * floor[0], stretch * floor[1]
    return Calibration(scale, offset, usual.astype(np.float32), tuple(counts))


def conformal_quantile(
    scores: np.ndarray, share: float, weights: np.ndarray, count: float
) -> np.ndarray:
    """What a further score is not above, with probability ``share``, along axis 0.

    Of n independent scores it is the one of rank ``(n + 1) * share``. Where that is beyond the
    last, the highest rank there is, times what Student's t adds between the two.

    Args:
        scores: ``<float>[examples, ...]``, of absolute values.
        share: that is promised.
        weights: ``<float>[examples]``; only their proportions count.
        count: how many independent scores they are worth.
    """
    asked, most = share * (count + 1) / count, count / (count + 1)
    if asked <= 1:
        return _weighted_quantile(scores, asked, weights)
    freedom = max(1.0, count - 1)
    further = stats.t.ppf((1 + share) / 2, freedom) / stats.t.ppf((1 + most) / 2, freedom)
    factor = min(LONGEST, further * np.sqrt(1 + 1 / count))
    return _weighted_quantile(scores, most, weights) * factor


def _weighted_quantile(values: np.ndarray, level: float, weights: np.ndarray) -> np.ndarray:
    """The smallest value with a share ``level`` of the weight at or below it, along axis 0."""
    order = np.argsort(values, 0)
    share = np.cumsum(weights[order], 0) / weights.sum()
    place = np.minimum((share < level - 1e-12).sum(0), len(values) - 1)
    return np.take_along_axis(np.take_along_axis(values, order, 0), place[None], 0)[0]


def coverage_range(
    share: float, calibrated: float, judged: float, certainty: float = 0.95
) -> tuple[float, float]:
    """Between which shares the measured coverage of a promised one is to be expected.

    Given n independent examples to calibrate on, the coverage of what comes is distributed as Beta
    with the ranks below and above the bound; m further examples that it is measured on add theirs.

    Args:
        share: that is promised.
        calibrated: n.
        judged: m; infinite for what holds in the long run.
        certainty: of the range.
    """
    low, high = share * (calibrated + 1), (1 - share) * (calibrated + 1)
    # The Beta of the same mean, and of the variance of both together.
    concentration = calibrated + 1
    variance = share * (1 - share) * (1 / (concentration + 1))
    variance += share * (1 - share) * concentration / (concentration + 1) / judged
    both = max(share * (1 - share) / variance - 1, TINY)
    low, high = share * both, (1 - share) * both
    tail = (1 - certainty) / 2
    return tuple(float(stats.beta.ppf(p, low, high)) for p in (tail, 1 - tail))
