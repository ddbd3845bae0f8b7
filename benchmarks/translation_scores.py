"""BLEU of translation on Multi30k: the default settings, greedy and with a beam, on both test sets.

    python benchmarks/translation_scores.py --data ../shared/data     # an hour, two cores
    python benchmarks/translation_scores.py --ways en-de de-en --seeds 2
    python benchmarks/translation_scores.py --settings epochs=1 units=64    # a smoke test

BLEU is sacrebleu's, cased and detokenised; its signature stands in the result. Epochs are chosen by
the loss of validation; the test sets are read once, by the model that was chosen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import report, setting

import tasks
from pipelines.pair_sources import load_pairs
from pipelines.responses import respond, settings_request
from tasks.kinds.contract import DataOptions
from tasks.kinds.translation.scoring import bleu_signature, bleu_tokens, translation_metrics
from tasks.stages.predicting import keras_program
from tasks.stages.run_directory import Run
from tasks.stages.training import train

SETS = ("test_2016_flickr", "test_2017_flickr")
SEARCHES = {"greedy": {"beam": 1}, "beam 5": {"beam": 5}}


def main() -> None:
    """Trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--ways", nargs="+", default=["en-de"], help="such as en-de de-en")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path, help="keep the runs there")
    parser.add_argument("--shown", type=int, default=6, help="translations that are printed")
    options = parser.parse_args()
    changes = dict(map(setting, options.settings))
    for way in options.ways:
        rows: list[dict[str, Any]] = []
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as scratch:
                place = (options.out or Path(scratch)) / f"{way}-{seed}"
                source = str(options.data / "multi30k_en_de")
                rows += trained(source, way, seed, changes, place, options.shown)
            print(rows[-1], flush=True)
        report(f"translation_scores_{way}", rows)


def trained(
    source: str, way: str, seed: int, changes: dict[str, Any], place: Path, shown: int
) -> list[dict[str, Any]]:
    """A row for each test set and search of one training."""
    task, (from_, to) = tasks.get("translation"), way.split("-")
    reading = {"source_language": from_, "target_language": to}
    settings = task.with_settings(task.settings, changes)
    data, run = DataOptions(source, seed, reading), Run(place)
    result = train(task, data, settings, run, seed=seed)
    model, preprocessor = run.model(), run.preprocessor()
    program = keras_program(task, model, preprocessor)
    rows = []
    for name in SETS:
        examples = load_pairs(source, **reading, test_set=name).test
        tokens = bleu_tokens(preprocessor.target, [pair.target for pair in examples])
        for search, decoding in SEARCHES.items():
            more = settings_request(program.program, {**decoding, "align": False})
            started = time.perf_counter()
            found = respond(
                program.program, preprocessor.to_request,
                lambda request, more=more: program.run({**request, **more}),
                preprocessor.raw(examples),
            )  # fmt: skip
            texts = [text.decode("utf-8") for text in found["text"]]
            scores = translation_metrics(texts, examples, tokens)
            rows.append({
                "way": way, "seed": seed, "test": name, "search": search, **scores,
                "signature": bleu_signature(tokens), "epochs": result["epochs"],
                "best_epoch": result["best_epoch"], "training_seconds": result["epochs_seconds"],
                "parameters": result["parameters"],
                # The run's own test set is the first.
                "baseline": result["baseline"]["test"]["bleu"] if name == SETS[0] else None,
                "decoding_seconds": time.perf_counter() - started,
            })  # fmt: skip
    for pair, text in list(zip(examples, texts, strict=True))[:shown]:
        print(f"  source     {pair.source}\n  reference  {pair.target}\n  answered   {text}\n")
    return rows


if __name__ == "__main__":
    main()
