"""Rows of files as they are, with true line numbers. Nothing here knows what a row means.

Each module of this package is a reader, found by being here:

    EXTENSIONS = ("csv", "tsv", "tab")     # in lower case, without dot and ".gz"

    def rows(source: TextFile) -> Iterator[Row]: ...

Its name is the name of the format. To add a format add a module; modules whose names begin with
an underscore are no readers. A reader may take options of its own beside `source`; they reach it
through `read_rows`. Files without an extension are lines of text.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from common.errors import ConfigError, DataError
from pipelines.messages import place
from pipelines.textfile import TextFile, inspect_file

LINES = "lines"  # the reader of files without an extension


@dataclass(frozen=True)
class Row:
    """One record: a value for every column, and where it is.

    Attributes:
        values: column name to value; strings in delimited files, any JSON value elsewhere.
        file: the file's path as given, or the name of what is in memory.
        line: the line, from 1, on which the record begins; in memory the row, from 0.
        unit: whether `line` counts lines or rows.
    """

    values: dict[str, Any]
    file: str
    line: int
    unit: str = "line"

    @property
    def where(self) -> str:
        """Place for messages: "reviews.csv:7" or "DataFrame, row 7"."""
        return place(self.file, self.line, self.unit)


def formats() -> Mapping[str, str]:
    """Returns the reader's name for each known extension: {"csv": "delimited", ...}.

    Raises:
        ConfigError: two readers claim one extension, or a reader does not declare any.
    """
    return _formats(tuple(__path__))


def listed_extensions() -> str:
    """Returns ".csv, .tsv, ..." for messages."""
    return ", ".join(f".{extension}" for extension in formats())


def file_format(path: str | Path) -> str:
    """Returns the reader's name, such as "delimited", by the file's name; ".gz" does not count.

    Raises:
        DataError: no reader has declared the extension.
    """
    extension = data_extension(Path(path).name)
    if not extension:
        return LINES
    if extension not in formats():
        raise DataError(
            f"{path}: the extension '.{extension}' is not known; use one of {listed_extensions()} "
            "(each also with .gz)."
        )
    return formats()[extension]


def data_extension(name: str) -> str:
    """Returns the lower-case extension of a file name without dot and ".gz": "csv", or ""."""
    name = name.lower().removesuffix(".gz")
    return name.rpartition(".")[2] if "." in name.strip(".") else ""


def read_rows(
    source: TextFile | str | Path, *, form: str | None = None, **options: Any
) -> Iterator[Row]:
    """Streams the rows of a file; empty lines are skipped.

    Args:
        source: a file, or what `inspect_file` found out about it.
        form: the reader's name; by default from the file's name.
        **options: what this reader takes, such as `header` for delimited files.

    Yields:
        One `Row` per record.

    Raises:
        DataError: with file and line, for what cannot be read. Rows before it have been yielded.
    """
    if not isinstance(source, TextFile):
        source = inspect_file(source)
    module = importlib.import_module(f"{__name__}.{form or file_format(source.path)}")
    return module.rows(source, **options)


@lru_cache(maxsize=4)  # by the places where readers are looked for: a test may add one
def _formats(places: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for entry in pkgutil.iter_modules(places):
        if entry.name.startswith("_"):
            continue
        extensions = getattr(
            importlib.import_module(f"{__name__}.{entry.name}"), "EXTENSIONS", None
        )
        if not extensions or isinstance(extensions, str):
            raise ConfigError(
                f"{__name__}.{entry.name} declares no EXTENSIONS; write EXTENSIONS = ('abc',), or "
                "begin its name with an underscore if it is no reader."
            )
        for extension in extensions:
            if extension in found:
                raise ConfigError(
                    f"{__name__}.{found[extension]} and {__name__}.{entry.name} both read "
                    f".{extension} files; take it out of one's EXTENSIONS."
                )
            found[extension] = entry.name
    return MappingProxyType(found)
