"""Bach's chorales: recurrent cells side by side, and what else foretells the next step.

    python benchmarks/music.py --data ../shared/data/jsb_chorales     # half an hour on two cores
    python benchmarks/music.py --only lstm "lstm, nade"

The three cells have about as many weights (Chung et al. 2014, arXiv:1412.3555). Settings were
chosen on validation; test is read once by each row. ``nll`` is nats a step as the papers count it:
of all steps but the first of each piece, each given those before it. Rows with transposition have
more to learn from, and are to be compared with each other only.
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

CELLS = {
    "simple_rnn": {"cell": "simple_rnn", "units": 425, "output": "independent"},
    "gru": {"cell": "gru", "units": 236, "output": "independent"},
    "lstm": {"cell": "lstm", "units": 200, "output": "independent"},
}
WAYS = {
    **CELLS,
    "lstm, nade": {**CELLS["lstm"], "output": "nade"},
    "lstm, transposed": {**CELLS["lstm"], "transpose": 6},
    "lstm, nade, transposed": {**CELLS["lstm"], "output": "nade", "transpose": 6},
}


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/jsb_chorales"))
    parser.add_argument("--only", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    for way in options.only:
        rows.append(trained(way, str(options.data), options.seed))
        print(rows[-1], flush=True)
    report("music", rows)


def trained(way: str, source: str, seed: int) -> dict:
    """A row for one training."""
    task = tasks.get("music")
    settings = task.with_settings(task.settings, WAYS[way])
    with tempfile.TemporaryDirectory() as scratch:
        result = train(task, DataOptions(source), settings, Run(Path(scratch) / "run"), seed=seed)
    row = {"model": way, "parameters": result["parameters"], "epochs": result["epochs"],
           "seconds": result["epochs_seconds"]}  # fmt: skip
    for part in ("validation", "test"):
        row |= {f"{part} {name}": value for name, value in result["metrics"][part].items()}
    return row | {"test nll, Markov": result["baseline"]["test"]["nll"]}


if __name__ == "__main__":
    main()
