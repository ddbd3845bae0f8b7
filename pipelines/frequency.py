"""The step of a regular series: seconds or whole months, without pandas, for the server too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 604800
YEAR = 31_556_952  # seconds of a mean Gregorian year
_UNITS = ((WEEK, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second"))

HARMONICS = 4  # of each cycle that a detector is given: the shape of a day has steps


@dataclass(frozen=True)
class Frequency:
    """Time from one row to the next.

    Attributes:
        count: of seconds, or of months.
        months: which of the two.
        month_end: the stamps are the last days of their months.
    """

    count: int
    months: bool = False
    month_end: bool = False

    @property
    def seconds(self) -> int:
        """Of a step; of a mean one where steps are months."""
        return self.count * YEAR // 12 if self.months else self.count

    @property
    def season(self) -> int:
        """Steps of the season that a forecaster would try first: day, week or year.

        >>> [Frequency(s).season for s in (300, 1800, 3600, 86400, 604800)]
        [288, 48, 24, 7, 52]
        """
        if self.months:
            return max(1, 12 // self.count)
        for period, longest in ((DAY, HOUR * 12), (WEEK, DAY), (364 * DAY, WEEK)):
            if self.count <= longest and period % self.count == 0:
                return period // self.count
        return 1

    def after(self, times: Any, steps: Any) -> np.ndarray:
        """``times`` (seconds since 1970) moved by ``steps``, which may be negative.

        >>> int(Frequency(1, months=True).after(np.int64(0), 1)) == 31 * DAY
        True
        """
        times, steps = np.asarray(times, np.int64), np.asarray(steps, np.int64)
        if not self.months:
            return times + steps * self.count
        stamps = times.astype("datetime64[s]")
        month = stamps.astype("datetime64[M]")
        within = (stamps - month).astype(np.int64)
        moved = month + steps * self.count
        if self.month_end:
            return (moved + 1).astype("datetime64[s]").astype(np.int64) - DAY
        return moved.astype("datetime64[s]").astype(np.int64) + within

    def __str__(self) -> str:
        if self.months:
            years = self.count % 12 == 0
            return _plural(self.count // 12, "year") if years else _plural(self.count, "month")
        size, name = next(pair for pair in _UNITS if self.count % pair[0] == 0)
        return _plural(self.count // size, name)


def infer_frequency(times: np.ndarray) -> tuple[Frequency, float]:
    """The commonest step of rising times, and the share of steps that are multiples of it.

    Args:
        times: ``<int64>[time]``, seconds since 1970, at least two.
    """
    gaps = np.diff(times)
    steps, counts = np.unique(gaps, return_counts=True)
    usual = int(steps[counts.argmax()])
    if 28 * DAY <= usual <= 366 * DAY:
        found = _in_months(times)
        if found is not None:
            return found, 1.0
    return Frequency(usual), float(np.mean(gaps % usual == 0))


def _in_months(times: np.ndarray) -> Frequency | None:
    stamps = times.astype("datetime64[s]")
    months = stamps.astype("datetime64[M]")
    within = (stamps - months).astype(np.int64)
    ends = (months + 1).astype("datetime64[s]") - stamps == np.timedelta64(DAY, "s")
    steps, counts = np.unique(np.diff(months.astype(np.int64)), return_counts=True)
    count = int(steps[counts.argmax()])
    if not count:
        return None
    if (within == within[0]).all() and within[0] < 28 * DAY:
        return Frequency(count, months=True)
    return Frequency(count, months=True, month_end=True) if ends.all() else None


def calendar_names(frequency: Frequency, rows: int) -> tuple[str, ...]:
    """The cycles that can be learnt: longer than two steps, and twice in the training rows.

    The phase of a cycle that train holds once is but a clock, by which a model remembers train.

    Args:
        frequency: of the rows.
        rows: of train.
    """
    step = frequency.seconds
    return tuple(
        name for name, period in CYCLES.items() if 2 * step < period and 2 * period <= rows * step
    )


CYCLES = {"day": DAY, "week": WEEK, "year": YEAR}


def calendar_speeds(names: tuple[str, ...], harmonics: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Periods in seconds ``<int64>[n]`` and angular speeds in radians a second ``<float64>[n]``.

    ``n`` is cycles times harmonics.
    """
    periods = np.repeat([CYCLES[name] for name in names], harmonics).astype(np.int64)
    waves = np.tile(np.arange(1, harmonics + 1), len(names))
    return periods, 2 * np.pi * waves / periods


def calendar_features(times: np.ndarray, names: tuple[str, ...], harmonics: int = 1) -> np.ndarray:
    """Sines and cosines of each cycle: ``<int64>[...]`` seconds to ``<float32>[..., 2 * n]``."""
    periods, speeds = calendar_speeds(names, harmonics)
    angles = (times[..., None] % periods).astype(np.float64) * speeds
    return np.concatenate([np.sin(angles), np.cos(angles)], -1).astype(np.float32)


def iso(times: np.ndarray) -> list[str]:
    """Seconds since 1970 as ``2016-07-01T00:00:00``."""
    return np.datetime_as_string(np.asarray(times, np.int64).astype("datetime64[s]")).tolist()


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{count} {word}s"
