"""Which columns of a table are the source and the target of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from common.errors import DataError
from pipelines.layout import PartFile
from pipelines.messages import name_list
from pipelines.readers import DELIMITED, LINES, Row, read_rows, told_format
from pipelines.readers.delimited import first_cells
from pipelines.textfile import TextFile

SOURCE_NAMES = ("source", "src", "source_text", "source_sentence", "input", "text", "question")
TARGET_NAMES = ("target", "tgt", "trg", "target_text", "target_sentence", "translation", "output",
                "reference", "answer")  # fmt: skip
NESTED = "translation"  # column of a dict by language, as data sets of Hugging Face have it
_HEAD = 100


@dataclass
class PairColumns:
    """The columns that are asked for; "" where they are to be found.

    Attributes:
        source: name of the source's column, or its number from 1 where there is no header.
        target: the same of the target's.
        source_language: a column may have its name.
        target_language: the same of the target.
        targets: whether targets are wanted too.
        notes: sentences for the user.
    """

    source: str = ""
    target: str = ""
    source_language: str = ""
    target_language: str = ""
    targets: bool = True
    notes: list[str] = field(default_factory=list)
    _headless: dict[str, bool] = field(default_factory=dict)

    @property
    def sides(self) -> list[tuple[str, str, str, Sequence[str]]]:
        """(role, column asked for, language, known names) of each side that is wanted."""
        sides = [
            ("source", self.source, self.source_language, SOURCE_NAMES),
            ("target", self.target, self.target_language, TARGET_NAMES),
        ]
        return sides if self.targets else sides[:1]

    @property
    def names(self) -> frozenset[str]:
        """Names of columns, in lower case, by which a table is known."""
        asked = [name.lower() for _, column, language, _ in self.sides
                 for name in (column, language) if name]  # fmt: skip
        return frozenset((*SOURCE_NAMES, *TARGET_NAMES, *asked))

    def texts(self, row: Row) -> list[Any]:
        """The values of the source and, if wanted, of the target.

        Raises:
            DataError: a column is not there, or not clear.
        """
        values = row.values
        if isinstance(values.get(NESTED), Mapping):
            values = {**values, **values[NESTED]}
            del values[NESTED]
        return [values[self._find(row, values, *side)] for side in self.sides]

    def _find(
        self, row: Row, values: Mapping[str, Any], role: str, column: str, language: str,
        known: Sequence[str],
    ) -> str:  # fmt: skip
        if column in values:
            return column
        if not column:
            found = _of_language(values, language) or _of_names(values, known)
            if found:
                return found
            if row.file in self._headless:
                return list(values)[0 if role == "source" else 1]
        there = name_list(list(values))
        what = f"no column '{column}'" if column else f"no column that is known as the {role}"
        flags = f"--{role}-column, or --{role}-language where it has a language's name"
        raise DataError(f"{row.where}: there is {what}; there are: {there}; name it with {flags}.")

    def has_header(self, source: TextFile) -> bool:
        """Whether the first row of a table names its columns; a note says so if not.

        It does if one of its cells is a name that is asked for or known, or if they are single
        words while the rows are not.
        """
        cells = [cell.strip() for cell in first_cells(source)]
        lower = [cell.lower() for cell in cells]
        asked = [column for _, column, _, _ in self.sides if column]
        if any(column in cells for column in asked):
            return True
        numbered = bool(asked) and all(column.isdecimal() for column in asked)
        if not numbered and (asked or not self.names.isdisjoint(lower)):
            return True
        if len(cells) < 2 and self.targets:
            return True  # of which the message then says what columns there are
        # Columns 1 and 2 unless asked for, by place.
        self._headless[str(source.path)] = True
        if not numbered and _names_above_sentences(source):
            what = f"its columns '{cells[0]}' and '{cells[1]}' were" if self.targets else (
                f"its column '{cells[0]}' was")  # fmt: skip
            self.notes.append(f"{source.path.name}: {what} taken as source and target.")
            return True
        if not numbered:
            self.notes.append(
                f"{source.path.name} has no header: column 1 was taken as source"
                + (", column 2 as target." if self.targets else ".")
            )
        return False


def form_of(member: PartFile, source: TextFile, columns: PairColumns) -> str:
    """The reader's name of a file of pairs; lines with tabs in them are a table."""
    form = member.form if member.form != LINES else told_format(source, columns.names)
    if form == LINES and (columns.targets or columns.source):
        with source.open() as stream:
            head = [line for line in islice(stream, _HEAD) if line.strip()]
        if head and all("\t" in line for line in head):
            return DELIMITED
    return form


def _of_language(values: Mapping[str, Any], language: str) -> str:
    """The column of a language: "en" finds "en", "EN" and "en-us"."""
    if not language:
        return ""
    wanted = language.lower()
    exact = [name for name in values if name.lower() == wanted]
    main = [name for name in values if name.lower().replace("_", "-").split("-")[0] == wanted]
    return (exact or main or [""])[0]


def _of_names(values: Mapping[str, Any], known: Sequence[str]) -> str:
    by_lower = {name.strip().lower(): name for name in values}
    return next((by_lower[name] for name in known if name in by_lower), "")


def _names_above_sentences(source: TextFile) -> bool:
    """Whether the first row is of single words, and the rows below it are not."""
    rows = read_rows(source, form=DELIMITED, header=False, with_problems=True)
    table = [list(row.values.values())[:2] for row in islice(rows, _HEAD) if not row.problem]
    single = [all(len(cell.split()) == 1 for cell in row) for row in table]
    return len(single) > 2 and single[0] and sum(single[1:]) * 4 < len(single)
