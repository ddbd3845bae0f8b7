"""Texts of files without their labels, read as the labelled ones of training are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from common.errors import DataError
from pipelines.encodings import check_encoding
from pipelines.layout import PartFile, locate_members
from pipelines.line_styles import STYLES
from pipelines.messages import shorten
from pipelines.problems import Problems
from pipelines.readers import DELIMITED, LINES, Row, read_rows, told_format
from pipelines.readers.delimited import first_cells, has_marks
from pipelines.readers.lines import TEXT_COLUMN
from pipelines.text_columns import TextColumns, find_column, unnamed_columns
from pipelines.text_examples import LABEL_NAMES, TEXT_NAMES, label_name
from pipelines.text_inputs import text_names
from pipelines.textfile import TextFile, inspect_file, read_document


def read_texts(
    path: Path, text_column: str = "", encoding: str = "", labels: Collection[str] = ()
) -> tuple[list[str | dict[str, str]], list[str]]:
    """Texts of whatever training reads as one part: a file, or a directory of classes.

    Args:
        path: lines of text, csv, tsv, jsonl or json, perhaps gzip; or a directory.
        text_column: found by name if ""; or several with commas between.
        encoding: of files that are not UTF-8, as Python names it; guessed if "".
        labels: those of training. Where every line or row begins or ends with one, as those of
            training may, it is no part of the text.

    Returns:
        (texts in the order of the files and rows, of several columns dicts of them; notes).

    Raises:
        DataError: a file cannot be read, or its text column is not clear.
    """
    if not path.exists():
        raise DataError(
            f"--file {path} is not there; name a txt, csv, tsv, jsonl or json file, or a directory."
        )
    files, notes = locate_members(path)
    texts: list[str | dict[str, str]] = []
    for file in files:
        source = inspect_file(file.path, check_encoding(encoding))
        if source.note:
            notes.append(source.note)
        texts += _texts(file, source, text_column, set(labels), notes)
    return texts, notes


def _texts(
    file: PartFile, source: TextFile, text_column: str, labels: set[str], notes: list[str]
) -> list[str | dict[str, str]]:
    if file.document:
        return [read_document(source).strip()]
    form = file.form
    if form == LINES and file.label is None:
        form = told_format(source, TextColumns(text_column).names)
    header, column = True, text_column
    if form == LINES:
        lines = [row.values[TEXT_COLUMN] for row in read_rows(source, form=LINES)]
        is_table = not file.label and has_marks(source)
        place = _text_beside_labels(source, labels) if is_table else ""
        if not place:
            return _without_labels(lines, file.path, labels, notes)
        form, header, column = DELIMITED, False, place
    elif form == DELIMITED:
        header, column = _find_header(source, text_column, labels, notes)
    options = {"header": header} if form == DELIMITED else {}
    texts, problems, columns = [], Problems(), ()
    for row in read_rows(source, form=form, with_problems=True, **options):
        if not row.problem:
            if not columns:
                columns = text_names(column, row.values) if column else (_only_text(row),)
                known = set(columns) & set(row.values) if len(columns) > 1 else set()
            empty = {name: "" for name in known if row.values.get(name) is None}
            row = replace(row, values={**row.values, **empty})
        problem = row.problem or _text_problem(row, columns)
        if problem:
            kind = "row" if row.problem else "text"
            problems.add(kind, problem, row.file, row.line, row.unit)
        elif len(columns) > 1:
            texts.append({name: row.values[name] for name in columns})
        else:
            texts.append(row.values[columns[0]])
    problems.raise_if_any()
    return texts


def _without_labels(lines: list[str], path: Path, labels: set[str], notes: list[str]) -> list[str]:
    """Returns the texts of lines that all hold a label of training in one style; else the lines."""
    for style in STYLES:
        try:
            pairs = [style(line) for line in lines]
        except ValueError:
            continue
        if pairs and all(label.strip() in labels for label, _ in pairs):
            notes.append(f"The labels in the lines of {path.name} were left out.")
            return [text.strip() for _, text in pairs]
    return lines


def _find_header(
    source: TextFile, text_column: str, labels: set[str], notes: list[str]
) -> tuple[bool, str]:
    """Returns (whether the first row names the columns, the text's column or "")."""
    names = [cell.strip() for cell in first_cells(source)]
    if text_column:
        wanted = text_names(text_column, names)
        named = any(one in names or not one.isdecimal() for one in wanted)
        return named, text_column
    if any(name.lower() in TEXT_NAMES + LABEL_NAMES for name in names):
        return True, ""
    place = _text_beside_labels(source, labels)
    if place:
        notes.append(f"{source.path.name} has no header: column {place} was taken as text.")
    elif len(names) == 1:
        notes.append(f"The first line of {source.path.name} was taken as the column's name.")
    return not place, place


def _text_beside_labels(source: TextFile, labels: set[str]) -> str:
    """Returns the number of the other column where one of two holds labels of training only."""
    try:
        columns = unnamed_columns(source)
    except DataError:  # lines that are no table
        return ""
    is_label = [labels.issuperset(map(label_name, column)) for column in columns]
    return str(2 - is_label.index(True)) if len(columns) == 2 and sum(is_label) == 1 else ""


def _only_text(row: Row) -> str:
    names = list(row.values)
    return names[0] if len(names) == 1 else find_column("text", "", TEXT_NAMES, names, row.file)


def _text_problem(row: Row, columns: Sequence[str]) -> str:
    there = ", ".join(row.values)
    for column in columns:
        if column not in row.values:
            return (
                f"there is no column '{column}'; there are: {there}; choose one with --text-column."
            )
        value = row.values[column]
        if not isinstance(value, str):
            return (
                f"column '{column}' holds {shorten(value)}, which is no text; there are: {there}; "
                "choose one with --text-column."
            )
    return ""
