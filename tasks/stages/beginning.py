"""What a training or a search begins with: the same for the commands and for Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DataError, WriteError
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.console import load_noted, tell
from tasks.stages.directories import RUN, SEARCH, place_for
from tasks.stages.run_directory import Run, next_free, pattern, resumed
from tuning.search_lock import is_locked, locked_error

if TYPE_CHECKING:
    from pipelines.frames import Source
    from pipelines.splits import Splits

# What a search that was stopped early leaves.
SEARCH_FILES = ("data", "lock", "owner.json", "trials")


@dataclass(frozen=True)
class Choices:
    """What was asked for, before it is looked at together.

    Attributes:
        data: what ``--data`` takes, or tables in memory; None for what ``like`` or the task has.
        reading: settings of how the data is read, by name.
        settings: of the model, the preprocessor and decoding, by name.
        like: a run whose settings, data and seed are taken where nothing else is said.
        seed: of weights, dropout and the order of examples; None for that of ``like``, or 0.
        data_seed: of splits that are made; likewise.
    """

    data: Source | None = None
    reading: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None
    like: Path | None = None
    seed: int | None = None
    data_seed: int | None = None


@dataclass(frozen=True)
class Beginning:
    """A training that can start: everything is read and checked, nothing is written.

    Attributes:
        task: what is learnt.
        run: where to.
        data: where from.
        settings: with which model.
        seed: of weights, dropout and the order of examples.
        splits: the examples.
    """

    task: Task
    run: Run
    data: DataOptions
    settings: Settings
    seed: int
    splits: Splits


def begin(
    task: Task,
    choices: Choices,
    out: Path | None = None,
    resume: bool = False,
    tell: Callable[[str], None] = tell,
) -> Beginning:
    """Reads and checks all that a training needs.

    Args:
        task: what to learn; where its ``chosen_by`` is "" it is chosen by what ``like`` was.
        choices: what was asked for.
        out: directory of the run; ``runs/TASK-1`` or the next that is free if None.
        resume: go on with the run in ``out``.
        tell: takes a note about the data.

    Raises:
        SeqloomError: something does not fit; nothing is written.
    """
    run = Run(place_for(Path(out) if out else next_free(Path("runs"), task.name), RUN))
    base, before, seed = pattern(task, choices.like)
    if choices.like is not None and task.network is None:
        task = replace(task, network=Run(choices.like).network())
    data_seed = before.seed if choices.data_seed is None else choices.data_seed
    reading, changes, source = dict(choices.reading or {}), choices.settings or {}, choices.data
    if source is None:
        source, reading = before.source, {**before.reading, **reading}
    data = task.data_options(source, data_seed, **reading)
    seed = seed if choices.seed is None else choices.seed
    if resume:
        settings, before, seed = resumed(task, run, changes)
        task = run.task()
        # The fingerprint decides whether it is the same data, not how its place is spelled.
        data = before if choices.data is None else replace(before, source=choices.data)
        old = run.config()["data"]["source"]
        if isinstance(choices.data, str) and choices.data != old:
            tell(
                f"note: the run began with the data at {before.source}; now {choices.data} is read"
            )
    elif run.exists:
        raise DataError(
            f"{run.path} holds a run already; add --resume to go on, or name another --out"
        )
    else:
        settings = task.with_settings(base, changes)
    if not task.chosen_by and (resume or choices.like):
        task = replace(task, chosen_by=(run if resume else Run(choices.like)).task().chosen_by)
    task.check(settings, data)
    splits = load_noted(task, data, tell)
    if resume:
        run.check_data(splits)
    return Beginning(task, run, data, settings, seed, splits)


@contextmanager
def way_to_go_on(run: Run) -> Iterator[None]:
    """The error of a disk that is full says how the run goes on."""
    try:
        yield
    except WriteError as error:
        if not run.exists:
            raise
        again = f"`seqloom train {run.config()['task']} --resume --out {run.path}`"
        raise WriteError(
            f"{error}; when there is room, {again} goes on from the last epoch"
        ) from error


def search_place(task: Task, out: Path | None) -> Path:
    """The directory of a search: ``out``, or ``runs/TASK-search-1`` or the next that is free.

    Raises:
        SeqloomError: it holds something else, or a search that is running.
    """
    free = next_free(Path("runs"), f"{task.name}-search")
    directory = place_for(Path(out) if out else free, SEARCH, SEARCH_FILES)
    if is_locked(directory):
        raise locked_error(directory)
    return directory
