"""Where the processor's time of a request goes, in microseconds: each step by itself.

    python benchmarks/serving_steps.py --data ../shared/data/imdb      # two minutes

The model and the texts are those of ``serving.py``. Each step runs alone in one thread, over all
texts, and the best of several rounds counts. The last rows are a server whose model answers at once
with the same numbers, asked by 16 clients of another process: processor time of the server's
process for a request, everything but ONNX Runtime, the median of turns. What the steps above leave
of it is sockets, HTTP or HTTP/2, the event loop and threads. With ``--before DIR`` the server of
another checkout takes turns with this one.
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
from pathlib import Path
from typing import Any

import numpy as np
from measuring import report
from serving_load import grpc_message, load
from serving_models import TEXTS, make_bundle, reviews

ROUNDS, TURNS, BATCHES = 5, 3, (1, 8, 32)
SHORT = "a fine film"
# Run by Python in the root of a checkout: a server whose model answers at once.
WITHOUT_MODEL = """
import json, sys
import numpy as np
from serving import running
from serving.runtime.batching import BatchOptions
from serving.runtime.core_backends import ProgramRunner
from serving.runtime.runtime import Runtime

def answer(runner, encoded, timeout=None):
    return {"probabilities": np.full((len(encoded["tokens"]), 2), 0.123456789, np.float32)}

ProgramRunner.execute = answer
with running(sys.argv[1], Runtime(batching=BatchOptions(workers=1))) as server:
    print(json.dumps({"REST": server.rest_port, "gRPC": server.grpc_port}), flush=True)
    sys.stdin.read()
"""


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/imdb"))
    parser.add_argument("--bundle", type=Path, help="of sentiment, made before")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--before", type=Path, help="another checkout, whose server takes part")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(load(json.loads(options.ask))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        rows = reviews(options.data)
        bundle = options.bundle or make_bundle(Path(scratch), rows[:-TEXTS])
        texts = [row["text"] for row in rows[-TEXTS:]]
        found = steps(bundle, texts)
        for length, asked in (("these texts", texts), (f"{SHORT!r}", [SHORT])):
            file = Path(scratch) / "texts.json"
            file.write_text(json.dumps(asked))
            found += whole(bundle.resolve(), file, length, options)
    report("serving_steps", found)


def steps(bundle: Path, texts: list[str]) -> list[dict[str, Any]]:
    """Each step of a request by itself."""
    from pipelines.ragged import join
    from serving import protos
    from serving.runtime import loading
    from serving.runtime.batching import bucket
    from serving.runtime.rest_json import format_predict, parse_predict
    from serving.tensors import fill_proto, to_array

    ((_, path),) = loading.find_model(bundle).versions().items()
    runner = loading.load(path).runners["serving_default"]
    known = runner.signature["inputs"]
    bodies = [json.dumps({"instances": [text]}).encode() for text in texts]
    messages = [grpc_message("sentiment", text) for text in texts]
    requests = [{"text": np.array([text.encode()], object)} for text in texts]
    encoded = [runner.encode(request) for request in requests]
    outputs = [runner.execute(one) for one in encoded]
    answers = [runner.decode(one) for one in outputs]

    def read(message: bytes) -> None:
        to_array(protos.PredictRequest.FromString(message).inputs["text"])

    def write(answer: dict[str, np.ndarray]) -> None:
        response = protos.PredictResponse()
        for name, array in answer.items():
            fill_proto(response.outputs[name], array)
        response.SerializeToString()

    def batches(size: int) -> list[dict[str, np.ndarray]]:
        by_length: dict[int, list[Any]] = {}
        for one in encoded:
            by_length.setdefault(bucket(one["tokens"].shape[1]), []).append(one)
        cuts = ((group, i) for group in by_length.values() for i in range(0, len(group), size))
        return [join(group[i : i + size], runner.fields) for group, i in cuts]

    rows = [
        ("JSON to arrays", bodies, lambda body: parse_predict(body, lambda _: known)),
        ("protobuf to arrays", messages, read),
        ("text to ids", requests, runner.encode),
        ("outputs to label and probabilities", outputs, runner.decode),
        ("arrays to JSON", answers, lambda one: format_predict(one, True, runner.fields)),
        ("arrays to protobuf", answers, write),
        *(
            (f"ONNX Runtime, up to {size} of like length", batches(size), runner.execute)
            for size in BATCHES
        ),
    ]
    return [{"step": name, "us": best(step, of) / len(texts)} for name, of, step in rows]


def best(step: Callable[[Any], object], values: list[Any]) -> float:
    """Processor microseconds of a step over all values, in the fastest round."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for value in values:
            step(value)
        found.append(1e6 * (time.process_time() - began))
    return min(found)


def whole(
    bundle: Path, texts: Path, length: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The server without its model, over each protocol."""
    trees = {"": Path(__file__).resolve().parents[1]}
    if options.before:
        trees = {"before: ": options.before.resolve(), **trees}
    found: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for prefix, tree in trees.items():
            server = subprocess.Popen(
                [sys.executable, "-c", WITHOUT_MODEL, str(bundle)], cwd=tree,
                env={**os.environ, "PYTHONPATH": str(tree)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            for protocol, port in json.loads(server.stdout.readline()).items():
                order = {"protocol": protocol, "port": port, "clients": 16, "model": "sentiment",
                         "texts": str(texts), "pids": [server.pid],
                         "seconds": options.seconds}  # fmt: skip
                command = [sys.executable, __file__, "--ask", json.dumps(order)]
                answer = subprocess.run(command, capture_output=True, check=True).stdout
                for part, name in (("server", "all but the model"), ("client", "the client")):
                    step = f"{prefix}{protocol}, {length}, {name}"
                    found.setdefault(step, []).append(1e3 * json.loads(answer)[f"{part} ms"])
            server.communicate()
    return [{"step": step, "us": statistics.median(times)} for step, times in found.items()]


if __name__ == "__main__":
    main()
