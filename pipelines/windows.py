"""Windows over series, as positions; the rows themselves are gathered batch by batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.frequency import Frequency
from pipelines.series import Series, Written
from pipelines.splits import PARTS


@dataclass(frozen=True)
class Table:
    """Series with the same columns, one below the other.

    Attributes:
        names: of the series.
        offsets: ``<int64>[series + 1]``, first row of each, and the number of rows.
        times: ``<int64>[rows]``.
        values: ``<float32>[rows, columns]``.
        columns: targets, then covariates of the past, then those known in advance.
        targets: how many of the columns are forecast.
        inputs: how many are seen of the past only, targets included.
        frequency: of all series.
        written: how their file wrote numbers and dates.
        lines: ``<int64>[rows]``, line of each row in its file, -1 where a hole was filled; None
            where there is no file.
    """

    names: tuple[str, ...]
    offsets: np.ndarray
    times: np.ndarray
    values: np.ndarray
    columns: tuple[str, ...]
    targets: int
    inputs: int
    frequency: Frequency
    written: Written = Written()
    lines: np.ndarray | None = None

    @classmethod
    def of(cls, series: Sequence[Series], targets: int, inputs: int) -> Table:
        """Joins series; a single one is not copied, so that a mapped file stays on disk."""
        first = series[0]
        lines = None
        if len(series) == 1:
            times, values, lines = first.times, first.values, first.lines
        else:
            times = np.concatenate([one.times for one in series])
            values = np.concatenate([one.values for one in series])
            if all(one.lines is not None for one in series):
                lines = np.concatenate([one.lines for one in series])
        offsets = np.cumsum([0, *map(len, series)])
        names = tuple(one.name for one in series)
        about = (first.columns, targets, inputs, first.frequency, first.written)
        return cls(names, offsets, times, values, *about, lines=lines)

    def fingerprint(self, *more: Any) -> str:
        """sha256 over columns, times, values and whatever else decides which rows are used."""
        digest = hashlib.sha256(repr((self.columns, self.offsets.tolist(), more)).encode())
        for start in range(0, len(self.times), 1 << 18):
            rows = slice(start, start + (1 << 18))
            digest.update(np.ascontiguousarray(self.times[rows]).tobytes())
            digest.update(np.ascontiguousarray(self.values[rows]).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Windows(Sequence):
    """Windows of one table: ``lookback`` rows of the past and ``horizon`` rows to forecast.

    Attributes:
        table: where the rows are.
        starts: ``<int64>[windows]``, first row of each.
        lookback: rows.
        horizon: rows.
    """

    table: Table
    starts: np.ndarray
    lookback: int
    horizon: int

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int | slice) -> Any:
        """Some of the windows; or one, as ``{"values", "time", "known"}`` without its future.

        ``values <float32>[lookback, inputs]``, ``time``: of its last row, in seconds since 1970,
        ``known <float32>[lookback + horizon, known]``. They are views, not copies.
        """
        if isinstance(index, slice):
            return replace(self, starts=self.starts[index])
        start = int(self.starts[index])
        now, table = start + self.lookback, self.table
        return {
            "series": self.names[index],
            "values": table.values[start:now, : table.inputs],
            "time": int(table.times[now - 1]),
            "known": table.values[start : now + self.horizon, table.inputs :],
        }

    @cached_property
    def series(self) -> np.ndarray:
        """Number of the series of each window: ``<int64>[windows]``."""
        return np.searchsorted(self.table.offsets, self.starts, "right") - 1

    @cached_property
    def names(self) -> list[str]:
        """Name of the series of each window."""
        return [self.table.names[i] for i in self.series]

    def by_series(self) -> dict[int, np.ndarray]:
        """Places of the windows of each series that has some, by its number, in rising order."""
        order = np.argsort(self.series, kind="stable")
        found = np.split(order, np.flatnonzero(np.diff(self.series[order])) + 1)
        return {int(self.series[places[0]]): places for places in found if len(places)}

    def past(self) -> np.ndarray:
        """The targets that are seen: ``<float32>[windows, lookback, targets]``."""
        rows = self.starts[:, None] + np.arange(self.lookback)
        return self.table.values[:, : self.table.targets][rows]

    def last(self) -> np.ndarray:
        """The last row of the targets that is seen: ``<float32>[windows, targets]``."""
        return self.table.values[self.starts + self.lookback - 1, : self.table.targets]

    def future(self) -> np.ndarray:
        """What is to be forecast: ``<float32>[windows, horizon, targets]``."""
        rows = self.starts[:, None] + np.arange(self.lookback, self.lookback + self.horizon)
        return self.table.values[:, : self.table.targets][rows]


def parse_split(text: str, rows: int) -> tuple[int, int, int]:
    """Rows of train, validation and test.

    >>> parse_split("0.7,0.1,0.2", 1000), parse_split("8640/2880/2880", 17420)
    ((700, 100, 200), (8640, 2880, 2880))

    Raises:
        DataError: it is neither three shares nor three counts, or they are more than there is.
    """
    parts = text.replace("/", ",").split(",")
    try:
        numbers = [Fraction(part.strip()) for part in parts]
    except (ValueError, ZeroDivisionError):
        numbers = []
    if len(numbers) != 3 or min(numbers) < 0 or not numbers[0]:
        raise DataError(
            f"--split {text}: write three shares such as 0.7,0.1,0.2 or three numbers of rows "
            "such as 8640,2880,2880, for train, validation and test"
        )
    if sum(numbers) <= 1:
        borders = [int(sum(numbers[: i + 1]) * rows + Fraction(1, 2)) for i in range(3)]
        return borders[0], borders[1] - borders[0], borders[2] - borders[1]
    if any(number.denominator != 1 for number in numbers) or sum(numbers) > rows:
        raise DataError(
            f"--split {text} asks for other or more rows where the series has {rows}; "
            "write whole numbers of rows that fit, or shares"
        )
    return tuple(map(int, numbers))


MOST_JUDGED = 100_000  # windows of validation, and of test
ALIKE = 0.8
MOST_STRETCHES = 10_000  # that say whether the spread follows the level
SEASONS, HORIZONS, LONGEST = 14, 7.5, 720  # that a chosen lookback holds


def usual_lookback(table: Table, horizon: int, split: str) -> int:
    """Rows of the past to look back over, where nobody says how many.

    14 seasons, or 7.5 horizons if that is more, up to 720 rows or three seasons; but no more than a
    third of the train part of the longest series, so that windows are left. Whole seasons where
    they fit.
    """
    season = table.frequency.season
    rows = max(parse_split(split, int(size))[0] for size in np.diff(table.offsets))
    wanted = min(max(SEASONS * season, math.ceil(HORIZONS * horizon)), max(LONGEST, 3 * season))
    found = max(2, min(wanted, (rows - horizon) // 3))
    return found - found % season if found >= season else found


def spread_follows_level(windows: Windows) -> bool:
    """Tells whether windows vary the more the higher they are, as where a season multiplies.

    In every target all rows are above 0, and the levels of windows side by side and their spreads
    about a straight line have a rank correlation (Spearman) of 0.8 or more.
    """
    table, lookback = windows.table, windows.lookback
    starts = [
        start
        for span in covered_spans(windows)
        for start in range(span.start, span.stop - lookback + 1, lookback)
    ]
    stretches = [
        table.values[start : start + lookback, : table.targets].astype(np.float64)
        for start in starts[:: -(-len(starts) // MOST_STRETCHES) or 1]
    ]
    if len(stretches) < 4 or any(rows.min() <= 0 for rows in stretches):
        return False
    steps = np.arange(lookback) - (lookback - 1) / 2
    lines = [np.outer(steps, steps @ rows / (steps @ steps)) for rows in stretches]
    levels = [rows.mean(0) for rows in stretches]
    spreads = [(rows - line).std(0) for rows, line in zip(stretches, lines, strict=True)]
    ranks = [np.argsort(np.argsort(found, 0), 0) for found in (levels, spreads)]
    return all(
        np.corrcoef(level, spread)[0, 1] >= ALIKE
        for level, spread in zip(*map(np.transpose, ranks), strict=True)
    )


def split_windows(
    table: Table, lookback: int, horizon: int, split: str, stride: int = 1
) -> tuple[dict[str, Windows], list[str]]:
    """Windows whose futures lie in the train, the validation or the test part of each series.

    Parts follow one another in time. A window may look back over a border; its future never
    crosses one.

    Returns:
        Windows by part, and notes.

    Raises:
        DataError: no series is long enough for one window in each part.
    """
    starts: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    left_out, longest = [], (-1, "", np.zeros(4, np.int64))
    for number, name in enumerate(table.names):
        offset, rows = table.offsets[number], table.offsets[number + 1] - table.offsets[number]
        borders = np.cumsum([0, *parse_split(split, int(rows))])
        found = {
            part: np.arange(
                # Without a future the window itself is what lies in the part.
                max(borders[i] - (lookback if i and horizon else 0), 0),
                borders[i + 1] - lookback - horizon + 1,
                stride,
            )
            for i, part in enumerate(PARTS)
        }
        if not all(map(len, found.values())):
            left_out.append(name)
            longest = max(longest, (int(rows), name, borders), key=lambda each: each[0])
            continue
        for part, positions in found.items():
            starts[part].append(positions + offset)
    if not starts["train"]:
        rows, name, borders = longest
        raise DataError(_too_few(name, rows, np.diff(borders).tolist(), lookback, horizon))
    notes = []
    if left_out:
        notes.append(
            f"{len(left_out)} of {len(table.names)} series are too short for a window in each "
            f"part and were left out: {', '.join(left_out[:5])}"
        )
    made = {
        part: Windows(table, np.concatenate(found), lookback, horizon)
        for part, found in starts.items()
    }
    return made, notes


def thinned(windows: dict[str, Windows]) -> tuple[dict[str, Windows], list[str]]:
    """Windows by part; of a validation or test part of more than ``MOST_JUDGED`` every n-th, and
    notes that say so. Windows side by side share all but a row: more of them tell hardly more, yet
    the answers to all are in memory at once."""
    found, notes = dict(windows), []
    for part in PARTS[1:]:
        every = -(-len(windows[part]) // MOST_JUDGED)
        if every > 1:
            found[part] = windows[part][::every]
            notes.append(
                f"The {part} part has {len(windows[part]):,} windows; one in {every} is judged, "
                f"{len(found[part]):,} in all."
            )
    return found, notes


def _too_few(name: str, rows: int, sizes: list[int], lookback: int, horizon: int) -> str:
    """The sentence for a series without a window in each part, with flags that would do."""
    parts = ", ".join(f"{n} for {part}" for n, part in zip(sizes, PARTS, strict=True))
    start = f"{name} has {rows} rows ({parts}): too few for a window of {lookback} rows"
    train, ahead = sizes[0], min(sizes[1:])
    if not horizon:
        fits = f"add --window {min(sizes)} or less, or " if min(sizes) > 3 else ""
        return f"{start}; {fits}change --split, or give more rows"
    start += f" of the past and {horizon} of the future"
    if horizon <= ahead and train - horizon > 1:
        fits = f"add --lookback {train - horizon} or less, "
    elif min(ahead, train - lookback) > 0:
        fits = f"add --horizon {min(ahead, train - lookback)} or less, "
    elif ahead and train > 2:
        future = min(ahead, train // 3)
        fits = f"add --lookback {train - future} --horizon {future} or less, "
    else:
        fits = ""
    return f"{start}; {fits}change --split, or give more rows"


def spans_by_series(windows: Windows) -> dict[int, slice]:
    """By number of a series its rows that are in some window, from the first to the last."""
    size, found = windows.lookback + windows.horizon, {}
    for number, places in windows.by_series().items():
        inside = windows.starts[places]
        found[number] = slice(int(inside.min()), int(inside.max()) + size)
    return found


def covered_spans(windows: Windows) -> list[slice]:
    """The rows of each series that are in some window, see ``spans_by_series``."""
    return list(spans_by_series(windows).values())


def joined(table: Table, spans: list[slice]) -> np.ndarray:
    """Rows of the table, ``<float32>[rows, columns]``; a view where there is one span."""
    parts = [table.values[span] for span in spans]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
