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
from pipelines.series_numbers import is_number
from pipelines.series_table import TextRows, cell_text
from pipelines.textfile import TextFile, inspect_file


def open_rows(source: Any, encoding: str = "") -> TextRows:
    """Opens a source of series.

    Args:
        source: path of a file; a DataFrame, a list of dicts, or `Records`. A file of which
            neither name nor content says more is read as csv.
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


def _delimited(file: TextFile) -> TextRows:
    name, header = str(file.path), [cell.strip() for cell in first_cells(file)]
    rows = read_rows(file, form="delimited")
    first = list(itertools.islice(rows, 1))
    if not first:
        what = "has a header but no rows" if header else "is empty"
        raise DataError(f"{name} {what}; give a csv or tsv file with a header and rows.")
    if len(header) == 1 and not any(is_number(cell) for cell in first[0].values.values()):
        raise DataError(
            f"{name}:1: the header is one column, '{shorten(header[0])}', but a column of numbers "
            "is needed; separate the cells by comma, semicolon, tab, bar (|) or "
            "spaces, in all rows alike."
        )
    rows = itertools.chain(first, rows)
    return TextRows(name, file.path.name, header, rows, note=file.note)


def _typed(name: str, short: str, rows: Iterator[Row], unit: str) -> TextRows:
    """Rows whose cells have types: each must have the columns of the first."""
    first = list(itertools.islice(rows, 1))
    header = list(first[0].values) if first else []
    plain = (_plain_row(row, header) for row in itertools.chain(first, rows))
    return TextRows(name, short, header, plain, unit)


def _plain(value: Any) -> Any:
    """A number as it is: how text writes numbers says nothing about it. All else as text."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and value == value else cell_text(value)


def _plain_row(row: Row, header: list[str]) -> Row:
    try:
        values = {name: _plain(row.values[name]) for name in header}
    except KeyError as error:
        raise DataError(
            f"{row.where}: there is no '{error.args[0]}' here, only "
            f"{name_list(list(row.values))}; every row needs it (null where nothing is known)."
        ) from error
    return Row(values, row.file, row.line, row.unit)
