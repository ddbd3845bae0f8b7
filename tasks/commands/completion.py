"""What a shell completes: tasks, kinds, directories of runs, and flags of tasks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

Completions = list[tuple[str, str]]  # values, each with its meaning

MAX_DIRECTORIES = 500  # that are looked into
DEPTH = 3  # directories below the one that is being typed
# Groups of settings that a command takes as flags; the others take all of a training.
TAKEN = {
    "evaluate": ("data", "judging"),
    "predict": ("data", "decoding"),
    "serve": ("decoding",),
}  # fmt: skip
# The file that makes a directory one of these.
RUNS, SEARCHES, BUNDLES = "config.json", "search.json", "manifest.json"


def task_names(incomplete: str) -> Completions:
    """Names of tasks; without what they do, which would have to be imported."""
    import tasks

    return [(name, "") for name in tasks.names() if name.startswith(incomplete)]


def kind_names(incomplete: str) -> Completions:
    """Names of kinds."""
    from pkgutil import iter_modules

    import tasks.kinds

    found = sorted(one.name for one in iter_modules(tasks.kinds.__path__) if one.ispkg)
    return [(name, "") for name in found if name.startswith(incomplete)]


def one_of(*words: str) -> Callable[[str], Completions]:
    """Completes one of a few words."""

    def complete(incomplete: str) -> Completions:
        return [(word, "") for word in words if word.startswith(incomplete)]

    return complete


def places(*markers: str, also: Callable[[str], Completions] | None = None) -> Callable:
    """Completes directories that hold one of some files, such as runs.

    Where there is none, a shell completes any file. Directories whose names begin with a dot are
    left out.

    Args:
        markers: names of the files.
        also: what may stand there too.
    """

    def complete(incomplete: str) -> Completions:
        found = [
            (str(path), _about(path / marker))
            for path in islice(_below(incomplete), MAX_DIRECTORIES)
            for marker in markers
            if (path / marker).is_file()
        ]
        return [*(also(incomplete) if also else []), *found]

    return complete


def _below(incomplete: str) -> Iterator[Path]:
    """Directories whose path begins so, those near first."""
    parent, _, stem = incomplete.rpartition("/")
    at = Path(f"{parent}/" if parent or incomplete.startswith("/") else ".")
    level = [path for path in _directories(at) if path.name.startswith(stem)]
    for _ in range(DEPTH):
        yield from level
        level = [below for path in level for below in _directories(path)]


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError:
        return []
    return [path / name for name in names]


def _about(file: Path) -> str:
    """The task of a run, search or bundle."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(found.get("task", "")) if isinstance(found, dict) else ""


def own_flags(ctx: Any, incomplete: str) -> Completions:
    """Flags of the task that a command line names, and the words that the last of them takes.

    Args:
        ctx: of a command that takes flags of its task.
        incomplete: the word that is being typed.
    """
    task = _task_of(ctx.params)
    if task is None:
        return []
    taken = TAKEN.get(str(ctx.info_name), ("data", "model", "preprocessor", "decoding"))
    fields = {name: field for key in taken for name, field in _fields(task.groups[key])}
    last = str(ctx.args[-1]) if ctx.args else ""
    if not incomplete.startswith("-"):
        field = fields.get(last.removeprefix("--").replace("-", "_"))
        words = field.metadata.get("choices", ()) if field is not None and last[:2] == "--" else ()
        return [(word, "") for word in words if word.startswith(incomplete)]
    flags: list[tuple[str, str]] = []
    for name, field in fields.items():
        no = "--no-" if field.default is True else "--"
        flags.append((no + name.replace("_", "-"), field.metadata["help"]))
    return [flag for flag in flags if flag[0].startswith(incomplete)]


def _fields(group: Any) -> Iterable[tuple[str, Any]]:
    from dataclasses import fields

    known = set(group.names())
    return [(one.name, one) for one in fields(group) if one.name in known]


def _task_of(params: dict[str, Any]) -> Any:
    """The task that is named, or that a run or bundle which is named is of."""
    import tasks

    named = params.get("task") or params.get("target")
    place = next((params[k] for k in ("run", "source", "bundle", "target") if params.get(k)), None)
    if named not in tasks.names() and place:
        about = (_about(Path(place) / marker) for marker in (RUNS, BUNDLES))
        named = next(filter(None, about), None)
    return tasks.get(named) if named in tasks.names() else None
