"""Requests a second, p50 and p99 of the model server beside a plain TensorFlow server.

    python benchmarks/serving.py --data ../shared/data/imdb      # a quarter of an hour
    python benchmarks/serving.py --seconds 3 --clients 64

A sentiment model of two bidirectional LSTM layers of 64 units answers one review a request, at the
lengths that reviews of imdb have (random words of such lengths where the data is not there). Every
server is a process of its own, and so is what asks: closed loops on kept connections. Servers take
turns, ``--rounds`` times, and a row is the median round. The peer is ``serving_peer.py``, on the
SavedModel of this project's export, and on one of the same model with Keras's layers as they are.

With ``--task tagging --data ../shared/data/ud_english_ewt`` a tagger of default settings answers
one sentence a request, as raw text; ``--task intent`` likewise.

The first rows have no server: ONNX Runtime in one process on the same batches, already encoded, and
with the encoding.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from measuring import report

SERVERS = {
    "onnx": [],
    "onnx, not joined": ["--batch-size", "1"],
    "savedmodel": ["--backend", "savedmodel"],
    "peer": "savedmodel",
    "peer, Keras's own layers": "keras",
}
MODEL = {"cell": "lstm", "layers": 2, "units": 64, "bidirectional": True, "epochs": 1}
TEXTS = 512


def main() -> None:
    """Measures and reports."""
    options = arguments()
    if options.ask:
        print(json.dumps(asyncio.run(load(json.loads(options.ask)))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if options.task == "sentiment":
            rows = reviews(options.data)
            texts = [row["text"] for row in rows[-TEXTS:]]
            bundle = make_bundle(Path(scratch), rows[:-TEXTS])
        else:
            texts, bundle = tagger_bundle(Path(scratch), options)
        (Path(scratch) / "texts.json").write_text(json.dumps(texts))
        rows = without_server(bundle, texts, options.seconds)
        rows += with_servers(bundle, Path(scratch) / "texts.json", options)
    report("serving" if options.task == "sentiment" else f"serving_{options.task}", rows)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", default="sentiment", choices=["sentiment", "tagging", "intent"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/imdb"))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--servers", nargs="+", default=list(SERVERS), choices=list(SERVERS))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    return parser.parse_args()


def reviews(place: Path) -> list[dict[str, str]]:
    """Texts and labels: to train on, and the last ``TEXTS`` to ask about."""
    if place.is_dir():
        import tasks

        task = tasks.get("sentiment")
        splits = task.load(task.data_options(str(place)))
        chosen = [*splits.train[:1000], *splits.test[:TEXTS]]
        return [{"text": example.text, "label": example.label} for example in chosen]
    print(f"{place} is not there: random words instead", file=sys.stderr)
    drawn = random.Random(0)
    lengths = [min(1000, int(drawn.lognormvariate(5.2, 0.6))) for _ in range(1000 + TEXTS)]
    return [
        {"text": " ".join(f"word{drawn.randrange(5000)}" for _ in range(n)), "label": "ab"[n % 2]}
        for n in lengths
    ]


def make_bundle(scratch: Path, rows: list[dict[str, str]]) -> Path:
    """The model; trained for a moment, since only its size and vocabulary count."""
    import tensorflow as tf

    import tasks
    from serving.savedmodel import ServingModule
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task = tasks.get("sentiment")
    settings = task.with_settings(task.settings, MODEL)
    run = Run(scratch / "run")
    file = scratch / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train(task, task.data_options(str(file)), settings, run)
    bundle = Path(export(run, scratch / "bundle")["bundle"])
    plain = ServingModule(task.cores(run.model()), run.preprocessor())
    tf.saved_model.save(plain, str(bundle / "keras" / "1"), signatures=plain.functions)
    return bundle


def tagger_bundle(scratch: Path, options: argparse.Namespace) -> tuple[list[str], Path]:
    """Sentences of the test part, and a tagger; trained for a moment."""
    import tensorflow as tf

    import tasks
    from serving.savedmodel import ServingModule
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task = tasks.get(options.task)
    data = task.data_options(str(options.data))
    splits = task.load(data)
    texts = [one.text or " ".join(one.tokens) for one in splits.test[:TEXTS]]
    run = Run(scratch / "run")
    train(task, data, task.with_settings(task.settings, {"epochs": 1}), run, splits=splits)
    bundle = Path(export(run, scratch / "bundle", splits=splits)["bundle"])
    plain = ServingModule(task.cores(run.model()), run.preprocessor())
    tf.saved_model.save(plain, str(bundle / "keras" / "1"), signatures=plain.functions)
    return texts, bundle


def without_server(bundle: Path, texts: list[str], seconds: float) -> list[dict[str, Any]]:
    """What ONNX Runtime alone does with as many requests waiting."""
    import numpy as np

    from serving.runtime.batching import Batcher
    from serving.runtime.loading import find_model, load

    ((_, path),) = find_model(bundle).versions().items()
    runner = load(path).runners["serving_default"]
    requests = [{"text": np.array([text.encode()], object)} for text in texts]
    rows = []
    for form, encoded in (("already encoded", True), ("and encoding", False)):
        inputs = [runner.encode(request) for request in requests]
        batcher, done, waiting = Batcher(), 0, []
        until = time.perf_counter() + seconds
        began = time.perf_counter()
        while time.perf_counter() < until:
            number = (done + len(waiting)) % len(requests)
            one = inputs[number] if encoded else runner.encode(requests[number])
            waiting.append(batcher.submit(runner, one))
            if len(waiting) >= 64:
                runner.decode(waiting.pop(0).result())
                done += 1
        for future in waiting:
            future.result()
        rate = (done + len(waiting)) / (time.perf_counter() - began)
        batcher.close()
        rows.append({"server": f"none: ONNX Runtime, {form}", "clients": 64, "requests/s": rate})
        print(rows[-1], flush=True)
    return rows


def with_servers(bundle: Path, texts: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each server, over each protocol, with each number of clients; by turns."""
    found: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    started: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name in options.servers:
            with Served(name, bundle) as server:
                started.setdefault(name, []).append(server.cost)
                for protocol, port in server.ports.items():
                    for clients in options.clients:
                        order = {"protocol": protocol, "port": port, "clients": clients,
                                 "model": server.model, "texts": str(texts),
                                 "seconds": options.seconds}  # fmt: skip
                        place = name, protocol, clients
                        found.setdefault(place, []).append(asked(order))
                        print(*place, found[place][-1], flush=True)
    return [
        {"server": name, "protocol": protocol, "clients": clients,
         **{key: statistics.median(one[key] for one in measured) for key in measured[0]},
         **({key: statistics.median(one[key] for one in started[name]) for key in started[name][0]}
            if clients == options.clients[0] else {})}
        for (name, protocol, clients), measured in found.items()
    ]  # fmt: skip


class Served:
    """A server's process.

    Args:
        name: of ``SERVERS``.
        bundle: that it serves.
    """

    def __init__(self, name: str, bundle: Path) -> None:
        flags = SERVERS[name]
        self.model = json.loads((bundle / "manifest.json").read_text())["name"]
        if isinstance(flags, str):
            peer = Path(__file__).with_name("serving_peer.py")
            command = [str(peer), str(bundle / flags / "1")]
        else:
            command = ["-m", "seqloom", "serve", str(bundle), "--rest-port", "0",
                       "--grpc-port", "0", *flags]  # fmt: skip
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        told = json.loads(self.process.stdout.readline())
        self.cost = {"ready after s": time.perf_counter() - began, "MB": self.resident() / 1e6}
        self.ports = {"REST": told["rest_port"]}
        if told["grpc_port"]:
            self.ports["gRPC"] = told["grpc_port"]

    def resident(self) -> int:
        """Bytes in memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def asked(order: dict[str, Any]) -> dict[str, float]:
    """What a process of its own measures."""
    command = [sys.executable, __file__, "--ask", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


async def load(order: dict[str, Any]) -> dict[str, float]:
    """Closed loops of clients, each with a connection; the first fifth of the time warms up."""
    texts = json.loads(Path(order["texts"]).read_text())
    make = rest_client if order["protocol"] == "REST" else grpc_client
    times: list[float] = []
    began = time.perf_counter()
    counted, until = began + order["seconds"] / 5, began + order["seconds"] * 1.2

    async def client(number: int) -> None:
        ask = await make(order)
        drawn = random.Random(number)
        while (before := time.perf_counter()) < until:
            await ask(drawn.choice(texts))
            if before > counted:
                times.append(time.perf_counter() - before)

    await asyncio.gather(*(client(number) for number in range(order["clients"])))
    times.sort()
    return {
        "requests/s": len(times) / (time.perf_counter() - counted),
        "p50 ms": times[len(times) // 2] * 1e3,
        "p99 ms": times[int(len(times) * 0.99)] * 1e3,
    }


async def rest_client(order: dict[str, Any]) -> Callable[[str], Awaitable[None]]:
    """One kept connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", order["port"])
    head = f"POST /v1/models/{order['model']}:predict HTTP/1.1\r\nHost: localhost\r\n"

    async def ask(text: str) -> None:
        body = json.dumps({"instances": [text]}).encode()
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        reply = await reader.readuntil(b"\r\n\r\n")
        assert reply.startswith(b"HTTP/1.1 200"), reply
        length = next(
            int(line.partition(b":")[2])
            for line in reply.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)

    return ask


async def grpc_client(order: dict[str, Any]) -> Callable[[str], Awaitable[None]]:
    """One channel."""
    import grpc

    from serving import protos

    channel = grpc.aio.insecure_channel(
        f"127.0.0.1:{order['port']}", [("grpc.use_local_subchannel_pool", 1)]
    )
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

    async def ask(text: str) -> None:
        request = protos.PredictRequest()
        request.model_spec.name = order["model"]
        tensor = request.inputs["text"]
        tensor.dtype = 7
        tensor.tensor_shape.dim.add().size = 1
        tensor.string_val.append(text.encode())
        assert await call(request.SerializeToString())

    return ask


if __name__ == "__main__":
    main()
