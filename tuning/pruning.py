"""When a trial is not worth going on with, by what the finished trials of its search say.

After an epoch, the final scores of the finished trials are regressed on their best scores up to
that epoch, by least squares. A trial is pruned when its score so far lets it beat the best that is
known with a chance of less than 5% (one side of the prediction interval of Student's t
distribution), and less the more were pruned before it: no configuration is tried twice, so each is
one more chance to lose the best. Where early scores say little about final ones the interval is
wide, and nothing is pruned. Pruned trials are not in the regression; since they were chosen by the
score that it is on, that does not bias it.

The bounds of a trial follow from trials that have ended before it begins, so that they are the same
for any number of workers and after a kill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from tuning.leaderboard import TrialRow

# That a trial would have become the best; divided by one more than the number of pruned ones.
MAX_CHANCE = 0.05


@dataclass(frozen=True)
class Outlook:
    """Regression of final scores on the scores so far; lower is better.

    Attributes:
        count: number of finished trials.
        early: mean of their scores so far.
        final: mean of their final scores.
        slope: of the line through both means.
        squares: sum of the squared differences from ``early``.
        deviation: standard deviation of final scores from the line.
    """

    count: int
    early: float
    final: float
    slope: float
    squares: float
    deviation: float

    def expected(self, score: float) -> float:
        """Final score on the line; never worse than the score so far."""
        return min(score, self.final + self.slope * (score - self.early))

    def bound(self, target: float, chance: float) -> float:
        """The score above which a trial ends below the target with less than this chance.

        Infinite where the slope itself may be chance. Never below the target.
        """
        reach = self.deviation * float(stdtrit(self.count - 2, 1.0 - chance))
        # With u = score - early: (final + slope u - target)^2 = reach^2 (1 + 1/count + u^2/squares)
        square = self.slope**2 - reach**2 / self.squares
        if self.slope <= 0 or square <= 0:
            return math.inf
        linear = self.slope * (self.final - target)
        rest = (self.final - target) ** 2 - reach**2 * (1 + 1 / self.count)
        root = math.sqrt(max(0.0, linear**2 - square * rest))
        return max(target, self.early + (root - linear) / square)


def outlook(early: np.ndarray, final: np.ndarray) -> Outlook | None:
    """The regression; None with fewer than three trials, or if all have the same early score.

    Args:
        early: ``<float64>[trials]`` best scores up to an epoch, lower is better.
        final: ``<float64>[trials]`` final scores.
    """
    if len(early) < 3:
        return None
    away = early - early.mean()
    squares = float((away**2).sum())
    if squares < 1e-12 * max(1.0, float(early.mean()) ** 2):
        return None
    slope = float((away * final).sum() / squares)
    rest = final - final.mean() - slope * away
    deviation = math.sqrt(float((rest**2).sum()) / (len(early) - 2))
    return Outlook(len(early), float(early.mean()), float(final.mean()), slope, squares, deviation)


def outlooks(rows: Sequence[TrialRow], mode: str, epochs: int) -> list[Outlook | None]:
    """The regression after each epoch but the last.

    Args:
        rows: trials that have ended.
        mode: "max" if higher scores are better, "min" if lower scores are.
        epochs: of a trial that trains to the end. One whose own patience ended it earlier keeps its
            best score.
    """
    ended = (row for row in rows if row.state == "COMPLETED" and not row.pruned)
    curves = [[*row.curve, *[row.curve[-1]] * (epochs - len(row.curve))]
              for row in ended if row.curve]  # fmt: skip
    table = _so_far(np.array(curves).reshape(-1, epochs), mode)
    table = table[np.isfinite(table).all(1)]
    return [outlook(table[:, epoch], table[:, -1]) for epoch in range(epochs - 1)]


def bounds(rows: Sequence[TrialRow], mode: str, epochs: int) -> list[float | None]:
    """After each epoch but the last, the score that a trial needs to go on; None for any.

    Args:
        rows: trials that have ended.
        mode: see ``outlooks``.
        epochs: see ``outlooks``.
    """
    sign = -1.0 if mode == "max" else 1.0
    scores = [sign * row.score for row in rows if row.state == "COMPLETED"]
    target = min(scores, default=math.inf)
    chance = MAX_CHANCE / (1 + sum(bool(row.pruned) for row in rows))
    found = [
        math.inf if each is None else each.bound(target, chance)
        for each in outlooks(rows, mode, epochs)
    ]
    return [sign * bound if math.isfinite(bound) else None for bound in found]


def expected(row: TrialRow, looks: Sequence[Outlook | None], mode: str) -> float:
    """The final score that a pruned trial would have had, in the direction of its metric."""
    sign = -1.0 if mode == "max" else 1.0
    look = looks[len(row.curve) - 1]
    return row.score if look is None else sign * look.expected(sign * row.score)


def pruned_after(
    scores: Sequence[float], bounds: Sequence[float | None], mode: str
) -> int | None:  # fmt: skip
    """Number of epochs after which a trial is pruned; None if it goes on.

    Args:
        scores: of its epochs so far.
        bounds: see ``bounds``.
        mode: see ``outlooks``.

    >>> pruned_after([0.5, 0.7, 0.6], [None, 0.65, 0.8], "max")
    3
    """
    sign = -1.0 if mode == "max" else 1.0
    for epoch, (best, bound) in enumerate(zip(_so_far(scores, mode), bounds, strict=False), 1):
        if bound is not None and best > sign * bound:
            return epoch
    return None


def reason(metric: str, scores: Sequence[float], bounds: Sequence[float | None], mode: str) -> str:
    """Why a trial was pruned.

    >>> reason("val_accuracy", [0.5, 0.6], [None, 0.65, 0.8], "max")
    'pruned after epoch 2: val_accuracy 0.6000, and 0.6500 would have been needed'
    """
    choose = max if mode == "max" else min
    need = bounds[len(scores) - 1]
    return (
        f"pruned after epoch {len(scores)}: {metric} {choose(scores):.4f}, and {need:.4f} would "
        "have been needed"
    )


def _so_far(scores: Sequence[float] | np.ndarray, mode: str) -> np.ndarray:
    """Best score up to each epoch, the last axis; lower is better."""
    sign = -1.0 if mode == "max" else 1.0
    return np.minimum.accumulate(sign * np.asarray(scores, float), axis=-1)
