"""JSON files: one list of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator

from common.errors import DataError
from pipelines.readers import Row, json_lines
from pipelines.textfile import TextFile

EXTENSIONS = ("json",)


def rows(source: TextFile) -> Iterator[Row]:
    """Yields the objects of a JSON list, or of JSON lines under the name .json, which is common.

    A list is one value, so the whole file is read at once.

    Raises:
        DataError: with file and line, for what is neither.
    """
    with source.open() as stream:
        text = stream.read()
    start = text.lstrip()[:1]
    if start == "{":
        yield from json_lines.rows(source)
    elif start == "[":
        yield from _list_rows(text, str(source.path))
    elif start:
        raise DataError(f"{source.path}: expected a JSON list of objects; wrap them in [ ].")


def _list_rows(text: str, file: str) -> Iterator[Row]:
    decoder = json.JSONDecoder()
    position, line, seen = _skip_blanks(text, text.index("[") + 1), 1, 0
    after_value = False
    while True:
        line += text.count("\n", seen, position)
        seen = position
        mark = text[position : position + 1]
        if mark == "]":
            break
        if after_value:
            if mark != ",":
                raise DataError(
                    f"{file}:{line}: expected ',' or ']' in the list; is the file cut off?"
                )
            position, after_value = _skip_blanks(text, position + 1), False
            continue
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{file}:{line}: the list's element that begins here is not valid JSON "
                f"({error}); correct it."
            ) from error
        yield json_lines.object_row(value, file, line)
        position, after_value = _skip_blanks(text, position), True
    if text[position + 1 :].strip():
        raise DataError(f"{file}:{line}: there is text after the list's closing ']'; remove it.")


def _skip_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\n", "\r"):
        position += 1
    return position
