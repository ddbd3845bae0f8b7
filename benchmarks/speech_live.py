"""What it costs to listen: microseconds, memory and latency of a model of speech that streams.

    python benchmarks/speech.py digits --live --data ../shared/data
    python benchmarks/speech_live.py --run runs/speech/digits-live-0 --peer-python OTHER/bin/python

Strings of spoken digits of the test part, 100 ms at a time, on one thread, by the exported bundle
without TensorFlow. ``real time`` is seconds of computing for each second of sound. A word's latency
is from the end of its recording to the piece after which the text, that of greedy search, holds it
for good; pieces of 20 ms here. The peer is the same network in PyTorch, step by step, without the
frames; ours beside it is the core alone, in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import report

import tasks
from pipelines.audio import read_sound
from pipelines.speech_live import LiveTranscript
from serving.predictor import OnnxModel
from tasks.kinds.contract import DataOptions
from tasks.stages.exporting import export
from tasks.stages.run_directory import Run

ALONE = """
import sys
from pathlib import Path
from pipelines.audio import read_sound
from pipelines.speech_live import LiveTranscript
from serving.predictor import OnnxModel
model = OnnxModel(Path(sys.argv[1]), threads=1)
step, sound = model.programs["step"], read_sound(sys.argv[2]).samples
live = LiveTranscript(step.run, step.initial(1), model.preprocessor)
for first in range(0, len(sound), 800):
    live.push(sound[first : first + 800])
live.finish()
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])  # the peak since this program began, KiB
"""
PEER = Path(__file__).with_name("speech_peer.py")


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/speech/digits-live-0"))
    parser.add_argument("--sounds", type=int, default=100)
    parser.add_argument("--peer-python", help="an interpreter that has PyTorch")
    options = parser.parse_args()
    run = Run(options.run)
    splits = tasks.get("speech").load(DataOptions(**run.config()["data"]))
    with tempfile.TemporaryDirectory() as scratch:
        exported = export(run, Path(scratch) / "bundle", splits=splits)
        bundle = Path(exported["bundle"]) / "onnx" / str(exported["version"])
        model = OnnxModel(bundle, threads=1)
        examples = splits.test[: options.sounds]
        rows = [cost(model, examples, beam) for beam in (1, 8)] + [latency(model, examples)]
        rows += [core_alone(model), memory(bundle, examples[0].path)]
    if options.peer_python:
        rows.append(peer(options.peer_python, run))
    report("speech_live", rows)


def listen(model: OnnxModel, samples: np.ndarray, piece: int, beam: int) -> list[str]:
    """The text after each piece."""
    step = model.programs["step"]
    live = LiveTranscript(step.run, step.initial(1), model.preprocessor, beam)
    texts = [live.push(samples[i : i + piece]) for i in range(0, len(samples), piece)]
    return [*texts, live.finish()["text"]]


def cost(model: OnnxModel, examples: list[Any], beam: int) -> dict[str, Any]:
    """Computing for each second of sound, frames included."""
    rate = model.preprocessor.features.rate
    shares = []
    for one in examples:
        samples = one.at(rate)
        began = time.perf_counter()
        listen(model, samples, rate // 10, beam)
        shares.append((time.perf_counter() - began) / (len(samples) / rate))
    share = statistics.median(shares)
    return {"what": f"whole, beam {beam}", "real time": share,
            "microseconds for 10 ms": share * 1e4}  # fmt: skip


def memory(bundle: Path, sound: str) -> dict[str, Any]:
    """Of a process that has nothing but the bundle."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, bundle, sound], capture_output=True, text=True, check=True
    )
    peak = int(done.stdout.strip().splitlines()[-1]) / 1024
    return {"what": "a process that listens, MiB at most", "MiB": peak}


def latency(model: OnnxModel, examples: list[Any]) -> dict[str, Any]:
    """Milliseconds from the end of a recording to its word."""
    rate = model.preprocessor.features.rate
    piece, found = rate // 50, []
    for one in examples:
        texts = listen(model, read_sound(one.path).at(rate).samples, piece, 1)
        texts = [" ".join(text.split()) for text in texts]
        words = texts[-1].split()
        ends = [float(end) for end in one.fields["word_ends"].split()]
        if len(words) != len(ends):
            continue
        for k, end in enumerate(ends):
            whole = " ".join(words[: k + 1])
            there = next(i for i, text in enumerate(texts) if text.startswith(whole))
            found.append(1000 * ((there + 1) * piece / rate - end))
    quartiles = statistics.quantiles(found, n=20)
    return {"what": "latency of a word, ms", "words": len(found),
            "median": statistics.median(found), "95 %": quartiles[-1]}  # fmt: skip


def core_alone(model: OnnxModel, steps: int = 2000) -> dict[str, Any]:
    """Microseconds of a step of the network by itself."""
    core, features = model.programs["step"].cores["model"], model.preprocessor.features
    width = features.config.stack * features.width
    arrays = {"frames": np.zeros((1, 1, width), np.float32), "inside": np.ones((1, 1), np.int32)}
    states = {name: np.zeros((1, *shape), np.float32) for name, shape in core.states.items()}
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        found = core({**arrays, **states})
        states = {name: found[f"{name}_next"] for name in states}
        times.append(time.perf_counter() - began)
    micro = 1e6 * statistics.median(times)
    return {"what": "the network alone, ONNX Runtime", "microseconds a step": micro,
            "ms a step": 1000 * features.seconds_a_step}  # fmt: skip


def peer(python: str, run: Run) -> dict[str, Any]:
    """The same of PyTorch."""
    model = run.config()["model"]
    features = run.preprocessor().features
    sizes = {
        "width": features.config.stack * features.width, "front": model["embedding_dim"],
        "units": model["units"], "layers": model["layers"], "cell": model["cell"],
        "symbols": 1 + len(run.preprocessor().symbols),
    }  # fmt: skip
    done = subprocess.run(
        [python, str(PEER), json.dumps(sizes)], capture_output=True, text=True, check=True
    )
    micro = float(done.stdout.strip().splitlines()[-1])
    return {"what": "the network alone, PyTorch", "microseconds a step": micro,
            "ms a step": 1000 * features.seconds_a_step}  # fmt: skip


if __name__ == "__main__":
    main()
