"""What each part of the sentiment model is worth: validation and test accuracy of its variants.

    python benchmarks/sentiment.py --data ../shared/data/mr ../shared/data/sst --seeds 2

Every variant is one training of the defaults with the changes below; choices belong to validation,
test is printed beside it for the record. The baseline is tuned on validation and then fitted on
train and validation together.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from measuring import report

import tasks
from tasks.kinds.contract import DataOptions
from tasks.stages.run_directory import Run
from tasks.stages.training import train

VARIANTS = {
    "defaults": {},
    "recurrent path alone": {"wide": "none"},
    "words without character n-grams": {"wide": "words"},
    "unknown words without stems": {"stem_unknown": False},
    "no token dropout": {"token_dropout": 0.0},
    "letters without their pairs": {"pairs": False},
}


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=["synthetic"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    task = tasks.get("sentiment")
    rows = []
    for source in options.data:
        splits = task.load(DataOptions(source))
        for variant in options.variants:
            settings = task.with_settings(task.settings, VARIANTS[variant])
            results = []
            for seed in range(options.seeds):
                with tempfile.TemporaryDirectory() as scratch:
                    run = Run(Path(scratch) / "run")
                    data = DataOptions(source)
                    results.append(train(task, data, settings, run, seed=seed, splits=splits))
            rows.append(row(source, variant, results))
            print(rows[-1], flush=True)
        rows.append(baseline_row(source, results[0]["baseline"]))
    report("sentiment", rows)


def row(source: str, variant: str, results: list[dict]) -> dict:
    """Mean over the seeds, and the range on test."""
    test = [result["metrics"]["test"]["accuracy"] for result in results]
    return {
        "data": Path(source).name,
        "variant": variant,
        "validation": statistics.mean(r["metrics"]["validation"]["accuracy"] for r in results),
        "test": statistics.mean(test),
        "test range": f"{min(test):.4f} to {max(test):.4f}",
        "epochs": statistics.mean(result["epochs"] for result in results),
        "training s": statistics.mean(result["seconds"] for result in results),
    }


def baseline_row(source: str, baseline: dict) -> dict:
    """The sceptic's row."""
    return {
        "data": Path(source).name,
        "variant": f"baseline: {baseline['name']}",
        "validation": baseline["validation"]["accuracy"],
        "test": baseline["test"]["accuracy"],
    }


if __name__ == "__main__":
    main()
