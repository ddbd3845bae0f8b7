"""JSON lines: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pipelines.readers import Row
from pipelines.textfile import TextFile

EXTENSIONS = ("jsonl", "ndjson")


def rows(source: TextFile) -> Iterator[Row]:
    """Streams the objects of the lines that are not empty.

    Yields:
        One `Row` per line; with its problem, a line that is not one JSON object.
    """
    file = str(source.path)
    with source.open() as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield _row(line, file, number)


def _row(text: str, file: str, line: int) -> Row:
    try:
        return object_row(json.loads(text), file, line)
    except json.JSONDecodeError as error:
        problem = (
            f"this line is not valid JSON ({error.msg}, column {error.colno}); each "
            'line must be one object such as {"text": "...", "label": "..."}.'
        )
    except (ValueError, RecursionError) as error:
        problem = f"this JSON cannot be read ({error})."
    return Row({}, file, line, problem=problem)


def object_row(value: object, file: str, line: int) -> Row:
    """Returns the row of a JSON object; with its problem, of any other value."""
    if isinstance(value, dict):
        return Row(value, file, line)
    kind = {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number")
    problem = f'expected a JSON object such as {{"text": "...", "label": "..."}}, found {kind}.'
    return Row({}, file, line, problem=problem)
