"""Which columns of a table are what: time, ids, targets and the others."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace

from common.errors import DataError
from pipelines.frequency import Frequency
from pipelines.messages import name_list
from pipelines.missing import is_missing
from pipelines.named_columns import named_columns
from pipelines.readers import Row
from pipelines.series import Written
from pipelines.series_numbers import NumberColumn, file_marks, is_number
from pipelines.series_stamps import NUMBER, stamp_formats
from pipelines.series_table import RawTable, TextRows
from pipelines.series_time_columns import (
    MIN_CLOCKS,
    NONE,
    TimeColumns,
    find_time,
    looks_like_clock,
    text_of,
)

ID_NAME = "unique_id"


@dataclass(frozen=True)
class SeriesColumns:
    """Which columns are what (empty: found in the file), and how the file writes them.

    Attributes:
        time: columns of the time; ("none",) where rows simply follow one another.
        id: columns that tell series apart.
        targets: columns that matter.
        others: columns beside them.
        timezone: where stamps without an offset are.
        encoding: of files that are not UTF-8; "" to find it.
        decimal: the mark of decimals, "." or ","; "" to find it.
        date_order: "dmy" or "mdy"; "" to find it.
        flat: take targets that never change: there is nothing to learn from them, but a trained
            model may be asked about them.
        like: how the data was written that a model was trained on; it decides where the file
            does not.
        step: the step that a model was trained on; None to find it.
    """

    time: tuple[str, ...] | str = ()
    id: tuple[str, ...] | str = ()
    targets: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    timezone: str = ""
    encoding: str = ""
    decimal: str = ""
    date_order: str = ""
    flat: bool = False
    like: Written = Written()
    step: Frequency | None = None


@dataclass(frozen=True)
class FoundColumns:
    """What was found: the table to fill, its time, its numbers, and marks of other columns."""

    table: RawTable
    time: TimeColumns
    numbers: list[NumberColumn]
    marks: set[str]


def find_columns(source: TextRows, head: list[Row], wanted: SeriesColumns) -> FoundColumns:
    """Finds the columns by their names and by what the first rows hold.

    Raises:
        DataError: a column is not there, has two roles or cannot be what it should be.
    """
    file, header = source.name, source.header
    names = list(head[0].values)
    # The first name that is none settles it: to try all ways to write a stamp takes long.
    data = all(NUMBER.fullmatch(name) or stamp_formats([name])[1] for name in header)
    if source.unit == "line" and data:
        raise DataError(f"{file}:1: the first line is data; put a line of column names above it.")
    time_names, id_names = (
        named_columns(role, flag, names) if isinstance(role, str) else role
        for role, flag in ((wanted.time, "--time-column"), (wanted.id, "--id-column"))
    )
    wanted = replace(wanted, time=time_names, id=id_names)
    _check_names(file, names, wanted)
    targets, asked = (
        list(wanted.targets),
        {*wanted.time, *wanted.id, *wanted.targets, *wanted.others},
    )
    ids = wanted.id or ((ID_NAME,) if ID_NAME in names and ID_NAME not in asked else ())
    time = find_time(head, {*asked, *ids}, wanted.time, ids)
    _refuse_clock_as_id(file, head, wanted, time)
    left_out = []
    for name, title in zip(names, header, strict=True) if not targets else ():
        if name in (*time.roles, *ids, *wanted.others):
            continue
        texts = [text for row in head if not is_missing(text := text_of(row, name))]
        bad = sum(not is_number(text) for text in texts)
        if title and 2 * bad <= len(texts):
            targets.append(name)
        else:
            left_out.append(f"'{name}' ({'not numeric' if title else 'without a name'})")
    columns = (*targets, *wanted.others)
    numbers = [NumberColumn(name, wanted.decimal) for name in columns]
    table = RawTable(
        source.name, source.unit, time.title, time.formats, ids, columns, len(targets), left_out,
        {} if ids else {(source.short,): 0},
    )  # fmt: skip
    table.way_out = _way_out(head, time, ids, wanted)
    table.notes += [note for note in (source.note, time.note) if note]
    rest = [name for name in names if name not in (*columns, *time.roles, *ids)]
    marks = file_marks(row.values[name] for row in head[:200] for name in rest)
    return FoundColumns(table, time, numbers, {wanted.decimal} if wanted.decimal else marks)


def _check_names(file: str, names: list[str], wanted: SeriesColumns) -> None:
    time = () if wanted.time == (NONE,) else wanted.time
    for name, count in Counter([*time, *wanted.id, *wanted.targets, *wanted.others]).items():
        if name not in names or count > 1:
            flags = dict.fromkeys(wanted.others, "--covariates or --known")
            flags |= dict.fromkeys(wanted.time, "--time-column")
            flags |= dict.fromkeys(wanted.id, "--id-column")
            raise DataError(
                f"{file}: column '{name}' {'is not there' if count == 1 else 'has two roles'}; "
                f"the columns are {name_list(names)}; correct "
                f"{flags.get(name, '--target')}."
            )


def _refuse_clock_as_id(
    file: str, head: list[Row], wanted: SeriesColumns, time: TimeColumns
) -> None:
    """Refuses clock times that would make a daily series of each hour, unless that is asked for."""
    if wanted.time or list(time.roles.values()) != ["stamp"]:
        return
    date = time.title
    for name in wanted.id:
        if looks_like_clock(head, name) and not (time.read(head, 0)[1].max(0) % 86400).any():
            raise DataError(
                f"{file}: --id-column {name} names a column of clock times, which would make a "
                f"series of each; leave it away, or join it to the time with --time-column "
                f"{date},{name} (if it does tell series apart, add --time-column {date})."
            )


def _way_out(
    head: list[Row], time: TimeColumns, ids: tuple[str, ...], wanted: SeriesColumns
) -> str:
    """What to do where several rows have one time: the columns that tell them apart."""
    texts = time.read(head, 0)[0]
    keys = [
        (*(text_of(row, name) for name in ids), text) for row, text in zip(head, texts, strict=True)
    ]
    other = "name the columns that tell several series apart with --id-column"
    if not time.roles or len(set(keys)) == len(keys):
        return other
    free = [name for name in head[0].values if name not in (*time.roles, *ids, *wanted.targets)]
    date = next(iter(time.roles))
    for name in free if len(time.roles) == 1 else ():
        clocks = {text_of(row, name) for row in head}
        if looks_like_clock(head, name) and len(clocks) >= MIN_CLOCKS:
            return f"join the clock time to the date with --time-column {date},{name}"
    cells = {name: [text_of(row, name) for row in head] for name in free}
    few = [name for name in free if 1 < len(set(cells[name])) <= len(head) / 2
           and not any("." in cell and is_number(cell) for cell in cells[name])]  # fmt: skip
    few.sort(key=lambda name: all(is_number(cell) for cell in cells[name]))  # words come first
    for size in (1, 2, 3):
        for group in itertools.combinations(few[:8], size):
            columns = [cells[name] for name in group]
            if len(set(zip(keys, *columns, strict=True))) == len(head):
                return f"tell the series apart with --id-column {','.join((*ids, *group))}"
    return other
