"""Rows of series as they are read, before they are put in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.messages import place
from pipelines.readers import Row

_EXACT = 2**53  # below this a float that is whole is one integer


def cell_text(value: Any) -> str:
    """Returns a cell as a csv file would have it.

    >>> [cell_text(value) for value in ("a", 2, 2.0, 0.1, True, None, float("nan"))]
    ['a', '2', '2', '0.1', '1', '', '']
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, bool) or (
        isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    ):
        return str(int(value))
    return str(value)


@dataclass(frozen=True)
class TextRows:
    """Rows of plain cells, from a file or from memory.

    Attributes:
        name: for messages: the file's path, or the name of what is in memory.
        short: the name that its series has if there is one: the file's name.
        header: names of the columns, "" where a column has none.
        rows: a value for each column, under its name or its position; text, or numbers where the
            source has types.
        unit: whether rows are counted in lines of a file or in rows.
        note: what the user should see; "" if nothing.
    """

    name: str
    short: str
    header: list[str]
    rows: Iterator[Row]
    unit: str = "line"
    note: str = ""


@dataclass
class RawTable:
    """The rows of a table as they were read, and what is reported about them.

    Attributes:
        name: for messages: the file's path, or the name of what is in memory.
        unit: whether `pieces` count lines of a file or rows.
        time: columns of the time, for messages.
        formats: the ways in which stamps may be read.
        id: columns that tell series apart; none for one series.
        columns: the targets first.
        targets: how many of the columns are targets.
        left_out: columns that are not read, with the reason.
        ids: number of each series, by the cells of its `id` columns.
        pieces: stamps ``<int64>[formats, rows]``, series ``<int32>[rows]``, lines ``<int32>[rows]``
            of each chunk.
        rows: how many have been read.
        offset: whether the stamps have an offset from UTC; None before the first.
        way_out: what to do where rows have one stamp.
        date_order: "dmy" or "mdy" where the rows prove it; else "".
        notes: plain sentences that the user should see.
        refused: why each of several series is left out, by name.
        mended: count, largest size and its place, by what was found and what was done.
    """

    name: str
    unit: str
    time: str
    formats: tuple[str, ...]
    id: tuple[str, ...]
    columns: tuple[str, ...]
    targets: int
    left_out: list[str]
    ids: dict[tuple[str, ...], int]
    pieces: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    rows: int = 0
    offset: bool | None = None
    way_out: str = "name the columns that tell several series apart with --id-column"
    date_order: str = ""
    notes: list[str] = field(default_factory=list)
    refused: dict[str, DataError] = field(default_factory=dict)
    mended: dict[tuple[str, str], tuple[int, int, str]] = field(default_factory=dict)

    def joined(self) -> list[np.ndarray]:
        """The pieces of each kind as one array. They are then gone: none is in memory twice."""
        kinds = list(map(list, zip(*self.pieces, strict=True)))
        self.pieces.clear()
        found = []
        for kind in kinds:
            found.append(np.concatenate(kind, -1))
            kind.clear()
        return found

    @property
    def has_stamps(self) -> bool:
        """Whether times are dates on some clock, neither counted nor seconds since 1970."""
        return self.formats[0] not in ("epoch", "counter", "steps")

    def error(self, line: int, text: str) -> DataError:
        """An error at a line or row."""
        return DataError(f"{place(self.name, line, self.unit)}: {text}")

    def at(self, line: int) -> str:
        """Place of a line or row within a note: "on line 5" or "in row 5"."""
        return f"on line {line}" if self.unit == "line" else f"in row {line}"

    def tell(self, what: str, done: str, count: int, size: int = 0, where: object = "") -> None:
        """Adds up what was mended in all series, with the largest size and where it was."""
        if count:
            total, *most = self.mended.get((what, done), (0, size, str(where)))
            most = max((tuple(most), (size, str(where))), key=lambda pair: pair[0])
            self.mended[what, done] = (total + int(count), *most)

    def all_notes(self) -> list[str]:
        """Notes, and one sentence for each kind of thing that was mended."""
        notes = list(self.notes)
        for (what, done), (count, size, where) in self.mended.items():
            done = done.replace("{size}", str(size)).replace("{where}", where)
            what = what.replace("{s}", "" if count == 1 else "s", 1)
            notes.append(f"{count} {what} {'was' if count == 1 else 'were'} {done}")
        return notes
