"""The step of a regular series: seconds, whole months, hours of sessions or plain steps.

Without pandas, for the server too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 604800
YEAR = 31_556_952  # seconds of a mean Gregorian year
_UNITS = ((WEEK, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second"))

_ALIKE = 0.8  # share of months or nights that must follow a rule
_SPREAD = 10  # days over which one row a month may be spread
_RARE = 0.05  # share of a weekday on which there may be rows although it is closed
_LATEST = 60  # nights by which the hours of sessions are told

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

HARMONICS = 4  # of each cycle that a detector is given: the shape of a day has steps


@dataclass(frozen=True)
class Frequency:
    """Time from one row to the next.

    Attributes:
        count: of seconds, of months, or of a counter's steps.
        months: whether it counts months.
        month_end: the stamps are the last days of their months.
        business: the last business days, or the first from `day` on.
        day: of the month, 1 to 31; 0 where it is the stamp's own.
        counter: times are no seconds but numbers that count on.
        sessions: first and last stamp of each session of a day, in seconds since midnight; none
            where rows follow one another day and night.
        weekdays: that have rows, from Monday, as `np.busday_offset` has them; of sessions, or of
            one row a day, whose steps then go from such a day to the next.
    """

    count: int
    months: bool = False
    month_end: bool = False
    business: bool = False
    day: int = 0
    counter: bool = False
    sessions: tuple[tuple[int, int], ...] = ()
    weekdays: str = "1111111"

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Frequency:
        """Reads back what `vars` gave, after JSON made lists of its tuples."""
        return cls(**{**state, "sessions": tuple(map(tuple, state.get("sessions", ())))})

    @property
    def seconds(self) -> int:
        """Of a step; of a mean one where steps are months or days of some weekdays."""
        if self.months:
            return self.count * YEAR // 12
        return self.count if not self.some_days else WEEK // self.weekdays.count("1")

    @property
    def some_days(self) -> bool:
        """Whether there is one row a day, on some weekdays only."""
        return not self.sessions and "0" in self.weekdays

    @property
    def pauses(self) -> bool:
        """Whether steps go over pauses, in which no rows are missing."""
        return bool(self.sessions) or self.some_days

    @property
    def season(self) -> int:
        """Steps of the season that a forecaster would try first: day, week or year.

        >>> [Frequency(s).season for s in (300, 1800, 3600, 86400, 604800)]
        [288, 48, 24, 7, 52]
        """
        if self.counter:
            return 1
        if self.sessions:
            return len(self._clocks)
        if self.some_days:
            return self.weekdays.count("1")
        if self.months:
            return max(1, 12 // self.count)
        for period, longest in ((DAY, HOUR * 12), (WEEK, DAY), (364 * DAY, WEEK)):
            if self.count <= longest and period % self.count == 0:
                return period // self.count
        return 1

    def after(self, times: Any, steps: Any) -> np.ndarray:
        """``times`` (seconds since 1970, or a counter) moved by ``steps``, which may be negative.

        >>> int(Frequency(1, months=True).after(np.int64(0), 1)) == 31 * DAY
        True
        """
        times, steps = np.asarray(times, np.int64), np.asarray(steps, np.int64)
        if self.sessions:
            return self._after_in_sessions(times, steps)
        if self.some_days:
            # A row on another day, as when a Saturday is worked, counts as the open day before.
            days = (times // DAY).astype("datetime64[D]")
            kept = (steps == 0) & np.ones(days.shape, bool)
            moved = np.busday_offset(days, steps, roll="backward", weekmask=self.weekdays)
            return np.where(kept, times, moved.astype(np.int64) * DAY + times % DAY)
        if not self.months:
            return times + steps * self.count
        stamps = times.astype("datetime64[s]")
        month = stamps.astype("datetime64[M]")
        within = (stamps - month).astype(np.int64)
        moved = month + steps * self.count
        if not (self.month_end or self.day):
            return moved.astype("datetime64[s]").astype(np.int64) + within
        days = month_days(moved, 31 if self.month_end else self.day, self.business, self.month_end)
        clock = 0 if self.month_end and not self.business else within % DAY
        return days.astype("datetime64[s]").astype(np.int64) + clock

    def label(self, times: Any) -> list[Any]:
        """Times as people read them: ``2016-07-01T00:00:00``, or the counter's numbers."""
        return np.asarray(times, np.int64).tolist() if self.counter else iso(times)

    def axis(self, times: Any) -> np.ndarray:
        """Times as a picture's axis: dates, or the counter's numbers."""
        times = np.asarray(times, np.int64)
        return times if self.counter else times.astype("datetime64[s]")

    @property
    def _clocks(self) -> np.ndarray:
        """Seconds since midnight of the rows of a day with sessions."""
        return np.concatenate([np.arange(a, b + 1, self.count) for a, b in self.sessions])

    def _after_in_sessions(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        clocks, days = self._clocks, (times // DAY).astype("datetime64[D]")
        place = np.searchsorted(clocks, times % DAY, side="right") - 1
        # A row before the first session counts as the last of the day before.
        open_day = np.is_busday(days, weekmask=self.weekdays)
        day = np.busday_offset(days, 0, roll="backward", weekmask=self.weekdays)
        place = np.where(open_day, place, len(clocks) - 1) + steps
        day = np.busday_offset(day, place // len(clocks), weekmask=self.weekdays)
        return day.astype(np.int64) * DAY + clocks[place % len(clocks)]

    def __str__(self) -> str:
        if self.counter:
            return _plural(self.count, "step")
        if self.months:
            years = self.count % 12 == 0
            return _plural(self.count // 12, "year") if years else _plural(self.count, "month")
        if self.some_days:
            return f"day ({_named_days(self.weekdays)})"
        size, name = next(pair for pair in _UNITS if self.count % pair[0] == 0)
        return _plural(self.count // size, name)


def infer_frequency(times: np.ndarray, counter: bool = False) -> Frequency:
    """The commonest step of rising times.

    Args:
        times: ``<int64>[time]``, seconds since 1970 or a counter, at least two.
        counter: whether they are a counter.
    """
    steps, counts = np.unique(times[1:] - times[:-1], return_counts=True)
    usual = int(steps[counts.argmax()])
    if len(steps) == 1 and usual <= DAY:
        return Frequency(usual, counter=counter)  # no row pauses
    if counter:
        return Frequency(usual, counter=True)
    if 28 * DAY <= usual <= 366 * DAY and (found := _in_months(times)) is not None:
        return found
    if usual <= 3 * DAY and usual % DAY == 0 and (open_days := _some_days(times)):
        return Frequency(DAY, weekdays=open_days)
    sessions, weekdays = _sessions(times, usual)
    return Frequency(usual, sessions=sessions, weekdays=weekdays)


def month_days(months: np.ndarray, day: int, business: bool, backward: bool) -> np.ndarray:
    """The day of each month, or its last; with `business` the nearest of Monday to Friday.

    >>> month_days(np.array(["2020-02", "2020-05"], "datetime64[M]"), 31, True, True).tolist()
    [datetime.date(2020, 2, 28), datetime.date(2020, 5, 29)]

    Args:
        months: ``<datetime64[M]>``.
        day: 1 to 31; the last of the month where it is shorter.
        business: whether weekends are skipped.
        backward: in which direction.
    """
    last = (months + 1).astype("datetime64[D]") - 1
    days = np.minimum(months.astype("datetime64[D]") + (day - 1), last)
    roll = "backward" if backward else "forward"
    return np.busday_offset(days, 0, roll=roll) if business else days


def _in_months(times: np.ndarray) -> Frequency | None:
    stamps = times.astype("datetime64[s]")
    months, days = stamps.astype("datetime64[M]"), stamps.astype("datetime64[D]")
    within = (stamps - months).astype(np.int64)
    ends = (months + 1).astype("datetime64[s]") - stamps == np.timedelta64(DAY, "s")
    gaps = np.diff(months.astype(np.int64))
    steps, counts = np.unique(gaps, return_counts=True)
    count = int(steps[counts.argmax()])
    if not count:
        return None
    if (within == within[0]).all() and within[0] < 28 * DAY:
        return Frequency(count, months=True)
    if ends.all():
        return Frequency(count, months=True, month_end=True)
    # One row a month whose day moves: for weekends, short months, or freely within a few days.
    if not gaps.all() or len(set(within % DAY)) > 1 or len(set(np.diff(times))) == 1:
        return None
    numbers = within // DAY + 1
    ways = [(31, True, True)]
    ways += [(day, business, False) for business in (True, False) for day in range(1, 32)]
    shares = [np.mean(month_days(months, *way) == days) for way in ways]
    day, business, backward = ways[int(np.argmax(shares))]
    if max(shares) < _ALIKE:
        if np.ptp(numbers) > _SPREAD:
            return None
        day, business, backward = int(np.median(numbers)), False, False
    return Frequency(
        count, months=True, month_end=backward, business=business, day=0 if backward else day
    )


def _some_days(times: np.ndarray) -> str:
    """The weekdays that have rows, where there is a row a day and others have none; else ""."""
    days = np.unique(times // DAY)
    first, last = int(days[0]), int(days[-1])
    weekdays = np.bincount((np.arange(first, last + 1) + 3) % 7, minlength=7)
    if weekdays.min() < 2 or len(days) != len(times):
        return ""  # too short to tell a weekend from a gap
    shares = np.bincount((days + 3) % 7, minlength=7) / weekdays
    is_open, closed = shares > 0.5, shares < _RARE
    if not closed.any() or is_open.sum() < 2 or not (is_open | closed).all():
        return ""
    if shares[is_open].mean() < _ALIKE:
        return ""
    return "".join("1" if day else "0" for day in is_open)


def _named_days(weekdays: str) -> str:
    names = [_WEEKDAYS[day] for day in range(7) if weekdays[day] == "1"]
    first = (weekdays * 2).find("1" * len(names))
    if first < 0 or len(names) < 3:
        return ", ".join(names)
    return f"{_WEEKDAYS[first]} to {_WEEKDAYS[(first + len(names) - 1) % 7]}"


def _sessions(times: np.ndarray, step: int) -> tuple[tuple[tuple[int, int], ...], str]:
    """First and last clock of the sessions of a day, where rows pause at the same hours each day.

    Returns:
        (sessions, weekdays); no sessions where rows go on day and night.
    """
    none = (), "1111111"
    if step > 6 * HOUR or DAY % step:
        return none
    days, clocks, gaps = times // DAY, times % DAY, np.diff(times)
    nights = np.flatnonzero(np.diff(days) > 0)[-_LATEST:]  # what was usual at last
    pauses = nights[gaps[nights] > step]
    if len(pauses) < 2 or len(pauses) < _ALIKE * len(nights) or (gaps == step).mean() < 0.5:
        return none
    (opened, share), (closed, other) = (_usual(clocks[rows]) for rows in (pauses + 1, pauses))
    if max(share, other) < 0.5 or opened >= closed:
        return none
    first = nights[0] + 1
    breaks = first + np.flatnonzero((gaps[first:] > step) & (np.diff(days[first:]) == 0))
    pairs, counts = np.unique(
        np.stack([clocks[breaks], clocks[breaks + 1]], 1), axis=0, return_counts=True
    )
    inner = pairs[counts >= max(2, len(pauses) / 2)].ravel()
    edges = np.concatenate([[opened], inner[(inner > opened) & (inner < closed)], [closed]])
    if len(edges) % 2 or (np.diff(edges) < 0).any():
        edges = np.array([opened, closed])
    weekday = (np.unique(days[first:]) + 3) % 7  # 1970 began on a Thursday
    mask = "".join("1" if day in weekday else "0" for day in range(7))
    return tuple((int(a), int(b)) for a, b in edges.reshape(-1, 2)), mask


def _usual(values: np.ndarray) -> tuple[int, float]:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()]), counts.max() / len(values)


def calendar_names(frequency: Frequency, rows: int) -> tuple[str, ...]:
    """The cycles that can be learnt: longer than two steps, and twice in the training rows.

    The phase of a cycle that train holds once is but a clock, by which a model remembers train.

    Args:
        frequency: of the rows.
        rows: of train.
    """
    if frequency.counter:
        return ()
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
