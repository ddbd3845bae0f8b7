"""Reads rows from csv, tsv, jsonl, json and txt files as they are, with true line numbers.

Rows are streamed (but for a JSON list, which is one value). Nothing here knows what a row means.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.textfile import TextFile, inspect_file

# Extension (without .gz) -> format. Files without an extension are lines of text.
FORMATS = {
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "json",
    "txt": "txt",
    "text": "txt",
}
TEXT_COLUMN = "line"  # the one column of a txt file
# The csv module refuses cells above 128 KiB unless told; the most a C long holds on Windows.
_LONGEST_CELL = 2**31 - 1


@dataclass(frozen=True)
class Row:
    """One record: a value for every column, and where it stands.

    Attributes:
        values: column name to value; strings but for JSON, where any JSON value.
        file: the file's path as given.
        line: the line, from 1, on which the record begins.
    """

    values: dict[str, Any]
    file: str
    line: int


def file_format(path: str | Path) -> str:
    """Returns csv, tsv, jsonl, json or txt by the file's name; ".gz" does not count.

    Raises:
        DataError: the extension is none that is known.
    """
    extension = data_extension(Path(path).name)
    if extension not in FORMATS and extension:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise DataError(
            f"{path}: the extension '.{extension}' is not known; use one of {known} (each also "
            "with .gz)."
        )
    return FORMATS[extension] if extension else "txt"


def data_extension(name: str) -> str:
    """Returns the lower-case extension of a file name without dot and ".gz": "csv", or ""."""
    name = name.lower().removesuffix(".gz")
    return name.rpartition(".")[2] if "." in name.strip(".") else ""


def read_rows(
    source: TextFile | str | Path, *, form: str | None = None, header: bool = True
) -> Iterator[Row]:
    """Streams the rows of a csv, tsv, jsonl, json or txt file; empty lines are skipped.

    Args:
        source: a file, or what `inspect_file` said of it.
        form: the format; by default from the file's name.
        header: whether the first row of csv and tsv names the columns. Without, they are named
            "1", "2", ...

    Yields:
        One `Row` a record; txt has the one column "line", its ends stripped of white space.

    Raises:
        DataError: with file and line, for what cannot be read. Rows before it have been yielded.
    """
    if not isinstance(source, TextFile):
        source = inspect_file(source)
    form = form or file_format(source.path)
    if form in ("csv", "tsv"):
        return _table_rows(source, form, header)
    if form == "jsonl":
        return _json_line_rows(source)
    return _json_rows(source) if form == "json" else _line_rows(source)


def first_cells(source: TextFile, form: str) -> list[str]:
    """Returns the cells of the first row of a csv or tsv file, [] where there is none."""
    for cells, _ in _cells(source, _dialect(source, form)):
        return cells
    return []


# ---- csv and tsv


@dataclass(frozen=True)
class _Dialect:
    delimiter: str
    quoted: bool


def _dialect(source: TextFile, form: str) -> _Dialect:
    if form == "tsv":
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


def _table_rows(source: TextFile, form: str, header: bool) -> Iterator[Row]:
    file, names = str(source.path), []
    for cells, line in _cells(source, _dialect(source, form)):
        if not names:
            names = _column_names(cells, file, line, header)
            if header:
                continue
        if len(cells) != len(names):
            raise DataError(
                f"{file}:{line}: this row has {len(cells)} cells, the first row has {len(names)}; "
                "a cell that holds the separator or a line end must stand in double quotes."
            )
        yield Row(dict(zip(names, cells, strict=True)), file, line)


def _column_names(cells: list[str], file: str, line: int, header: bool) -> list[str]:
    positions = [str(index + 1) for index in range(len(cells))]
    if not header:
        return positions
    names = [cell.strip() or position for cell, position in zip(cells, positions, strict=True)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{file}:{line}: two columns are named '{twice[0]}'; rename one.")
    return names


# ---- JSON and lines


def _json_line_rows(source: TextFile) -> Iterator[Row]:
    file = str(source.path)
    with source.open() as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield Row(_json_object(line, file, number), file, number)


def _json_object(text: str, file: str, line: int) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}:{line}: this line is not valid JSON ({error.msg}, column {error.colno}); each "
            'line must be one object such as {"text": "...", "label": "..."}.'
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}:{line}: this JSON cannot be read ({error}).") from error
    return _check_object(value, file, line)


def _check_object(value: object, file: str, line: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number")
        raise DataError(
            f'{file}:{line}: expected a JSON object such as {{"text": "...", "label": "..."}}, '
            f"found {kind}."
        )
    return value


def _json_rows(source: TextFile) -> Iterator[Row]:
    """Rows of a JSON list of objects, or of JSON lines under the name .json, which is common."""
    with source.open() as stream:
        text = stream.read()
    start = text.lstrip()[:1]
    if start == "{":
        yield from _json_line_rows(source)
    elif start == "[":
        yield from _json_list_rows(text, str(source.path))
    elif start:
        raise DataError(f"{source.path}: expected a JSON list of objects; wrap them in [ ].")


def _json_list_rows(text: str, file: str) -> Iterator[Row]:
    decoder = json.JSONDecoder()
    position, line, seen = _skip_blanks(text, text.index("[") + 1), 1, 0
    after_value = False
    while True:
        line += text.count("\n", seen, position)
        seen = position
        mark = text[position : position + 1]
        if mark == "]":
            break
        if after_value:
            if mark != ",":
                raise DataError(
                    f"{file}:{line}: expected ',' or ']' in the list; is the file cut off?"
                )
            position, after_value = _skip_blanks(text, position + 1), False
            continue
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{file}:{line}: the list's element that begins here is not valid JSON "
                f"({error}); correct it."
            ) from error
        yield Row(_check_object(value, file, line), file, line)
        position, after_value = _skip_blanks(text, position), True
    if text[position + 1 :].strip():
        raise DataError(f"{file}:{line}: there is text after the list's closing ']'; remove it.")


def _skip_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\n", "\r"):
        position += 1
    return position


def _line_rows(source: TextFile) -> Iterator[Row]:
    file = str(source.path)
    with source.open() as stream:
        for number, line in enumerate(stream, 1):
            if text := line.strip():
                yield Row({TEXT_COLUMN: text}, file, number)
