"""Training steps a second on a CPU: Keras's recurrent layers with Seqloom's loops and with its own.

    python benchmarks/training_layers.py                                  # twenty minutes
    python benchmarks/training_layers.py --units 64 --batch 64 --peer-python OTHER/bin/python
    python benchmarks/training_layers.py --resume                         # what is missing of that
    python benchmarks/training_layers.py --end-to-end --data ../shared/data    # two minutes

A model of an embedding of 64, two bidirectional layers and a linear one takes steps of Adam on rows
of ragged length, from half the longest on, padded and masked. The ways take turns in one process,
PyTorch in one beside it (``training_layers_peer.py``), padded and as packed sequences; a figure is
the median. The file of results is written after every row. With ``--end-to-end`` the networks of
three tasks, as they are by default, take turns on the same batches, drawn from an epoch of their
data; a figure is examples a second of all turns, without the first, which traces and compiles.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from measuring import RESULTS, report, save

import tasks
from models.acceleration import accelerate
from models.recurrent import CELLS
from models.training import for_model
from tasks.kinds.contract import DataOptions
from tasks.stages.training import prepare

WORDS, WIDTH, CLASSES = 1000, 64, 2
KERAS, OURS = "Keras's loops", "Seqloom's loops"
END_TO_END = (
    ("sentiment", "imdb"),
    ("tagging", "ud_english_ewt"),
    ("forecast", "ett/ETTh1.csv"),
)
BATCHES = 12  # of each, in --end-to-end


def main() -> None:
    """Measures and reports."""
    options = arguments()
    name = options.name or ("training_end_to_end" if options.end_to_end else "training_layers")
    rows = found(name) if options.resume else []
    for row in (end_to_end if options.end_to_end else sizes)(options, rows):
        print(row, flush=True)
        rows.append(row)
        save(name, rows)
    report(name, rows)


def found(name: str) -> list[dict[str, Any]]:
    """The rows that an earlier run wrote."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []


def missing(key: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    """Whether none of the rows is that of the key."""
    return not any(key.items() <= row.items() for row in rows)


def sizes(options: argparse.Namespace, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of the table of sizes that are not there yet."""
    for cell, units, batch, length in itertools.product(
        options.cells, options.units, options.batch, options.length
    ):
        key = {"cell": cell, "units": units, "batch": batch, "length": length}
        if missing(key, rows):
            yield {**key, **measured(cell, units, batch, length, options)}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--units", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--length", type=int, nargs="+", default=[20, 100])
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="for Keras's turns of a row, about"
    )
    parser.add_argument("--peer-python", help="an interpreter that has PyTorch")
    parser.add_argument("--name", help="of the file of results")
    parser.add_argument("--resume", action="store_true", help="keep the rows that the file has")
    parser.add_argument("--end-to-end", action="store_true", help="examples a second of trainings")
    parser.add_argument("--data", default="../shared/data", help="where imdb and the others are")
    parser.add_argument("--tasks", nargs="+", help="only these, of --end-to-end")
    return parser.parse_args()


def measured(
    cell: str, units: int, batch: int, length: int, options: argparse.Namespace
) -> dict[str, float]:
    """Steps a second of each way at one size."""
    ids, labels = examples(batch, length)
    ways: dict[str, Callable[[], float]] = {}
    for name in (KERAS, OURS):
        model = network(cell, units)
        ways[name] = stepping(accelerate(model) if name == OURS else model, ids, labels)
    process = None
    if options.peer_python:
        process = peer(options.peer_python, cell, units, batch, length)
        for kind in ("padded", "packed"):
            ways[f"PyTorch, {kind}"] = asking(process, kind)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        for _ in range(3):  # what is traced and compiled is not measured
            way()
    rounds = max(5, min(200, int(options.seconds / ways[KERAS]())))
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way())
    if process:
        process.terminate()
        process.wait()
    rates = {name: 1 / statistics.median(each) for name, each in seconds.items()}
    return {**rates, "times Keras's": rates[OURS] / rates[KERAS]}


def examples(batch: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids ``<int32>[batch, length]``, 0 behind the end of a row, and labels ``<int32>[batch]``."""
    draw = np.random.default_rng(0)
    ids = draw.integers(1, WORDS, (batch, length)).astype(np.int32)
    lengths = draw.integers(length // 2, length + 1, batch)
    lengths[0] = length
    ids[np.arange(length) >= lengths[:, None]] = 0
    return ids, draw.integers(0, CLASSES, batch).astype(np.int32)


def network(cell: str, units: int) -> keras.Model:
    """The model; Keras's classes throughout."""
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(WORDS, WIDTH, mask_zero=True)(ids)
    for sequences in (True, False):
        x = keras.layers.Bidirectional(CELLS[cell](units, return_sequences=sequences))(x)
    model = keras.Model(ids, keras.layers.Dense(CLASSES)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    return model


def stepping(model: keras.Model, ids: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """Seconds of one step of training."""

    def step() -> float:
        began = time.perf_counter()
        model.train_on_batch(ids, labels)
        return time.perf_counter() - began

    return step


def peer(python: str, *size: Any) -> subprocess.Popen:
    """PyTorch in a process that stays."""
    script = Path(__file__).with_name("training_layers_peer.py")
    return subprocess.Popen(
        [python, str(script), *map(str, size)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def asking(process: subprocess.Popen, way: str) -> Callable[[], float]:
    """Seconds of one step there, padded or packed."""

    def step() -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(way + "\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    return step


def end_to_end(options: argparse.Namespace, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of the three tasks that are not there yet."""
    for name, data in END_TO_END:
        key = {"task": name, "data": data}
        if missing(key, rows) and (not options.tasks or name in options.tasks):
            task = tasks.get(name)
            source = DataOptions(str(Path(options.data) / data))
            splits = task.load(source)
            settings, _ = task.resolve(task.settings, source, splits)
            yield {**key, **trained(task, settings, splits, options.seconds)}


def trained(task: Any, settings: Any, splits: Any, limit: float) -> dict[str, Any]:
    """Examples a second with the loops and without, in turns of about ``limit`` seconds in all."""
    ready = prepare(task, settings, splits)
    models = {}
    for way in (KERAS, OURS):
        keras.utils.set_random_seed(0)
        own = task.with_settings(settings, {"fast_loops": way == OURS})
        models[way] = task.build(own, ready.preprocessor, ready.counts)
    epoch = ready.train.training_batches(settings.model.batch_size, 0).one(0)
    batches = list(for_model(epoch, models[KERAS]))
    draw = np.random.default_rng(0).permutation(len(batches))[:BATCHES]
    chosen = [batches[i] for i in draw]
    spent, turns = dict.fromkeys(models, 0.0), -1
    while sum(spent.values()) < limit:
        for batch in chosen:
            for way, model in models.items():
                began = time.perf_counter()
                model.train_on_batch(*batch)
                spent[way] += time.perf_counter() - began
        turns += 1
        if not turns:
            spent = dict.fromkeys(models, 0.0)
    count = turns * sum(len(keras.tree.flatten(batch[0])[0]) for batch in chosen)
    rates = {f"{way}, examples/s": count / seconds for way, seconds in spent.items()}
    return {
        "cell": settings.model.cell,
        "units": settings.model.units,
        **rates,
        "times Keras's": spent[KERAS] / spent[OURS],
    }


if __name__ == "__main__":
    main()
