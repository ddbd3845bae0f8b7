"""How sure a score is: intervals by the bootstrap (Efron & Tibshirani 1993)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.judged import Judged, matrix_of, sums_of, value

RESAMPLES = 1000
SHARE = 0.95
# With fewer independent examples, how much they differ says little.
FEWEST_BLOCKS = 8
# More takes long to resample: a macro-averaged score of many labels and many examples.
MOST_NUMBERS = 4_000_000
# Of a standard normal distribution, for Wilson's interval.
_QUANTILE = 1.959964


@dataclass(frozen=True)
class Interval:
    """A score between two bounds.

    Attributes:
        score: of all examples.
        low: with 95 % the score of further such examples is above it; NaN if that is not known.
        high: likewise below it.
    """

    score: float
    low: float = math.nan
    high: float = math.nan

    @property
    def is_known(self) -> bool:
        """Whether there are bounds."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Compared:
    """A metric of a model and of its baseline, on the same examples.

    Attributes:
        model: of the model.
        baseline: of the baseline; None where its answers are not known one by one.
        difference: model minus baseline, resampled in pairs.
    """

    model: Interval
    baseline: Interval | None = None
    difference: Interval | None = None


def compared(judged: Judged, metric: str, which: Sequence[int] | None = None) -> Compared | None:
    """A metric with its intervals, by resampling examples, or whole blocks of them.

    Args:
        judged: examples.
        metric: name of one of their ``sums``.
        which: places of some examples; all if None.

    Returns:
        None where examples have no such metric.
    """
    rows = judged.examples if which is None else [judged.examples[i] for i in which]
    if not rows or any(metric not in one.sums for one in rows):
        return None
    form, own = judged.forms.get(metric, ""), [one.sums for one in rows]
    sides = [own]
    if all(metric in one.baseline for one in rows):
        sides.append([one.baseline for one in rows])
    # Together, so that labels have one numbering on both sides.
    together, classes = [one for side in sides for one in side], 0
    if form == "macro":
        classes = 1 + int(max(max(one[metric]) for one in together))
    numbers = len(together) * (3 * classes or len(together[0][metric]))
    blocks = _blocks([one.block for one in rows])
    if blocks.max() + 1 < FEWEST_BLOCKS or numbers > MOST_NUMBERS:
        sums = [sums_of(side, metric, form, classes) for side in sides]
        scores = [Interval(float(value(part, form))) for part in sums]
        return Compared(scores[0], scores[1] if len(scores) > 1 else None)
    parts = np.split(matrix_of(together, metric, form), len(sides))
    found = bootstrap([_summed(part, blocks) for part in parts], form)
    intervals = [_interval(part, scores, form) for part, scores in zip(parts, found.T, strict=True)]
    if len(sides) == 1:
        return Compared(intervals[0])
    away = found[:, 0] - found[:, 1]
    model, other = intervals
    return Compared(model, other, _percentiles(model.score - other.score, away))


def bootstrap(
    sums: Sequence[np.ndarray], form: str = "", resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Scores of resampled sets of blocks; the same blocks for each of the models.

    Args:
        sums: of each model ``<float>[blocks, k]``.
        form: see ``reports.judged.value``.
        resamples: how many sets.
        seed: of the draws.

    Returns:
        ``<float>[resamples, models]``.
    """
    random, count = np.random.default_rng(seed), len(sums[0])
    totals = np.empty((len(sums), resamples, sums[0].shape[1]))
    for i in range(resamples):
        weights = np.bincount(random.integers(0, count, count), minlength=count).astype(float)
        for j, part in enumerate(sums):
            totals[j, i] = weights @ part
    return np.stack([value(part, form) for part in totals], 1)


def _interval(numbers: np.ndarray, scores: np.ndarray, form: str) -> Interval:
    score = float(value(numbers.sum(0), form))
    # All answers right, or none: resampling them has nothing to say of how many would be wrong.
    if not form and score in (0.0, 1.0) and _are_shares(numbers):
        return wilson(score, len(numbers))
    return _percentiles(score, scores)


def _percentiles(score: float, scores: np.ndarray) -> Interval:
    scores = scores[np.isfinite(scores)]
    if len(scores) < RESAMPLES / 2:
        return Interval(score)
    low, high = np.quantile(scores, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    if low == high:  # of nothing that varies, such as no span at all that is right
        return Interval(score)
    return Interval(score, float(low), float(high))


def wilson(share: float, count: int) -> Interval:
    """The interval of a share of ``count`` examples (Wilson 1927).

    >>> interval = wilson(1.0, 100)
    >>> round(interval.low, 4), interval.high
    (0.963, 1.0)
    """
    square = _QUANTILE**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count**2)
    away = _QUANTILE / (1 + square / count) * math.sqrt(spread)
    return Interval(share, max(0.0, middle - away), min(1.0, middle + away))


def _are_shares(numbers: np.ndarray) -> bool:
    return bool(np.isin(numbers[:, 0], (0, 1)).all() and (numbers[:, 1] == 1).all())


def _blocks(names: Sequence[int | None]) -> np.ndarray:
    """Blocks as numbers from 0 on; an example without one has its own."""
    keys = [("own", i) if name is None else ("block", name) for i, name in enumerate(names)]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return np.array([places[key] for key in keys])


def _summed(numbers: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    sums = np.zeros((int(blocks.max()) + 1, numbers.shape[1]))
    np.add.at(sums, blocks, numbers)
    return sums
