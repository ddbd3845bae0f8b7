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

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.encodings import check_encoding
from pipelines.layout import Layout, PartFile
from pipelines.messages import name_list, shorten
from pipelines.readers import LINES, Row, file_format, read_rows
from pipelines.readers.delimited import first_cells
from pipelines.readers.lines import TEXT_COLUMN
from pipelines.records import Records
from pipelines.text_examples import LABEL_NAMES, TEXT_NAMES, TextExample, label_text
from pipelines.textfile import (
    TextFile,
    encoding_note,
    inspect_file,
    lines_outside_ascii,
    read_document,
)

MAX_LABELS, MAX_LABEL_LENGTH, MIN_OCCURRENCES = 50, 40, 2
NEIGHBOURS = 200  # files whose lines help to guess an encoding
_FASTTEXT = "__label__"

LineStyle = Callable[[str], tuple[str, str]]  # line -> (label, text)


@dataclass
class _Reading:
    """What is learnt from the training part and counted on the way through all parts."""

    text_column: str | None
    label_column: str | None
    encoding: str
    files: list[Path]
    header: bool = True
    line_style: LineStyle | None = None
    # (text column, label column) of the training part: the other parts must have them too.
    columns: tuple[str, str] | None = None
    notes: list[str] = field(default_factory=list)
    sources: list[TextFile] = field(default_factory=list)
    empty: int = 0
    repaired: int = 0
    _neighbours: list[bytes] | None = None

    def neighbours(self) -> list[bytes]:
        """Lines outside ASCII of the first files: those of one source are in one encoding."""
        if self._neighbours is None:
            self._neighbours = list(lines_outside_ascii(self.files[:NEIGHBOURS]))
        return self._neighbours


def read_labelled(
    layout: Layout,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = "",
) -> tuple[dict[str, list[TextExample]], list[str]]:
    """Reads every part of a layout as labelled text.

    Args:
        layout: the files, or tables in memory.
        text_column: the text's column; guessed by name if None. For csv and tsv without header
            both columns may be given as numbers from 1.
        label_column: the label's column; guessed by name if None.
        encoding: of files that are not UTF-8, as Python names it; guessed if "".

    Returns:
        (examples by part in the order of files and rows, notes for the user).

    Raises:
        DataError: with file and line, for anything that is not a text with a label.
    """
    paths = [
        file.path for files in layout.parts.values() for file in files if isinstance(file, PartFile)
    ]
    reading = _Reading(text_column, label_column, check_encoding(encoding), paths)
    if (text_column or label_column) and all(file.form == LINES for file in layout.parts["train"]):
        raise DataError(
            f"{layout.name} has no columns; leave --text-column and --label-column away, or give "
            "csv, tsv, jsonl or json."
        )
    parts = {
        part: [example for file in layout.parts[part] for example in _file_examples(file, reading)]
        for part in ("train", "validation", "test")  # train first: it decides what is what
        if part in layout.parts
    }
    return parts, layout.notes + reading.notes + _counted_notes(reading)


def looks_like_labels(values: Sequence[str]) -> bool:
    """Tells whether these strings may be labels: few, short, each occurring at least twice."""
    counts = Counter(values)
    return bool(counts) and (
        len(counts) <= MAX_LABELS
        and min(counts.values()) >= MIN_OCCURRENCES
        and all(0 < len(value.strip()) <= MAX_LABEL_LENGTH for value in counts)
    )


def _file_examples(file: PartFile | Records, reading: _Reading) -> Iterator[TextExample]:
    for row, text, label in _pairs(file, reading):
        example = _example(row, text, label, reading)
        if example:
            yield example


def _pairs(file: PartFile | Records, reading: _Reading) -> Iterator[tuple[Row, Any, Any]]:
    """Yields (row, text, label) of a file or a table in memory."""
    if isinstance(file, Records):
        return _column_pairs(file.rows(), file.name, reading)
    source = inspect_file(file.path, reading.encoding, reading.neighbours)
    if source.note:
        reading.sources.append(source)
    if file.document:
        row = Row({TEXT_COLUMN: read_document(source)}, str(file.path), 1)
        return iter([(row, row.values[TEXT_COLUMN], file.label)])
    if file.label is not None:
        rows = _refuse_empty(read_rows(source, form=LINES), str(file.path))
        return ((row, row.values[TEXT_COLUMN], file.label) for row in rows)
    if file.form == LINES:
        return _line_pairs(source, reading)
    options = {}
    if file.form == "delimited":
        if reading.columns is None:
            _find_header(source, reading)
        options = {"header": reading.header}
    return _column_pairs(read_rows(source, form=file.form, **options), str(file.path), reading)


def _refuse_empty(rows: Iterator[Row], name: str) -> Iterator[Row]:
    row = None
    for row in rows:
        yield row
    if row is None:
        raise DataError(f"{name} is empty: it holds no example; fill it or remove it.")


def _example(row: Row, text: Any, label: Any, reading: _Reading) -> TextExample | None:
    """Checks one text and its label; None where there is no text to speak of."""
    if not isinstance(text, str):
        what = "null" if text is None else f"{shorten(text)}, not a string"
        raise DataError(f"{row.where}: the text is {what}; give a string or remove the row.")
    text = text.strip()
    if not text:
        reading.empty += 1
        return None
    label = _repair(label_text(label, row.where), reading)
    return TextExample(_repair(text, reading), label, row.file, row.line, row.unit)


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
    if reading.empty:
        notes.append(f"{reading.empty} examples without text were dropped.")
    if reading.repaired:
        notes.append(f"{reading.repaired} strings held broken Unicode escapes, replaced by '?'.")
    return notes


# ---- lines


def _line_pairs(source: TextFile, reading: _Reading) -> Iterator[tuple[Row, str, str]]:
    rows: Iterable[Row] = _refuse_empty(read_rows(source, form=LINES), str(source.path))
    if reading.line_style is None:
        rows = list(rows)
        reading.line_style = _find_line_style([row.values[TEXT_COLUMN] for row in rows])
    if reading.line_style is None:
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
            raise DataError(f"{row.where}: {error}") from error
        yield row, text, label


def _find_line_style(lines: Sequence[str]) -> LineStyle | None:
    if all(line.startswith(_FASTTEXT) for line in lines):
        return _split_fasttext
    if all(line.count("\t") == 1 for line in lines):
        left, right = zip(*(line.split("\t") for line in lines), strict=True)
        is_label = looks_like_labels(left), looks_like_labels(right)
        if is_label == (True, False):
            return _split_tab
        if is_label == (False, True):
            return _split_tab_last
    if looks_like_labels([line.split(None, 1)[0] for line in lines]):
        return _split_token
    return None


def _split_fasttext(line: str) -> tuple[str, str]:
    label, _, text = line.partition(" ")
    if not label.startswith(_FASTTEXT):
        raise ValueError("this line does not begin with __label__ as those of train do.")
    if text.lstrip().startswith(_FASTTEXT):
        raise ValueError("this line has several labels; give one per example.")
    return label.removeprefix(_FASTTEXT), text


def _split_tab(line: str) -> tuple[str, str]:
    label, tab, text = line.partition("\t")
    if not tab:
        raise ValueError("this line has no tab between label and text as those of train do.")
    return label, text


def _split_tab_last(line: str) -> tuple[str, str]:
    text, tab, label = line.rpartition("\t")
    if not tab:
        raise ValueError("this line has no tab between text and label as those of train do.")
    return label, text


def _split_token(line: str) -> tuple[str, str]:
    label, *text = line.split(None, 1)
    return label, text[0] if text else ""


# ---- columns


def _column_pairs(
    rows: Iterator[Row], name: str, reading: _Reading
) -> Iterator[tuple[Row, Any, Any]]:
    rows = _refuse_empty(rows, name)
    text = label = None
    for row in rows:
        if text is None:
            text, label = _find_columns(list(row.values), row, reading)
            reading.columns = text, label
        for column in (text, label):
            if column not in row.values:
                raise DataError(
                    f"{row.where}: there is no '{column}' here, only "
                    f"{name_list(list(row.values))}; every row needs it."
                )
        yield row, row.values[text], row.values[label]


def _find_header(source: TextFile, reading: _Reading) -> None:
    """Sets whether the first row names the columns, and the columns where it does not."""
    cells = [cell.strip() for cell in first_cells(source)]
    flags = [flag for flag in (reading.text_column, reading.label_column) if flag is not None]
    if any(flag in cells for flag in flags):
        return
    if flags and all(flag.isdecimal() for flag in flags):
        reading.header = False
        if len(flags) == 1 and len(cells) == 2 and flags[0] in ("1", "2"):
            other = str(3 - int(flags[0]))
            reading.text_column = reading.text_column or other
            reading.label_column = reading.label_column or other
        return
    if flags or any(cell.lower() in TEXT_NAMES + LABEL_NAMES for cell in cells) or len(cells) != 2:
        return
    table = [list(row.values.values()) for row in read_rows(source, form="delimited", header=False)]
    is_label = [looks_like_labels(column) for column in zip(*table, strict=True)]
    if sum(is_label) == 1:
        label = is_label.index(True)
        reading.header = False
        reading.columns = str(2 - label), str(label + 1)
        reading.notes.append(
            f"{source.path.name} has no header: column {reading.columns[0]} was taken as text, "
            f"column {reading.columns[1]} as label."
        )


def _find_columns(names: list[str], row: Row, reading: _Reading) -> tuple[str, str]:
    """Returns (text column, label column) of a file: as in train, as asked for, or by name."""
    text, label = reading.columns or (reading.text_column, reading.label_column)
    text = _find_column("text", text, TEXT_NAMES, names, row.file)
    label = _find_column("label", label, LABEL_NAMES, names, row.file)
    if text == label:
        raise DataError(
            f"{row.file}: text and label are both the column '{text}'; give two of "
            f"{name_list(names)} with --text-column and --label-column."
        )
    return text, label


def _find_column(
    role: str, wanted: str | None, known: Sequence[str], names: list[str], file: str
) -> str:
    there = f"the columns are {name_list(names)}"
    if wanted is not None:
        if wanted in names:
            return wanted
        raise DataError(
            f"{file} has no column '{wanted}'; {there}; name the {role}'s with --{role}-column."
        )
    found = [name for name in names if name.strip().lower() in known]
    if len(found) == 1:
        return found[0]
    what = f"{name_list(found)} could all be" if found else "none is known as"
    raise DataError(
        f"{file}: {what} the {role} column; {there}; name it with --{role}-column (a file without "
        "header: by numbers, --text-column 2 --label-column 1)."
    )


# ---- texts without labels


def read_texts(
    path: Path, text_column: str = "", encoding: str = ""
) -> tuple[list[str], list[str]]:
    """Texts of a file: each line of a .txt, one column of a csv, tsv, jsonl or json; .gz too.

    Returns:
        (texts, notes).

    Raises:
        DataError: the file cannot be read, or its text column is not clear.
    """
    if not path.is_file():
        raise DataError(f"--file {path} is not there; name a txt, csv, tsv, jsonl or json file")
    is_lines = file_format(path) == LINES
    source, texts = inspect_file(path, check_encoding(encoding)), []
    for row in read_rows(source):
        name = TEXT_COLUMN if is_lines else text_column or _only_text(row, path)
        value = row.values.get(name)
        if not isinstance(value, str):
            raise DataError(
                f"{row.where}: column {name!r} holds no text; "
                f"there are: {', '.join(row.values)}; choose one with --text-column"
            )
        texts.append(value)
    return texts, [source.note] if source.note else []


def _only_text(row: Row, path: Path) -> str:
    found = [name for name in row.values if name.lower() in TEXT_NAMES]
    if len(row.values) == 1:
        found = list(row.values)
    if len(found) != 1:
        raise DataError(
            f"{path}: no column is plainly the text among {', '.join(row.values)}; "
            "choose one with --text-column"
        )
    return found[0]
