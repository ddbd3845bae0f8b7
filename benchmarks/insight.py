"""What ``--insight`` costs: processor seconds of an epoch with it and without, and of one look.

    python benchmarks/insight.py --tasks sentiment forecast

Each task is trained twice on generated data with its defaults, from the same seed; the first epoch,
which traces graphs, is left out. Processor seconds rather than seconds, so that what else runs on
the machine counts less. That both give the same weights is checked on the way.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import report

import tasks
from tasks.kinds.contract import DataOptions
from tasks.stages.run_directory import Run
from tasks.stages.training import fit_run, insight_callback, prepare

SIZES = {"sentiment": "synthetic:1000", "forecast": "synthetic:4000"}


def clock():
    """A callback that notes the processor seconds of each epoch, and of what follows training in
    it."""
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.epochs: list[float] = []

        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.process_time()

        def on_epoch_end(self, epoch, logs=None):
            self.epochs.append(time.process_time() - self.began)

    return Clock()


def measured(name: str, epochs: int) -> dict:
    """A row of the table."""
    task = tasks.get(name)
    settings = task.with_settings(task.settings, {"epochs": epochs, "patience": epochs})
    data = DataOptions(SIZES.get(name, "synthetic:400"))
    ready = prepare(task, settings, task.load(data))
    seconds, weights, size = {}, {}, 0
    for insight in (False, True):
        with tempfile.TemporaryDirectory() as scratch:
            run, timer = Run(Path(scratch) / "run"), clock()
            watchers = [insight_callback(task, settings, run, ready)] if insight else []
            done = fit_run(
                task, data, settings, run, ready, seed=0, title=name, callbacks=[*watchers, timer]
            )
            seconds[insight] = statistics.mean(timer.epochs[1:])
            weights[insight] = done.model.get_weights()
            if insight:
                board = run.path / "tensorboard"
                size = sum(path.stat().st_size for path in board.rglob("*") if path.is_file())
    assert all(map(np.array_equal, weights[False], weights[True])), "the model changed"
    return {
        "task": name,
        "examples": len(ready.train),
        "epoch CPU s without": seconds[False],
        "with": seconds[True],
        "ratio": seconds[True] / seconds[False],
        "CPU s more an epoch": seconds[True] - seconds[False],
        "KB an epoch": size / epochs / 1024,
    }


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=["sentiment", "forecast"])
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    report("insight", [measured(name, options.epochs) for name in options.tasks])


if __name__ == "__main__":
    main()
