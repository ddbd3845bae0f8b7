"""What pre-training is worth: classifiers and taggers with and without a language model's words
and recurrent weights, and what the language models cost.

    python benchmarks/pretraining.py --data ../shared/data --out runs/pretraining    # half a day
    python benchmarks/pretraining.py --data ../shared/data --only mr --seeds 1

Two language models of words, one for each direction, are trained on the reviews of ``--text``
without their labels, and go on learning on the training texts of each data set (Howard and Ruder
2018). None of the texts of its validation and test is read. Every row is one training; choices are
made on validation, and test is printed beside it. What ``--out`` holds is not trained again.
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
WAYS = {"forward": "encoder", "backward": "encoder_backward"}
LANGUAGE = {
    "level": "token", "vocabulary_size": 20000, "sampled_units": 2000, "layers": 1, "units": 256,
    "embedding_dim": 128, "dropout": 0.3, "input_dropout": 0.3, "unit_dropout": 0.05,
    "weight_dropout": 0.1, "window": 40, "batch_size": 48, "learning_rate": 0.003, "epochs": 11,
    "average": 0.999, "mixed_precision": True, "sample_units": 0,
}  # fmt: skip
# On the texts of the data set, which are few.
FURTHER = {"learning_rate": 0.002, "epochs": 4}
SHOWN = ("slot_f1", "intent_accuracy")
# Without the linear path beside it, what the recurrent one knows is all that answers.
PATHS = {"sentiment": {"recurrent path alone": {"wide": "none"}, "both paths": {}}}
# Of a network four times as large as the defaults'.
SETTINGS = {"sentiment": {"dropout": 0.6, "token_dropout": 0.2, "pooling": "mean", "epochs": 6}}


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--text", default="imdb", help="folder of --data with the unlabelled text")
    parser.add_argument("--out", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--rate", type=float, default=0.5, help="--encoder-rate")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    general = DataOptions(str(options.data / options.text))
    rows = [language(options, options.text, way, general, {}) for way in WAYS]
    for name in options.only:
        encoders = {flag: str(options.out / f"{options.text}-{way}") for way, flag in WAYS.items()}
        for way, flag in WAYS.items() if name != options.text else ():
            changes = {**FURTHER, "encoder": encoders[flag]}
            rows.append(language(options, name, way, own_texts(options, name), changes))
            encoders[flag] = str(options.out / f"{name}-{way}")
        chosen = SETTINGS.get(SETS[name], {})
        variants = {
            "random": {},
            "pre-trained": {**encoders, "encoder_rate": options.rate, **chosen},
        }
        for path, parts in PATHS.get(SETS[name], {"": {}}).items():
            for variant, changes in variants.items():
                for seed in range(options.seeds):
                    key = {"data": name, "path": path, "weights": variant, "seed": seed}
                    rows.append(measured(options, key, {**parts, **changes}))
                    print(rows[-1], flush=True)
    report("pretraining", rows)


def own_texts(options: argparse.Namespace, name: str) -> DataOptions:
    """The training texts of a data set, without their labels."""
    train = tasks.get(SETS[name]).load(DataOptions(str(options.data / name))).train
    texts = [one.text or " ".join(one.tokens) for one in train]
    return DataOptions([{"text": text} for text in texts])


def language(
    options: argparse.Namespace, name: str, way: str, data: DataOptions, changes: dict
) -> dict:
    """A row for one language model, trained unless it is there."""
    task = tasks.get("language")
    run = Run(options.out / f"{name}-{way}")
    if not run.finished:
        wanted = {**LANGUAGE, **changes, "backward": way == "backward"}
        train(task, data, task.with_settings(task.settings, wanted), run)
    found = run.read_json("metrics.json")
    return {
        "data": name, "weights": f"language model, {way}", "epochs": found["epochs"],
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
