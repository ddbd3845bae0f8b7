"""Tables that can be read at any width: on a narrow terminal a table continues below itself.

A column of figures or names keeps its width, because half a figure is worse than none. A column of
sentences wraps. The columns that do not fit next to each other follow in further blocks, each of
which begins with the first column again, as pandas does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2  # characters between columns
SENTENCE = 24  # a cell with spaces that is wider than this may wrap
MIN_SENTENCE = 16


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: its header.
        cells: its cells.
        width: characters that it takes without wrapping.
        least: characters that it needs at least.
        right: whether its cells are all numbers.
    """

    name: str
    cells: list[str]
    width: int
    least: int
    right: bool


def columns_of(rows: Sequence[dict[str, Any]]) -> list[Column]:
    """The columns of a table, in order of their first appearance."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [_column(name, [row.get(name) for row in rows]) for name in names]


def table_width(columns: Sequence[Column]) -> int:
    """Characters that the columns take next to each other without wrapping."""
    return sum(column.width + GAP for column in columns) - GAP


def tables(columns: Sequence[Column], width: int | None) -> list[Table]:
    """The blocks of a table.

    Args:
        columns: the first one names the rows.
        width: characters of the terminal; None for a file or pipe, where nothing wraps.
    """
    if width is None:
        return [_table(columns, [column.width for column in columns], plain=True)]
    return [_table(block, _widths(block, width)) for block in _blocks(columns, width)]


def _column(name: str, values: Sequence[Any]) -> Column:
    from rich.cells import cell_len

    cells = [_cell(value) for value in values]
    width = max(cell_len(text) for text in [name, *cells])
    sentences = any(" " in text and cell_len(text) > SENTENCE for text in cells)
    words = [word for text in [name, *cells] for word in text.split()]
    longest = max(map(cell_len, words), default=0)
    least = max(MIN_SENTENCE, longest) if sentences else width
    given = [value for value in values if value not in (None, "")]
    right = bool(given) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in given
    )
    return Column(name, cells, width, min(least, width), right)


def _blocks(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Splits the columns where the next one would not fit."""
    if not columns:
        return [[]]
    first, *rest = columns
    blocks, taken = [[first]], first.least
    for column in rest:
        if taken + GAP + column.least > width and len(blocks[-1]) > 1:
            blocks.append([first])
            taken = first.least
        blocks[-1].append(column)
        taken += GAP + column.least
    return blocks


def _widths(block: Sequence[Column], width: int) -> list[int]:
    """The width of each column: what it needs, and for sentences a share of what is left."""
    widths = [min(column.least, width) for column in block]
    left = width - sum(widths) - GAP * (len(block) - 1)
    while left < 0 and max(widths) > 1:  # two wide columns on a very narrow terminal
        widths[widths.index(max(widths))] -= 1
        left += 1
    wanting = [i for i, column in enumerate(block) if column.width > widths[i]]
    # Those that want least are served first, so that the others share what they leave.
    wanting.sort(key=lambda i: block[i].width - widths[i])
    for served, i in enumerate(wanting):
        more = min(block[i].width - widths[i], max(0, left) // (len(wanting) - served))
        widths[i] += more
        left -= more
    return widths


def _table(columns: Sequence[Column], widths: Sequence[int], plain: bool = False) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shape = None if plain else box.SIMPLE_HEAD  # it puts a space between columns
    gap = GAP if plain else GAP - 1
    table = Table(box=shape, pad_edge=False, show_edge=False, padding=(0, gap, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            Text(column.name), width=width, overflow="fold", no_wrap=column.width <= width,
            justify="right" if column.right else "left",
        )  # fmt: skip
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
