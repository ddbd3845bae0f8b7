"""Texts that stand in several columns, such as subject and body: one input of a model.

They are joined, in the order of ``--text-column subject,body``; a cell without text is left out.
Requests have an input for each column. One text alone may be in any of them: what is joined is the
same then.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from pipelines.named_columns import named_columns

if TYPE_CHECKING:
    import numpy as np

# Between the texts of several columns. It is a token by itself, so that a model sees where one
# column ends, and a character that people write seldom.
SEPARATOR = " | "
USUAL = ("text",)


def joined_texts(texts: Iterable[str]) -> str:
    """The texts of several columns as one; empty ones are left out.

    >>> joined_texts(["no dial tone", "", "since this morning"])
    'no dial tone | since this morning'
    """
    return SEPARATOR.join(text for text in texts if text)


def joined_bytes(columns: Sequence[Sequence[bytes]]) -> list[bytes]:
    """``joined_texts`` of each row of request tensors, ``<bytes>[batch]`` each."""
    between = SEPARATOR.encode()
    return [between.join(part for part in row if part) for row in zip(*columns, strict=True)]


def text_names(wanted: str, names: Collection[str]) -> tuple[str, ...]:
    """The columns that ``--text-column`` names: with commas several, unless one is called so.

    >>> text_names("subject, body", ["subject", "body"]), text_names("a,b", ["a,b"])
    (('subject', 'body'), ('a,b',))
    """
    if wanted in names or "," not in wanted:
        return (wanted,)
    return tuple(dict.fromkeys(named_columns(wanted, "--text-column")))


def input_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the request tensors of columns, which have to be plain identifiers.

    >>> input_names(["subject", "from", "first line", "1", "正文"])
    ('subject', 'text_from', 'first_line', 'text_1', 'text_5')
    """
    found: list[str] = []
    for number, column in enumerate(columns, 1):
        name = re.sub(r"[^0-9A-Za-z_]+", "_", column).strip("_")
        if not name.isidentifier() or keyword.iskeyword(name):
            name = f"text_{name or number}"
        found.append(name if name not in found else f"{name}_{number}")
    return tuple(found)


def column_requests(raw: Sequence[Any], columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Raw inputs as request tensors, ``<object>[batch]`` of UTF-8 each, by ``input_names``.

    Args:
        raw: texts; or, of several columns, dicts of them by column or input.
        columns: of training.

    Raises:
        DataError: an input is no text, or names another column.
    """
    import numpy as np  # not above: the names of columns are wanted where nothing else needs it

    inputs = input_names(columns)
    known = {**dict(zip(columns, inputs, strict=True)), **dict(zip(inputs, inputs, strict=True))}
    rows = {name: [b""] * len(raw) for name in inputs}
    for i, one in enumerate(raw):
        cells = one if isinstance(one, Mapping) and len(columns) > 1 else {columns[0]: one}
        for column, text in cells.items():
            if column not in known:
                raise DataError(
                    f"input {i} has a column {column!r}; the model reads {', '.join(columns)}"
                )
            if not isinstance(text, (str, bytes)):
                raise DataError(
                    f"input {i} is a {type(text).__name__}; give one text as each input"
                    + (f", or a dict of {', '.join(columns)}" if len(columns) > 1 else "")
                )
            text = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
            rows[known[column]][i] = text
    return {name: np.array(cells, object) for name, cells in rows.items()}


def as_one_text(raw: Any) -> Any:
    """A raw input as one text, for people to read."""
    return joined_texts(map(str, raw.values())) if isinstance(raw, Mapping) else raw
