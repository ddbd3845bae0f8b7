"""Reads time series: finds the columns, checks the times, fills the holes.

The rows of a file or of a table in memory are streamed once. Their values go as float32 to a
temporary file without a name, which is mapped into memory where it is large; times, ids and line
numbers are kept as arrays.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from common.errors import DataError
from pipelines.frequency import DAY, Frequency, infer_frequency
from pipelines.messages import name_list, shorten
from pipelines.readers import Row
from pipelines.series import Series, Written
from pipelines.series_columns import FoundColumns, SeriesColumns, find_columns
from pipelines.series_numbers import settle_decimals
from pipelines.series_rows import open_rows
from pipelines.series_stamps import (
    COUNTER,
    NAT,
    OFFSET,
    STEPS,
    bad_stamp,
    date_order,
    one_reading,
    stamp_seconds,
)
from pipelines.series_table import RawTable, TextRows
from pipelines.series_time_columns import text_of
from pipelines.series_times import (
    Rows,
    check_filled,
    fill,
    in_order,
    on_grid,
    some_rows,
    time_zone,
)
from pipelines.textfile import read_document

HEAD, CHUNK_ROWS, CHUNK_CELLS = 1000, 50_000, 400_000
ON_DISK = 200_000  # rows from which values are mapped from a file
_SURE = 0.8  # share of a series's steps that must be alike to say what its step is


def read_series(
    source: Any, wanted: SeriesColumns, *, regular: bool = True, open_end: bool = False
) -> tuple[list[Series], list[str]]:
    """Reads every series of a file or of a table in memory.

    Of several series those that cannot be used are left out, with a note.

    Args:
        source: path of a csv, tsv or JSON file, perhaps gzip; a DataFrame, a list of dicts, or
            `Records`.
        wanted: which columns are what.
        regular: put the rows on a grid of one step and fill its holes. Otherwise rows are only
            sorted, and those of one time made one.
        open_end: leave targets NaN after their last value where covariates go on.

    Returns:
        (series in the order in which they first appear, notes for the user).

    Raises:
        DataError: with file and line or row, for what cannot be read or mended.
    """
    zone = time_zone(wanted.timezone)
    with tempfile.TemporaryFile() as spool:
        found = _read_table(open_rows(source, wanted.encoding), wanted, spool)
        table = found.table
        readings, codes, lines = table.joined()
        raw = _values(spool, len(lines), len(table.columns))
    decimal = settle_decimals(table, found.numbers, raw, found.marks, wanted.like.decimal)
    order = wanted.date_order or wanted.like.date_order
    times = one_reading(table, readings, lines, codes, order)
    proved = table.date_order or date_order(table.formats, readings)
    written = Written(decimal or wanted.like.decimal, proved or order)
    keep = _useful(table, raw, bool(wanted.targets), wanted.flat)
    parts = [_Part(table, key, rows) for key, rows in zip(table.ids, _groups(codes), strict=True)]
    del codes
    parts = _usable(table, parts, lambda part: part.ordered(times, lines, zone))
    step = wanted.step or _common_step(parts)
    parts = _usable(
        table, parts, lambda part: part.placed(step if regular else None, raw, keep, open_end)
    )
    _tell_left_out(table)
    if regular and step.sessions:
        table.notes.append(
            "Rows pause at the same hours each day: the steps go from session to session, without "
            "calendar."
        )
    if regular and step.some_days:
        table.notes.append(_passed_over(parts, step))
    ends = np.cumsum([len(part.grid) for part in parts])
    with tempfile.TemporaryFile() as file:
        file.truncate(int(ends[-1]) * len(keep) * 4)
        out = _values(file, int(ends[-1]), len(keep))
    columns, series = tuple(table.columns[index] for index in keep), []
    for part, block in zip(parts, np.split(out, ends[:-1]), strict=True):
        fill(table, raw, part.rows, part.places, part.grid, keep, block, open_end)
        from_lines = lines[part.rows]
        if part.places is not None:
            from_lines = np.full(len(part.grid), -1, lines.dtype)
            from_lines[part.places] = lines[part.rows]
        series.append(
            Series(part.name, part.grid, block, columns, step, lines=from_lines, written=written)
        )
    return series, table.all_notes()


def read_windows(path: str | Path, series: Series, file_name: str) -> tuple[tuple[int, int], ...]:
    """Reads the first and last row of each labelled anomaly from a JSON file as NAB writes it.

    Args:
        path: an object of lists, by data file: of [first, last] stamps, or of single stamps.
        series: the rows that are meant.
        file_name: what the entry's key ends with.

    Raises:
        DataError: no such entry, several, or a window without rows.
    """
    try:
        entries = json.loads(read_document(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: broken JSON ({error.msg}); correct it.") from error
    listed = entries.items() if isinstance(entries, dict) else ()
    found = [value for key, value in listed if f"/{key}".endswith(f"/{file_name}")]
    if len(found) != 1 or not isinstance(found[0], list):
        raise DataError(
            f"{path} has {len(found) or 'no'} entries for {file_name}; give one object with one "
            'key that ends so: {"' + file_name + '": [["first stamp", "last stamp"], ...]}.'
        )
    windows = []
    for entry in found[0]:
        pair = entry if isinstance(entry, list) else [entry, entry]
        way = COUNTER if series.frequency.counter else "ISO8601"
        stamps = stamp_seconds([str(stamp) for stamp in pair], way)
        if len(stamps) != 2 or NAT in stamps:
            raise DataError(
                f"{path}: {shorten(entry)} of {file_name} is no pair of stamps; correct it."
            )
        first = int(np.searchsorted(series.times, stamps[0]))
        last = int(np.searchsorted(series.times, stamps[1], side="right")) - 1
        if first > last:
            begin, end = series.frequency.label(series.times[[0, -1]])
            raise DataError(
                f"{path}: the window {shorten(entry)} holds no row of {file_name}, which goes from "
                f"{begin} to {end}; correct or remove it."
            )
        windows.append((first, last))
    return tuple(sorted(windows))


# ---- rows of one series


@dataclass(frozen=True)
class _Part:
    """One series on its way: its rows in the table, their times, places and grid.

    Rows are a slice where they follow one another in the table, so that what is taken of them is no
    copy; places are None where each row has its own, in order.
    """

    table: RawTable
    key: tuple[str, ...]
    rows: Rows
    times: np.ndarray | None = None
    places: np.ndarray | None = None
    grid: np.ndarray | None = None

    @property
    def name(self) -> str:
        return "/".join(self.key)

    @property
    def where(self) -> str:
        return f"{self.table.name}, series '{self.name}'" if self.table.id else self.table.name

    def ordered(self, times: np.ndarray, lines: np.ndarray, zone: Any) -> _Part:
        """With its rows in order of time."""
        if self.table.formats == (STEPS,):
            found = self.rows, np.arange(len(times[self.rows]))
            if len(found[1]) < 2:
                raise DataError(f"{self.where} has one row; give at least 2.")
        else:
            found = in_order(self.table, self.where, self.rows, times[self.rows], lines, zone)
        return replace(self, rows=found[0], times=found[1])

    @cached_property
    def step(self) -> Frequency:
        return infer_frequency(self.times, self.table.formats[0] in (COUNTER, STEPS))

    def placed(
        self, step: Frequency | None, raw: np.ndarray, keep: list[int], open_end: bool
    ) -> _Part:
        """With its rows on the grid of a step, or as they are where there is none."""
        rows, grid, places = self.rows, self.times, None
        if step:
            self._check_step(step)
            kept, grid, places = on_grid(self.table, self.where, self.times, step)
            rows = some_rows(rows, kept)
        known = np.stack([~np.isnan(raw[rows, column]) for column in keep])
        names = [self.table.columns[column] for column in keep]
        targets = sum(column < self.table.targets for column in keep)
        check_filled(self.where, known, names, targets, open_end)
        return replace(self, rows=rows, grid=grid, places=places)

    def _check_step(self, step: Frequency) -> None:
        own, rows = self.step, len(self.times)
        alike = (own.count, own.months, own.counter) == (step.count, step.months, step.counter)
        # Rows on days on which the others have none would stretch what a step is.
        alike &= not step.some_days or all(map(str.__le__, own.weekdays, step.weekdays))
        if alike:
            return
        sure = rows > 3 and np.mean(own.after(self.times[:-1], 1) == self.times[1:]) >= _SURE
        if sure or own.counter != step.counter:
            raise DataError(
                f"{self.where} has a step of {own}, where {step} is expected; resample it to that "
                "step or use it alone (--time-column names the time, or none if the rows simply "
                "follow one another)."
            )


def _usable(
    table: RawTable, parts: Sequence[_Part], action: Callable[[_Part], _Part]
) -> list[_Part]:
    """The parts on which the action succeeds; the others are remembered with the reason."""
    kept = []
    for part in parts:
        before = dict(table.mended)
        try:
            kept.append(action(part))
        except DataError as error:
            table.mended = before
            table.refused[part.name] = error
    if not kept:
        raise next(iter(table.refused.values()))
    return kept


def _tell_left_out(table: RawTable) -> None:
    if table.refused:
        names = name_list([repr(name) for name in table.refused], 5)
        reason, _, _ = str(next(iter(table.refused.values()))).partition(";")
        table.notes.append(
            f"{len(table.refused)} of {len(table.ids)} series were left out: {names}. The first: "
            f"{reason}."
        )


def _common_step(parts: Sequence[_Part]) -> Frequency:
    """The step of most rows; the first of those that are equally common."""
    votes: Counter[Frequency] = Counter()
    for part in parts:
        votes[part.step] += len(part.times)
    return votes.most_common(1)[0][0]


def _passed_over(parts: Sequence[_Part], step: Frequency) -> str:
    """Says what a step is, and on how many of its days there are no rows."""
    days = [(part.grid // DAY).astype("datetime64[D]") for part in parts]
    passed = sum(
        int(np.busday_count(one[0], one[-1] + 1, weekmask=step.weekdays))
        - int(np.is_busday(one, weekmask=step.weekdays).sum())
        for one in days
    )
    many = (
        f"{passed} such days have no row and were"
        if passed > 1
        else "1 such day has no row and was"
    )
    missing = f"; {many} passed over, as holidays are" if passed else ""
    return f"A step is a {step}: nothing is inserted between, and there is no calendar{missing}."


def _groups(codes: np.ndarray) -> list[Rows]:
    """The rows of each series, as a slice where they follow one another."""
    ends = np.cumsum(np.bincount(codes))
    starts = ends - np.diff(ends, prepend=0)
    if (codes[1:] >= codes[:-1]).all():
        return [slice(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]
    return np.split(np.argsort(codes, kind="stable"), ends[:-1])


# ---- columns and cells


def _read_table(source: TextRows, wanted: SeriesColumns, spool: IO[bytes]) -> FoundColumns:
    rows = source.rows
    head = list(itertools.islice(rows, HEAD))
    found = find_columns(source, head, wanted)
    table = found.table
    if not table.targets:
        raise _no_target(table)
    rows, size = itertools.chain(head, rows), min(CHUNK_ROWS, CHUNK_CELLS // len(source.header) + 1)
    while chunk := list(itertools.islice(rows, size)):
        _add_rows(found, chunk, spool)
    spool.flush()
    if table.offset:
        table.notes.append(f"The stamps of column '{table.time}' were converted to UTC.")
    elif wanted.timezone and table.has_stamps:
        table.notes.append(
            f"The stamps of column '{table.time}' were read as {wanted.timezone} and converted to "
            "UTC."
        )
    return found


def _add_rows(found: FoundColumns, rows: list[Row], spool: IO[bytes]) -> None:
    table, lines = found.table, np.array([row.line for row in rows], np.int32)
    cells, readings = found.time.read(rows, table.rows)
    for index in np.flatnonzero((readings == NAT).all(0))[:1]:
        raise bad_stamp(rows[index].where, table.time, cells[index])
    offsets = [bool(OFFSET.search(cell)) for cell in cells]
    table.offset = offsets[0] if table.offset is None else table.offset
    for index in np.flatnonzero(np.array(offsets) != table.offset)[:1]:
        raise table.error(
            lines[index],
            f"column '{table.time}': '{shorten(cells[index])}' has "
            f"{'no' if table.offset else 'an'} offset from UTC, unlike the stamps before it; write "
            "all alike.",
        )
    keys = list(zip(*([text_of(row, name) for row in rows] for name in table.id), strict=True))
    for index, key in enumerate(keys):
        if "" in key:
            name = table.id[key.index("")]
            raise table.error(
                lines[index], f"column '{name}' is empty; write which series the row is of."
            )
    codes = [table.ids.setdefault(key, len(table.ids)) for key in keys] or [0] * len(rows)
    table.pieces.append((readings, np.array(codes, np.int32), lines))
    values = np.empty((len(rows), len(table.columns)), np.float32)
    for index, column in enumerate(found.numbers):
        values[:, index] = column.read(table, [row.values[column.name] for row in rows], lines)
    table.rows += len(rows)
    spool.write(values.tobytes())


def _values(file: IO[bytes], rows: int, columns: int) -> np.ndarray:
    if rows > ON_DISK:
        return np.memmap(file, np.float32, "r+", shape=(rows, columns))
    file.seek(0)
    return np.fromfile(file, np.float32).reshape(rows, columns)


def _useful(table: RawTable, raw: np.ndarray, named: bool, flat: bool) -> list[int]:
    """Returns the columns that stay: those asked for and, of the others, those that vary."""
    keep = list(range(len(table.columns)))
    for index, name in enumerate(table.columns[: table.targets]):
        known = raw[:, index][~np.isnan(raw[:, index])]
        if known.size and (known.min() < known.max() or flat):
            continue
        what = f"always {known[0]:g}" if known.size else "empty"
        if named:
            raise DataError(
                f"{table.name}: the target '{name}' is {what}: there is nothing to learn; "
                "name another with --target."
            )
        keep.remove(index)
        table.left_out.append(f"'{name}' ({what})")
    if keep[0] >= table.targets if keep else True:
        raise _no_target(table)
    if table.left_out:
        table.notes.append(f"Columns left out: {name_list(table.left_out)}.")
    return keep


def _no_target(table: RawTable) -> DataError:
    why = f" but {name_list(table.left_out)}" if table.left_out else ""
    return DataError(
        f"{table.name} has no columns to use as targets{why}; name columns of numbers that "
        "change with --target."
    )
