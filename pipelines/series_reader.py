"""Reads time series: finds the columns, checks the times, fills the holes.

The rows of a file or of a table in memory are streamed once. Their values go as float32 to a
temporary file without a name, which is mapped into memory where it is large; times, ids and line
numbers are kept as arrays.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from common.errors import DataError
from pipelines.frequency import infer_frequency, iso
from pipelines.messages import name_list, shorten
from pipelines.readers import Row
from pipelines.series import Series
from pipelines.series_rows import open_rows
from pipelines.series_table import RawTable, TextRows
from pipelines.series_times import (
    NAT,
    NUMBER,
    OFFSET,
    bad_stamp,
    fill,
    in_order,
    on_grid,
    one_reading,
    stamp_formats,
    stamp_seconds,
    time_zone,
)
from pipelines.textfile import read_document

# The earlier ones before the later ones.
TIME_NAMES = (
    "datetime", "timestamp", "date", "ds", "time", "date_time", "period", "month", "week", "day",
    "year", "epoch",
)  # fmt: skip
ID_NAME = "unique_id"
HEAD, CHUNK_ROWS, CHUNK_CELLS = 1000, 50_000, 400_000
ON_DISK = 200_000  # rows from which values are mapped from a file
_MISSING = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "?"))
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class SeriesColumns:
    """Which columns are what (empty: found in the file); `timezone` is of stamps without offset.

    `encoding` is of files that are not UTF-8.

    With `flat`, targets that never change are taken: there is nothing to learn from them, but a
    trained model may be asked about them.
    """

    time: str = ""
    id: str = ""
    targets: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    timezone: str = ""
    encoding: str = ""
    flat: bool = False


def read_series(
    source: Any, wanted: SeriesColumns, *, regular: bool = True, open_end: bool = False
) -> tuple[list[Series], list[str]]:
    """Reads every series of a file or of a table in memory.

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
        table = _read_table(open_rows(source, wanted.encoding), wanted, spool)
        readings, codes, lines = (
            np.concatenate(kind, -1) for kind in zip(*table.pieces, strict=True)
        )
        raw = _values(spool, len(lines), len(table.columns))
    times = one_reading(table, readings, lines)
    keep = _useful(table, raw, bool(wanted.targets), wanted.flat)
    groups = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    parts = []
    for name, rows in zip(table.ids, groups, strict=True):
        where = f"{table.name}, series '{name}'" if table.id else table.name
        rows, stamps = in_order(table, where, rows, times[rows], lines, zone)
        step, places = infer_frequency(stamps)[0], np.arange(len(rows))
        if regular:
            if parts and parts[0][3] != step:
                raise DataError(
                    f"{where} has a step of {step}, but '{parts[0][0]}' one of {parts[0][3]}; "
                    "resample them to one step or give them in files of their own."
                )
            kept, stamps, places = on_grid(table, where, stamps, step)
            rows = rows[kept]
        parts.append((name, rows, stamps, step, places, where))
    ends = np.cumsum([len(part[2]) for part in parts])
    with tempfile.TemporaryFile() as file:
        file.truncate(int(ends[-1]) * len(keep) * 4)
        out = _values(file, int(ends[-1]), len(keep))
    columns, series = tuple(table.columns[index] for index in keep), []
    blocks = np.split(out, ends[:-1])
    for (name, rows, stamps, step, places, where), block in zip(parts, blocks, strict=True):
        fill(table, where, raw, rows, places, stamps, keep, block, open_end)
        from_lines = np.full(len(stamps), -1)
        from_lines[places] = lines[rows]
        series.append(Series(name, stamps, block, columns, step, lines=from_lines))
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
        stamps = stamp_seconds([str(stamp) for stamp in pair], "ISO8601")
        if len(stamps) != 2 or NAT in stamps:
            raise DataError(
                f"{path}: {shorten(entry)} of {file_name} is no pair of stamps; correct it."
            )
        first = int(np.searchsorted(series.times, stamps[0]))
        last = int(np.searchsorted(series.times, stamps[1], side="right")) - 1
        if first > last:
            raise DataError(
                f"{path}: the window {shorten(entry)} holds no row of {file_name}, which goes from "
                f"{' to '.join(iso(series.times[[0, -1]]))}; correct or remove it."
            )
        windows.append((first, last))
    return tuple(sorted(windows))


# ---- columns and cells


def _read_table(source: TextRows, wanted: SeriesColumns, spool: IO[bytes]) -> RawTable:
    rows = source.rows
    head = list(itertools.islice(rows, HEAD))
    table = _find_columns(source, head, wanted)
    if not table.targets:
        raise _no_target(table)
    table.notes += [source.note] * bool(source.note)
    rows, size = itertools.chain(head, rows), min(CHUNK_ROWS, CHUNK_CELLS // len(source.header) + 1)
    while chunk := list(itertools.islice(rows, size)):
        _add_rows(table, chunk, spool)
    spool.flush()
    for name in sorted(table.commas):
        table.notes.append(f"The commas in column '{name}' were read as decimal marks.")
    if table.offset:
        table.notes.append(f"The stamps of column '{table.time}' were converted to UTC.")
    elif wanted.timezone and table.formats[0] != "epoch":
        table.notes.append(
            f"The stamps of column '{table.time}' were read as {wanted.timezone} and converted to "
            "UTC."
        )
    return table


def _find_columns(source: TextRows, head: list[Row], wanted: SeriesColumns) -> RawTable:
    file, header = source.name, source.header
    names, targets = list(head[0].values), list(wanted.targets)
    data = [name for name in header if NUMBER.fullmatch(name) or stamp_formats([name])[1]]
    if source.unit == "line" and data == header:
        raise DataError(f"{file}:1: the first line is data; put a line of column names above it.")
    asked = [*filter(None, (wanted.time, wanted.id)), *targets, *wanted.others]
    for name, count in Counter(asked).items():
        if name not in names or count > 1:
            flags = dict.fromkeys(wanted.others, "--covariates or --known")
            flags |= {wanted.time: "--time-column", wanted.id: "--id-column"}
            raise DataError(
                f"{file}: column '{name}' {'is not there' if count == 1 else 'has two roles'}; "
                f"the columns are {name_list(names)}; correct "
                f"{flags.get(name, '--target')}."
            )
    identity = wanted.id or (ID_NAME if ID_NAME in names and ID_NAME not in asked else "")
    time, formats = _find_time(head, {*asked, identity}, wanted.time)
    left_out = []
    for name, title in zip(names, header, strict=True) if not targets else ():
        if name in (time, identity, *wanted.others):
            continue
        texts = [text for row in head if (text := row.values[name].strip().lower()) not in _MISSING]
        bad = sum(not _is_number(text) for text in texts)
        if title and 2 * bad <= len(texts):
            targets.append(name)
        else:
            left_out.append(f"'{name}' ({'not numeric' if title else 'without a name'})")
    ids = {} if identity else {source.short: 0}
    columns = (*targets, *wanted.others)
    about = (source.name, source.unit, time, formats, identity)
    return RawTable(*about, columns, len(targets), left_out, ids)


def _find_time(head: list[Row], taken: set[str], wanted: str) -> tuple[str, tuple[str, ...]]:
    """Returns the column of the stamps and the ways to read them."""
    free = [name for name in head[0].values if name not in taken]
    known = [name for name in free if name.lower() in TIME_NAMES]
    known = [wanted] if wanted else sorted(known, key=lambda name: TIME_NAMES.index(name.lower()))
    for name in known + (free if not wanted else []):
        cells = [cell for row in head[:50] if (cell := row.values[name].strip())]
        formats, share = stamp_formats(cells)
        if share == 1 and not NUMBER.fullmatch(cells[0]) or share and name in known:
            return name, formats
    if known:
        raise bad_stamp(head[0], known[0])
    raise DataError(
        f"{head[0].file}: no column holds dates or times; the columns are "
        f"{name_list(list(head[0].values))}; name the stamps' with --time-column."
    )


def _add_rows(table: RawTable, rows: list[Row], spool: IO[bytes]) -> None:
    lines = np.array([row.line for row in rows])
    cells = [row.values[table.time].strip() for row in rows]
    readings = np.stack([stamp_seconds(cells, way) for way in table.formats])
    for index in np.flatnonzero((readings == NAT).all(0))[:1]:
        raise bad_stamp(rows[index], table.time)
    offsets = [bool(OFFSET.search(cell)) for cell in cells]
    table.offset = offsets[0] if table.offset is None else table.offset
    for index in np.flatnonzero(np.array(offsets) != table.offset)[:1]:
        raise table.error(
            lines[index],
            f"column '{table.time}': '{shorten(cells[index])}' has "
            f"{'no' if table.offset else 'an'} offset from UTC, unlike the stamps before it; write "
            "all alike.",
        )
    names = [row.values[table.id].strip() for row in rows] if table.id else []
    if "" in names:
        line = lines[names.index("")]
        raise table.error(line, f"column '{table.id}' is empty; write which series the row is of.")
    codes = [table.ids.setdefault(name, len(table.ids)) for name in names] or [0] * len(rows)
    table.pieces.append((readings, np.array(codes), lines))
    values = np.empty((len(rows), len(table.columns)), np.float32)
    for index, name in enumerate(table.columns):
        values[:, index] = _numbers(table, name, [row.values[name] for row in rows], lines)
    spool.write(values.tobytes())


def _is_number(text: str) -> bool:
    try:
        return bool(_COMMA.fullmatch(text)) or float(text) is not None
    except ValueError:
        return False


def _numbers(table: RawTable, name: str, cells: list[str], lines: np.ndarray) -> np.ndarray:
    import pandas as pd

    numbers = np.array(pd.to_numeric(np.array(cells, object), errors="coerce"), np.float64)
    for index in np.flatnonzero(np.isnan(numbers)):
        text = cells[index].strip()
        if _COMMA.fullmatch(text):
            table.commas.add(name)
            numbers[index] = float(text.replace(",", "."))
        elif text.lower() not in _MISSING:
            what = "is not a number; correct it or leave it empty."
            raise table.error(lines[index], f"column '{name}': '{shorten(text)}' {what}")
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32)
    for index in np.flatnonzero(np.isinf(numbers))[:1]:
        what = "is infinite (in float32); correct it or leave it empty."
        raise table.error(lines[index], f"column '{name}': {shorten(cells[index])} {what}")
    if name in table.commas and any("." in cell for cell in cells):
        index = next(index for index, cell in enumerate(cells) if "." in cell)
        what = "has a point where other cells have decimal commas; write all alike."
        raise table.error(lines[index], f"column '{name}': '{shorten(cells[index])}' {what}")
    return numbers


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
