"""Tokens a second of a character model: ONNX Runtime alone, this server, and other loops.

    python benchmarks/generate.py                                  # a quarter of an hour
    python benchmarks/generate.py --peer-python OTHER/bin/python   # PyTorch, of another environment

An LSTM of 2 layers of 256 units over 96 characters, never trained, writes ``--tokens`` characters
at temperature 1 for 1, 8, 32 and 128 streams at once. The ways take turns, ``--rounds`` times, and
a figure is the median round. Rows named ``cpu`` are tokens a second of processor time of the
process that computes, all its threads together: what counts on a machine that others use too.

* ``onnx step``: ONNX Runtime called directly, one thread: the step model alone, nothing drawn;
* ``running rows``: the same with drawing, as the server's thread does it, without a server;
* ``server, streamed``: ``seqloom serve`` in a process, each stream a REST request of its own with
  server-sent events, read by one process;
* ``server, whole``: the same requests, answered when they are whole;
* ``keras predict``: a loop over ``model.predict`` of the step model, drawn in NumPy;
* ``keras tf.function``: the same loop inside one ``tf.function``, drawn there;
* ``torch``: PyTorch's loop over a model of the same size (``generate_peer.py``), with as many
  threads as it takes by itself, and with one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import processor_seconds, report

CHARACTERS = "".join(map(chr, range(32, 124)))
LAYERS, UNITS = 2, 256
PROMPT = "a"
SLOW = ("keras predict", "torch")  # whose threads wait for each other where others compute too


def main() -> None:
    """Measures and reports."""
    options = arguments()
    if options.ask:
        print(json.dumps(asyncio.run(ask(**json.loads(options.ask)))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "characters"
        step = write_model(place)
        ways = in_this_process(place, step)
        server, port = start_server(place)
        try:
            pids = dict.fromkeys(ways, os.getpid())
            for name in ("server, streamed", "server, whole"):
                ways[name], pids[name] = asking(port, name == "server, streamed"), server.pid
            if options.peer_python:
                for name, threads in (("torch", 0), ("torch, one thread", 1)):
                    ways[name], pids[name] = peer(options.peer_python, threads)
            ways = {name: ways[name] for name in options.ways or ways}
            rows = measured(ways, pids, options)
        finally:
            server.terminate()
            server.communicate()
    report("generate", rows)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--tokens", type=int, default=300, help="of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", help="only these")
    parser.add_argument("--peer-python", help="an interpreter that has PyTorch")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(
    ways: dict[str, Callable], pids: dict[str, int], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Two rows for each way: median tokens a second by number of streams, and of processor time."""
    walls: dict[str, dict[int, list[float]]] = {n: {s: [] for s in options.streams} for n in ways}
    cpus: dict[str, dict[int, list[float]]] = {n: {s: [] for s in options.streams} for n in ways}
    for name, way in ways.items():
        way(2, 10)  # what is compiled and allocated is not measured
        print(f"{name} runs", file=sys.stderr)
    for _ in range(options.rounds):
        for streams in options.streams:
            for name, way in ways.items():
                # Slow ones get fewer tokens: a rate does not depend on them.
                tokens = min(options.tokens, 25) if name in SLOW else options.tokens
                way(streams, 2)
                before = processor_seconds(pids[name])
                walls[name][streams].append(streams * tokens / way(streams, tokens))
                spent = processor_seconds(pids[name]) - before
                cpus[name][streams].append(streams * tokens / max(spent, 0.01))
    return [
        {"tokens a second": f"{name}{what}",
         **{f"{s} streams": statistics.median(rates[s]) for s in rates}}
        for what, found in (("", walls), (", cpu", cpus)) for name, rates in found.items()
    ]  # fmt: skip


def write_model(place: Path) -> Any:
    """``<place>/1`` for a server; the Keras model of one step."""
    import keras

    from decoding.sampling import SamplingConfig
    from models.language import language_cores, language_model
    from models.language_config import LanguageConfig
    from pipelines.language import LanguagePreprocessor
    from pipelines.units import Units
    from serving.native_onnx import step_model
    from serving.native_onnx.writer import export_onnx

    keras.utils.set_random_seed(0)
    units = Units.adapt([CHARACTERS], "char")
    config = LanguageConfig(layers=LAYERS, units=UNITS, embedding_dim=UNITS, tied=False)
    model = language_model(config, len(units))
    kernel, bias = model.get_layer("output").get_weights()
    bias[:4] = -30  # no text ends before its length
    model.get_layer("output").set_weights([kernel * 30, bias])
    cores = language_cores(model)
    step = step_model(cores["next"])
    (place / "1").mkdir(parents=True)
    decoding = SamplingConfig(temperature=1.0, max_tokens=300).to_dict()
    LanguagePreprocessor(units, True, 70, decoding).save(place / "1")
    export_onnx(cores["model"], place / "1" / "model.onnx")
    export_onnx(step, place / "1" / "step.onnx")
    return step


def in_this_process(place: Path, step: Any) -> dict[str, Callable[[int, int], float]]:
    """Ways that need no other process: seconds for so many streams of so many tokens."""
    from pipelines.preprocessor import load_preprocessor
    from serving.onnx_core import OnnxCore

    core = OnnxCore(place / "1" / "step.onnx", threads=1)
    program = load_preprocessor(place / "1").programs["generate"]

    def alone(streams: int, tokens: int) -> float:
        arrays = first_inputs(core.states, streams)
        began = time.perf_counter()
        for _ in range(tokens):
            found = core.session.run(None, arrays)
            outputs = dict(zip((o.name for o in core.session.get_outputs()), found, strict=True))
            arrays |= {name: outputs[f"{name}_next"] for name in core.states}
        return time.perf_counter() - began

    def rows(streams: int, tokens: int) -> float:
        from decoding.running import RunningRow

        running = program.running(core)
        for seed in range(streams):
            running.join(RunningRow(np.array([5], np.int32), {"seed": seed}))
        began = time.perf_counter()
        for _ in range(tokens):
            running.advance()
        return time.perf_counter() - began

    return {"onnx step": alone, "running rows": rows, "keras predict": predict_loop(step),
            "keras tf.function": function_loop(step)}  # fmt: skip


def first_inputs(states: Any, streams: int) -> dict[str, np.ndarray]:
    """Ids and states before the first step."""
    zeros = {name: np.zeros((streams, *shape), np.float32) for name, shape in states.items()}
    return {"tokens": np.full(streams, 5, np.int32), **zeros}


def predict_loop(step: Any) -> Callable[[int, int], float]:
    """The loop that tutorials show."""
    from decoding.sampling import choose, uniforms
    from pipelines.program import KerasCore

    states = KerasCore(step).states

    def run(streams: int, tokens: int) -> float:
        arrays, seeds = first_inputs(states, streams), np.arange(streams)
        began = time.perf_counter()
        for position in range(tokens):
            outputs = step.predict(arrays, verbose=0)
            arrays = {name: outputs[f"{name}_next"] for name in states}
            values = outputs["log_probabilities"]
            arrays["tokens"] = choose(values, uniforms(seeds, position))
        return time.perf_counter() - began

    return run


def function_loop(step: Any) -> Callable[[int, int], float]:
    """``decoding.sampling_graph`` around the model in one graph, as in the SavedModel."""
    import tensorflow as tf

    from decoding.sampling_graph import sample
    from pipelines.program import KerasCore

    states = KerasCore(step).states

    def one(ids: tf.Tensor, given: Any) -> Any:
        outputs = step({"tokens": ids, **given})
        return outputs["log_probabilities"], {n: outputs[f"{n}_next"] for n in states}

    @tf.function(reduce_retracing=True)
    def loop(first: tf.Tensor, given: Any, tokens: tf.Tensor) -> tf.Tensor:
        seeds = tf.range(tf.shape(first)[0], dtype=tf.int64)
        return sample(one, first, given, end=None, seed=seeds, max_tokens=tokens).ids

    def run(streams: int, tokens: int) -> float:
        arrays = {name: tf.constant(x) for name, x in first_inputs(states, streams).items()}
        first = arrays.pop("tokens")
        loop(first, arrays, tf.constant(2))  # a graph for each number of streams, at most
        began = time.perf_counter()
        loop(first, arrays, tf.constant(tokens)).numpy()
        return time.perf_counter() - began

    return run


def start_server(place: Path) -> tuple[subprocess.Popen, int]:
    """A server process and its port."""
    command = [sys.executable, "-m", "seqloom", "serve", str(place), "--rest-port", "0",
               "--grpc-port", "0"]  # fmt: skip
    root = Path(__file__).resolve().parents[1]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    assert server.stdout is not None
    return server, json.loads(server.stdout.readline())["rest_port"]


def asking(port: int, streamed: bool) -> Callable[[int, int], float]:
    """Seconds that a process of its own waits for all streams."""

    def run(streams: int, tokens: int) -> float:
        what = {"port": port, "streams": streams, "tokens": tokens, "streamed": streamed}
        command = [sys.executable, __file__, "--ask", json.dumps(what)]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    return run


async def ask(port: int, streams: int, tokens: int, streamed: bool) -> float:
    """Opens all connections, asks on all of them, and reads all answers to their end."""

    async def one(seed: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        inputs = {"text": [PROMPT], "max_tokens": tokens, "seed": seed}
        body = json.dumps({"inputs": inputs, "stream": streamed}).encode()
        head = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        writer.write(b"POST /v1/models/characters:generate HTTP/1.1\r\nHost: x\r\n" + head + body)
        events = 0
        while part := await reader.read(2**16):
            events += part.count(b'"token"')
        return events

    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(streams)]
    began = time.perf_counter()
    events = await asyncio.gather(*(one(seed, *each) for seed, each in enumerate(connections)))
    seconds = time.perf_counter() - began
    assert not streamed or set(events) == {tokens}, events
    return seconds


def peer(python: str, threads: int) -> tuple[Callable[[int, int], float], int]:
    """Seconds of PyTorch's loop, in a process that stays, and its number."""
    script = Path(__file__).with_name("generate_peer.py")
    process = subprocess.Popen(
        [python, str(script), str(LAYERS), str(UNITS), str(len(CHARACTERS) + 4), str(threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def run(streams: int, tokens: int) -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{streams} {tokens}\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    return run, process.pid


if __name__ == "__main__":
    main()
