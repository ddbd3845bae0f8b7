"""Every configuration of a small space, trained once: the tables that `search_replay.py` searches.

    python benchmarks/search_table.py --data ../shared/data       # half an hour of one thread
    python benchmarks/search_table.py --seconds 500               # a part; again for the next

A configuration has the task's own preparation, model, optimiser, decay of the learning rate and
batches, in a bare loop: nothing is saved, and epochs without a better score neither end it nor
lower the learning rate, so that the scores of all epochs are known. Configurations of one
architecture share a compiled model; ``start_seconds`` is what making and tracing it took, which
every trial of its own would pay.

Seconds are those of the processor on one thread, which other work on the machine disturbs least.
Rows go to ``benchmarks/results/search_table_NAME.json``; a second start goes on after the last.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from measuring import RESULTS, save  # noqa: E402

import tasks  # noqa: E402
from models.training import for_model, make_variables, trainable_parameters  # noqa: E402
from tasks.stages.training import prepare  # noqa: E402

BEGAN = time.perf_counter()
ARCHITECTURE = {"cell": ["lstm", "gru", "simple_rnn"], "layers": [1, 2], "units": [16, 64]}
REST = {"dropout": [0.1, 0.5], "learning_rate": [1e-3, 3e-3, 1e-2, 3e-2]}
# Per table: task, place below --data, reading, settings that the space does not have.
TABLES = {
    "mr": (
        "sentiment", "mr", {},
        {"epochs": 9, "wide": "none", "embedding_dim": 32, "max_length": 20, "average": 0.0,
         "vocabulary_size": 4000, "bidirectional": False, "batch_size": 64},
    ),
    "ETTh1": (
        "forecast", "ett/ETTh1.csv",
        {"split": "8640,2880,2880", "lookback": 168, "horizon": 24, "stride": 12},
        {"epochs": 9, "embedding_dim": 32, "batch_size": 32, "linear": "no", "average": 0.0,
         "normalise": "last", "segment": 12},
    ),
}  # fmt: skip
# An eighth of the reviews is enough to tell configurations apart.
EVERY = {"mr": 8, "ETTh1": 1}


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


class Table:
    """The data of a table, prepared once."""

    def __init__(self, name: str, source: Path) -> None:
        kind, _, reading, changes = TABLES[name]
        self.task = tasks.get(kind)
        data = self.task.data_options(str(source), **reading)
        settings = self.task.with_settings(self.task.settings, changes)
        splits = self.task.load(data)
        if EVERY[name] > 1:
            splits = replace(splits, train=splits.train[:: EVERY[name]])
        self.settings, _ = self.task.resolve(settings, data, splits)
        self.ready = prepare(self.task, self.settings, splits)
        size, seed = self.settings.model.batch_size, 0
        epochs = self.ready.train.training_batches(size, seed)
        stream = iter(for_model(epochs.starting_with(0), self.model(0, {})))
        self.epochs = [
            [next(stream) for _ in range(epochs.steps)]
            for _ in range(self.settings.model.epochs)
        ]  # fmt: skip
        judged = for_model(self.ready.validation.batches(8 * size), self.model(0, {}))
        self.validation = judged.cache()

    def model(self, seed: int, changes: dict[str, Any]) -> keras.Model:
        """A new model."""
        keras.utils.set_random_seed(seed)
        settings = self.task.with_settings(self.settings, changes)
        return self.task.build(settings, self.ready.preprocessor, self.ready.counts)

    def trained(self, seed: int, values: dict[str, Any], rates: list[float]) -> list[dict]:
        """A row for each learning rate."""
        keras.backend.clear_session()
        began, rows = time.process_time(), []
        model = self.model(seed, values)
        make_variables(model, tf.data.Dataset.from_tensors(self.epochs[0][0]))
        # Traces the functions; what they do is undone below.
        model.train_on_batch(*self.epochs[0][0])
        model.evaluate(self.validation, verbose=0)
        start = time.process_time() - began
        for rate in rates:
            model.set_weights(self.model(seed, values).get_weights())
            for variable in model.optimizer.variables:
                variable.assign(keras.ops.zeros_like(variable))
            began = time.process_time()
            scores = [self.epoch(model, epoch, rate) for epoch in range(len(self.epochs))]
            seconds = (time.process_time() - began) / len(scores)
            rows.append({
                **values, "learning_rate": rate, "seed": seed,
                "scores": [round(score, 5) for score in scores],
                "epoch_seconds": round(seconds, 3), "start_seconds": round(start, 2),
                "parameters": trainable_parameters(model),
            })  # fmt: skip
        return rows

    def epoch(self, model: keras.Model, epoch: int, rate: float) -> float:
        """Trains one epoch, and judges the model."""
        share = 1 - (1 - self.settings.model.decay) * epoch / (len(self.epochs) - 1)
        model.optimizer.learning_rate.assign(rate * share)
        for batch in self.epochs[epoch]:
            model.train_on_batch(*batch)
        found = model.evaluate(self.validation, verbose=0, return_dict=True)
        return float(found[self.task.watched.logged])


if __name__ == "__main__":
    main()
