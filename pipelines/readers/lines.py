"""Lines of text: one row per line, its ends stripped of white space."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.readers import Row
from pipelines.textfile import TextFile

EXTENSIONS = ("txt", "text")
TEXT_COLUMN = "line"  # the one column


def rows(source: TextFile) -> Iterator[Row]:
    """Streams the lines that are not empty, as the one column "line"."""
    file = str(source.path)
    with source.open() as stream:
        for number, line in enumerate(stream, 1):
            if text := line.strip():
                yield Row({TEXT_COLUMN: text}, file, number)
