"""Search a task's space: the stage behind ``seqloom tune``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, DataError
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.estimating import Work
from tasks.stages.networks import network_notes
from tasks.stages.places import place_names
from tasks.stages.trainers import trainer_spec
from tuning.leaderboard import TrialLimits, TrialRow, best_row
from tuning.machine import default_workers, visible_gpus
from tuning.pools import ClusterPool, LocalPool, Pool
from tuning.search import Budget, SearchPlan, SearchProgress, search
from tuning.search_config import save_search_config
from tuning.search_lock import is_locked, locked_error, read_owner
from tuning.strategies import discover
from tuning.strategy_names import check_strategy

if TYPE_CHECKING:
    from pipelines.splits import Splits


# Bayesian search gives the same trials for any number of workers up to one more than this.
MIN_PENDING = 3


@dataclass(frozen=True)
class SearchOptions:
    """How far to search, and where: see ``tuning.search`` and ``tuning.pools``.

    Attributes:
        trials: greatest number of trials.
        epochs: greatest number of epochs a trial.
        strategy: one of ``tuning.strategy_names.STRATEGIES``.
        seed: of the draws and of each trial.
        executions: trainings of each trial.
        workers: trials at once; None for what there is room for.
        threads: of TensorFlow in each trial.
        cluster: address or file of a Dask scheduler; None for processes of this machine.
        store: URL for trials' files, where the cluster's machines do not see the directory.
        extend: a search with another space may go on where that is sound.
        budget: when to stop.
        prune: Bayesian search ends trials early that will not win; never with several executions or
            with limits to what the best may cost.
    """

    trials: int = 10
    epochs: int = 6
    strategy: str = "bayesian"
    seed: int = 0
    executions: int = 1
    workers: int | None = None
    threads: int | None = None
    cluster: str | None = None
    store: str | None = None
    extend: bool = False
    budget: Budget = field(default_factory=Budget)
    prune: bool = True

    def __post_init__(self) -> None:
        check_strategy(self.strategy)


def tune(
    task: Task,
    data: DataOptions,
    settings: Settings,
    options: SearchOptions,
    directory: Path,
    *,
    splits: Splits | None = None,
    watch: Callable[[SearchProgress], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Searches; started again on the same directory, it goes on.

    ``directory/best`` is a run with the best trial's model from the first trial on, so that a
    search stopped at any moment leaves something to evaluate, export and predict with.

    Returns:
        Keys as in DESIGN: search, trials.completed, trials.failed, best.config, best.score.
    """
    if is_locked(directory):  # before its search.json is touched
        raise locked_error(directory)
    task.check(settings, data)
    splits = splits or task.load(data)
    settings, data = task.resolve(settings, data, splits)
    if settings.model.devices > 1:
        raise ConfigError(
            "devices has to be 1 in a search: each trial has one, and several trials run at once; "
            "`seqloom train --like TRIAL --devices N` trains the best one on several"
        )
    if task.network is not None:
        from tasks.stages.training import prepare

        # Here, not in each trial: what is wrong with it is said once.
        ready = prepare(task, settings, splits)
        for note in network_notes(task, settings, ready.preprocessor, ready.counts):
            tell(f"note: {note}")
    data = data.in_files(directory / "data")
    # In a trial, as in a training of its own, the learning rate is made for the epochs there are.
    settings = task.with_settings(settings, {"epochs": options.epochs})
    pool = _pool(options, tell)
    plan = SearchPlan(
        options.strategy, options.trials, options.epochs, task.metric.key, task.metric.mode,
        options.seed, options.executions, max(MIN_PENDING, pool.capacity() - 1), _prunes(options),
    )  # fmt: skip
    space = discover(lambda hp: task.search_space(hp, settings))
    spec = trainer_spec(task, data, settings, splits.fingerprint)
    about = {
        "task": task.name,
        "data": asdict(data),
        "data_fingerprint": splits.fingerprint,
        "network": task.network and task.network.label,
        **settings.to_dict(),
        **asdict(plan),
        "proportion_of": len(splits.validation) if task.metric.proportion else None,
        "space": space.get_config()["space"],
    }
    saved = save_search_config(directory, about, options.extend, place_names(task), tell)
    plan = replace(plan, max_pending=saved["max_pending"], prune=saved["prune"])
    rows = search(spec, space, plan, directory, pool, options.budget, watch, options.store)
    return result_of(directory, task.name, rows, options.budget.limits)


def _prunes(options: SearchOptions) -> bool:
    # Executions are compared by their mean. A trial that cannot beat the best may still be the best
    # within limits.
    free = options.executions == 1 and options.budget.limits == TrialLimits()
    return options.prune and free and options.strategy == "bayesian"


def work_of(options: SearchOptions, final_epochs: int | None = None) -> Work:
    """What there is to do, for an estimate of the time.

    Args:
        options: of the search.
        final_epochs: epochs of the training that follows it in ``seqloom run``, 0 if that is done;
            None where the search is all.
    """
    # How many workers a cluster has is seen when trials run.
    room = 1 if options.cluster else default_workers(visible_gpus())
    epochs = options.epochs * options.executions
    return Work(
        options.trials,
        # Most trials of Hyperband end early.
        max(1, epochs // 2) if options.strategy == "hyperband" else epochs,
        options.workers or room,
        options.budget.seconds,
        final_epochs is not None,
        final_epochs or 0,
    )


def result_of(
    directory: Path, task: str, rows: list[TrialRow], limits: TrialLimits
) -> dict[str, Any]:
    """What ``seqloom tune --json`` prints of a search that has ended."""
    best = best_row(rows, limits)
    if best is None:
        raise DataError(
            f"no trial of {directory} stays below the limits; see `seqloom leaderboard {directory}`"
        )
    return {
        "search": str(directory),
        "task": task,
        "trials": {
            name: sum(row.state == state for row in rows)
            for name, state in (("completed", "COMPLETED"), ("failed", "FAILED"),
                                ("cut", "STOPPED"), ("skipped", "SKIPPED"))
        } | {"pruned": sum(bool(row.pruned) for row in rows)},
        "best": {
            "config": best.values, "score": best.score, "trial": best.trial, "seed": best.seed,
            "parameters": best.parameters, "latency_ms": best.latency_ms,
        },
        "seconds": read_owner(directory / "owner.json").get("spent_seconds"),
    }  # fmt: skip


def _pool(options: SearchOptions, tell: Callable[[str], None]) -> Pool:
    if options.cluster:
        return ClusterPool(options.cluster, options.workers, options.threads, tell)
    pool = LocalPool(options.workers, options.threads)
    tell(f"trials at once: {pool.workers}, threads in each: {pool.threads}")
    return pool
