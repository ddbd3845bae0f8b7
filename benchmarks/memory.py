"""How far recurrent cells remember: gradients across time, clipping, silent units, two problems.

    python benchmarks/memory.py --part reach clipping silent      # minutes
    python benchmarks/memory.py --part learning --seconds 60      # most of an hour
    python benchmarks/memory.py --part all

reach: norms of dh[T] / dh[T - d] at the beginning, by cell, initialisation and size of the input,
medians over 8 sequences of 200 steps of 8 standard normal numbers, 64 units, and over 3 seeds.
clipping: the adding problem of 50 steps by plain gradient descent at a rate of 0.1, with and
without clipping; gradients are those of one batch, every 20 updates.
silent: units of a SimpleRNN with ReLU that are zero throughout, before and after training.
learning: the adding problem and the copy task (5 of 8 symbols) at growing length, batches of 32,
Adam, gradients clipped at 1; each training ends when it has solved the problem or after --seconds
of processor time. Writes benchmarks/results/memory_PART.json.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from measuring import report

from models.cells import CellWeights
from models.memory import (
    dead_units,
    gradient_norm,
    gradient_reach,
    learn,
    memory_network,
    new_weights,
    normal_recurrence,
    saturated_share,
)
from pipelines.synthetic_memory import adding_problem, copy_task

LENGTHS = (20, 50, 100, 200, 500)
DISTANCES = (1, 5, 10, 20, 50, 100, 200)
# Tried on the adding problem of 50 steps and on the copy task of 20; not tuned for each length.
RATES = {"lstm": 0.01, "gru": 0.01, "relu": 0.003, "tanh": 0.003}
UNITS = 64
SOLVED = {"adding": 0.01, "copy": 0.1}  # mean squared error; nats a symbol
COUNT = 5  # symbols to copy
LOOK = 20  # updates from look to look, of clipping


def beginnings() -> dict[str, tuple]:
    """What reach is measured of: cell, arguments of the layer, size of the input, forget bias."""
    normal = partial(normal_recurrence, units=UNITS)
    radii = (0.35, 0.5, 0.9, 1.0, 1.5)
    found = {f"tanh, normal, radius {r}": ("tanh", normal(r), 1.0, None) for r in radii}
    found |= {
        "tanh, normal, radius 1.5, input x 0.1": ("tanh", normal(1.5), 0.1, None),
        "tanh, Glorot": ("tanh", "glorot_uniform", 1.0, None),
        "tanh, orthogonal (Keras)": ("tanh", "orthogonal", 1.0, None),
        "tanh, orthogonal, input x 0.1": ("tanh", "orthogonal", 0.1, None),
        "tanh, orthogonal, input x 0.01": ("tanh", "orthogonal", 0.01, None),
        "ReLU, normal, radius 1": ("relu", normal(1.0), 1.0, None),
        "ReLU, normal, radius 2": ("relu", normal(2.0), 1.0, None),
        "ReLU, orthogonal (Keras)": ("relu", "orthogonal", 1.0, None),
        "ReLU, identity": ("relu", "identity", 1.0, None),
        "LSTM, forget bias 0": ("lstm", "orthogonal", 1.0, 0.0),
        "LSTM, forget bias 1 (Keras)": ("lstm", "orthogonal", 1.0, 1.0),
        "LSTM, forget bias 3": ("lstm", "orthogonal", 1.0, 3.0),
        "LSTM, forget bias 5": ("lstm", "orthogonal", 1.0, 5.0),
        "GRU (Keras)": ("gru", "orthogonal", 1.0, None),
    }
    return found


def reach(options: argparse.Namespace) -> list[dict]:
    """One row for each beginning and norm."""
    rows = []
    for name, (cell, recurrent, scale, forget) in beginnings().items():
        found = []
        for seed in range(options.seeds):
            keras.utils.set_random_seed(seed)
            weights = new_weights(
                cell, UNITS, 8, recurrent_initializer=recurrent, kernel_initializer="glorot_uniform"
            )
            if forget is not None:
                weights = weights.with_forget_bias(forget)
            x = scale * np.random.default_rng(seed).normal(size=(8, max(DISTANCES), 8))
            one = gradient_reach(weights, x)
            found.append([one.hidden, one.state, one.typical])
        medians = np.median(found, axis=0)
        for norm, values in zip(("h by h", "state by state", "typical"), medians, strict=True):
            if cell == "lstm" or norm != "state by state":
                rows.append(
                    {"cell": name, "norm": norm} | {f"{d} steps": values[d] for d in DISTANCES}
                )
        print(rows[-1], flush=True)
    return rows


def finite_or_none(value: float) -> float | None:
    """What JSON has; None where a training has diverged."""
    return float(value) if np.isfinite(value) else None


def clipping(options: argparse.Namespace) -> list[dict]:
    """One row for each cell and bound: what plain gradient descent comes to."""
    rows = []
    for cell in ("relu", "tanh", "lstm", "gru"):
        for bound in (None, 1.0):
            draw = np.random.default_rng(0)
            make = partial(adding_problem, length=50, draw=draw)
            validation, probe = make(500), make(32)
            keras.utils.set_random_seed(0)
            optimizer = keras.optimizers.SGD(0.1, global_clipnorm=bound)
            network = memory_network(cell, validation, optimizer, UNITS)
            norms = []
            for _ in range(options.updates // LOOK):
                norms.append(gradient_norm(network, probe))
                found = learn(network, lambda m=make: m(32), validation, 0, 1e9, LOOK, every=LOOK)
                if not np.isfinite(found.losses[-1][1]):
                    break
            rows.append({
                "cell": cell, "clipped at": bound or "-", "updates": len(norms) * LOOK,
                "last mse": finite_or_none(found.losses[-1][1]),
                "median gradient": finite_or_none(np.median(norms)),
                "largest gradient": finite_or_none(np.max(norms)),
            })  # fmt: skip
            if np.isfinite(found.losses[-1][1]):
                weights = CellWeights.of(network.get_layer("recurrent"))
                far = gradient_reach(weights, validation[0][:4], 49).state
                rows[-1] |= {"dh over 20 after": far[20], "dh over 49 after": far[49]}
            print(rows[-1], flush=True)
    return rows


def silent(options: argparse.Namespace) -> list[dict]:
    """One row for each initialisation and rate: silent ReLU units before and after training."""
    rows = []
    starts = {
        "identity": "identity",
        "orthogonal": "orthogonal",
        "normal, radius 1": normal_recurrence(1.0, UNITS),
    }
    for name, recurrent in starts.items():
        for rate in (0.001, 0.01, 0.1):
            make = partial(adding_problem, length=50, draw=np.random.default_rng(0))
            validation = make(500)
            keras.utils.set_random_seed(0)
            network = memory_network(
                "relu", validation, keras.optimizers.Adam(rate, global_clipnorm=1.0), UNITS,
                recurrent_initializer=recurrent,
            )  # fmt: skip
            layer = network.get_layer("recurrent")
            before = dead_units(CellWeights.of(layer), validation[0])
            found = learn(
                network, lambda make=make: make(32), validation, 0, 1e9, options.updates, every=100
            )
            last = finite_or_none(found.losses[-1][1])
            alive = last is not None
            rows.append({
                "recurrent weights": name, "rate": rate, "silent before": before,
                "silent after": dead_units(CellWeights.of(layer), validation[0]) if alive else None,
                "best mse": found.best, "last mse": last,
            })  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def learning(options: argparse.Namespace) -> list[dict]:
    """One row for each problem, length and cell; those that are on record are not trained again."""
    log = Path(options.log) if options.log else None
    rows = (
        [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []
    )
    known = {(row["problem"], row["length"], row["cell"]) for row in rows}
    for length in options.lengths:
        for problem in options.problems:
            for cell in options.cells:
                if (problem, length, cell) not in known:
                    rows.append(learned(problem, length, cell, options.seconds))
                    print(rows[-1], flush=True)
                    if log:
                        with log.open("a") as file:
                            file.write(json.dumps(rows[-1]) + "\n")
    return sorted(rows, key=lambda row: (row["problem"], row["length"]))


def learned(problem: str, length: int, cell: str, seconds: float) -> dict:
    """One training, and how far gradients reach after it."""
    draw = np.random.default_rng(0)
    make = (
        partial(adding_problem, length=length, draw=draw) if problem == "adding"
        else partial(copy_task, pause=length, draw=draw, count=COUNT)
    )  # fmt: skip
    validation = make(500)
    # Of one who remembers nothing: always 1, or any of the symbols.
    baseline = float(np.mean((validation[1] - 1) ** 2) if problem == "adding" else np.log(8))
    keras.utils.set_random_seed(0)
    optimizer = keras.optimizers.Adam(RATES[cell], global_clipnorm=1.0)
    network = memory_network(cell, validation, optimizer, UNITS)
    layer = network.get_layer("recurrent")
    some = validation[0][:4]
    before = gradient_reach(CellWeights.of(layer), some, 100).state
    found = learn(network, lambda: make(32), validation, SOLVED[problem], seconds, every=100)
    row = {
        "problem": problem, "length": length, "cell": cell, "baseline": baseline,
        "best loss": found.best, "solved": found.best < SOLVED[problem],
        "updates": found.losses[-1][0], "seconds": found.seconds,
    }  # fmt: skip
    if np.isfinite(found.losses[-1][1]):
        weights = CellWeights.of(layer)
        after = gradient_reach(weights, some, 100).state
        for d in (20, 100):
            if len(after) > d:
                row |= {f"dh over {d} before": before[d], f"dh over {d} after": after[d]}
        row["saturated"] = saturated_share(weights, some)
        if cell == "relu":
            row["silent units"] = dead_units(weights, validation[0])
    keras.backend.clear_session()
    return row


PARTS = {"reach": reach, "clipping": clipping, "silent": silent, "learning": learning}


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=[*PARTS, "all"], default=["all"])
    parser.add_argument("--seeds", type=int, default=3, help="layers that reach is measured of")
    parser.add_argument("--updates", type=int, default=400, help="of clipping and silent")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="of learning")
    parser.add_argument("--problems", nargs="+", choices=SOLVED, default=[*SOLVED])
    parser.add_argument("--cells", nargs="+", choices=RATES, default=[*RATES])
    parser.add_argument("--seconds", type=float, default=60, help="of each training, of learning")
    parser.add_argument("--log", help="a file of finished trainings, to go on after a stop")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for name, part in PARTS.items():
        if name in options.part or "all" in options.part:
            report(f"memory_{name}", part(options))


if __name__ == "__main__":
    main()
