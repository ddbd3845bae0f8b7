"""How long a search, or the whole way behind ``seqloom run``, will take.

Before a trial has ended, the time follows from a few measured steps of the default model; then from
the trials that have ended. Everything counts that a person waits for: the start of processes, the
trials, the training of the best, its baseline, exports and their comparison, a served answer. An
estimate is an expected time with a range, because configurations differ in cost, training may end
early, and other programs may want the machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from tuning.leaderboard import ENDED_WITH_MODEL, TrialRow

if TYPE_CHECKING:
    from tuning.search import SearchProgress

# Measured on two cores; rough, and only used until something better is known.
START_SECONDS = 8.0  # of a fork server: imports; data and vocabulary come on top
TRIAL_SECONDS = 6.0  # of a trial besides its epochs: build, trace, measure latency
FINAL_SECONDS = 12.0  # of the last training besides its epochs
EXPORT_SECONDS = 20.0  # SavedModel and ONNX, each compared and timed
SERVE_SECONDS = 6.0  # a server process and one question
# How much the cost of an epoch varies over a space, next to that of the default model.
CHEAP, USUAL, COSTLY = 0.5, 1.3, 3.0


@dataclass(frozen=True)
class Span:
    """A duration in seconds.

    Attributes:
        low: it will hardly be shorter.
        likely: what is expected.
        high: it will hardly be longer.
    """

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def at_most(self, seconds: float | None) -> Span:
        """The same where something ends it after so many seconds; None for no end."""
        if seconds is None:
            return self
        return Span(*(min(value, seconds) for value in (self.low, self.likely, self.high)))

    def after(self, seconds: float) -> Span:
        """What is left of it so many seconds later."""
        return Span(*(max(0.0, value - seconds) for value in (self.low, self.likely, self.high)))

    def __str__(self) -> str:
        low, likely, high = (_rounded(value) for value in (self.low, self.likely, self.high))
        if likely >= 120:
            low, likely, high = (math.ceil(value / 60) for value in (low, likely, high))
            return f"about {likely} min ({low} to {high} min)"
        return f"about {likely} s ({low} to {high} s)"


@dataclass(frozen=True)
class Work:
    """What there is to do.

    Attributes:
        trials: number of trials of the search, with those that have ended.
        epochs: epochs per trial at most, over all its executions.
        at_once: trials that run at the same time.
        limit: seconds after which the search ends; None for no limit.
        whole_way: whether training, exports and a served answer follow the search.
        final_epochs: epochs of that training at most; 0 if it is done.
    """

    trials: int
    epochs: int
    at_once: int
    limit: float | None = None
    whole_way: bool = False
    final_epochs: int = 0


@dataclass(frozen=True)
class Estimate:
    """Times of some work on this machine.

    Attributes:
        work: what there is to do.
        epoch_seconds: one epoch of the default model; None if that was not measured.
        prepare_seconds: reading the data and adapting the preprocessor, which each process does.
    """

    work: Work
    epoch_seconds: float | None = None
    prepare_seconds: float = 0.0

    def left(self, progress: SearchProgress) -> Span | None:
        """What is left of everything, seen from within the search; None if nothing is known yet."""
        search = self.search(progress.rows, progress.spent)
        if search is None:
            return None
        if not self.work.whole_way:
            return search
        return search + self.after_search(progress.rows)

    def search(self, rows: Sequence[TrialRow] = (), spent: float = 0.0) -> Span | None:
        """What is left of the search; None if no trial has ended and no epoch was measured."""
        work, running = self.work, sum(row.state == "RUNNING" for row in rows)
        at_once = max(work.at_once, running)
        ended = [r for r in rows if r.state in ("COMPLETED", "FAILED", "SKIPPED")]
        known = [r.seconds for r in ended if r.state == "COMPLETED" and r.seconds]
        guess = self._trial(known)
        if guess is None:
            return None
        mean, deviation = guess
        if known and running:
            # Those that have ended are the short ones; the time that all have taken says more. (A
            # running trial counts as a quarter of one that has ended: chosen in a simulation.)
            mean = max(mean, at_once * spent / (len(known) + running / 4))
            deviation *= mean / guess[0]
        count = max(0, work.trials - len(ended))
        # At the end some workers have nothing to do.
        apart = (at_once - 1) / at_once if count else 0.0
        total = count * mean / at_once + apart * mean / 2
        doubt = deviation * (math.sqrt(count + count**2 / max(1, len(known))) / at_once + apart / 2)
        start = START_SECONDS + self.prepare_seconds if count and not running and not ended else 0
        found = Span(max(total / 3, total - 1.5 * doubt), total, total + 2.5 * doubt)
        limit = None if work.limit is None else max(0.0, work.limit - spent) + mean / work.epochs
        return (found + Span(start / 2, start, 2 * start)).at_most(limit)

    def _trial(self, known: Sequence[float]) -> tuple[float, float] | None:
        """Mean and standard deviation of the seconds of a trial."""
        if known:
            mean = fmean(known)
            least = 0.6 if len(known) < 4 else 0.3  # so few say little about how they vary
            return mean, max(stdev(known) if len(known) > 1 else 0.0, least * mean)
        if self.epoch_seconds is None:
            return None
        # Trials share the cores, so an epoch of one of them takes longer than one alone.
        busy = 1.0 if self.work.at_once == 1 else 1.5
        epochs = self.work.epochs * self.epoch_seconds * busy
        mean = TRIAL_SECONDS + USUAL * epochs
        return mean, (COSTLY - CHEAP) / 3 * epochs + TRIAL_SECONDS / 2

    def after_search(self, rows: Sequence[TrialRow] = ()) -> Span:
        """The training of the best and all that follows it."""
        return self._training(rows) + self.after_training()

    def _training(self, rows: Sequence[TrialRow]) -> Span:
        epochs = self.work.final_epochs
        if not epochs:
            return Span()
        ended = (r for r in rows if r.state in ENDED_WITH_MODEL and r.epochs and r.seconds)
        best = next(ended, None)
        if best is None:
            whole = epochs * (self.epoch_seconds or 0.0)
            return Span(CHEAP * whole, whole, COSTLY * whole) + _around(FINAL_SECONDS)
        whole = epochs * max(0.0, best.seconds - TRIAL_SECONDS / 2) / best.epochs
        # It may end early, and it has all cores for itself if trials shared them.
        alone = 0.8 if self.work.at_once > 1 else 1.0
        return Span(0.4 * alone * whole, 0.9 * alone * whole, 1.4 * whole) + _around(FINAL_SECONDS)

    def after_training(self) -> Span:
        """Evaluation, baseline, exports, a served answer."""
        evaluation = self.epoch_seconds or 0.0
        return (
            Span(0.2 * evaluation, evaluation, 5 * evaluation)
            + _around(EXPORT_SECONDS)
            + _around(SERVE_SECONDS)
        )


def exactly(seconds: float) -> Span:
    """A time that is known."""
    return Span(seconds, seconds, seconds)


def _around(seconds: float) -> Span:
    """A time that was measured elsewhere."""
    return Span(seconds / 2, seconds, 2 * seconds)


def _rounded(seconds: float) -> int:
    """Seconds with as many digits as an estimate deserves."""
    return round(seconds) if seconds < 20 else 5 * round(seconds / 5)
