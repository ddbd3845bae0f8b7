"""Speech recognition: Morse code against noise, strings of digits, sentences of a synthesiser.

    python benchmarks/speech.py morse                                   # half an hour on one core
    python benchmarks/speech.py digits sentences --data ../shared/data  # as long for each
    python benchmarks/speech.py digits --without theo --data ../shared/data
    python benchmarks/speech.py digits --live --data ../shared/data     # reads forwards alone

Every score stands beside the baseline's, which validation chooses: the commonest text, or a decoder
by threshold and timing. Test is read once. ``morse`` also gives the errors of 200 new texts at each
level of noise; ``digits`` those with the ten words as the search's list; ``sentences`` those of
sentences with and without a word that training never had.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import spoken_strings
from measuring import report, setting

import tasks
from tasks.kinds.contract import DataOptions
from tasks.kinds.speech.fusing import SpeechJudging
from tasks.kinds.speech.scoring import error_rates
from tasks.stages.predicting import keras_responses
from tasks.stages.run_directory import Run
from tasks.stages.training import train

SETTINGS: dict[str, dict[str, Any]] = {
    "morse": {},
    "digits": {"warp": 0.05, "epochs": 24},
    "sentences": {"warp": 0.05, "epochs": 30},
}
LEVELS = (-10, -8, -6, -4, -2, 0, 2, 4, 6, 8, 10, 15, 20)
TEXTS = 200


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="+", choices=list(SETTINGS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/speech"))
    parser.add_argument("--without", default="", help="a speaker whom training never hears")
    parser.add_argument("--live", action="store_true", help="a model that reads forwards alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    for name in options.names:
        label = "-".join(filter(None, [name, options.without, "live" if options.live else ""]))
        run, row = trained(name, label, options)
        rows = [row]
        if name == "morse":
            rows += [against_noise(run, level) for level in LEVELS]
        if name == "digits":
            rows.append(of_ten_words(run))
        if name == "sentences":
            rows += by_words(run)
        report(f"speech_{label}", rows)


def trained(name: str, label: str, options: argparse.Namespace) -> tuple[Run, dict[str, Any]]:
    """A run, taken up where it was left, and its scores."""
    task = tasks.get("speech")
    changes = {**SETTINGS[name], **dict(map(setting, options.settings))}
    if options.live:
        changes["bidirectional"] = False
    run = Run(options.out / f"{label}-{options.seed}")
    data = DataOptions(source_of(name, label, options))
    if run.finished:
        result = run.read_json("metrics.json")
    else:
        settings = task.with_settings(task.settings, changes)
        result = train(task, data, settings, run, seed=options.seed, tell=print)
    row = {"name": label, "seed": options.seed, "parameters": result["parameters"],
           "epochs": result["epochs"], "seconds": result["epochs_seconds"]}  # fmt: skip
    for part in ("validation", "test"):
        for metric in ("cer", "wer", "exact"):
            row[f"{part} {metric}"] = result["metrics"][part][metric]
        row[f"{part} cer, baseline"] = result["baseline"][part]["cer"]
    return run, {**row, "baseline": result["baseline"]["name"]}


def source_of(name: str, label: str, options: argparse.Namespace) -> str:
    """What ``--data`` takes; recordings are made where they are not there yet."""
    if name == "morse":
        return "synthetic"
    place = options.out / "data" / (label.removesuffix("-live"))
    if not (place / "test.csv").is_file():
        if name == "digits":
            recordings = options.data / "fsdd" / "recordings"
            spoken_strings.digit_strings(recordings, place, options.without)
        else:
            spoken_strings.sentences(place)
    return str(place)


def of_ten_words(run: Run) -> dict[str, Any]:
    """Errors where the search may write the ten digits alone."""
    task = tasks.get("speech")
    splits = task.load(DataOptions(**run.config()["data"]))
    with tempfile.TemporaryDirectory() as scratch:
        words = Path(scratch) / "words.txt"
        words.write_text("\n".join(spoken_strings.NAMES))
        judging = SpeechJudging(lexicon=str(words))
        found = task.judge_otherwise(run.preprocessor(), run.model(), splits, judging, print)
    return {"name": "with a list of the words"} | {
        f"{part} {metric}": found["fused"][part][metric]
        for part in ("validation", "test") for metric in ("cer", "wer", "exact")
    }  # fmt: skip


def against_noise(run: Run, level: float) -> dict[str, Any]:
    """Errors at one level of noise, of the model and of threshold and timing."""
    from models.speech_baselines import keyed_text
    from pipelines.synthetic_speech import CODE, RATE, keyed, some_text

    task, preprocessor = tasks.get("speech"), run.preprocessor()
    draw = np.random.default_rng([5, int(level) + 100])
    said = [some_text(draw) for _ in range(TEXTS)]
    sounds = [keyed(text, level, draw) for text in said]
    raw = [{"audio": sound, "rate": RATE} for sound in sounds]
    found = keras_responses(task, run.model(), preprocessor, raw)
    heard = [text.decode("utf-8") for text in found["text"]]
    timed = [keyed_text(sound, RATE, CODE) for sound in sounds]
    return {"name": f"morse at {level} dB", "test cer": error_rates(said, heard)["cer"],
            "test cer, baseline": error_rates(said, timed)["cer"]}  # fmt: skip


def by_words(run: Run) -> list[dict[str, Any]]:
    """Errors of test's sentences with and without a word that is not in train."""
    task, preprocessor = tasks.get("speech"), run.preprocessor()
    splits = task.load(DataOptions(**run.config()["data"]))
    known = {word for one in splits.train for word in one.target.split()}
    found = keras_responses(task, run.model(), preprocessor, preprocessor.raw(splits.test))
    rows = []
    for name, wanted in (("all words known", True), ("a word unseen in training", False)):
        pairs = [
            (preprocessor.said(one), text.decode("utf-8"))
            for one, text in zip(splits.test, found["text"], strict=True)
            if (set(one.target.split()) <= known) is wanted
        ]
        rates = error_rates(*map(list, zip(*pairs, strict=True)))
        rows.append(
            {"name": name, "texts": len(pairs)} | {f"test {k}": v for k, v in rates.items()}
        )
        for said, heard in pairs[:4]:
            print(f"  {name}: {said} -> {heard}")
    return rows


if __name__ == "__main__":
    main()
