"""Answers as a csv, tsv or jsonl file, beside all columns of the file that was asked about."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.files import write_aside
from pipelines.encodings import check_encoding
from pipelines.readers import LINES, Row, read_rows, told_format
from pipelines.readers.conll import COMMENTS
from pipelines.readers.conll import LINES as TOKEN_LINES
from pipelines.text_columns import TextColumns
from pipelines.textfile import inspect_file

_SEPARATORS = {"csv": ",", "tsv": "\t", "tab": "\t"}
_COLUMNS = TextColumns().names
_JSON_LINES, CONLL = ("jsonl", "ndjson"), "conll"
# Put before the name of an answer that a column of the file has too: ``predicted_label``.
CLASH = "predicted_"


def check_answer_file(path: Path, further: Sequence[str] = ()) -> None:
    """Refuses a file of answers whose extension says no format that is written.

    Args:
        path: of the file.
        further: extensions that a kind writes besides, such as ".mid".

    Raises:
        DataError: names those that are.
    """
    if not is_answer_table(path) and path.suffix.lower() not in further:
        every = [".csv", ".tsv", *further]
        raise DataError(f"--out {path}: name a file that ends with {', '.join(every)} or .jsonl")


def is_answer_table(path: Path) -> bool:
    """Whether a file's extension is one of ``write_answer_rows``."""
    return path.suffix.lower().lstrip(".") in (*_SEPARATORS, *_JSON_LINES)


def write_answer_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows by the file's extension.

    Args:
        path: of a csv, tsv or jsonl file.
        rows: columns by name; a column that some rows lack is empty there. Lists and objects are
            JSON in a cell of a csv or tsv file, objects one column for each of their keys.

    Raises:
        DataError: see ``check_answer_file``.
        WriteError: the file cannot be written; what was there before is unchanged.
    """
    check_answer_file(path)
    extension = path.suffix.lower().lstrip(".")
    with write_aside(path) as file:
        if extension in _JSON_LINES:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            return
        flat = [dict(_cells(row)) for row in rows]
        names = list(dict.fromkeys(name for row in flat for name in row))
        writer = csv.DictWriter(file, names, delimiter=_SEPARATORS[extension], restval="")
        writer.writeheader()
        writer.writerows(flat)


def _cells(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _cells(value, f"{before}{name}.")
        elif isinstance(value, (list, tuple)):
            yield before + name, json.dumps(value, ensure_ascii=False)
        else:
            yield before + name, "" if value is None else value


def beside(columns: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row and then its answer; names that clash get ``CLASH`` in front.

    >>> beside({"id": "7", "label": "good"}, {"label": "bad", "probability": 0.9})
    {'id': '7', 'label': 'good', 'predicted_label': 'bad', 'probability': 0.9}
    """
    row = dict(columns)
    for name, value in answer.items():
        while name in row:
            name = CLASH + name
        row[name] = value
    return row


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of CoNLL without what its reader adds to them."""
    return {name: value for name, value in values.items() if name not in (TOKEN_LINES, COMMENTS)}


@dataclass(frozen=True)
class AskedFile:
    """The rows of a file with inputs, as they are written there.

    Attributes:
        rows: all of them, in their order.
        typed: inputs that were given before those of the file.
    """

    rows: list[Row]
    typed: int = 0

    @classmethod
    def of(cls, path: Path, typed: int = 0, encoding: str = "") -> AskedFile | None:
        """The rows of a table; None where the file has no columns, such as lines of text.

        Args:
            path: read as ``read_texts`` and the reader of series do.
            typed: see ``AskedFile``.
            encoding: of a file that is not UTF-8, as Python names it; guessed if "".

        Raises:
            DataError: the file cannot be read.
        """
        if not path.is_file():
            return None
        source = inspect_file(path, check_encoding(encoding))
        form = told_format(source, _COLUMNS)
        if form == LINES:
            return None
        rows = list(read_rows(source, form=form))
        if form == CONLL:
            rows = [replace(row, values=_written(row.values)) for row in rows]
        return cls(rows, typed)

    @cached_property
    def by_line(self) -> dict[int, Mapping[str, Any]]:
        """Columns of each row by its line; empty where two rows are on one line, as in JSON."""
        found = {row.line: row.values for row in self.rows}
        return found if len(found) == len(self.rows) else {}

    def beside_inputs(self, raw: Sequence[Any]) -> list[Mapping[str, Any]]:
        """Columns of the row that each input was read from; of typed ones none.

        Raises:
            DataError: the inputs are not the rows of the file.
        """
        rows = [row.values for row in self.rows]
        if len(rows) == len(raw) - self.typed - 1 and rows:
            # There is no header: what was read as one is the first row, under numbered columns.
            cells = [list(rows[0]), *(list(row.values()) for row in rows)]
            rows = [{str(i): cell for i, cell in enumerate(row, 1)} for row in cells]
        inputs = [one.values() if isinstance(one, Mapping) else [one] for one in raw[self.typed :]]
        same = len(rows) == len(inputs) and all(
            {str(one).strip() for one in texts}
            <= {"", *(str(cell).strip() for cell in row.values())}
            for texts, row in zip(inputs, rows, strict=True)
        )
        if not same:
            where = self.rows[0].file if self.rows else "the file"
            raise DataError(
                f"--out: the columns of {where} cannot be put beside its answers, as its rows are "
                "not its inputs one by one; redirect --json instead"
            )
        return [{}] * self.typed + rows
