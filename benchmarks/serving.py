"""Requests a second, p50 and p99 of the model server beside a plain TensorFlow server.

    python benchmarks/serving.py --data ../shared/data/imdb      # a quarter of an hour
    python benchmarks/serving.py --seconds 3 --clients 64

A sentiment model of two bidirectional LSTM layers of 64 units answers one review a request, at the
lengths that reviews of imdb have (random words of such lengths where the data is not there). Every
server is a process of its own, and so is what asks: closed loops on kept connections, requests made
before (``serving_load.py``). Servers take turns, ``--rounds`` times, and a row is the median round.
The peer is ``serving_peer.py``, on the SavedModel of this project's export, and on one of the same
model with Keras's layers as they are. ``--before DIR``: the server of another checkout, too.

With ``--task tagging --data ../shared/data/ud_english_ewt`` a tagger of default settings answers
one sentence a request, as raw text; ``--task intent`` likewise.

The first rows of a round have no server: ONNX Runtime behind the server's own batcher with as many
requests waiting, one process, no network and no event loop; each answer asks for the next text,
which is encoded already, or encoded then. Ratios are to the former, in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from measuring import report
from serving_load import load
from serving_models import TEXTS, make_bundle, reviews, tagger_bundle

SERVERS = {
    "onnx": [],
    "onnx, not joined": ["--batch-size", "1"],
    "savedmodel": ["--backend", "savedmodel"],
    "peer": "savedmodel",
    "peer, Keras's own layers": "keras",
}


def main() -> None:
    """Measures and reports."""
    options = arguments()
    if options.ask:
        print(json.dumps(load(json.loads(options.ask))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if options.task == "sentiment":
            rows = reviews(options.data)
            texts = [row["text"] for row in rows[-TEXTS:]]
            bundle = options.bundle or make_bundle(Path(scratch), rows[:-TEXTS])
        else:
            texts, bundle = tagger_bundle(Path(scratch), options.task, options.data)
        (Path(scratch) / "texts.json").write_text(json.dumps(texts))
        rows = measured(bundle, Path(scratch) / "texts.json", options)
    name = "serving" if options.task == "sentiment" else f"serving_{options.task}"
    report(f"{name}_before" if options.before else name, rows)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", default="sentiment", choices=["sentiment", "tagging", "intent"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/imdb"))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--servers", nargs="+", default=list(SERVERS), choices=list(SERVERS))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="another checkout, whose server takes part")
    parser.add_argument("--bundle", type=Path, help="of sentiment, made before")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(bundle: Path, texts: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each server, over each protocol, with each number of clients; by turns."""
    alone = Alone(bundle, json.loads(texts.read_text()))
    servers: list[tuple[str, Path | None]] = [(name, None) for name in options.servers]
    if options.before:
        servers.insert(0, ("onnx", options.before))
    found: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        best = {}
        for clients in options.clients:
            for form in ("encoded", "and encoding"):
                place = f"none: ONNX Runtime, {form}", "", clients
                found.setdefault(place, []).append(alone.load(clients, form, options.seconds))
                best.setdefault(clients, found[place][-1]["requests/s"])
                print(*place, found[place][-1], flush=True)
        for name, tree in servers:
            with Served(name, bundle, tree) as server:
                for order in orders(server, texts, options):
                    named = f"before: {name}" if tree else name
                    place = named, order["protocol"], order["clients"]
                    row = asked(order)
                    row |= {"of none": row["requests/s"] / best[place[2]], **server.cost}
                    found.setdefault(place, []).append(row)
                    print(*place, row, flush=True)
    return [
        {"server": name, "protocol": protocol, "clients": clients,
         **{key: statistics.median(one[key] for one in rounds) for key in rounds[0]}}
        for (name, protocol, clients), rounds in found.items()
    ]  # fmt: skip


def orders(server: Served, texts: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What a server is asked: over each protocol, by each number of clients."""
    same = {"model": server.model, "texts": str(texts), "pids": [server.process.pid],
            "seconds": options.seconds}  # fmt: skip
    return [
        {"protocol": protocol, "port": port, "clients": clients, **same}
        for protocol, port in server.ports.items() for clients in options.clients
    ]  # fmt: skip


class Alone:
    """ONNX Runtime behind the server's own batcher, in this process.

    Args:
        bundle: whose model runs.
        texts: that are asked about.
    """

    def __init__(self, bundle: Path, texts: list[str]) -> None:
        import numpy as np

        from serving.runtime.loading import find_model, load

        ((_, path),) = find_model(bundle).versions().items()
        self._runner = load(path).runners["serving_default"]
        self._requests = [{"text": np.array([text.encode()], object)} for text in texts]
        self._encoded = [self._runner.encode(request) for request in self._requests]

    def load(self, clients: int, form: str, seconds: float) -> dict[str, float]:
        """Asks for a while, always so many at once; each answer asks for the next."""
        from serving.runtime.batching import Batcher

        batcher, drawn, ended = Batcher(), random.Random(0), threading.Semaphore(0)
        began, busy = time.perf_counter(), time.process_time()
        counts: list[int] = []

        def ask() -> None:
            number = drawn.randrange(len(self._requests))
            one = self._encoded[number]
            if form != "encoded":
                one = self._runner.encode(self._requests[number])
            batcher.submit(self._runner, one).add_done_callback(answered)

        def answered(future: Any) -> None:
            self._runner.decode(future.result())
            counts.append(1)
            if time.perf_counter() - began < seconds:
                ask()
            else:
                ended.release()

        for _ in range(clients):
            ask()
        for _ in range(clients):
            ended.acquire()
        elapsed, busy = time.perf_counter() - began, time.process_time() - busy
        batcher.close()
        return {
            "requests/s": len(counts) / elapsed,
            "server ms": busy / len(counts) * 1e3,
        }


class Served:
    """A server's process.

    Args:
        name: of ``SERVERS``.
        bundle: that it serves.
        tree: checkout that it runs from; this one if None.
    """

    def __init__(self, name: str, bundle: Path, tree: Path | None = None) -> None:
        flags, bundle = SERVERS[name], bundle.resolve()
        self.model = json.loads((bundle / "manifest.json").read_text())["name"]
        if isinstance(flags, str):
            peer = Path(__file__).with_name("serving_peer.py")
            command = [str(peer), str(bundle / flags / "1")]
        else:
            command = ["-m", "seqloom", "serve", str(bundle), "--rest-port", "0",
                       "--grpc-port", "0", *flags]  # fmt: skip
        began = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(tree.resolve())} if tree else None
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tree,
            env=environment,
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


if __name__ == "__main__":
    main()
