"""Rows that cannot be used, gathered so that all of them are told at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.errors import DataError
from pipelines.messages import place

_LISTED = 5  # places that are named


@dataclass
class Problems:
    """What is wrong with rows, by kind.

    Attributes:
        found: of each kind the first message, how many rows it is true of, and where the first
            few are: file, line or row, unit.
    """

    found: dict[str, tuple[str, list[tuple[str, int, str]]]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, message: str, file: str, line: int, unit: str) -> None:
        """Notes one more row.

        Args:
            kind: what rows with the same problem have in common.
            message: what is wrong, with the way out, as a sentence.
            file: where the row is, as in `pipelines.messages.place`.
            line: likewise.
            unit: likewise.
        """
        _, places = self.found.setdefault(kind, (message, []))
        if len(places) < _LISTED:
            places.append((file, line, unit))
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def raise_if_any(self) -> None:
        """Refuses the rows.

        Raises:
            DataError: the first row of each kind with its place, and where others like it are.
        """
        if self.found:
            raise DataError(" Besides, ".join(self._told(kind) for kind in self.found))

    def _told(self, kind: str) -> str:
        message, places = self.found[kind]
        told = f"{place(*places[0])}: {message}"
        if self.counts[kind] > 1:
            told += f" {self.counts[kind]} rows are so: {self.places(kind)}."
        return told

    def places(self, kind: str) -> str:
        """Returns "a.csv:3, 7, 9 and 12 more", naming a file once for its rows."""
        parts: list[str] = []
        file = None
        for name, line, unit in self.found[kind][1]:
            parts.append(str(line) if name == file else place(name, line, unit))
            file = name
        more = self.counts[kind] - len(parts)
        return ", ".join(parts) + (f" and {more} more" if more > 0 else "")
