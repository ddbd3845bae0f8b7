"""Rows of files as they are, with true line numbers. Nothing here knows what a row means.

Each module of this package is a reader, found by being here:

    EXTENSIONS = ("csv", "tsv", "tab")     # in lower case, without dot and ".gz"

    def rows(source: TextFile) -> Iterator[Row]: ...

Its name is the name of the format. To add a format add a module; modules whose names begin with
an underscore are no readers. A reader may take options of its own beside `source`; they reach it
through `read_rows`. It may yield a row that it cannot read with the problem, and go on.

Where the extension says nothing (`questions.train.all`, `reviews`, `reviews.txt`), `told_format`
looks at the content.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from json import loads  # the package has a reader of that name
from pathlib import Path
from types import MappingProxyType
from typing import Any

from common.errors import ConfigError, DataError
from pipelines.messages import place
from pipelines.textfile import TextFile, inspect_file

LINES = "lines"  # the reader of files of which nothing else is known
DELIMITED = "delimited"
# Extensions of files that are no text: their names say enough.
FOREIGN = frozenset((
    "7z", "arrow", "avi", "avro", "bin", "bz2", "db", "doc", "docx", "dta", "feather", "gif",
    "h5", "hdf5", "jpeg", "jpg", "mat", "mp3", "mp4", "npy", "npz", "odp", "ods", "odt", "orc",
    "parquet", "pdf", "pickle", "pkl", "png", "ppt", "pptx", "pt", "rar", "rds", "sav",
    "sqlite", "tar", "tfrecord", "tgz", "tif", "wav", "xls", "xlsb", "xlsm", "xlsx", "xz",
    "zip", "zst",
))  # fmt: skip
_HEAD = 200  # rows that tell whether lines are a table


@dataclass(frozen=True)
class Row:
    """One record: a value for every column, and where it is.

    Attributes:
        values: column name to value; strings in delimited files, any JSON value elsewhere.
        file: the file's path as given, or the name of what is in memory.
        line: the line, from 1, on which the record begins; in memory the row, from 0.
        unit: whether `line` counts lines or rows.
        problem: why it cannot be read, with the way out; "" if it can.
    """

    values: dict[str, Any]
    file: str
    line: int
    unit: str = "line"
    problem: str = ""

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

    A file whose extension no reader has declared is lines of text.

    Raises:
        DataError: the extension is that of files which are no text.
    """
    extension = data_extension(Path(path).name)
    if is_foreign(path):
        raise DataError(
            f"{path}: files with the extension '.{extension}' are not read; use one of "
            f"{listed_extensions()} (each also with .gz)."
        )
    return formats().get(extension, LINES)


def is_foreign(path: str | Path) -> bool:
    """Tells whether a file's extension is that of files which are no text."""
    extension = data_extension(Path(path).name)
    return extension in FOREIGN and extension not in formats()


def told_format(source: TextFile, columns: frozenset[str] = frozenset()) -> str:
    """Returns the reader's name by the file's name, or by its content where that says "lines".

    Lines are JSON if the first is an object (or a list of them begins), and a table if the first
    has several cells, one of them a known column, and nearly all rows are as wide.

    Args:
        source: the file.
        columns: names of columns, in lower case, that tell a table.

    Raises:
        DataError: see `file_format`.
    """
    form = file_format(source.path)
    if form != LINES:
        return form
    with source.open() as stream:
        first = next((line.strip() for line in stream if line.strip()), "")
    if first[:1] == "{" and _is_object(first):
        return "json"
    if first[:1] == "[" and first[1:].lstrip()[:1] in ("{", ""):
        return "json"
    table = importlib.import_module(f"{__name__}.{DELIMITED}")
    cells = [cell.strip().lower() for cell in table.first_cells(source)]
    if not columns.isdisjoint(cells) and table.has_marks(source):
        head = list(itertools.islice(table.rows(source), _HEAD))
        if head and 10 * sum(bool(row.problem) for row in head) <= len(head):
            return DELIMITED
    return LINES


def _is_object(line: str) -> bool:
    try:
        return isinstance(loads(line), dict)
    except (ValueError, RecursionError):
        return line == "{"


def data_extension(name: str) -> str:
    """Returns the lower-case extension of a file name without dot and ".gz": "csv", or ""."""
    name = name.lower().removesuffix(".gz")
    return name.rpartition(".")[2] if "." in name.strip(".") else ""


def read_rows(
    source: TextFile | str | Path,
    *,
    form: str | None = None,
    with_problems: bool = False,
    **options: Any,
) -> Iterator[Row]:
    """Streams the rows of a file; empty lines are skipped.

    Args:
        source: a file, or what `inspect_file` found out about it.
        form: the reader's name; by default from the file's name.
        with_problems: yield rows that cannot be read too, rather than raise at the first.
        **options: what this reader takes, such as `header` for delimited files.

    Yields:
        One `Row` per record.

    Raises:
        DataError: with file and line, for what cannot be read. Rows before it have been yielded.
    """
    if not isinstance(source, TextFile):
        source = inspect_file(source)
    module = importlib.import_module(f"{__name__}.{form or file_format(source.path)}")
    for row in module.rows(source, **options):
        if row.problem and not with_problems:
            raise DataError(f"{row.where}: {row.problem}")
        yield row


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
