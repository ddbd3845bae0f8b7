"""What `--metric macro_f1` and `--class-weight balanced` are worth where labels are unequal.

    python benchmarks/imbalance.py --data ../shared/data/mr ../shared/data/atis --seeds 3

Reviews (any folder of two labels) are cut to 10 of one label for each of the other, in every part,
anew for each seed; ATIS's queries keep their own proportions, and those of their intents of which
train has ten. Each training is of the defaults of `classify` with the changes below, and beside it
stands the linear baseline chosen by the same metric. Choices belong to validation.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from measuring import report

import tasks
from pipelines.draws import Draws
from pipelines.splits import Splits
from pipelines.text_examples import TextExample
from tasks.kinds.contract import DataOptions
from tasks.stages.run_directory import Run
from tasks.stages.training import train

RATIO = 10
COMMON = 1000  # training examples of the common label of reviews
FEWEST = 10  # training examples of an intent
PARTS = ("train", "validation", "test")
VARIANTS = {
    "defaults": ("accuracy", {}),
    "--metric macro_f1": ("macro_f1", {}),
    "--metric macro_f1 --class-weight balanced": ("macro_f1", {"class_weight": "balanced"}),
}
SCORES = ("macro_f1", "accuracy")


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="imbalance", help="name of the file in results")
    options = parser.parse_args()
    rows: list[dict] = []
    for source in options.data:
        results: dict[str, list[dict]] = {name: [] for name in VARIANTS}
        for seed in range(options.seeds):
            splits = queries(source) if "atis" in source else reviews(source, seed)
            for name, (metric, changes) in VARIANTS.items():
                results[name].append(trained(splits, metric, changes, seed))
                print(source, seed, name, results[name][-1]["metrics"]["test"], flush=True)
        counts = Counter(one.label for one in splits.train).most_common()
        sizes = f"{len(counts)} labels, {counts[0][1]} to {counts[-1][1]} training examples each"
        for name, found in results.items():
            data = f"{Path(source).name}: {sizes}"
            rows.append(row(data, name, [one["metrics"] for one in found]))
            rows.append(row(data, f"baseline of {name}", [one["baseline"] for one in found]))
        report(options.out, unique(rows))


def trained(splits: Splits, metric: str, changes: dict[str, Any], seed: int) -> dict[str, Any]:
    """Scores of one training."""
    task = replace(tasks.get("classify"), chosen_by=metric)
    settings = task.with_settings(task.settings, changes)
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Path(scratch) / "run")
        return train(task, DataOptions("synthetic"), settings, run, seed=seed, splits=splits)


def reviews(source: str, seed: int) -> Splits[TextExample]:
    """Reviews of two labels, of the second a tenth as many as of the first."""
    splits, draws = tasks.get("classify").load(DataOptions(source)), Draws(seed)
    common, rare = sorted({one.label for one in splits.train})
    parts = {}
    for part in PARTS:
        every = sorted(getattr(splits, part), key=lambda _: draws.below(2**30))
        kept = [one for one in every if one.label == common]
        kept = kept[:COMMON] if part == "train" else kept
        parts[part] = [*kept, *[one for one in every if one.label == rare][: len(kept) // RATIO]]
    return replace(splits, **parts)


def queries(source: str) -> Splits[TextExample]:
    """Queries of ATIS with their intents, as they are."""
    splits = tasks.get("intent").load(DataOptions(source))
    counts = Counter(one.intent for one in splits.train)
    parts = {
        part: [
            TextExample(" ".join(one.tokens), one.intent)
            for one in getattr(splits, part) if counts[one.intent] >= FEWEST
        ]
        for part in PARTS
    }  # fmt: skip
    return replace(splits, **parts)


def row(data: str, name: str, found: list[dict[str, dict]]) -> dict[str, Any]:
    """Means over the seeds, and the range of the macro F1 on test."""
    every = [one["test"]["macro_f1"] for one in found]
    return {
        "data": data,
        "variant": name,
        **{
            f"{part} {score}": statistics.mean(one[part][score] for one in found)
            for part in ("validation", "test") for score in SCORES
        },
        "test macro_f1 range": f"{min(every):.3f} to {max(every):.3f}",
    }  # fmt: skip


def unique(rows: list[dict]) -> list[dict]:
    """The rows without baselines that are those of a variant before."""
    kept: list[dict] = []
    for one in rows:
        same = {**one, "variant": ""}
        if all({**other, "variant": ""} != same for other in kept):
            kept.append(one)
    return kept


if __name__ == "__main__":
    main()
