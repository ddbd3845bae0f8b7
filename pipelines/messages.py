"""How values, names and places are written in messages to the user."""

from __future__ import annotations

from collections.abc import Sequence


def shorten(value: object, length: int = 60) -> str:
    """Returns the value as one short printable line."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def name_list(names: Sequence[object], limit: int = 12) -> str:
    """Returns "a, b, c", cut after `limit` names."""
    shown = ", ".join(shorten(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def place(file: str, number: int, unit: str = "line") -> str:
    """Returns where a record is: "reviews.csv:7" in a file, "DataFrame, row 7" in memory.

    Args:
        file: path of the file, or the name of what is in memory.
        number: the line, from 1, or the row, from 0.
        unit: "line" or "row".
    """
    return f"{file}:{number}" if unit == "line" else f"{file}, {unit} {number}"


class Placed:
    """An example that knows where it came from; its own fields, which its identity leaves out.

    Attributes:
        file: path of the file, or the name of what is in memory.
        line: the line it begins on, from 1, or its row in memory, from 0; 0 where there is none.
        unit: whether ``line`` counts lines or rows.
    """

    file: str
    line: int
    unit: str

    @property
    def where(self) -> str:
        """File and line, or the name of what is in memory and the row."""
        return place(self.file, self.line, self.unit)
