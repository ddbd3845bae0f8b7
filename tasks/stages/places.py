"""Where the files of a data set are, when a run or search is continued from another place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.kinds.contract import DataOptions, Task


def place_names(task: Task) -> tuple[str, ...]:
    """Names of the data options that may be paths: the source, and settings of its reading."""
    return ("source", *task.data.paths())


def absolute(task: Task, data: DataOptions) -> DataOptions:
    """The options with every path that is there made absolute, for processes elsewhere."""
    return _with_places(task, data, lambda _, path: str(path.resolve()) if path.exists() else None)


def recorded(task: Task, data: DataOptions, directory: Path) -> dict[str, list[str]]:
    """For each option that is the path of something: that path, absolute and from a directory.

    Args:
        task: the task that reads the data.
        data: its options.
        directory: the run's directory, from where the second path leads.
    """
    start = directory.resolve()
    return {
        name: [str(path.resolve()), os.path.relpath(path.resolve(), start)]
        for name, path in _paths(task, data)
        if path.exists()
    }


def located(
    task: Task, data: DataOptions, places: Mapping[str, list[str]], directory: Path
) -> DataOptions:
    """The options with every path where it is now; unchanged where nothing is found.

    A run finds its data from any working directory, and after a folder that holds both was moved.

    Args:
        task: the task that reads the data.
        data: the options as they were given.
        places: what ``recorded`` returned.
        directory: the run's directory now.
    """
    here = directory.resolve()
    # A search copies the run of its best trial from SEARCH/trials/NNNN/run-K to SEARCH/best.
    starts = (here, here.parent / "trials" / "0000" / "run-0")

    def found(name: str, _: Path) -> str | None:
        if name not in places:
            return None
        whole, part = places[name]
        tried = [whole, *(os.path.normpath(start / part) for start in starts)]
        return next((path for path in tried if os.path.exists(path)), None)

    return _with_places(task, data, found)


def _paths(task: Task, data: DataOptions) -> Iterator[tuple[str, Path]]:
    for name in place_names(task):
        value: Any = data.source if name == "source" else data.reading.get(name)
        if isinstance(value, (str, os.PathLike)) and os.fspath(value):
            yield name, Path(value)


def _with_places(
    task: Task, data: DataOptions, change: Callable[[str, Path], str | None]
) -> DataOptions:
    source, reading = data.source, dict(data.reading)
    for name, path in _paths(task, data):
        changed = change(name, path)
        if changed is not None and name == "source":
            source = changed
        elif changed is not None:
            reading[name] = changed
    return replace(data, source=source, reading=reading)
