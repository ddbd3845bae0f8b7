"""How processes make ready for trials of a task; known before TensorFlow is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.kinds.contract import DataOptions, Settings, Task
from tuning.attempts import cool
from tuning.jobs import Recipe
from tuning.pools import LocalPool

# Target of all recipes of tasks.
TRAINER = "tasks.stages.trials:TaskTrainer"


def recipe_of(task: Task, data: DataOptions, settings: Settings, fingerprint: str) -> Recipe:
    """How a process, here or on another machine, makes ready for trials of a task."""
    source = Path(data.source)
    return Recipe(
        TRAINER,
        {
            "task": task.name,
            "source": str(source.resolve()) if source.exists() else data.source,
            "data_seed": data.seed,
            "reading": dict(data.reading),
            "model": settings.model.to_dict(),
            "preprocessor": dict(settings.preprocessor),
            "fingerprint": fingerprint,
        },
    )


def warm(workers: int | None = None, threads: int | None = None) -> Callable[[], None]:
    """Starts what trials are forked from, so that it imports TensorFlow while this process does.

    Returns:
        What ends it, to be called in the end: the search may not have come so far as to need it.
    """
    LocalPool(workers, threads).warm(TRAINER)
    return cool
