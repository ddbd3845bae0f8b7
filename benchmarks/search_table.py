"""Every configuration of a small space, trained once: the tables that `search_replay.py` searches.

    python benchmarks/search_table.py --data ../shared/data       # half an hour of one thread
    python benchmarks/search_table.py --seconds 500               # a part; again for the next

A configuration is trained as a trial is: the task's own preparation, model, learning rate and
choice after each epoch. One thing differs: epochs without a better score do not end it, so that
the scores of all epochs are known. Configurations of one architecture share a compiled model;
``start_seconds`` is what making and tracing it took, which every trial of its own would pay.

Seconds are those of the processor on one thread, which other work on the machine disturbs least.
Rows go to ``benchmarks/results/search_table_NAME.json``; a second start goes on after the last.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

import keras  # noqa: E402
from measuring import RESULTS, save  # noqa: E402

BEGAN = time.perf_counter()
ARCHITECTURE = {"cell": ["lstm", "gru", "simple_rnn"], "layers": [1, 2], "units": [16, 32, 64]}
REST = {"dropout": [0.1, 0.5], "learning_rate": [1e-3, 3e-3, 1e-2, 3e-2]}
# Per table: task, place below --data, reading, settings that the space does not have.
TABLES = {
    "mr": (
        "sentiment", "mr", {},
        {"epochs": 9, "wide": "none", "embedding_dim": 32, "batch_size": 64, "max_length": 40,
         "bidirectional": False, "patience": 99},
    ),
    "ETTh1": (
        "forecast", "ett/ETTh1.csv",
        {"split": "8640,2880,2880", "lookback": 192, "horizon": 24, "stride": 12},
        {"epochs": 9, "embedding_dim": 32, "batch_size": 64, "linear": "no", "patience": 99,
         "normalise": "last", "segment": 12},
    ),
}  # fmt: skip
# A quarter of the reviews is enough to tell configurations apart.
EVERY = {"mr": 4, "ETTh1": 1}


def main() -> None:
    """Trains what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each configuration")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for name in options.only:
            source = options.data / TABLES[name][1]
            if not source.exists():
                print(f"skipped: {source} is not there; name the folder of the data with --data")
            elif time.perf_counter() - BEGAN < options.seconds:
                fill(name, source, seed, options.seconds)


def fill(name: str, source: Path, seed: int, limit: float) -> None:
    """Trains configurations with one seed until all are there or time is over."""
    path = RESULTS / f"search_table_{name}.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    done = {key(row, row["seed"]) for row in rows}
    wanted = [
        (dict(zip(ARCHITECTURE, sizes, strict=True)), dropout)
        for sizes in product(*ARCHITECTURE.values())
        for dropout in REST["dropout"]
    ]  # fmt: skip
    table, new = None, []
    for sizes, dropout in wanted:
        rates = [
            rate for rate in REST["learning_rate"]
            if key({**sizes, "dropout": dropout, "learning_rate": rate}, seed) not in done
        ]  # fmt: skip
        if not rates:
            continue
        if time.perf_counter() - BEGAN > limit:
            break
        table = table or Table(name, source)
        new += table.trained(seed, {**sizes, "dropout": dropout}, rates)
        save(f"search_table_{name}", rows + new)
        print(json.dumps(new[-1]), f"{time.perf_counter() - BEGAN:.0f} s", file=sys.stderr)


def key(row: dict[str, Any], seed: int) -> tuple:
    """What tells rows apart."""
    return (*(row[name] for name in (*ARCHITECTURE, *REST)), seed)


class Clock(keras.callbacks.Callback):
    """Processor seconds of each epoch."""

    def on_train_begin(self, logs=None):
        """Marks the start."""
        self.started, self.epochs = time.process_time(), []

    def on_epoch_begin(self, epoch, logs=None):
        """Marks the start of an epoch."""
        self.at = time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        """Adds an epoch."""
        self.epochs.append(time.process_time() - self.at)


class Table:
    """The data of a table, prepared once."""

    def __init__(self, name: str, source: Path) -> None:
        import tasks
        from tasks.stages.training import prepare

        kind, _, reading, changes = TABLES[name]
        self.task = tasks.get(kind)
        data = self.task.data_options(str(source), **reading)
        settings = self.task.with_settings(self.task.settings, changes)
        splits = self.task.load(data)
        if EVERY[name] > 1:
            splits = replace(splits, train=splits.train[:: EVERY[name]])
        self.settings, _ = self.task.resolve(settings, data, splits)
        self.ready = prepare(self.task, self.settings, splits)
        self.seconds: dict[tuple, float] = {}

    def trained(self, seed: int, values: dict[str, Any], rates: list[float]) -> list[dict]:
        """A row for each learning rate."""
        from models.training import fit, trainable_parameters

        keras.backend.clear_session()
        began, rows, model = time.process_time(), [], None
        for rate in rates:
            changes = {**values, "learning_rate": rate}
            settings = self.task.with_settings(self.settings, changes)
            keras.utils.set_random_seed(seed)
            fresh = self.task.build(settings, self.ready.preprocessor, self.ready.counts)
            if model is None:
                model = fresh
            else:
                model.set_weights(fresh.get_weights())
                for variable in model.optimizer.variables:
                    variable.assign(keras.ops.zeros_like(variable))
                model.optimizer.learning_rate.assign(rate)
            clock = Clock()
            size = settings.model.batch_size
            with tempfile.TemporaryDirectory() as scratch:
                history = fit(
                    model, self.ready.train.training_batches(size, seed),
                    self.ready.validation.batches(4 * size), settings.model, Path(scratch),
                    monitor=self.task.watched.key, mode=self.task.watched.mode,
                    callbacks=[clock], tensorboard=False,
                    names={m.logged: m.name for m in self.task.metrics if m.logged},
                    after_epoch=lambda model, batches: self.task.after_epoch(
                        model, self.ready.preprocessor, batches
                    ),
                )  # fmt: skip
            typical = sum(clock.epochs[1:]) / len(clock.epochs[1:])
            # The first epoch of a model's first training traces its functions.
            start = clock.started - began + max(0.0, clock.epochs[0] - typical)
            start = rows[0]["start_seconds"] if rows else start
            rows.append({
                **changes, "seed": seed,
                "scores": [round(row[self.task.watched.key], 5) for row in history.rows],
                "epoch_seconds": round(typical, 3), "start_seconds": round(start, 2),
                "parameters": trainable_parameters(model),
            })  # fmt: skip
        return rows


if __name__ == "__main__":
    main()
