"""What pre-training is worth: classifiers and taggers with and without a language model's words
and recurrent weights, and what the language models cost.

    python benchmarks/pretraining.py --data ../shared/data --out runs/pretraining    # half a day
    python benchmarks/pretraining.py --data ../shared/data --only mr --rates 1 0.3 0.1 --seeds 1

Two language models of words are trained on the reviews of ``--text`` first, without their labels,
one for each direction; those that ``--out`` already holds are taken. None of the test texts of what
is then trained is among them. Every row is one training; choices are made on validation, and test
is printed beside it. Rows already measured in ``--out`` are not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from measuring import report

import tasks
from tasks.kinds.contract import DataOptions
from tasks.stages.run_directory import Run
from tasks.stages.training import train

SETS = {
    "mr": "sentiment", "sst": "sentiment", "imdb": "sentiment", "ud_english_ewt": "tagging",
    "wnut17": "tagging", "atis": "intent",
}  # fmt: skip
LANGUAGE = {
    "level": "token", "vocabulary_size": 30000, "sampled_units": 2000, "layers": 1, "units": 256,
    "embedding_dim": 128, "dropout": 0.1, "input_dropout": 0.1, "window": 60, "batch_size": 64,
    "learning_rate": 0.003, "epochs": 6, "mixed_precision": True,
}  # fmt: skip
SHOWN = ("slot_f1", "intent_accuracy")
# Without the linear path beside it, what the recurrent one knows is all that answers.
PATHS = {"sentiment": {"recurrent path alone": {"wide": "none"}, "both paths": {}}}


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--text", default="imdb", help="folder of --data with the unlabelled text")
    parser.add_argument("--out", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--rates", nargs="+", type=float, default=[0.3], help="--encoder-rate")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    encoders = {way: language(options, way) for way in ("forward", "backward")}
    rows = [encoders["forward"], encoders["backward"]]
    variants = {"random": {}} | {
        f"pre-trained, rate {rate:g}": {
            "encoder": str(options.out / "forward"),
            "encoder_backward": str(options.out / "backward"),
            "encoder_rate": rate,
        }
        for rate in options.rates
    }
    for name in options.only:
        for path, parts in PATHS.get(SETS[name], {"": {}}).items():
            for variant, changes in variants.items():
                for seed in range(options.seeds):
                    key = {"data": name, "path": path, "weights": variant, "seed": seed}
                    rows.append(measured(options, key, {**parts, **changes}))
                    print(rows[-1], flush=True)
    report("pretraining", rows)


def language(options: argparse.Namespace, way: str) -> dict:
    """A row for one language model, trained unless it is there."""
    run, task = Run(options.out / way), tasks.get("language")
    if not run.finished:
        settings = task.with_settings(task.settings, {**LANGUAGE, "backward": way == "backward"})
        train(task, DataOptions(str(options.data / options.text)), settings, run)
    found = run.read_json("metrics.json")
    return {
        "data": options.text, "weights": f"language model, {way}", "epochs": found["epochs"],
        "seconds": found["epochs_seconds"],
        "validation perplexity": found["metrics"]["validation"]["perplexity"],
        "baseline perplexity": found["baseline"]["validation"]["perplexity"],
    }  # fmt: skip


def measured(options: argparse.Namespace, key: dict, changes: dict) -> dict:
    """A row for one training, measured unless it is there."""
    done = options.out / "rows.jsonl"
    for line in done.read_text().splitlines() if done.is_file() else ():
        row = json.loads(line)
        if all(row.get(name) == value for name, value in key.items()):
            return row
    task = tasks.get(SETS[key["data"]])
    settings = task.with_settings(task.settings, changes)
    source = DataOptions(str(options.data / key["data"]))
    with tempfile.TemporaryDirectory() as scratch:
        result = train(task, source, settings, Run(Path(scratch) / "run"), seed=key["seed"])
    row = {**key, "epochs": result["epochs"], "seconds": result["epochs_seconds"]}
    names = dict.fromkeys([task.metric.name, *SHOWN])
    for where in ("validation", "test"):
        scores, baseline = result["metrics"][where], result["baseline"][where]
        for metric in (name for name in names if name in scores):
            row[f"{where} {metric}"] = scores[metric]
            row[f"{where} {metric}, baseline"] = baseline.get(metric)
    with done.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return row


if __name__ == "__main__":
    main()
