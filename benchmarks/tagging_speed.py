"""Tokens a second of an exported tagger, beside spaCy's tagger trained on the same sentences.

    python benchmarks/tagging_speed.py --data ../shared/data/ud_english_ewt --peer-python PYTHON

PYTHON is the interpreter of an environment with spaCy; without it the peer is left out. Both take
all test sentences as tokens at once and make batches of 64 themselves; they take turns, and a row
is the median round. The tagger runs as ONNX without TensorFlow, paths and probabilities of all tags
included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measuring import report

import tasks
from serving import Predictor
from serving.export import ExportOptions
from tasks.kinds.contract import DataOptions
from tasks.stages.exporting import export
from tasks.stages.run_directory import Run
from tasks.stages.training import train


def main() -> None:
    """Trains both, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer-python", default="")
    options = parser.parse_args()
    task = tasks.get("tagging")
    data = DataOptions(options.data)
    splits = task.load(data)
    peer = Peer(options, splits) if options.peer_python else None
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Path(scratch) / "run")
        settings = task.with_settings(task.settings, {"epochs": options.epochs})
        result = train(task, data, settings, run, splits=splits)
        bundle = Path(scratch) / "bundle"
        export(run, bundle, ExportOptions(formats=("onnx",)), splits=splits)
        rows = measured(Predictor(bundle, threads=2), peer, splits, result, options)
    report("tagging_speed", rows)


class Peer:
    """spaCy in a process of its own."""

    def __init__(self, options: argparse.Namespace, splits) -> None:
        script = Path(__file__).with_name("tagging_spacy.py")
        self.process = subprocess.Popen(
            [options.peer_python, script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        parts = {
            name: [[list(one.tokens), list(one.tags)] for one in getattr(splits, name)]
            for name in ("train", "test")
        }
        self._send({**parts, "epochs": options.epochs})
        self.result = json.loads(self.process.stdout.readline())

    def _send(self, message) -> None:
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def seconds(self) -> float:
        """Of one pass over test."""
        self._send("again")
        return json.loads(self.process.stdout.readline())


def measured(predictor: Predictor, peer: Peer | None, splits, result, options) -> list[dict]:
    """A row for each tagger."""
    sentences = [list(one.tokens) for one in splits.test]
    # As spaCy does: in the order in which they come.
    tokens, mine, theirs = sum(map(len, sentences)), [], []
    for _ in range(options.rounds):
        started = time.perf_counter()
        predictor.predict(sentences)
        mine.append(time.perf_counter() - started)
        if peer:
            theirs.append(peer.seconds())
    ours = statistics.median(mine)
    rows = [{
        "tagger": "Seqloom, ONNX", "accuracy": result["metrics"]["test"]["accuracy"],
        "tokens_per_s": tokens / ours, "ratio": 1.0, "train_seconds": result["epochs_seconds"],
    }]  # fmt: skip
    if peer:
        other = statistics.median(theirs)
        rows.append({
            "tagger": f"spaCy {peer.result['version']}", "accuracy": peer.result["accuracy"],
            "tokens_per_s": tokens / other, "ratio": ours / other,
            "train_seconds": peer.result["train_seconds"],
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
