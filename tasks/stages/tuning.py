"""Search a task's space: the stage behind ``seqloom tune``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner as kt

from models.progress import TrainingProgress
from models.training import discard_state, trainable_parameters
from pipelines.errors import DataError
from pipelines.files import write_json
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.run_directory import Run
from tuning.leaderboard import TrialRow
from tuning.search import SearchPlan, check_strategy, search

if TYPE_CHECKING:
    from pipelines.splits import Splits


class TaskHyperModel(kt.HyperModel):
    """What KerasTuner needs of a task: a model for a draw, and how to train it."""

    def __init__(self, task: Task, settings: Settings, splits: Splits, seed: int) -> None:
        super().__init__(name=task.name, tunable=True)
        self.task, self.settings, self.splits, self.seed = task, settings, splits, seed
        self.preprocessor = task.adapt(settings, splits.train)
        self.statistics = task.statistics(settings, self.preprocessor, splits.train)
        self.batches: dict[int, Any] = {}

    def drawn(self, hp: kt.HyperParameters) -> Settings:
        """The settings of a draw."""
        return self.task.search_space(hp, self.settings)

    def build(self, hp: kt.HyperParameters) -> keras.Model:
        """A compiled model."""
        return self.task.build(self.drawn(hp), self.preprocessor, self.statistics)

    def fit(self, hp: kt.HyperParameters, model: keras.Model, **kwargs: Any) -> Any:
        """Trains with early stopping; the batches are made once for each batch size."""
        settings = self.drawn(hp)
        size = settings.model.batch_size
        if size not in self.batches:
            train = self.task.training_batches(
                self.preprocessor, self.splits.train, size, self.seed
            )
            validation = self.task.batches(self.preprocessor, self.splits.validation, 2 * size)
            self.batches[size] = train, validation
        train, validation = self.batches[size]
        stop = keras.callbacks.EarlyStopping(self.task.monitor, mode=self.task.mode, patience=2)
        progress = TrainingProgress(len(self.splits.train), self.task.monitor, title="trial")
        callbacks = [
            keras.callbacks.TerminateOnNaN(), stop, progress, *kwargs.pop("callbacks", [])
        ]  # fmt: skip
        return model.fit(
            train.starting_with(kwargs.get("initial_epoch", 0)),
            steps_per_epoch=train.steps,
            validation_data=validation,
            shuffle=False,  # the data set shuffles itself
            callbacks=callbacks,
            **kwargs,
        )


@dataclass(frozen=True)
class SearchOptions:
    """How far to search: see ``tuning.search.SearchPlan``."""

    trials: int = 10
    epochs: int = 6
    strategy: str = "random"
    seed: int = 0
    max_seconds: float | None = None

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
    on_trial: Callable[[TrialRow, list[TrialRow]], None] | None = None,
) -> dict[str, Any]:
    """Searches; started again on the same directory, it goes on.

    After each trial that is the best so far, ``directory/best`` is a run with that trial's model,
    so that a search stopped at any moment leaves something to evaluate, export and predict with.

    Returns:
        Keys as in DESIGN: search, trials.completed, trials.failed, best.config, best.score.
    """
    started = time.perf_counter()
    splits = splits or task.load(data)
    plan = SearchPlan(
        options.strategy, options.trials, options.epochs, task.monitor, task.mode, options.seed
    )
    _write_plan(directory, task, data, settings, plan, splits)
    hypermodel = TaskHyperModel(task, settings, splits, options.seed)

    def after_trial(row: TrialRow, rows: list[TrialRow]) -> None:
        if row.score is not None and row.trial == rows[0].trial:
            _keep_best(directory, task, data, row, hypermodel)
        if on_trial:
            on_trial(row, rows)

    rows = search(hypermodel, plan, directory, after_trial, options.max_seconds)
    best = rows[0]
    return {
        "search": str(directory),
        "task": task.name,
        "trials": {
            "completed": sum(row.state == "COMPLETED" for row in rows),
            "failed": sum(row.state == "FAILED" for row in rows),
        },
        "best": {"config": best.config, "score": best.score, "trial": best.trial},
        "seconds": time.perf_counter() - started,
    }


def best_settings(task: Task, settings: Settings, config: dict[str, Any]) -> Settings:
    """The settings of a leaderboard's row."""
    return task.with_settings(settings, config)


def _write_plan(
    directory: Path,
    task: Task,
    data: DataOptions,
    settings: Settings,
    plan: SearchPlan,
    splits: Splits,
) -> None:
    """Writes ``search.json``; what is there must be the same search, but for the trials' number."""
    import json

    record = {
        "task": task.name,
        "data": asdict(data),
        "data_fingerprint": splits.fingerprint,
        "model": settings.model.to_dict(),
        "preprocessor": dict(settings.preprocessor),
        **asdict(plan),
    }
    path = directory / "search.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [k for k in record if k != "trials" and before.get(k) != record[k]]
        if differing:
            name = differing[0]
            raise DataError(
                f"{directory} holds a search with another {name} ({before.get(name)!r}, "
                f"now {record[name]!r}); ask for the same, or search with another --out"
            )
    write_json(path, record)


def _keep_best(
    directory: Path, task: Task, data: DataOptions, row: TrialRow, hypermodel: TaskHyperModel
) -> None:
    settings = best_settings(task, hypermodel.settings, row.config)
    settings = replace(settings, model=settings.model.updated(epochs=max(1, row.epochs or 1)))
    model = task.build(settings, hypermodel.preprocessor, hypermodel.statistics)
    model.optimizer.build(model.trainable_variables)
    model.load_weights(directory / "trials" / f"trial_{row.trial}" / "checkpoint.weights.h5")
    parameters = trainable_parameters(model)
    model = task.finish(model, settings, hypermodel.preprocessor, hypermodel.splits)
    run = Run(directory / "best")
    run.create(task, data, settings, hypermodel.seed)
    run.save_environment(hypermodel.seed, hypermodel.splits.fingerprint)
    run.save_preprocessor(hypermodel.preprocessor)
    # The test part stays unread while configurations are still being chosen.
    write_json(
        run.path / "metrics.json",
        {
            "run": str(run.path),
            "task": task.name,
            "metrics": {"validation": {task.metric: row.score}},
            "baseline": None,
            "parameters": parameters,
            "seconds": row.seconds,
        },
    )
    run.save_model(model)
    discard_state(run.path)
