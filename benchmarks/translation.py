"""Sentences a second of a translator: ONNX without TensorFlow, the SavedModel, and PyTorch.

    python benchmarks/translation.py --run RUN --peer-python PYTHON     # 256 test sentences
    python benchmarks/translation.py                       # trains on dates and numbers first

RUN is a finished run of `seqloom train translation` with a GRU of one layer, additive attention and
input feeding; PYTHON the interpreter of an environment with PyTorch, without which the peer is left
out. The peer has the same weights and must find the same translations. It is given numbers and
answers numbers; both forms of ours cut texts and write texts in the time that is measured. All take
sentences in the order in which they come, with as many threads, and take turns; a figure is the
median round. No attention matrices are asked for. Columns named ``cpu`` are of processor time, all
threads of the process together: what counts on a machine that others use too, where threads wait
for each other; --threads 1 there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from measuring import processor_seconds, report

import tasks
from pipelines.text import PAD
from pipelines.translation_steps import MORE
from serving import Predictor
from serving.export import ExportOptions
from tasks.kinds.contract import DataOptions
from tasks.stages.console import load_run
from tasks.stages.exporting import export
from tasks.stages.run_directory import Run
from tasks.stages.training import train

PEER = "PyTorch"
SAME = 0.99  # rounding may turn a translation or two


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, help="default: a short training on synthetic pairs")
    parser.add_argument("--peer-python", default="", help="an interpreter that has PyTorch")
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(options.run) if options.run else trained(Path(scratch) / "run")
        splits = load_run(run)
        # What the forms answer is compared below; here a few examples will do.
        splits = replace(splits, validation=splits.validation[:16])
        sentences = [pair.source for pair in splits.test[: options.sentences]]
        bundle = Path(scratch) / "bundle"
        export(run, bundle, ExportOptions(formats=("savedmodel", "onnx")), splits=splits)
        ways = {
            "Seqloom, ONNX": of_onnx(bundle, options.threads),
            "Seqloom, SavedModel": of_savedmodel(bundle),
        }
        if options.peer_python:
            ways[PEER] = Peer(options, run, sentences, Path(scratch))
        rows = measured(ways, sentences, options)
    report("translation", rows)


def trained(place: Path) -> Run:
    """A run on the synthetic default; how well it translates does not matter here."""
    task, run = tasks.get("translation"), Run(place)
    data = DataOptions("synthetic:3000")
    train(task, data, task.with_settings(task.settings, {"epochs": 3}), run)
    return run


class Ours:
    """One form of the exported model.

    Args:
        answer: request to response tensors.
    """

    def __init__(self, answer: Callable[[dict[str, np.ndarray]], dict[str, Any]]) -> None:
        self.answer, self.pid = answer, os.getpid()

    def translations(self, sentences: list[str], beam: int, batch: int) -> list[str]:
        """Of all sentences."""
        found: list[str] = []
        for first in range(0, len(sentences), batch):
            texts = [one.encode("utf-8") for one in sentences[first : first + batch]]
            request = {
                "text": np.array(texts, object),
                "beam": np.array([beam] * len(texts), np.int32),
                "align": np.array([False] * len(texts)),
            }
            found += [text.decode("utf-8") for text in self.answer(request)["text"]]
        return found

    def seconds(self, sentences: list[str], beam: int, batch: int) -> float:
        """Of one pass over all sentences."""
        began = time.perf_counter()
        self.translations(sentences, beam, batch)
        return time.perf_counter() - began


def of_onnx(bundle: Path, threads: int) -> Ours:
    """ONNX Runtime and the search in NumPy."""
    return Ours(Predictor(bundle, threads=threads).run)


def of_savedmodel(bundle: Path) -> Ours:
    """The search in the graph; its threads are those of the process."""
    (version,) = (bundle / "savedmodel").iterdir()
    loaded = tf.saved_model.load(str(version))
    serve = loaded.signatures["serving_default"]
    defaults = Predictor(bundle).model.programs["serving_default"].signature

    def answer(request: dict[str, np.ndarray]) -> dict[str, Any]:
        rows = len(request["text"])
        given = {
            name: np.repeat(np.array(spec["default"], spec["dtype"]), rows)
            for name, spec in defaults["inputs"].items() if "default" in spec
        }  # fmt: skip
        found = serve(**{name: tf.constant(x) for name, x in {**given, **request}.items()})
        return {"text": found["text"].numpy(), "model": loaded}  # which must not be collected

    return Ours(answer)


class Peer:
    """PyTorch in a process of its own, with the weights of the run."""

    def __init__(
        self, options: argparse.Namespace, run: Run, sentences: list[str], scratch: Path
    ) -> None:
        self.preprocessor, decoding = run.preprocessor(), run.preprocessor().settings
        np.savez(scratch / "weights.npz", **peer_weights(run))
        self.process = subprocess.Popen(
            [options.peer_python, Path(__file__).with_name("translation_peer.py"),
             scratch / "weights.npz", str(options.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self.process.pid
        ids = self.preprocessor.source([one.encode("utf-8") for one in sentences])
        settings = {
            "times": self.preprocessor.times, "more": MORE, "most": decoding["max_tokens"],
            "length_penalty": decoding["length_penalty"],
        }  # fmt: skip
        rows = [row[row != PAD].tolist() for row in ids]
        self._send(json.dumps({"sources": rows, "settings": settings}))

    def _send(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def translations(self, sentences: list[str], beam: int, batch: int) -> list[str]:
        """Of all sentences."""
        self._send(str(beam))
        return [self.preprocessor.target.decode(row) for row in json.loads(self._line())]

    def _line(self) -> str:
        return self.process.stdout.readline()

    def seconds(self, sentences: list[str], beam: int, batch: int) -> float:
        """Of one pass over all sentences."""
        self._send(f"{beam} {batch}")
        return json.loads(self._line())


def peer_weights(run: Run) -> dict[str, np.ndarray]:
    """Arrays as PyTorch has them: outputs first; of a GRU's gates reset, update, candidate."""
    model = run.model()
    decoder, gru = model.get_layer("decoder"), model.get_layer
    cells = (gru("encoder_gru_0").forward_layer, gru("encoder_gru_0").backward_layer)
    layers = {layer.name: layer for layer in model.layers}
    target = layers["target_table"]
    output, source = layers.get("output_table", target), layers.get("source_table", target)
    names = ("kernel", "recurrent", "kernel_bias", "recurrent_bias")
    found = dict(zip(names, _gru(decoder.cells[0]), strict=True))
    for cell, direction in zip(cells, ("", "_reverse"), strict=True):
        for name, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), _gru(cell.cell),
                               strict=True):  # fmt: skip
            found[f"{name}_l0{direction}"] = array
    dense = {"keys": layers["keys"], "first": layers["decoder_0_h"], "combine": decoder.combine}
    for name, layer in dense.items():
        kernel, bias = layer.get_weights()
        found |= {name: kernel.T, f"{name}_bias": bias}
    found |= {
        "query": decoder.query.get_weights()[0].T, "scale": decoder.scale.numpy(),
        "source_table": source.embeddings.numpy(), "target_table": target.embeddings.numpy(),
        "output_table": output.embeddings.numpy(), "output_bias": output.bias.numpy(),
    }  # fmt: skip
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def _gru(cell: Any) -> list[np.ndarray]:
    kernel, recurrent, biases = cell.get_weights()

    def ordered(array: np.ndarray) -> np.ndarray:
        update, reset, candidate = np.split(array, 3, -1)
        return np.concatenate([reset, update, candidate], -1)

    return [ordered(kernel).T, ordered(recurrent).T, *map(ordered, biases)]


def measured(
    ways: dict[str, Any], sentences: list[str], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each beam, size of batch and way."""
    rows = []
    for beam in options.beams:
        largest = max(options.batches)
        found = {n: way.translations(sentences, beam, largest) for n, way in ways.items()}
        first = next(iter(found.values()))
        same = {n: np.mean([a == b for a, b in zip(first, other, strict=True)])
                for n, other in found.items()}  # fmt: skip
        assert min(same.values()) >= SAME, f"the ways translate differently: {same}"
        for batch in options.batches:
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, way in ways.items():
                    before = processor_seconds(way.pid)
                    wall = way.seconds(sentences, beam, batch)
                    spent = max(processor_seconds(way.pid) - before, 0.01)
                    times[name].append((wall, spent))
            rates = {
                name: [len(sentences) / statistics.median(one) for one in zip(*each, strict=True)]
                for name, each in times.items()
            }
            peer = rates.get(PEER)
            for name, (wall, cpu) in rates.items():
                rows.append({
                    "beam": beam, "batch": batch, "way": name, "sentences_per_s": wall,
                    "of_pytorch": wall / peer[0] if peer else None, "cpu_sentences_per_s": cpu,
                    "cpu_of_pytorch": cpu / peer[1] if peer else None, "same": float(same[name]),
                    "sentences": len(sentences),
                })  # fmt: skip
                print(rows[-1], file=sys.stderr)
    return rows


if __name__ == "__main__":
    main()
