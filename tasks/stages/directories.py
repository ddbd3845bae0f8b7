"""What a directory is, a run, a search or a bundle, and what was meant where it is another."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

from common.errors import DataError, WriteError
from common.files import check_writable
from serving.bundle import read_manifest

RUN, SEARCH, BUNDLE, SAVEDMODEL = "run", "search", "bundle", "SavedModel"
TRIAL, WHOLE, EXPORT = "trial", "result of `seqloom run`", "part of a bundle"
# What is looked for first stands first: a directory of `seqloom run` holds the others.
_FILES = (
    (RUN, "config.json"),
    (SEARCH, "search.json"),
    (BUNDLE, "manifest.json"),
    (TRIAL, "trial.json"),
    (SAVEDMODEL, "saved_model.pb"),
    (SAVEDMODEL, "*/saved_model.pb"),
    (WHOLE, "model/config.json"),
    (WHOLE, "search/search.json"),
    (EXPORT, "model.onnx"),
    (EXPORT, "model.plan"),
    (EXPORT, "*/model.onnx"),
)
# Where, seen from a directory, the one that was meant may be.
_NEAR = (
    "best", "model", "bundle", "search", "run-0", "model/bundle", "best/bundle", "search/best",
    "..", "../..", "../../..",
)  # fmt: skip
_MAKERS = {
    RUN: "`seqloom train` writes a run",
    SEARCH: "`seqloom tune` writes a search",
    BUNDLE: "`seqloom export RUN` writes a bundle",
}


def what_is(path: Path) -> str | None:
    """What a directory is, such as ``RUN``; None where it is nothing known, or not there."""
    if not path.is_dir():
        return None
    return next((kind for kind, name in _FILES if next(path.glob(name), None)), None)


def required(path: Path, *kinds: str, finished: bool = False) -> Path:
    """The directory, if it is of one of these kinds.

    Args:
        path: as it was given.
        kinds: those that will do, such as ``RUN``.
        finished: a run must hold its model.

    Raises:
        DataError: it is another or is not there; the message says what was meant.
    """
    kind = what_is(path)
    if kind not in kinds:
        raise wrong(path, kind, kinds)
    if finished and kind == RUN and not (path / "model.keras").is_file():
        raise DataError(
            f"{path} holds no finished training; go on with "
            f"`seqloom train {_task(path)} --resume --out {path}`"
        )
    return path


def wrong(path: Path, kind: str | None, kinds: tuple[str, ...]) -> DataError:
    """The error for a directory that is ``kind`` where one of ``kinds`` is wanted."""
    wanted = " or ".join(_with_article(one) for one in kinds)
    maker = "; ".join(_MAKERS[one] for one in kinds if one in _MAKERS)
    meant = list(_meant(path, kinds))
    if not path.exists():
        there = path.parent.iterdir() if path.parent.is_dir() else ()
        names = [one.name for one in there if one.is_dir()]
        close = [path.parent / name for name in get_close_matches(path.name, names, 1)]
        did = f"did you mean {close[0]}? " if close else ""
        return DataError(f"{path}: there is no such directory; {did}{maker}")
    what = f"is {_with_article(kind)}, not {wanted}" if kind else f"is not {wanted}"
    if path.is_file():
        what = f"is a file, not {wanted}"
    if meant:
        return DataError(f"{path} {what}; give {' or '.join(map(str, meant))}")
    if kind == SEARCH and RUN in kinds:
        return DataError(f"{path} {what}, and no trial of it has ended yet; wait for the first")
    if kind == RUN and kinds[0] == BUNDLE:
        return DataError(f"{path} {what}; write its bundle with `seqloom export {path}`")
    if kind == BUNDLE and kinds[0] == RUN:
        return DataError(f"{path} {what}; give the run that it was exported from")
    return DataError(f"{path} {what}; {maker}")


def _meant(path: Path, kinds: tuple[str, ...]) -> Iterator[Path]:
    """The nearest directory of each wanted kind, seen from a path."""
    for kind in kinds:
        for step in _NEAR:
            # Not resolved: the answer should look like what was written.
            up = step.count("..")
            near = path.parents[up - 1] if 0 < up <= len(path.parents) else path / step
            # Any directory may have a SavedModel somewhere in it.
            if what_is(near) == kind and not (up and kind == SAVEDMODEL):
                yield near
                break


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeio' else 'a'} {kind}"


def _task(run: Path) -> str:
    from tasks.stages.run_directory import Run

    return Run(run).config()["task"]


def place_for(path: Path, kind: str, mine: Collection[str] = ()) -> Path:
    """The directory to write, if it can be written and holds nothing of anybody else's.

    Args:
        path: as ``--out`` gave it.
        kind: what will be written there, such as ``RUN``; one that is there is the caller's to
            judge.
        mine: names of entries that are no obstacle.

    Raises:
        DataError: it holds other files.
        WriteError: it cannot be written.
    """
    if path.is_file():
        raise WriteError(f"{path} cannot be written: {path} is a file, not a directory")
    if path.is_dir() and (there := what_is(path)) != kind:
        names = sorted(one.name for one in path.iterdir())
        others = [n for n in names if n not in mine and n != "lost+found" and n[0] != "."]
        if others:
            what = f"holds {_with_article(there)}" if there else f"holds {', '.join(others[:3])}"
            what += " and others" if not there and len(others) > 3 else ""
            raise DataError(f"--out {path} {what}; name a new directory, or an empty one")
    check_writable(path)
    return path


def bundle_for(path: Path, task: str) -> Path:
    """The bundle to write the next version of a task's model to.

    Raises:
        DataError: there is a bundle of another task, or something else.
        WriteError: it cannot be written.
    """
    place_for(path, BUNDLE, ("onnx", "savedmodel", "tensorrt", "triton"))
    if what_is(path) == BUNDLE:
        manifest = read_manifest(path)
        other = manifest.get("task") or manifest.get("name", task)
        if other != task:
            raise DataError(
                f"--out {path} is a bundle of {other}, not of {task}: who serves it would get "
                "another model; name another directory"
            )
    return path
