"""Data in memory as a source like any other, and how it is stored for later commands.

located(frame)                                          # one table: parts are split off
located({"train": frame, "test": "reviews/test.csv"})   # parts: tables or paths
stored(frame, "run/data")                               # "run/data", a source for --data
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from common.errors import DataError
from pipelines.layout import PART_WORDS, Layout, PartFile, locate_members, locate_parts
from pipelines.messages import name_list, shorten
from pipelines.readers import data_extension, formats
from pipelines.records import Records, is_table
from pipelines.submissions import without_unanswered_test

if TYPE_CHECKING:
    import pandas as pd

    Table: TypeAlias = pd.DataFrame | Sequence[Mapping[str, Any]]

# What a loader reads: what --data takes, a table, or a mapping of parts to tables and paths.
Source: TypeAlias = Union[str, os.PathLike, "Table", Mapping[str, Union[str, os.PathLike, "Table"]]]

NAME = "data"  # of a data set in memory
_TABLE = "data.jsonl"
_WHAT = (
    "give a path, a pandas DataFrame, a list of dicts, or a dict of such parts: "
    '{"train": ..., "validation": ..., "test": ...}'
)


def located(source: Source) -> Layout:
    """Finds the parts of a source: the files at a path, or tables in memory.

    Args:
        source: a path (see `locate_parts`); a DataFrame or a list of dicts, which is all "train";
            or a mapping of part names (train; validation, valid, val or dev; test) to DataFrames,
            lists of dicts and paths.

    Returns:
        `PartFile` and `Records` by part.

    Raises:
        DataError: it is nothing of the kind, or parts that are unknown, there twice or without
            train.
    """
    if isinstance(source, (str, os.PathLike)):
        return without_unanswered_test(locate_parts(os.fspath(source)))
    if is_table(source):
        return Layout(NAME, {"train": [Records.of(source)]})
    if not isinstance(source, Mapping):
        raise DataError(f"the data source is a {type(source).__name__}; {_WHAT}.")
    parts: dict[str, list[PartFile | Records]] = {}
    notes: list[str] = []
    for word, value in source.items():
        part = PART_WORDS.get(str(word).lower())
        if part is None:
            raise DataError(
                f"the data source is a dict with the key '{shorten(word)}', which names no part; "
                f"{_WHAT} (of columns make a DataFrame)."
            )
        if part in parts:
            raise DataError(f"the data source has the {part} part twice, also as '{word}'.")
        parts[part], more = _members(str(word), value)
        notes += [note for note in more if note not in notes]
    if "train" not in parts:
        raise DataError(
            f"the data source has the parts {name_list(list(parts)) or 'none'}; train is missing."
        )
    return Layout(NAME, parts, notes)


def stored(source: Source, directory: str | os.PathLike) -> str:
    """Stores data in memory as files, so that other processes and later commands can read it.

    The files give the same examples, with the same fingerprint. They appear all at once, by a
    rename; to store the same again changes nothing.

    Args:
        source: any source. One that is a path or a name already is not stored.
        directory: the directory that is made, or replaced if it was made by this function.

    Returns:
        What `--data` takes: the directory, or `source` where that is a path or a name.

    Raises:
        DataError: see `located`; or the directory holds anything else.
    """
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    layout, directory = located(source), Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as temp:
        new = Path(temp, "new")
        new.mkdir()
        if isinstance(source, Mapping):
            for part, members in layout.parts.items():
                (new / part).mkdir()
                _store(members, new / part)
        else:
            _store(layout.parts["train"], new)
        _publish(new, directory, Path(temp, "old"))
    return str(directory)


def _members(word: str, value: Any) -> tuple[list[PartFile | Records], list[str]]:
    """Returns the files or the table of one part, and notes."""
    if is_table(value):
        return [Records.of(value, word)], []
    if isinstance(value, (str, os.PathLike)):
        return locate_members(os.fspath(value))
    raise DataError(
        f"the {word} part is a {type(value).__name__}; give a pandas DataFrame, a list of dicts or "
        "a path."
    )


def _store(members: Sequence[PartFile | Records], directory: Path) -> None:
    """Writes one part so that `locate_members` finds the same in the directory."""
    for member in members:
        if isinstance(member, Records):
            with (directory / _TABLE).open("w", encoding="ascii", newline="\n") as file:
                # JSON keeps types and every character; ASCII keeps halves of surrogate pairs too.
                file.writelines(json.dumps(row.values) + "\n" for row in member.rows())
                file.flush()
                os.fsync(file.fileno())
            continue
        folder, name = directory, member.path.name
        if member.document:
            folder = directory / member.label
            folder.mkdir(exist_ok=True)
        elif len(members) == 1:
            extension = data_extension(name)
            compressed = ".gz" if name.lower().endswith(".gz") else ""
            name = f"data.{extension if extension in formats() else 'txt'}{compressed}"
        with member.path.open("rb") as old, (folder / name).open("wb") as new:
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())


def _publish(new: Path, directory: Path, old: Path) -> None:
    """Renames `new` to `directory`; what was there goes to `old`, unless it is the same."""
    try:
        os.rename(new, directory)  # also over an empty directory
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EACCES):
            raise
    if not directory.is_dir():
        raise DataError(f"{directory} is a file; name a directory to store the data in.")
    foreign = sorted({entry.name for entry in directory.iterdir()} - {_TABLE, *PART_WORDS.values()})
    if foreign:
        raise DataError(
            f"{directory} holds {name_list(foreign)}; name an empty directory to store the data in."
        )
    if not _same(new, directory):
        os.rename(directory, old)
        os.rename(new, directory)


def _same(one: Path, two: Path) -> bool:
    """Tells whether two directories hold the same files with the same content."""
    names = {path.relative_to(one) for path in one.rglob("*")}
    if names != {path.relative_to(two) for path in two.rglob("*")}:
        return False
    files = [name for name in names if (one / name).is_file()]
    return all(filecmp.cmp(one / name, two / name, shallow=False) for name in files)
