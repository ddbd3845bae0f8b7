"""Tables of cells between commas, semicolons or tabs: csv and tsv files."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from common.errors import DataError
from pipelines.readers import Row, data_extension
from pipelines.textfile import TextFile

EXTENSIONS = ("csv", "tsv", "tab")
# The csv module refuses cells above 128 KiB by default; the most a C long holds on Windows.
_LONGEST_CELL = 2**31 - 1


def rows(source: TextFile, *, header: bool = True) -> Iterator[Row]:
    """Streams the rows of a table.

    Args:
        source: the file. One whose name ends with neither .tsv nor .tab is read as csv.
        header: whether the first row names the columns. Without, they are named "1", "2", ...

    Yields:
        One `Row` per row, its values strings.

    Raises:
        DataError: with file and line, for broken quotes and rows of another width.
    """
    file, names = str(source.path), []
    for cells, line in _cells(source, _dialect(source)):
        if not names:
            names = _column_names(cells, file, line, header)
            if header:
                continue
        if len(cells) != len(names):
            raise DataError(
                f"{file}:{line}: this row has {len(cells)} cells, the first row has {len(names)}; "
                "a cell that holds the separator or a line end must be in double quotes."
            )
        yield Row(dict(zip(names, cells, strict=True)), file, line)


def first_cells(source: TextFile) -> list[str]:
    """Returns the cells of the first row of a table, [] where there is none."""
    for cells, _ in _cells(source, _dialect(source)):
        return cells
    return []


@dataclass(frozen=True)
class _Dialect:
    delimiter: str
    quoted: bool


def _dialect(source: TextFile) -> _Dialect:
    if data_extension(source.path.name) in ("tsv", "tab"):
        return _Dialect("\t", _tsv_is_quoted(source))
    with source.open() as stream:
        start = next((line for line in stream if line.strip()), "")
    # Spreadsheets write ';' (or a tab) into .csv where the comma is the decimal mark.
    others = [mark for mark in ";\t" if "," not in start and mark in start]
    return _Dialect(others[0] if others else ",", True)


def _tsv_is_quoted(source: TextFile) -> bool:
    """Tells whether the quotes of a tsv file wrap cells or belong to the text.

    Both kinds of file are common and no mark tells them apart. They wrap cells unless the file is
    also an even table with quotes taken as text, and one with more rows (a quote at the beginning
    of one text and one at the end of a later text would swallow the rows between), or only so.
    """
    with source.open() as stream:
        if not any('"' in line for line in stream):
            return False
    plain = _even_rows(source, _Dialect("\t", False))
    return plain is None or plain == _even_rows(source, _Dialect("\t", True))


def _even_rows(source: TextFile, dialect: _Dialect) -> int | None:
    """Returns the number of rows, None if they differ in width or do not parse."""
    count, width = 0, None
    try:
        for cells, _ in _cells(source, dialect):
            width = width or len(cells)
            if len(cells) != width:
                return None
            count += 1
    except DataError:
        return None
    return count


def _cells(source: TextFile, dialect: _Dialect) -> Iterator[tuple[list[str], int]]:
    """Yields (cells, line on which the row begins); empty lines are left out."""
    csv.field_size_limit(_LONGEST_CELL)
    quoting = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
    with source.open() as stream:
        reader = csv.reader(stream, delimiter=dialect.delimiter, quoting=quoting, strict=True)
        line = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(_csv_message(source, line, reader.line_num, error)) from error
            if len(cells) > 1 or any(cell.strip() for cell in cells):
                yield cells, line
            line = reader.line_num + 1


def _csv_message(source: TextFile, line: int, last: int, error: csv.Error) -> str:
    if "end of data" in str(error):
        return f"{source.path}:{line}: the quote that opens a cell here is never closed; close it."
    return (
        f"{source.path}:{last}: broken csv in the row that begins on line {line} ({error}); quote "
        "the cell and double the quotes inside it."
    )


def _column_names(cells: list[str], file: str, line: int, header: bool) -> list[str]:
    positions = [str(index + 1) for index in range(len(cells))]
    if not header:
        return positions
    names = [cell.strip() or position for cell, position in zip(cells, positions, strict=True)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{file}:{line}: two columns are named '{twice[0]}'; rename one.")
    return names
