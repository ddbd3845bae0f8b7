"""How numbers are written: marks of decimals and of thousands, decided for columns and files.

`1,020` is 1020 in one country and 1.02 in another. Cells that can be read in one way only decide
for their column and, where it has none of its own, for the other columns of the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.messages import shorten
from pipelines.missing import is_missing
from pipelines.series_table import RawTable

TITLES = {".": "point", ",": "comma"}
# Minus signs, apostrophes and Arabic marks as ASCII has them; marks of direction are nothing.
_ALIKE = {0x2212: "-", 0x2013: "-", 0x2019: "'", 0x2018: "'", 0xB4: "'", 0x66C: "'", 0x66A: "%"}
_ALIKE |= dict.fromkeys((0x200E, 0x200F, 0x61C, 0xFEFF))
_ARABIC = "\u066b"  # a decimal mark that is never one of thousands
_MONEY = (
    r"(?:[A-Z]{0,3}[$\u00a2-\u00a5\u0e3f\u20a0-\u20bf]"
    r"|USD|EUR|GBP|JPY|CHF|CNY|RMB|INR|RUB|BRL|SEK|NOK|DKK|PLN|CZK|HUF|TRY|CAD|AUD|NZD|ZAR|KRW|kr\.?"
    "|z\u0142|K\u010d|Ft|Fr\\.)"
)
_CELL = re.compile(
    rf"(?P<open>\()? ?(?P<minus>[+-])? ?(?P<money>{_MONEY})? ?(?P<after>[+-])? ?"
    rf"(?P<body>[\d.,' {_ARABIC}]*?(?:[eE][+-]?\d+)?) ?"
    rf"(?P<unit>%|\u2030|{_MONEY})? ?(?P<trailing>[+-])? ?(?P<close>\))?"
)


def _grouped(mark: str) -> str:
    """Digits in threes; with the lakh and crore of India too."""
    return rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|[1-9]\d?(?:{mark}\d{{2}})+{mark}\d{{3}}"


_BODIES = {
    decimal: re.compile(
        rf"(?P<whole>\d*|{_grouped(other)}|{_grouped(' ')}|{_grouped(chr(39))})"
        rf"(?:[{decimal}{_ARABIC}](?P<part>\d*))?(?P<power>[eE][+-]?\d+)?"
    )
    for decimal, other in ((r".", ","), (",", r"\."))
}


@dataclass(frozen=True)
class NumberCell:
    """One cell as a number.

    Attributes:
        point: what it is where decimals have a point; None where it cannot be that.
        comma: what it is where decimals have a comma; None where it cannot be that.
        sign: "%" or the sign of a currency, which is left out.
    """

    point: float | None
    comma: float | None
    sign: str = ""


@lru_cache(maxsize=4096)
def number_cell(text: str) -> NumberCell | None:
    """Reads a cell both ways; None where it is no number.

    >>> number_cell("1,020"), number_cell("(1 020,5)").comma, number_cell("-5 %")
    (NumberCell(point=1020.0, comma=1.02, sign=''), -1020.5, NumberCell(point=-5.0, comma=-5.0, sign='%'))
    """  # noqa: E501
    text = " ".join(unicodedata.normalize("NFKC", text.translate(_ALIKE)).split())
    if not text.isascii():
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    found = _CELL.fullmatch(text)
    if not found or bool(found["open"]) != bool(found["close"]):
        return None
    signs = [sign for name in ("minus", "after", "trailing") if (sign := found[name])]
    if len(signs) > 1 or (signs and found["open"]):
        return None
    factor = -1 if found["open"] or signs == ["-"] else 1
    point, comma = (_value(found["body"], decimal, factor) for decimal in ".,")
    if point is None and comma is None:
        return None
    return NumberCell(point, comma, found["money"] or found["unit"] or "")


def is_number(value: Any) -> bool:
    """Tells whether a cell, which is not missing, is a number in some notation."""
    try:
        return float(value) is not None
    except (TypeError, ValueError):
        return isinstance(value, str) and number_cell(value) is not None


def _value(body: str, decimal: str, factor: int) -> float | None:
    found = _BODIES[decimal].fullmatch(body)
    if not found or not (found["whole"] or found["part"]):
        return None
    whole = re.sub(r"\D", "", found["whole"])
    return factor * float(f"{whole or 0}.{found['part'] or 0}{found['power'] or ''}")


@dataclass
class NumberColumn:
    """The numbers of one column, and what its cells say about how they are written.

    Attributes:
        name: of the column.
        decimal: "." or ","; "" while nothing decides.
        proof: line and cell that decided; None where the user did.
        open: rows ``<int64>[n]``, lines ``<int64>[n]``, and values ``<float64>[n]`` read with a
            point and with a comma, of the cells that can be read both ways.
        small: whole numbers below 1000 without a mark, zeros aside; how many of them are 100 or
            more; and how many are above.
        signs: lines of the first cell of each sign, "" for cells without.
    """

    name: str
    decimal: str = ""
    proof: tuple[int, str] | None = None
    open: list[tuple[int, int, float, float]] = field(default_factory=list)
    small: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    signs: dict[str, int] = field(default_factory=dict)

    def read(self, table: RawTable, cells: Sequence[Any], lines: np.ndarray) -> np.ndarray:
        """Reads the next cells, ``<float32>[rows]``; those of `open` as with a point.

        Raises:
            DataError: with the line, for a cell that is no number, or has another decimal mark.
        """
        import pandas as pd

        numbers = np.array(pd.to_numeric(np.array(cells, object), errors="coerce"), np.float64)
        lost = np.isnan(numbers)
        marked = lost.copy()
        if self.decimal != ".":
            marked |= np.array([isinstance(cell, str) and "." in cell for cell in cells])
        signed, start = np.zeros(len(cells), bool), table.rows
        for index in np.flatnonzero(marked):
            if not lost[index] and self.decimal == ".":
                continue
            cell = str(cells[index])
            if (found := number_cell(cell)) is None:
                if not is_missing(cell) and lost[index]:
                    what = "is not a number; correct it or leave it empty."
                    raise self._error(table, lines[index], cell, what)
                continue
            numbers[index] = self._decided(table, start + index, lines[index], cell, found)
            marked[index] = found.point != found.comma
            if found.sign:
                signed[index] = True
                self.signs.setdefault(found.sign, int(lines[index]))
        unsigned = np.flatnonzero(~signed & ~np.isnan(numbers))
        if unsigned.size:
            self.signs.setdefault("", int(lines[unsigned[0]]))
        if not self.decimal:
            whole = np.abs(numbers[~marked & (numbers == np.floor(numbers)) & (numbers != 0)])
            self.small += [(whole < 1000).sum(), ((whole >= 100) & (whole < 1000)).sum(),
                           (whole >= 1000).sum()]  # fmt: skip
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32)
        for index in np.flatnonzero(np.isinf(numbers))[:1]:
            what = "is infinite (in float32); correct it or leave it empty."
            line, cell = lines[index], shorten(cells[index])
            raise table.error(line, f"column '{self.name}': {cell} {what}")
        return numbers

    def check_signs(self, table: RawTable) -> None:
        """Refuses a column in which some numbers have a sign and some have none or another."""
        if len(self.signs) > 1:
            (first, line), (second, other) = sorted(self.signs.items(), key=lambda pair: pair[1])[
                :2
            ]
            shown = [f"the sign {sign}" if sign else "no sign" for sign in (second, first)]
            raise table.error(
                other,
                f"column '{self.name}': this number has {shown[0]}, that {table.at(line)} "
                f"{shown[1]}; write all of a column in one unit.",
            )
        if sign := next(iter(self.signs), ""):
            table.notes.append(
                f"The sign {sign} of the numbers in column '{self.name}' was left out."
            )

    @property
    def looks_grouped(self) -> bool:
        """Whether marks before three digits must be of thousands, as other cells have none.

        Beside `998` no program writes `1.020` for 1.02, but `1.02` or `998.000`.
        """
        few, hundreds, many = self.small
        zeros = any(round(max(abs(point), abs(comma))) % 10 == 0 for *_, point, comma in self.open)
        return bool(few and not many and (zeros or (hundreds and self.marks == {","})))

    @property
    def marks(self) -> set[str]:
        """The marks of the cells that can be read both ways."""
        return {"," if abs(point) > abs(comma) else "." for *_, point, comma in self.open}

    def _decided(self, table: RawTable, row: int, line: int, cell: str, found: NumberCell) -> float:
        """Returns the value of a cell, by what is known so far."""
        if not self.decimal and None in (found.point, found.comma):
            self.decimal = "," if found.point is None else "."
            self.proof = (int(line), cell.strip())
        value = found.comma if self.decimal == "," else found.point
        if value is None:
            other = "." if self.decimal == "," else ","
            why = "--decimal says otherwise; correct the one or the other."
            if self.proof:
                before = f"'{shorten(self.proof[1])}' {table.at(self.proof[0])}"
                why = f"{before} a decimal {TITLES[self.decimal]}; write all alike."
            what = f"has a decimal {TITLES[other]}, but {why}"
            raise self._error(table, line, cell, what)
        if not self.decimal and found.point != found.comma:
            self.open.append((row, int(line), found.point, found.comma))
        return value

    def _error(self, table: RawTable, line: int, cell: str, what: str) -> DataError:
        return table.error(line, f"column '{self.name}': '{shorten(cell)}' {what}")


def file_marks(cells: Iterable[Any]) -> set[str]:
    """The decimal marks that are proved by some cells, of columns that are not read."""
    texts = (cell for cell in cells if isinstance(cell, str) and ("," in cell or "." in cell))
    found = [cell for text in texts if (cell := number_cell(text))]
    return {
        "," if cell.point is None else "." for cell in found if None in (cell.point, cell.comma)
    }


def settle_decimals(
    table: RawTable, columns: Sequence[NumberColumn], raw: np.ndarray, marks: set[str], hint: str
) -> str:
    """Decides how open cells are read, corrects their values, and says what was decided.

    Args:
        table: for messages and notes.
        columns: all that were read.
        raw: ``<float32>[rows, columns]``, corrected in place.
        marks: proved elsewhere in the file.
        hint: of the data that a model was trained on; "" where nothing is known.

    Returns:
        The decimal mark of the file; "" where no number has a mark.

    Raises:
        DataError: nothing decides; the message names the flag.
    """
    proved = {column.decimal for column in columns if column.decimal} | marks
    for place, column in enumerate(columns):
        column.check_signs(table)
        decided = column.decimal or (next(iter(proved)) if len(proved) == 1 else hint)
        guessed = False
        if column.open and not decided:
            decided, guessed = _from_pattern(table, column), True
        if column.open and decided == ",":
            raw[[row for row, *_ in column.open], place] = [cell[3] for cell in column.open]
        column.decimal = decided if column.open or column.decimal else ""
        _tell(table, column, guessed)
    found = {column.decimal for column in columns} - {""}
    return found.pop() if len(found) == 1 else ""


def _from_pattern(table: RawTable, column: NumberColumn) -> str:
    if len(column.marks) == 1:
        mark = next(iter(column.marks))
        if column.looks_grouped:
            return "." if mark == "," else ","
        if mark == ".":
            return "."  # as programs write numbers
    _, line, point, comma = column.open[0]
    raise table.error(
        line,
        f"column '{column.name}': a number here is {point:g} if decimals have a point, {comma:g} "
        "if they have a comma, and no cell of the file tells which; add --decimal . or --decimal ,",
    )


def _tell(table: RawTable, column: NumberColumn, guessed: bool) -> None:
    grouping = "." if column.decimal == "," else ","
    has_comma = column.decimal == ","
    if has_comma and (column.proof or "," in column.marks):
        table.notes.append(f"The commas in column '{column.name}' were read as decimal marks.")
    if column.open and grouping in column.marks:
        _, _, point, comma = column.open[0]
        value, other = (comma, point) if has_comma else (point, comma)
        table.notes.append(
            f"The {TITLES[grouping]}s in column '{column.name}' were read as marks of thousands "
            f"({value:.0f}, not {other:g})"
            + (f"; add --decimal {grouping} if that is wrong." if guessed else ".")
        )
