"""Bach's chorales: recurrent cells side by side, and what else foretells the next step.

    python benchmarks/music.py --data ../shared/data/jsb_chorales     # an hour on two cores
    python benchmarks/music.py --table cells

Three tables. ``cells``: SimpleRNN, GRU and LSTM with about as many weights (Chung et al. 2014,
arXiv:1412.3555), notes independent of each other. ``ways``: the LSTM with the output nade.
``transposed``: both outputs with training pieces transposed at random, which is more to learn from
and to be compared with its like only. Settings were chosen on validation; test is read once by each
row. ``nll`` is nats a step as the papers count it: of all steps but the first of each piece, each
given those before it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measuring import report

import tasks
from tasks.kinds.contract import DataOptions
from tasks.stages.run_directory import Run
from tasks.stages.training import train

LSTM = {"cell": "lstm", "units": 200, "output": "independent"}
MORE = {"transpose": 6, "dropout": 0.4, "input_dropout": 0.1}  # more to learn from, less to drop
TABLES = {
    "cells": {
        "simple_rnn": {**LSTM, "cell": "simple_rnn", "units": 425},
        "gru": {**LSTM, "cell": "gru", "units": 236},
        "lstm": LSTM,
    },
    "ways": {"lstm, nade": {**LSTM, "output": "nade"}},
    "transposed": {
        "lstm, transposed": {**LSTM, **MORE},
        "lstm, nade, transposed": {**LSTM, **MORE, "output": "nade"},
    },
}


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/jsb_chorales"))
    parser.add_argument("--table", choices=list(TABLES), help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for table in [options.table] if options.table else TABLES:
        rows = []
        for name, changes in TABLES[table].items():
            rows.append(trained(name, changes, str(options.data), options.seed))
            report(f"music_{table}", rows)  # after each, for the last takes longest


def trained(name: str, changes: dict, source: str, seed: int) -> dict:
    """A row for one training."""
    task = tasks.get("music")
    settings = task.with_settings(task.settings, changes)
    with tempfile.TemporaryDirectory() as scratch:
        result = train(task, DataOptions(source), settings, Run(Path(scratch) / "run"), seed=seed)
    row = {"model": name, "parameters": result["parameters"], "epochs": result["epochs"],
           "seconds": result["epochs_seconds"]}  # fmt: skip
    for part in ("validation", "test"):
        row |= {f"{part} {metric}": value for metric, value in result["metrics"][part].items()}
    return row | {"test nll, Markov": result["baseline"]["test"]["nll"]}


if __name__ == "__main__":
    main()
