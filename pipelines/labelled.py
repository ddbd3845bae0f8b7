"""Turns rows into labelled texts: which column or which token is the label.

Columns are found by name (`TEXT_NAMES`, `LABEL_NAMES`) unless the caller names them. A csv or tsv
file without a header is understood when it has two columns of which exactly one looks like a
label. Lines of a txt file are understood in three styles, which the training part decides:

- `__label__good a fine film` (fastText), when every line begins so;
- `good<TAB>a fine film` or the other way round, when every line has exactly one tab;
- `good a fine film`, when the first words of all lines look like labels.

A column or first words *look like labels* when there are at most 50 distinct ones, each at most
40 characters long and each occurring at least twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.encodings import check_encoding
from pipelines.layout import Layout, PartFile
from pipelines.line_styles import (
    MAX_LABELS,
    MIN_OCCURRENCES,
    LineStyle,
    find_line_style,
    split_token,
)
from pipelines.messages import name_list, shorten
from pipelines.problems import Problems
from pipelines.readers import DELIMITED, LINES, Row, read_rows, told_format
from pipelines.readers.delimited import first_cells, has_marks
from pipelines.readers.lines import TEXT_COLUMN
from pipelines.records import Records
from pipelines.splits import PARTS
from pipelines.text_columns import TextColumns
from pipelines.text_examples import TextExample, label_name, missing_label
from pipelines.text_inputs import joined_texts, text_names
from pipelines.textfile import (
    TextFile,
    encoding_note,
    inspect_file,
    lines_outside_ascii,
    read_document,
)

NEIGHBOURS = 200  # files whose lines help to guess an encoding

Pair = tuple[Row, Any, Any]  # row, text, label


@dataclass
class _Reading:
    """What is learnt from the training part and counted on the way through all parts."""

    columns: TextColumns
    encoding: str
    drop_unlabelled: bool
    files: list[Path]
    line_style: LineStyle | None = None
    sources: list[TextFile] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    dropped: Problems = field(default_factory=Problems)
    repaired: int = 0
    _neighbours: list[bytes] | None = None

    def neighbours(self) -> list[bytes]:
        """Lines outside ASCII of the first files: those of one source are in one encoding."""
        if self._neighbours is None:
            self._neighbours = list(lines_outside_ascii(self.files[:NEIGHBOURS]))
        return self._neighbours

    def bad(self, row: Row, kind: str, message: str) -> None:
        """Notes a row that cannot be used."""
        self.problems.add(kind, message, row.file, row.line, row.unit)

    def drop(self, row: Row, what: str) -> None:
        """Notes a row that is left out."""
        self.dropped.add(what, what, row.file, row.line, row.unit)


def read_labelled(
    layout: Layout,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = "",
    drop_unlabelled: bool = False,
) -> tuple[dict[str, list[TextExample]], list[str]]:
    """Reads every part of a layout as labelled text.

    Args:
        layout: the files, or tables in memory.
        text_column: the text's column, or several with commas between; guessed by name if None.
            For csv and tsv without header columns may be given as numbers from 1.
        label_column: the label's column; guessed by name if None.
        encoding: of files that are not UTF-8, as Python names it; guessed if "".
        drop_unlabelled: leave rows out whose label is missing.

    Returns:
        (examples by part in the order of files and rows, notes for the user).

    Raises:
        DataError: with file and line, for anything that is not a text with a label; all such rows
            of all parts are counted.
    """
    paths = [
        file.path for files in layout.parts.values() for file in files if isinstance(file, PartFile)
    ]
    columns = TextColumns(text_column or "", label_column or "")
    reading = _Reading(columns, check_encoding(encoding), drop_unlabelled, paths)
    parts = {
        part: [example for file in layout.parts[part] for example in _file_examples(file, reading)]
        for part in PARTS  # train first: it decides what is what
        if part in layout.parts
    }
    reading.problems.raise_if_any()
    return parts, layout.notes + columns.notes + _counted_notes(reading)


def _file_examples(file: PartFile | Records, reading: _Reading) -> Iterator[TextExample]:
    named = isinstance(file, PartFile) and file.label is not None
    for row, text, label in _pairs(file, reading):
        if row.problem:
            reading.bad(row, "problem", row.problem)
        elif example := _example(row, text, str(label) if named else label, named, reading):
            yield example


def _pairs(file: PartFile | Records, reading: _Reading) -> Iterator[Pair]:
    """Yields (row, text, label) of a file or a table in memory."""
    if isinstance(file, Records):
        return _column_pairs(file.rows(), file.name, reading)
    source, columns = inspect_file(file.path, reading.encoding, reading.neighbours), reading.columns
    if source.note:
        reading.sources.append(source)
    if file.document:
        row = Row({TEXT_COLUMN: read_document(source)}, str(file.path), 1)
        return iter([(row, row.values[TEXT_COLUMN], file.label)])
    if file.label is not None:
        rows = _refuse_empty(read_rows(source, form=LINES), str(file.path))
        return ((row, row.values[TEXT_COLUMN], file.label) for row in rows)
    form = _format(file, source, reading)
    if form == LINES:
        return _line_pairs(source, reading)
    options = {}
    if form == DELIMITED:
        if columns.found is None and columns.header:
            columns.find_header(source)
        options = {"header": columns.header}
    rows = read_rows(source, form=form, with_problems=True, **options)
    has_header = form == DELIMITED and columns.header and bool(first_cells(source))
    lacks = "has a header but no rows" if has_header else "is empty"
    return _column_pairs(rows, str(file.path), reading, lacks)


def _format(file: PartFile, source: TextFile, reading: _Reading) -> str:
    """Returns the reader's name of a file that holds texts and labels."""
    columns = reading.columns
    form = file.form if file.form != LINES else told_format(source, columns.names)
    if form != LINES or reading.line_style is not None:
        return form
    if columns.text or columns.label:
        if len(first_cells(source)) > 1:
            return DELIMITED
        raise DataError(
            f"{file.path} has no columns; leave --text-column and --label-column away, or give "
            "csv, tsv, jsonl or json."
        )
    lines = [row.values[TEXT_COLUMN] for row in read_rows(source, form=LINES)]
    style = find_line_style(lines)
    if style in (None, split_token) and columns.found is None and has_marks(source):
        with suppress(DataError):  # lines that are no table
            columns.find_header(source)
    if not columns.header:
        return DELIMITED
    reading.line_style = style
    return LINES


def _refuse_empty(rows: Iterator[Row], name: str, lacks: str = "is empty") -> Iterator[Row]:
    row = None
    for row in rows:
        yield row
    if row is None:
        raise DataError(f"{name} {lacks}: it holds no example; fill it or remove it.")


def _example(row: Row, text: Any, label: Any, named: bool, reading: _Reading) -> TextExample | None:
    """Checks one text and its label (`named` by its file); None where there is none to use.

    Of several columns the text is a dict, in which only cells are missing that have none.
    """
    cells = text if isinstance(text, dict) else {"": text}
    for column, cell in cells.items():
        if not isinstance(cell, str):
            what = "null" if cell is None else f"{shorten(cell)}, not a string"
            where = f"the text in '{column}'" if column else "the text"
            reading.bad(row, "text", f"{where} is {what}; give a string or remove the row.")
            return None
    cells = {column: _repair(cell.strip(), reading) for column, cell in cells.items()}
    text = joined_texts(cells.values())
    if not text:
        reading.drop(row, "without text")
        return None
    if isinstance(label, (list, dict)):
        what = f"the label is {shorten(label)}; give one string or number per example."
        reading.bad(row, "label", what)
        return None
    name = label if named else label_name(label)
    if not name and reading.drop_unlabelled:
        reading.drop(row, "without a label")
        return None
    if not name:
        reading.bad(row, "no label", f"the label is {missing_label(label)}")
        return None
    parts = {} if "" in cells else cells
    return TextExample(text, _repair(name, reading), row.file, row.line, row.unit, parts)


def _repair(text: str, reading: _Reading) -> str:
    """Replaces halves of surrogate pairs, which JSON can spell but UTF-8 cannot."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        reading.repaired += 1
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def _counted_notes(reading: _Reading) -> list[str]:
    notes = []
    if reading.sources:
        notes.append(encoding_note(reading.sources))
    for what, count in reading.dropped.counts.items():
        subject = f"1 example {what} was" if count == 1 else f"{count} examples {what} were"
        notes.append(f"{subject} dropped: {reading.dropped.places(what)}.")
    if reading.repaired:
        notes.append(f"{reading.repaired} strings held broken Unicode escapes, replaced by '?'.")
    return notes


def _line_pairs(source: TextFile, reading: _Reading) -> Iterator[Pair]:
    rows = _refuse_empty(read_rows(source, form=LINES), str(source.path))
    if reading.line_style is None:
        next(rows)  # an empty file is refused as such
        raise DataError(
            f"{source.path}: no labels are recognised; write each line as '<label> <text>', "
            "'<label><TAB><text>' or '__label__<label> <text>' with at most "
            f"{MAX_LABELS} labels each occurring at least {MIN_OCCURRENCES} times, or use csv, "
            "tsv or jsonl with named columns."
        )
    for row in rows:
        try:
            label, text = reading.line_style(row.values[TEXT_COLUMN])
        except ValueError as error:
            reading.bad(row, str(error), str(error))
            continue
        yield row, text, label


def _column_pairs(
    rows: Iterator[Row], name: str, reading: _Reading, lacks: str = "is empty"
) -> Iterator[Pair]:
    text = label = None
    for row in _refuse_empty(rows, name, lacks):
        if row.problem:
            yield row, None, None
            continue
        if text is None:
            text, label = reading.columns.of(row)
            reading.columns.found = text, label
        columns = text_names(text, row.values)
        needed = (*columns, label) if len(columns) == 1 else (label,)  # JSON may leave one out
        missing = [column for column in needed if column not in row.values]
        if missing:
            there = name_list(list(row.values))
            what = f"there is no '{missing[0]}' here, only {there}; every row needs it."
            reading.bad(row, "column", what)
            continue
        if len(columns) > 1:
            yield row, {name: _cell(row, name) for name in columns}, row.values[label]
        else:
            yield row, row.values[text], row.values[label]


def _cell(row: Row, name: str) -> Any:
    """A cell of one of several text columns; "" where there is none."""
    value = row.values.get(name)
    return "" if value is None else value
