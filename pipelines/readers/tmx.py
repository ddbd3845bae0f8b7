"""TMX: translation memories, one unit of several languages after the other (LISA, TMX 1.4b).

Read as a stream by Python's expat, in constant memory; entities that a file declares are refused,
so that none reaches other files or grows without bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat

from common.errors import DataError
from pipelines.readers import Row
from pipelines.textfile import TextFile

EXTENSIONS = ("tmx",)
_CHUNK = 1 << 16
# Elements inside a segment that hold formatting codes and no text.
_CODES = frozenset(("bpt", "ept", "ph", "it", "ut"))


class _Units:
    """Gathers the units that the parser has passed."""

    def __init__(self, file: str) -> None:
        self.file, self.rows = file, []
        self.values: dict[str, str] = {}
        self.language, self.line = "", 0
        self.text: list[str] | None = None  # inside a segment
        self.codes = 0  # how deep inside formatting codes
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.data
        self.parser.EntityDeclHandler = self.entity

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "tu":
            self.values, self.line = {}, self.parser.CurrentLineNumber
        elif tag == "tuv":
            self.language = (attributes.get("xml:lang") or attributes.get("lang") or "").lower()
        elif tag == "seg":
            self.text, self.codes = [], 0
        elif tag in _CODES:
            self.codes += 1

    def end(self, tag: str) -> None:
        if tag == "seg" and self.text is not None:
            # Of several variants in one language the first counts.
            self.values.setdefault(self.language, " ".join("".join(self.text).split()))
            self.text = None
        elif tag == "tu":
            self.rows.append(Row(self.values, self.file, self.line))
        elif tag in _CODES:
            self.codes -= 1

    def data(self, text: str) -> None:
        if self.text is not None and not self.codes:
            self.text.append(text)

    def entity(self, name: str, *_: object) -> None:
        raise DataError(
            f"{self.file}:{self.parser.CurrentLineNumber}: the file declares the entity {name!r}; "
            "translation memories need none: remove it."
        )

    def taken(self) -> list[Row]:
        """The units since the last call."""
        rows, self.rows = self.rows, []
        return rows


def rows(source: TextFile) -> Iterator[Row]:
    """Streams the units of a file.

    Yields:
        One ``Row`` per ``<tu>``: its segments by language in lower case, such as "en-us"; codes of
        formatting are left out, runs of white space are one space.

    Raises:
        DataError: with file and line, where it is not well-formed or declares an entity.
    """
    units = _Units(str(source.path))
    with source.open() as stream:
        while True:
            chunk = stream.read(_CHUNK)
            try:
                # Given as str, the encoding that the file's first line names does not count.
                units.parser.Parse(chunk, not chunk)
            except expat.ExpatError as error:
                raise DataError(
                    f"{source.path}:{error.lineno}: this is not well-formed XML "
                    f"({expat.ErrorString(error.code)}); export the translation memory again."
                ) from error
            yield from units.taken()
            if not chunk:
                return
