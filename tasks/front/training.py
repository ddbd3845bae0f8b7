"""Train from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tasks as known_tasks
from common.errors import DataError
from tasks.front.runs import TrainedRun
from tasks.kinds.contract import Task
from tasks.stages.beginning import Choices, begin, way_to_go_on
from tasks.stages.console import load_tensorflow, tell

if TYPE_CHECKING:
    from pipelines.frames import Source


def train(
    task: str | Task,
    data: Source | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    like: str | Path | None = None,
    seed: int | None = None,
    data_seed: int | None = None,
    metric: str = "",
    insight: bool = False,
    data_service: str = "",
    **settings: Any,
) -> TrainedRun:
    """Trains one model and judges it beside its baseline; ``seqloom train`` from Python.

    Args:
        task: its name, or a task of your own making.
        data: what ``--data`` takes, a pandas DataFrame, a list of dicts, or a dict of the parts
            train, validation and test of any of these; synthetic examples if None.
        out: directory of the run; ``runs/TASK-1`` or the next that is free if None.
        resume: go on with the training that was begun in ``out``.
        like: a run whose settings, data and seed are taken where nothing else is said.
        seed: of weights, dropout and the order of examples; 0 if None.
        data_seed: of splits that are made and of synthetic data; 0 if None.
        metric: what decides, such as "macro_f1"; that of ``like`` or the task's usual one if "".
        insight: also write states, gates and gradients of each epoch for TensorBoard.
        data_service: address ``grpc://host:port`` of a tf.data service that makes the batches.
        **settings: any of ``seqloom.settings(task)``, such as ``cell="gru"``, ``units=128``,
            ``text_column="body"``.

    Raises:
        SeqloomError: data or settings that do not fit, in one sentence.
    """
    found = found_task(task, metric)
    choices = Choices(data, *sorted_settings(found, settings), like and Path(like), seed, data_seed)
    start = begin(found, choices, out and Path(out), resume)
    load_tensorflow()
    from tasks.stages.training import train as stage

    tell(f"run: {start.run.path}")
    with way_to_go_on(start.run):
        stage(
            start.task, start.data, start.settings, start.run,
            seed=start.seed, splits=start.splits, tell=tell, insight=insight,
            data_service=data_service,
        )  # fmt: skip
    return TrainedRun(start.run.path)


def found_task(task: str | Task, metric: str = "") -> Task:
    """The task of this name, or the task itself; with a metric's name, that metric decides."""
    if not isinstance(task, str | Task):
        raise DataError(f"a task is a name or a Task, not {type(task).__name__}")
    found = known_tasks.get(task) if isinstance(task, str) else task
    return replace(found, chosen_by=metric) if metric else found


def sorted_settings(
    task: Task, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of how the data is read, and the others."""
    reading = set(task.data.names())
    return (
        {name: value for name, value in settings.items() if name in reading},
        {name: value for name, value in settings.items() if name not in reading},
    )
