"""Language models at their published figures: perplexity against time, cells side by side, poems.

    python benchmarks/language.py ptb --data ../shared/data --out runs/language   # two hours
    python benchmarks/language.py tinyshakespeare default wujue --out runs/language
    python benchmarks/language.py ptb-lstm ptb-gru ptb-simple-rnn --out runs/language
    python benchmarks/language.py ptb-great --out runs/language              # for a GPU

A run that --out holds already is taken, one that was stopped goes on. Choices are made on
validation; test is read once, by the model that was chosen. ``--settings`` changes any experiment.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from measuring import report, setting

import tasks
from models.callbacks import read_history
from pipelines.responses import respond, settings_request
from tasks.kinds.contract import DataOptions
from tasks.stages.predicting import keras_program
from tasks.stages.run_directory import Run
from tasks.stages.training import train

PTB = {
    "level": "word", "layers": 1, "units": 512, "embedding_dim": 512, "dropout": 0.45,
    "input_dropout": 0.4, "unit_dropout": 0.1, "weight_dropout": 0.2, "window": 35,
    "learning_rate": 0.002, "epochs": 22, "patience": 22, "clipnorm": 0.25, "average": 0.999,
    "mixed_precision": True,
}  # fmt: skip
# 200 wide vectors, and as many units as give each cell the same number of parameters.
SMALL = {
    **PTB, "embedding_dim": 200, "dropout": 0.3, "input_dropout": 0.3, "weight_dropout": 0.0,
    "epochs": 8, "patience": 8,
}  # fmt: skip
CHARACTERS = {
    "layers": 1, "units": 512, "embedding_dim": 128, "dropout": 0.4, "input_dropout": 0.1,
    "window": 100, "batch_size": 32, "epochs": 12, "average": 0.999, "mixed_precision": True,
}  # fmt: skip
EXPERIMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ptb": ("ptb", PTB),
    "ptb-great": ("ptb", {
        **PTB, "layers": 3, "units": 1150, "embedding_dim": 400, "dropout": 0.4, "window": 70,
        "weight_dropout": 0.5, "batch_size": 20, "learning_rate": 0.001, "epochs": 300,
        "patience": 40,
    }),
    "ptb-lstm": ("ptb", {**SMALL, "cell": "lstm", "units": 270}),
    "ptb-gru": ("ptb", {**SMALL, "cell": "gru", "units": 319}),
    "ptb-simple-rnn": ("ptb", {**SMALL, "cell": "simple_rnn", "units": 576}),
    "tinyshakespeare": ("tinyshakespeare/input.txt", CHARACTERS),
    "default": ("synthetic", {"mixed_precision": True}),
    "wujue": ("wujue/wujue-all.txt.gz", {
        "documents": "lines", "layers": 1, "units": 512, "embedding_dim": 256, "dropout": 0.4,
        "input_dropout": 0.3, "window": 40, "epochs": 10, "average": 0.999, "mixed_precision": True,
    }),
}  # fmt: skip
# A title, and four lines of five characters.
POEM = "[^:]*:([^，。:]{5}，[^，。:]{5}。){2}"


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="+", choices=list(EXPERIMENTS), metavar="NAME")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/language"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--poems", type=int, default=1000, help="that wujue's model writes")
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    changes = dict(map(setting, options.settings))
    for name in options.names:
        row, run = trained(options, name, changes)
        rows = [row]
        if name == "wujue":
            rows += [poems(run, options.poems, form) for form in ("", POEM)]
        report(f"language_{name}", rows)


def trained(
    options: argparse.Namespace, name: str, changes: dict[str, Any]
) -> tuple[dict[str, Any], Run]:
    """A row for one training, with its curve, and the run."""
    task, (source, settings) = tasks.get("language"), EXPERIMENTS[name]
    settings = {**settings, **changes}
    reading = {key: settings.pop(key) for key in task.data.names() if key in settings}
    place = source if source == "synthetic" else str(options.data / source)
    if name == "tinyshakespeare":
        place = shakespeare(options)
    data = DataOptions(place, 0, reading)
    run = Run(options.out / f"{name}-{options.seed}")
    if run.finished:
        result = run.read_json("metrics.json")
    else:
        chosen = task.with_settings(task.settings, settings)
        result = train(task, data, chosen, run, seed=options.seed, tell=print)
    minutes, curve = 0.0, []
    for epoch in read_history(run.path / "history.csv"):
        minutes += epoch["seconds"] / 60
        curve.append([round(minutes, 2), epoch["val_loss"]])
    row = {"name": name, "seed": options.seed, "parameters": result["parameters"],
           "epochs": result["epochs"], "minutes": minutes}  # fmt: skip
    for metric in ("perplexity", "bits_per_char"):
        for where in ("validation", "test"):
            row[f"{where} {metric}"] = result["metrics"][where][metric]
        row[f"test {metric}, baseline"] = result["baseline"]["test"][metric]
    return {**row, "minutes and nats of validation": curve}, run


def shakespeare(options: argparse.Namespace) -> str:
    """The text in parts: test is nanoGPT's validation, the last tenth; a fiftieth before it chooses
    the epoch, all else trains."""
    text = (options.data / EXPERIMENTS["tinyshakespeare"][0]).read_text(encoding="utf-8")
    parts, place = (len(text) * 88 // 100, len(text) * 9 // 10), options.out / "tinyshakespeare"
    place.mkdir(parents=True, exist_ok=True)
    for part, first, last in (("train", 0, parts[0]), ("valid", *parts), ("test", parts[1], None)):
        (place / f"{part}.txt").write_text(text[first:last], encoding="utf-8")
    return str(place)


def poems(run: Run, count: int, form: str) -> dict[str, Any]:
    """The share of poems on titles of test that keep the form."""
    task = tasks.get("language")
    options = DataOptions(**run.config()["data"])
    titles = [text.partition(":")[0] + ":" for text in task.load(options).test]
    titles = list(dict.fromkeys(titles))[:count]
    preprocessor = run.preprocessor()
    program = keras_program(task, run.model(), preprocessor, "generate")
    settings = {"form": form, "max_tokens": 60, "temperature": 0.8, "stop": "\n"}

    def request(rows: list[tuple[int, str]]) -> dict[str, Any]:
        # A seed for each, or all would be drawn alike.
        ((seed, title),) = rows
        more = settings_request(program.program, {**settings, "seed": seed})
        return {**preprocessor.to_request([title]), **more}

    found = respond(program.program, request, program.run, list(enumerate(titles)))
    texts = [t + c.decode() for t, c in zip(titles, found["continuation"], strict=True)]
    for text in texts[:20]:
        print(f"  {text}")
    kept = sum(bool(re.fullmatch(POEM, text)) for text in texts)
    return {"name": "poems", "form": form, "poems": len(texts), "keep the form": kept / len(texts)}


if __name__ == "__main__":
    main()
