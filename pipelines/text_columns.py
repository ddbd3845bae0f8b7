"""Which columns of a table are the text and the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import DataError
from pipelines.line_styles import looks_like_labels
from pipelines.messages import name_list
from pipelines.missing import is_missing
from pipelines.readers import DELIMITED, Row, read_rows
from pipelines.readers.delimited import first_cells
from pipelines.text_examples import LABEL_NAMES, TEXT_NAMES, label_name
from pipelines.text_inputs import text_names
from pipelines.textfile import TextFile


@dataclass
class TextColumns:
    """The columns that are asked for, and those that the training part has.

    Attributes:
        text: name of the text's column as asked for, or of several with commas between; "" if it
            is to be found.
        label: likewise of the label's.
        found: (text, label) of the training part; the other parts must have them too.
        header: whether the first row of a csv or tsv file names its columns.
        notes: sentences for the user.
    """

    text: str = ""
    label: str = ""
    found: tuple[str, str] | None = None
    header: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> frozenset[str]:
        """Names of columns, in lower case, by which a table is known."""
        flags = [name.lower() for name in (*text_names(self.text, ()), self.label) if name]
        return frozenset((*TEXT_NAMES, *LABEL_NAMES, *flags))

    def find_header(self, source: TextFile) -> None:
        """Finds whether the first row of the training part names the columns, and if not, them."""
        cells = [cell.strip() for cell in first_cells(source)]
        flags = [flag for flag in (*text_names(self.text, cells), self.label) if flag]
        if any(flag in cells for flag in flags):
            return
        if flags and all(flag.isdecimal() for flag in flags):
            self.header = False
            if len(flags) == 1 and len(cells) == 2 and flags[0] in ("1", "2"):
                other = str(3 - int(flags[0]))
                self.text, self.label = self.text or other, self.label or other
            return
        named = any(cell.lower() in TEXT_NAMES + LABEL_NAMES for cell in cells)
        if flags or named or len(cells) != 2:
            return
        is_label = [
            looks_like_labels([label_name(cell) for cell in column if not is_missing(cell)])
            for column in unnamed_columns(source)
        ]
        if sum(is_label) == 1:
            label = is_label.index(True)
            self.header = False
            self.found = str(2 - label), str(label + 1)
            self.notes.append(
                f"{source.path.name} has no header: column {self.found[0]} was taken as text, "
                f"column {self.found[1]} as label."
            )

    def of(self, row: Row) -> tuple[str, str]:
        """Returns (text column, label column) of a file: as in train, as asked for, or by name.
        Of several text columns it is what was asked for, see ``text_names``.

        Raises:
            DataError: they are not there, or not plain.
        """
        names = list(row.values)
        text, label = self.found or (self.text, self.label)
        wanted = text_names(text, names)
        found = [find_column("text", one, TEXT_NAMES, names, row.file) for one in wanted]
        text = text if len(found) > 1 else found[0]
        label = find_column("label", label, LABEL_NAMES, names, row.file)
        if label in found:
            raise DataError(
                f"{row.file}: text and label are both the column '{label}'; give two of "
                f"{name_list(names)} with --text-column and --label-column."
            )
        return text, label


def unnamed_columns(source: TextFile) -> list[tuple[str, ...]]:
    """Returns the cells of each column of a table whose first row is data; bad rows are left."""
    rows = read_rows(source, form=DELIMITED, header=False, with_problems=True)
    table = [list(row.values.values()) for row in rows if not row.problem]
    return list(zip(*table, strict=True))


def find_column(role: str, wanted: str, known: Sequence[str], names: list[str], file: str) -> str:
    """Returns the column that is wanted, or the only one with a known name.

    Raises:
        DataError: there is none, or several.
    """
    there = f"the columns are {name_list(names)}"
    if wanted:
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
