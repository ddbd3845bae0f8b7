"""Opens whatever holds series as rows of text cells: csv, tsv and JSON files, tables in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.encodings import check_encoding
from pipelines.messages import name_list, shorten
from pipelines.readers import LINES, Row, read_rows, told_format
from pipelines.readers.delimited import first_cells
from pipelines.records import Records, is_table
from pipelines.series_table import TextRows
from pipelines.textfile import TextFile, inspect_file

_EXACT = 2**53  # below this a float that is whole is one integer


def open_rows(source: Any, encoding: str = "") -> TextRows:
    """Opens a source of series.

    Args:
        source: path of a file; a DataFrame, a list of dicts, or `Records`. A file whose extension
            is unknown or that of lines of text is read as csv.
        encoding: of a file that is not UTF-8, as Python names it; guessed if "".

    Raises:
        DataError: there are no rows, or the file cannot be read.
    """
    if is_table(source):
        source = Records.of(source)
    if isinstance(source, Records):
        opened = _typed(source.name, source.name, source.rows(), "row")
    else:
        file = inspect_file(Path(source), check_encoding(encoding))
        form = told_format(file)
        if form in (LINES, "delimited"):
            return _delimited(file)
        rows = read_rows(file, form=form)
        opened = replace(_typed(str(file.path), file.path.name, rows, "line"), note=file.note)
    if not opened.header:
        raise DataError(f"{opened.name} is empty; give rows with a time and numbers.")
    return opened


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


def _delimited(file: TextFile) -> TextRows:
    name, header = str(file.path), [cell.strip() for cell in first_cells(file)]
    if len(header) == 1:
        raise DataError(
            f"{name}:1: the header is one column, '{shorten(header[0])}', but a time and a value "
            "are needed; separate the cells by comma, semicolon, tab, bar (|) or "
            "spaces, in all rows alike."
        )
    rows = read_rows(file, form="delimited")
    first = list(itertools.islice(rows, 1))
    if not first:
        what = "has a header but no rows" if header else "is empty"
        raise DataError(f"{name} {what}; give a csv or tsv file with a header and rows.")
    rows = itertools.chain(first, rows)
    return TextRows(name, file.path.name, header, rows, note=file.note)


def _typed(name: str, short: str, rows: Iterator[Row], unit: str) -> TextRows:
    """Rows whose cells have types: each must have the columns of the first."""
    first = list(itertools.islice(rows, 1))
    header = list(first[0].values) if first else []
    texts = (_as_text(row, header) for row in itertools.chain(first, rows))
    return TextRows(name, short, header, texts, unit)


def _as_text(row: Row, header: list[str]) -> Row:
    try:
        values = {name: cell_text(row.values[name]) for name in header}
    except KeyError as error:
        raise DataError(
            f"{row.where}: there is no '{error.args[0]}' here, only "
            f"{name_list(list(row.values))}; every row needs it (null where nothing is known)."
        ) from error
    return Row(values, row.file, row.line, row.unit)
