"""JSON lines: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from common.errors import DataError
from pipelines.readers import Row
from pipelines.textfile import TextFile

EXTENSIONS = ("jsonl", "ndjson")


def rows(source: TextFile) -> Iterator[Row]:
    """Streams the objects of the lines that are not empty.

    Raises:
        DataError: with file and line, for a line that is not one JSON object.
    """
    file = str(source.path)
    with source.open() as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield Row(_json_object(line, file, number), file, number)


def _json_object(text: str, file: str, line: int) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}:{line}: this line is not valid JSON ({error.msg}, column {error.colno}); each "
            'line must be one object such as {"text": "...", "label": "..."}.'
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}:{line}: this JSON cannot be read ({error}).") from error
    return check_object(value, file, line)


def check_object(value: object, file: str, line: int) -> dict[str, Any]:
    """Returns the value if it is a JSON object.

    Raises:
        DataError: it is not; names file and line.
    """
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number")
        raise DataError(
            f'{file}:{line}: expected a JSON object such as {{"text": "...", "label": "..."}}, '
            f"found {kind}."
        )
    return value
