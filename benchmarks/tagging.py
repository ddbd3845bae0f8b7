"""Scores of the taggers beside their baselines: the default settings, two seeds a data set.

    python benchmarks/tagging.py --data ../shared/data          # an hour and a half on two cores
    python benchmarks/tagging.py --data ../shared/data --only wnut17 --parts
    python benchmarks/tagging.py --only ud_english_ewt --parts "no characters" "no linear model"

``--parts`` trains what each part of the tagger is worth: the CRF beside a softmax, with and without
characters, forms and the linear model; all of them, or those that are named. Test is read once by
each.
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

SETS = {"ud_english_ewt": "tagging", "wnut17": "tagging", "msra_ner": "tagging", "atis": "intent"}
PARTS = {
    "all": {},
    "softmax": {"head": "softmax"},
    "no characters": {"characters": "none"},
    "recurrent characters": {"characters": "rnn"},
    "no characters, no forms": {"characters": "none", "form_dim": 0},
    "no linear model": {"wide": False},
    "softmax, no characters": {"head": "softmax", "characters": "none"},
    "bio": {"scheme": "bio"},
}
SHOWN = ("f1", "accuracy", "unknown_accuracy", "slot_f1", "intent_accuracy", "frame_accuracy",
         "intent_calibration_error", "calibration_error")  # fmt: skip


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--parts", nargs="*", choices=list(PARTS))
    options = parser.parse_args()
    rows, whole = [], options.parts is None
    for name in options.only:
        for part in ["all"] if whole else options.parts or PARTS:
            for seed in range(options.seeds if whole else 1):
                rows.append(trained(name, str(options.data / name), part, PARTS[part], seed))
                print(rows[-1], flush=True)
    report("tagging" if whole else f"tagging_parts_{'_'.join(options.only)}", rows)


def trained(name: str, source: str, part: str, changes: dict, seed: int) -> dict:
    """A row for one training."""
    task = tasks.get(SETS[name])
    settings = task.with_settings(task.settings, changes)
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Path(scratch) / "run")
        result = train(task, DataOptions(source), settings, run, seed=seed)
    row = {"data": name, "part": part, "seed": seed, "epochs": result["epochs"],
           "seconds": result["epochs_seconds"], "parameters": result["parameters"]}  # fmt: skip
    for where in ("validation", "test"):
        scores, baseline = (found[where] for found in (result["metrics"], result["baseline"]))
        for metric in SHOWN:
            if metric in scores and (where == "test" or metric == task.metric.name):
                row[f"{where} {metric}"] = scores[metric]
                if metric in baseline and metric != "unknown_accuracy":
                    row[f"{where} {metric}, baseline"] = baseline[metric]
    return row


if __name__ == "__main__":
    main()
