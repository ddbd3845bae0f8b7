"""Search and load from Python: what stands behind ``import seqloom``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tasks as known_tasks
from tasks.front.bundles import ExportedBundle
from tasks.front.runs import TrainedRun
from tasks.front.searches import TuningSearch
from tasks.front.training import found_task, sorted_settings
from tasks.kinds.contract import Task
from tasks.stages.beginning import search_place
from tasks.stages.console import load_noted, load_quick, load_tensorflow
from tasks.stages.directories import BUNDLE, RUN, SEARCH, required, what_is

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.frames import Source
    from pipelines.splits import Splits


def task(name: str) -> Task:
    """The task of this name, with its defaults; ``dataclasses.replace`` makes another of it.

    Raises:
        DataError: there is none; the message lists those that there are.
    """
    return known_tasks.get(name)


def tasks() -> pd.DataFrame:
    """What there is: one row for each task, with its kind, metric and summary."""
    import pandas as pd

    from tasks.stages.tables import task_rows

    return pd.DataFrame(task_rows()).drop(columns="data").set_index("task")


def settings(task: str | Task) -> pd.DataFrame:
    """Every setting of a task by name: of the data, the model..., its default and what it means."""
    import pandas as pd

    from tasks.stages.tables import flag_rows

    rows = [
        {**row, "flag": row["flag"].removeprefix("--").replace("-", "_")}
        for row in flag_rows(found_task(task))
    ]
    return pd.DataFrame(rows).rename(columns={"flag": "setting"}).set_index("setting")


def splits(
    task: str | Task, data: Source = "synthetic", *, data_seed: int = 0, **reading: Any
) -> Splits:
    """The examples of some data as ``train`` would read and split them.

    Args:
        task: its name, or a task of your own making.
        data: see ``train``.
        data_seed: of splits that are made and of synthetic data.
        **reading: settings of how it is read, such as ``text_column="body"``.

    Returns:
        ``train``, ``validation`` and ``test``, lists of examples, and ``notes`` about what was
        decided on the way.

    Raises:
        SeqloomError: the data cannot be read; the message names file and line.
    """
    found = found_task(task)
    return load_quick(found, found.data_options(data, data_seed, **reading))


def tune(
    task: str | Task,
    data: Source = "synthetic",
    *,
    trials: int = 10,
    strategy: str = "bayesian",
    epochs: int = 6,
    max_time: str | float | None = None,
    executions: int = 1,
    workers: int | None = None,
    threads: int | None = None,
    cluster: str | None = None,
    store: str | None = None,
    target_score: float | None = None,
    max_latency: float | None = None,
    max_parameters: int | None = None,
    extend: bool = False,
    prune: bool = True,
    out: str | Path | None = None,
    seed: int = 0,
    data_seed: int = 0,
    metric: str = "",
    **settings: Any,
) -> TuningSearch:
    """Searches the task's space; the same call with the same ``out`` goes on where it stopped.

    Args:
        task: its name, or a task of your own making.
        data: see ``train``.
        trials: greatest number of them.
        strategy: random, bayesian, hyperband or grid.
        epochs: greatest number of epochs a trial.
        max_time: of the search: seconds, or 90s, 30m, 2h; a trial under way ends early.
        executions: trainings a trial, from other seeds.
        workers: trials at once; what the machine or cluster holds if None.
        threads: of TensorFlow in each trial.
        cluster: address or file of a Dask scheduler.
        store: URL for trials' files where machines share no path.
        target_score: stop at a validation score as good as this.
        max_latency: milliseconds at batch 1 that the best may take.
        max_parameters: trained numbers that the best may have.
        extend: go on in a larger search space than before.
        prune: Bayesian search ends trials early that will not win.
        out: directory of the search; ``runs/TASK-search-1`` or the next that is free if None.
        seed: of the draws and of each trial.
        data_seed: of splits that are made and of synthetic data.
        metric: what decides, such as "macro_f1"; the task's usual one if "".
        **settings: those that every trial has; see ``train``.

    Raises:
        SeqloomError: data or settings that do not fit, in one sentence.
    """
    found = found_task(task, metric)
    reading, changes = sorted_settings(found, settings)
    start = found.with_settings(found.settings, changes)
    where = found.data_options(data, data_seed, **reading)
    found.check(start, where)
    directory = search_place(found, out and Path(out))
    splits = load_noted(found, where)
    load_tensorflow()
    from tasks.stages.estimating import Estimate
    from tasks.stages.live import SearchDisplay
    from tasks.stages.tuning import Budget, SearchOptions, TrialLimits, work_of
    from tasks.stages.tuning import tune as stage

    options = SearchOptions(
        trials, epochs, strategy, seed, executions, workers, threads, cluster, store, extend,
        Budget(_seconds(max_time), target_score, limits=TrialLimits(max_latency, max_parameters)),
        prune,
    )  # fmt: skip
    with SearchDisplay(directory, trials) as display:
        display.estimate = Estimate(work_of(options))
        stage(
            found, where, start, options, directory,
            splits=splits, watch=display.show, tell=display.tell,
        )  # fmt: skip
    return TuningSearch(directory)


def load(directory: str | Path) -> TrainedRun | TuningSearch | ExportedBundle:
    """What a directory holds, as ``train``, ``tune`` and ``export`` returned it.

    Raises:
        DataError: it is none of them; the message says what was meant.
    """
    directory = Path(directory)
    kinds = {RUN: TrainedRun, SEARCH: TuningSearch, BUNDLE: ExportedBundle}
    return kinds[what_is(required(directory, *kinds, finished=True))](directory)


def _seconds(duration: str | float | None) -> float | None:
    from tasks.stages.durations import seconds

    return seconds(duration, "max_time") if isinstance(duration, str) else duration
