"""How much of the difference between two scores of a search may be chance.

Two sources of chance are known. A score that is the share of right answers, such as accuracy, has
the error of a proportion: the interval of the difference of two of them is that of Agresti and
Caffo (2000, "Simple and Effective Confidence Intervals for Proportions and Differences of
Proportions"), as if each trial had been judged on examples of its own. Trials are judged on the
same examples and often err on the same ones, so the interval is rather too wide than too narrow.
With several executions per trial, the spread over their seeds is added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuning.leaderboard import ENDED_WITH_MODEL, Search, TrialRow

# Of a normal distribution, for an interval of 95%.
QUANTILE = 1.96


@dataclass(frozen=True)
class Comparison:
    """The trials of a search compared with its best.

    Attributes:
        trials: number of trials with a score, the best included.
        rivals: the trials that may be as good as the best, best first.
        margin: largest difference to the best that may be chance, at 95%.
        examples: number of validation examples that the score is a share of, if it is one.
    """

    trials: int
    rivals: list[TrialRow]
    margin: float
    examples: int | None

    @property
    def sentence(self) -> str:
        """What a reader must know before choosing by rank; "" if the best is clearly ahead."""
        if not self.rivals:
            return ""
        where = f"on {self.examples} validation examples " if self.examples else ""
        chance = f"{where}a difference of up to {self.margin:.2g} may be chance (95% interval)"
        if len(self.rivals) + 1 == self.trials:
            return (
                f"These scores decide nothing: none of the {self.trials} trials can be told apart "
                f"from the best; {chance}. More validation data, more epochs or a wider space may "
                "separate them; until then prefer the cheapest."
            )
        count = len(self.rivals)
        some = "one other trial is" if count == 1 else f"{count} other trials are"
        return f"{some[0].upper()}{some[1:]} within chance of the best: {chance}."


def compare(search: Search) -> Comparison | None:
    """Compares all trials with the best; None with fewer than two, or if no chance is known."""
    rows = [r for r in search.rows if r.score is not None and r.state in ENDED_WITH_MODEL]
    examples = search.about.get("proportion_of")
    seeds = _margin_of_seeds(rows, search.about.get("executions") or 1)
    if len(rows) < 2 or (not examples and seeds is None):
        return None
    best, rivals, largest = rows[0], [], 0.0
    for row in rows[1:]:
        margin = _margin(best.score, row.score, examples, seeds or 0.0)
        largest = max(largest, margin) if not rivals else largest
        if abs(best.score - row.score) <= margin:
            rivals.append(row)
            largest = margin
    return Comparison(len(rows), rivals, largest, examples)


def _margin(one: float, other: float, examples: int | None, seeds: float) -> float:
    """Half the width of the interval of the difference between two scores."""
    variance = 0.0
    if examples:
        for share in (one, other):
            # One right and one wrong answer more, so that a share of 1 is not taken for certain.
            likely = (share * examples + 1) / (examples + 2)
            variance += likely * (1 - likely) / (examples + 2)
    return math.hypot(QUANTILE * math.sqrt(variance), seeds)


def _margin_of_seeds(rows: Sequence[TrialRow], executions: int) -> float | None:
    """The same for seeds alone: Student's t with the variance pooled over all trials."""
    spreads = [row.spread for row in rows if row.spread is not None]
    if not spreads or executions < 2:
        return None
    from scipy.stats import t

    variance = sum(spread**2 for spread in spreads) / len(spreads) / executions
    return float(t.ppf(0.975, len(spreads) * (executions - 1))) * math.sqrt(2 * variance)
