"""The trainer spec of a task's trials, and their fork server; imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.places import absolute
from tuning.attempts import stop_unused_fork_servers
from tuning.jobs import TrainerSpec
from tuning.pools import LocalPool

# Target of the trainer specs of all tasks.
TRAINER = "tasks.stages.trials:TaskTrainer"


def trainer_spec(
    task: Task, data: DataOptions, settings: Settings, fingerprint: str
) -> TrainerSpec:
    """How a process, here or on another machine, creates the trainer for a task's trials."""
    data = absolute(task, data)
    return TrainerSpec(
        TRAINER,
        {
            "task": task.name,
            "source": data.source,
            "data_seed": data.seed,
            "reading": dict(data.reading),
            "settings": settings.to_dict(),
            "fingerprint": fingerprint,
            "metric": task.metric.name,
            # The source itself: other machines need not see the file.
            **({"network": asdict(task.network)} if task.network else {}),
        },
    )


def start_fork_server(workers: int | None = None, threads: int | None = None) -> Callable[[], None]:
    """Starts the fork server early, so that it imports TensorFlow while this process does.

    Returns:
        A function that ends the server if no trial has used it; to be called at the end.
    """
    LocalPool(workers, threads).start(TRAINER)
    return stop_unused_fork_servers
