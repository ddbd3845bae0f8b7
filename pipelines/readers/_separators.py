"""What separates the cells of a table, told by the rows at its beginning and not by its name."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipelines.textfile import TextFile

MARKS = (",", ";", "\t", "|")  # of those that fit equally well, the first
SPACE, SPACES = " ", "  "  # a run of spaces; two or more, where cells hold single ones
HEAD_LINES, HEAD_CHARACTERS = 2000, 1 << 22
# The csv module refuses cells above 128 KiB by default; the most a C long holds on Windows.
_LONGEST_CELL = 2**31 - 1
_SEP_LINE = re.compile(r'"?sep=(.|\\t)"?[,;\t|]*\s*', re.IGNORECASE)
_FIGURES = re.compile(r"[-+.,:/%\dTZ ]*\d[-+.,:/%\dTZ ]*")  # numbers, dates, times
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*")
_ENOUGH = 0.9  # of the rows must be alike before spaces are taken for separators


@dataclass(frozen=True)
class Dialect:
    """How the lines of a table are cut into cells.

    Attributes:
        separator: one of `MARKS`, `SPACE`, `SPACES`, or what a line `sep=` says.
        quoted: whether quotes wrap cells; otherwise they belong to the text.
        padded: whether the spaces after a separator belong to it.
        skipped: lines above the table: 1 where the first is Excel's `sep=;`.
        row_names: whether each row begins with a cell that the header does not name, as R writes.
        width: cells of the first row without those at its end that are blank in all rows.
    """

    separator: str = ","
    quoted: bool = True
    padded: bool = False
    skipped: int = 0
    row_names: bool = False
    width: int = 0

    @property
    def title(self) -> str:
        """The separator for messages: "';'", "tab", "space"."""
        return {"\t": "tab", SPACE: "space", SPACES: "two spaces"}.get(
            self.separator, f"'{self.separator}'"
        )


def find_dialect(source: TextFile, *, tabs_first: bool = False) -> Dialect:
    """Finds what separates the cells of a table by its first rows, quotes honoured.

    A separator must occur in the first row. The one is taken by which most rows have as many cells
    as the first; then the one by which most columns hold figures or repeat their values, as
    columns do and pieces of sentences do not. Spaces count where no other separator occurs.

    Args:
        source: the file.
        tabs_first: take tabs where they fit as well as any other.

    Returns:
        The dialect; a comma where the first row has one cell only.
    """
    lines, whole = _head(source)
    found = _SEP_LINE.fullmatch(lines[0]) if lines else None
    if found:
        mark = found[1].replace("\\t", "\t")
        return _described(lines[1:], whole, mark, skipped=1)
    order = ("\t", *(mark for mark in MARKS if mark != "\t")) if tabs_first else MARKS
    fits = {mark: _fit(_table(lines, whole, mark)) for mark in order}
    best = max(order, key=lambda mark: _rank(fits[mark], tabs_first and mark == "\t"))
    if not fits[best][0]:
        spaces = [mark for mark in (SPACES, SPACE) if _spaces_fit(_table(lines, whole, mark), mark)]
        best = [*spaces, order[0]][0]
    return _described(lines, whole, best)


def split_lines(lines: Iterable[str], dialect: Dialect, *, strict: bool = True) -> Iterator:
    """Returns csv's reader over the lines of a table (those that are skipped left away).

    Raises:
        csv.Error: while it is read; with `strict` for quotes that are broken.
    """
    csv.field_size_limit(_LONGEST_CELL)
    separator, quoting = dialect.separator, csv.QUOTE_MINIMAL
    if separator == SPACES:
        lines = (re.sub(r" {2,}|\t", "\t", line.strip(" ")) for line in lines)
        separator = "\t"
    if not dialect.quoted:
        quoting = csv.QUOTE_NONE
    padded = dialect.padded or separator == SPACE
    return csv.reader(
        lines, delimiter=separator, quoting=quoting, skipinitialspace=padded, strict=strict
    )


def _head(source: TextFile) -> tuple[list[str], bool]:
    """Returns the first lines, and whether they are all."""
    lines, size = [], 0
    with source.open() as stream:
        for line in stream:
            if len(lines) == HEAD_LINES or size > HEAD_CHARACTERS:
                return lines, False
            lines.append(line)
            size += len(line)
    return lines, True


def _table(lines: Sequence[str], whole: bool, mark: str) -> list[list[str]]:
    """Cells of the rows that are not blank; the last row of a head may be cut off and is left."""
    rows = list(split_lines(lines, Dialect(mark), strict=False))
    if not whole and len(rows) > 2:
        rows.pop()
    return [cells for cells in rows if any(cell.strip() for cell in cells)]


def _fit(table: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Returns (share of rows that are as wide as the first, how much columns look like columns)."""
    if not table or len(table[0]) < 2:
        return 0.0, 0.0
    header, body = table[0], table[1:] or table
    rows = [without_blank_end(cells, len(header)) for cells in body]
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if width < 2:
        return 0.0, 0.0
    share = count / len(rows)
    columns = list(zip(*(cells for cells in rows if len(cells) == width), strict=True))
    likeness = sum(max(_figures(column), 1 - len(set(column)) / count) for column in columns)
    return share if width == len(header) else share / 2, likeness / width


def _rank(fit: tuple[float, float], expected: bool) -> tuple[float, bool, float]:
    return fit[0], expected, fit[1]


def _spaces_fit(table: Sequence[Sequence[str]], mark: str) -> bool:
    """Tells whether spaces separate cells: single ones only between figures, not words."""
    if len(table) < 2 or _fit(table)[0] < _ENOUGH:
        return False
    columns = zip(*(cells for cells in table[1:] if len(cells) == len(table[0])), strict=True)
    return mark == SPACES or any(_figures(column) >= _ENOUGH for column in columns)


def _figures(column: Sequence[str]) -> float:
    return sum(bool(_FIGURES.fullmatch(cell.strip())) for cell in column) / len(column)


def _described(lines: Sequence[str], whole: bool, mark: str, skipped: int = 0) -> Dialect:
    table = _table(lines, whole, mark)
    later = [cell[:1] for cells in table for cell in cells[1:]]
    padded = " " in later and set(later) <= {" ", ""}
    first = table[0] if table else []
    width = max(
        (
            place
            for cells in table
            for place, cell in enumerate(cells[: len(first)], 1)
            if cell.strip()
        ),
        default=len(first),
    )
    return Dialect(mark, True, padded, skipped, _has_row_names(table), width)


def _has_row_names(table: Sequence[Sequence[str]]) -> bool:
    """Tells whether every row has one cell more than the header: in front, a number or a date."""
    if len(table) < 3 or any(len(cells) != len(table[0]) + 1 for cells in table[1:]):
        return False
    if not any(cells[-1].strip() for cells in table[1:]):
        return False  # every row ends in one more separator
    names = [cells[0].strip() for cells in table[1:]]
    counts = [[str(start + number) for number in range(len(names))] for start in (0, 1)]
    return names in counts or all(_DATE.fullmatch(name) for name in names)


def without_blank_end(cells: list[str], width: int) -> list[str]:
    """Returns the cells without blank ones beyond the width: rows may end in more separators."""
    end = len(cells)
    while end > width and not cells[end - 1].strip():
        end -= 1
    return cells[:end]
