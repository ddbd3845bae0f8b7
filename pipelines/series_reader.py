"""Reads time series from csv and tsv files: finds the columns, checks the times, fills the holes.

The file is streamed once. Its values go as float32 to a temporary file without a name, which is
mapped into memory where it is large; times, ids and line numbers are kept as arrays.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from pipelines.errors import DataError
from pipelines.frequency import Frequency, iso
from pipelines.readers import FORMATS, Row, data_extension, first_cells, read_rows
from pipelines.series import Series
from pipelines.splits import name_list, shorten
from pipelines.textfile import TextFile, inspect_file, read_document

TIME_NAMES = ("datetime", "timestamp", "date", "ds", "time", "date_time", "period", "month", "week",
              "day", "year", "epoch")  # fmt: skip
ID_NAME = "unique_id"
HEAD, CHUNK_ROWS, CHUNK_CELLS = 1000, 50_000, 400_000
ON_DISK = 200_000  # rows from which values are mapped from a file
_MISSING = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "?"))
_NAT = np.iinfo(np.int64).min
_NUMBER = re.compile(r"\d+(\.\d+)?")
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_OFFSET = re.compile(r"[T ]\d{2}.*([Zz]|[+-]\d{2}(:?\d{2})?)$")
_PLAIN_DATES = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}  # by number of digits
# Ways to read a stamp; of two, the first where no cell decides.
_DATES = (("%Y/%m/%d",), ("%m/%d/%Y", "%d/%m/%Y"), ("%d.%m.%Y", "%m.%d.%Y"),
          ("%m-%d-%Y", "%d-%m-%Y"), ("%m/%d/%y", "%d/%m/%y"), ("%d.%m.%y", "%m.%d.%y"), ("%b %Y",),
          ("%B %Y",), ("%b-%Y",), ("%Y %b",), ("%d %b %Y",), ("%d-%b-%Y",), ("%d %B %Y",),
          ("%b %d, %Y",), ("%B %d, %Y",))  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = (("ISO8601",), *(tuple(d + c for d in pair) for pair in _DATES for c in _CLOCKS))
_KNOWN_STAMPS = "2016-07-01 13:00, 1949-01, 07/01/2016 13:00, Jan 1949 or seconds since 1970"


@dataclass(frozen=True)
class SeriesColumns:
    """Which columns are what; an empty one is found in the file.

    Attributes:
        time: of the stamps.
        id: which series a row belongs to, where a file holds several.
        targets: what is to be forecast, or looked at.
        others: covariates, which follow the targets.
        timezone: whose local clock stamps without offset were read from, such as Europe/Berlin.
    """

    time: str = ""
    id: str = ""
    targets: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    timezone: str = ""


@dataclass
class _Table:
    """The rows of a file as they stand there, and what to tell of them."""

    source: TextFile
    time: str
    formats: tuple[str, ...]
    id: str
    columns: tuple[str, ...]
    targets: int  # how many of the columns, the first ones
    spool: IO[bytes]
    low: np.ndarray
    high: np.ndarray
    readings: list[np.ndarray] = field(default_factory=list)
    codes: list[np.ndarray] = field(default_factory=list)
    lines: list[np.ndarray] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    offset: bool | None = None
    commas: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Tally:
    """What was mended, over all series."""

    unordered: list[int] = field(default_factory=list)  # lines
    twice: list[int] = field(default_factory=list)
    snapped: int = 0
    inserted: int = 0
    gap: tuple[int, str] = (0, "")  # rows, after when
    missing: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)


@dataclass
class _Part:
    """One series: its rows of the table in order, and where they go."""

    name: str
    rows: np.ndarray
    times: np.ndarray
    frequency: Frequency
    places: np.ndarray


def read_series(
    path: str | Path, wanted: SeriesColumns, *, regular: bool = True, open_end: bool = False
) -> tuple[list[Series], list[str]]:
    """Reads every series of a csv or tsv file.

    Args:
        path: the file, perhaps gzip.
        wanted: which columns are what.
        regular: put the rows on a grid of equal steps, one step for all series, and fill its
            holes. Otherwise rows are only sorted, and those of one time are made one.
        open_end: leave targets NaN after their last value where covariates go on.

    Returns:
        (series in the order in which they first appear, notes for the user).

    Raises:
        DataError: with file and line, for what cannot be read or mended.
    """
    _check_zone(wanted.timezone)
    with tempfile.TemporaryFile() as spool:
        table = _read_table(path, wanted, spool)
        raw = _values(spool, sum(map(len, table.lines)), len(table.columns))
    times = _to_utc(table, _one_reading(table), wanted.timezone)
    keep = _useful_columns(table, bool(wanted.targets))
    table.lines = [np.concatenate(table.lines)]
    tally = _Tally()
    parts = [_sort(table, times, name, rows, tally) for name, rows in _groups(table)]
    if regular:
        for part in parts:
            _check_step(table, parts[0], part)
            _put_on_grid(table, part, tally)
    ends = np.cumsum([len(part.times) for part in parts])
    with tempfile.TemporaryFile() as file:
        file.truncate(int(ends[-1]) * len(keep) * 4)
        out = _values(file, int(ends[-1]), len(keep))
    columns = tuple(table.columns[index] for index in keep)
    series = []
    for part, block in zip(parts, np.split(out, ends[:-1]), strict=True):
        _fill(table, part, raw, keep, block, open_end, tally)
        series.append(Series(part.name, part.times, block, columns, part.frequency))
    return series, table.notes + _mended(tally)


def read_windows(path: str | Path, series: Series, file_name: str) -> tuple[tuple[int, int], ...]:
    """Reads labelled anomalies of a series from a JSON file as NAB writes it.

    Args:
        path: an object of lists, by data file: of [first, last] stamps, or of single stamps.
        series: the rows that are meant.
        file_name: what the entry's key ends with.

    Returns:
        First and last row of each, in order.

    Raises:
        DataError: no or several such entries, or a window without rows.
    """
    try:
        entries = json.loads(read_document(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not valid JSON ({error}); correct it.") from error
    found = (
        [key for key in entries if f"/{key}".endswith(f"/{file_name}")]
        if isinstance(entries, dict)
        else []
    )
    if len(found) != 1:
        what = f"{len(found)} entries ({name_list(found)})" if found else "no entry"
        raise DataError(
            f"{path} has {what} for {file_name}; give one key that ends with it and a list of "
            '["first stamp", "last stamp"] pairs, as NAB does.'
        )
    windows = []
    for entry in entries[found[0]]:
        pair = [entry, entry] if isinstance(entry, str) else entry
        stamps = _seconds(np.array([str(stamp) for stamp in pair], object), "ISO8601")
        first = int(np.searchsorted(series.times, stamps[0]))
        last = int(np.searchsorted(series.times, stamps[-1], side="right")) - 1
        if len(stamps) != 2 or (stamps == _NAT).any() or first > last:
            raise DataError(
                f"{path}: the window {shorten(entry)} of '{found[0]}' is no pair of stamps or "
                f"holds no row of the series, which goes from {iso(series.times[:1])[0]} to "
                f"{iso(series.times[-1:])[0]}; correct or remove it."
            )
        windows.append((first, last))
    return tuple(sorted(windows))


# ---- columns


def _read_table(path: str | Path, wanted: SeriesColumns, spool: IO[bytes]) -> _Table:
    source = inspect_file(path)
    form = FORMATS.get(data_extension(source.path.name), "csv")
    if form in ("json", "jsonl"):
        raise DataError(f"{path}: series are read from csv or tsv, not {form}; export it so.")
    form = "tsv" if form == "tsv" else "csv"
    header = [cell.strip() for cell in first_cells(source, form)]
    if len(header) < 2:
        raise DataError(
            f"{path}:1: the header is the one column '{shorten(header[0])}', where a time and a "
            "value were expected; is the separator wrong? Separate cells by comma, semicolon or "
            "tab (not by '|' or spaces)."
            if header
            else f"{path} is empty; give a csv or tsv file with a header and rows."
        )
    rows = read_rows(source, form=form)
    head = list(itertools.islice(rows, HEAD))
    if not head:
        raise DataError(f"{path} has a header but no rows; fill it.")
    table = _find_columns(source, form, head, header, wanted, spool)
    if source.bad_line:
        table.notes.append(
            f"{source.path.name} is not UTF-8 (line {source.bad_line}) and read as "
            f"{source.encoding}; convert it to UTF-8 if that is wrong."
        )
    rows, size = itertools.chain(head, rows), min(CHUNK_ROWS, CHUNK_CELLS // len(header) + 1)
    while chunk := list(itertools.islice(rows, size)):
        _add_rows(table, chunk)
    spool.flush()
    if table.commas:
        names = name_list(sorted(table.commas))
        table.notes.append(f"Commas in numbers were read as decimal marks (columns: {names}).")
    if table.offset:
        table.notes.append("The stamps' offsets were used to convert them to UTC.")
    return table


def _find_columns(
    source: TextFile,
    form: str,
    head: list[Row],
    header: list[str],
    wanted: SeriesColumns,
    spool: IO[bytes],
) -> _Table:
    names, file = list(head[0].values), str(source.path)
    if all(_NUMBER.fullmatch(name) or _formats([name])[1] for name in names) and all(header):
        raise DataError(f"{file}:1: the first line holds data; put a line of column names above.")
    asked = [*filter(None, (wanted.time, wanted.id)), *wanted.targets, *wanted.others]
    for name, count in Counter(asked).items():
        if name not in names or count > 1:
            what = "is asked for twice" if count > 1 else "is not there"
            roles = {wanted.time: "time-column", wanted.id: "id-column"}
            flag = roles.get(name, "covariates" if name in wanted.others else "target")
            raise DataError(
                f"{file}: column '{name}' {what}; the columns are {name_list(names)}; correct "
                f"--{flag}."
            )
    identity = wanted.id or (ID_NAME if ID_NAME in names and ID_NAME not in asked else "")
    time, formats = _find_time(head, names, {*asked, identity}, wanted.time)
    targets, left_out = list(wanted.targets), {}
    for name in names if not targets else ():
        if name in (time, identity, *wanted.others):
            continue
        if not header[names.index(name)]:
            left_out[name] = "without a name"
        elif _is_numeric([row.values[name] for row in head]):
            targets.append(name)
        else:
            left_out[name] = "not numeric"
    columns = (*targets, *wanted.others)
    low = np.full(len(columns), np.inf)
    return _Table(source, form, time, formats, identity, columns, len(targets), spool, low, -low,
                  left_out=left_out)  # fmt: skip


def _find_time(
    head: list[Row], names: list[str], taken: set[str], wanted: str
) -> tuple[str, tuple[str, ...]]:
    """Returns the column of the stamps and the formats that they may have."""
    known = [name for name in names if name.strip().lower() in TIME_NAMES and name not in taken]
    known.sort(key=lambda name: TIME_NAMES.index(name.strip().lower()))
    first: Row = head[0]
    cells = {name: [_stamp(row, name) for row in head[:50]] for name in names}
    for name in [wanted] if wanted else known:
        formats, share = _formats(cells[name])
        if share >= 0.5:
            return name, formats
    for name in names if not wanted else ():
        formats, share = _formats(cells[name])
        if share == 1 and name not in taken and not _NUMBER.fullmatch(cells[name][0]):
            return name, formats
    if wanted or known:
        raise _bad_stamp(first.file, first.line, wanted or known[0], (wanted or known[0]) and
                         first.values[wanted or known[0]])  # fmt: skip
    raise DataError(
        f"{first.file}: no column holds dates or times; the columns are {name_list(names)}; name "
        "the stamps' with --time-column."
    )
