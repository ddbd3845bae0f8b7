"""Tables of cells between commas, semicolons, tabs, bars or spaces: csv and tsv files."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from common.errors import DataError
from pipelines.readers import Row, data_extension
from pipelines.readers._separators import (
    SPACE,
    SPACES,
    Dialect,
    find_dialect,
    split_lines,
    without_blank_end,
)
from pipelines.textfile import TextFile

EXTENSIONS = ("csv", "tsv", "tab")


def rows(source: TextFile, *, header: bool = True) -> Iterator[Row]:
    """Streams the rows of a table; those without any text are left out.

    What separates the cells is told by the rows, not by the name. Blank cells beyond the columns
    are left out, since rows may end in more separators. Where every row has one cell in front that
    the header does not name, its column is "1".

    Args:
        source: the file.
        header: whether the first row names the columns. Without, they are named "1", "2", ...

    Yields:
        One `Row` per row, its values strings; with its problem, one of another width.

    Raises:
        DataError: with file and line, for broken quotes.
    """
    file, names, dialect = str(source.path), [], _dialect(source)
    for cells, line in _cells(source, dialect):
        if not names:
            names = _column_names(_first_row(cells, dialect), file, line, header)
            if header:
                continue
        cells = without_blank_end(cells, len(names))
        problem = ""
        if len(cells) != len(names):
            problem = (
                f"this row has {len(cells)} cells between separators ({dialect.title}), the first "
                f"row has {len(names)}; a cell that holds the separator or a line end must be in "
                "double quotes."
            )
        yield Row(dict(zip(names, cells, strict=False)), file, line, problem=problem)


def first_cells(source: TextFile) -> list[str]:
    """Returns the cells of the first row of a table, [] where there is none."""
    dialect = _dialect(source)
    for cells, _ in _cells(source, dialect):
        return _first_row(cells, dialect)
    return []


def has_marks(source: TextFile) -> bool:
    """Tells whether the cells are separated by a mark, so that lines of words are no table."""
    return _dialect(source).separator not in (SPACE, SPACES) and len(first_cells(source)) > 1


def _first_row(cells: list[str], dialect: Dialect) -> list[str]:
    return [""] * dialect.row_names + cells[: dialect.width or None]


def _dialect(source: TextFile) -> Dialect:
    dialect = find_dialect(source, tabs_first=data_extension(source.path.name) in ("tsv", "tab"))
    if dialect.separator == "\t" and not _tabs_are_quoted(source, dialect):
        return replace(dialect, quoted=False)
    return dialect


def _tabs_are_quoted(source: TextFile, dialect: Dialect) -> bool:
    """Tells whether the quotes of a table of tabs wrap cells or belong to the text.

    Both kinds of file are common and no mark tells them apart. They wrap cells unless the file is
    also an even table with quotes taken as text, and one with more rows (a quote at the beginning
    of one text and one at the end of a later text would swallow the rows between), or only so.
    """
    with source.open() as stream:
        if not any('"' in line for line in stream):
            return False
    plain = _even_rows(source, replace(dialect, quoted=False))
    return plain is None or plain == _even_rows(source, dialect)


def _even_rows(source: TextFile, dialect: Dialect) -> int | None:
    """Returns the number of rows, None if they differ in width or do not parse."""
    count, width = 0, None
    try:
        for cells, _ in _cells(source, dialect):
            width = width or len(_first_row(cells, dialect))
            if count and len(without_blank_end(cells, width)) != width:
                return None
            count += 1
    except DataError:
        return None
    return count


def _cells(source: TextFile, dialect: Dialect) -> Iterator[tuple[list[str], int]]:
    """Yields (cells, line on which the row begins); rows without any text are left out."""
    skipped = dialect.skipped
    with source.open() as stream:
        reader = split_lines(itertools.islice(stream, skipped, None), dialect)
        line = 1 + skipped
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                last = reader.line_num + skipped
                raise DataError(_csv_message(source, line, last, error)) from error
            if any(cell.strip() for cell in cells):
                yield cells, line
            line = reader.line_num + skipped + 1


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
    names = [
        cell.strip(" \t\ufeff") or position for cell, position in zip(cells, positions, strict=True)
    ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{file}:{line}: two columns are named '{twice[0]}'; rename one.")
    return names
