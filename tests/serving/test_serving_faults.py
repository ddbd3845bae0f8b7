"""Versions published, broken and deleted, and SIGTERM, under the load of 16 clients.

No request that was accepted is lost, and every answer is that of the version that it names.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from serving import Predictor
from serving.client import Client
from serving.errors import RequestError

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 16
pytestmark = pytest.mark.slow


def publish(bundle, version, broken=False):
    """A copy of version 1 whose labels tell its number; or a torn one."""
    aside = bundle / "onnx" / f".tmp-{version}"
    shutil.copytree(bundle / "onnx" / "1", aside)
    path = aside / "preprocessor.json"
    content = json.loads(path.read_text())
    content["labels"] = [f"{label.partition('@')[0]}@{version}" for label in content["labels"]]
    path.write_text(json.dumps(content))
    if broken:
        model = (aside / "model.onnx").read_bytes()
        (aside / "model.onnx").write_bytes(model[: len(model) // 2])
    aside.rename(bundle / "onnx" / str(version))


class Served:
    """`seqloom serve` as a process."""

    def __init__(self, bundle, backend="onnx"):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "seqloom", "serve", str(bundle), "--rest-port", "0",
             "--grpc-port", "0", "--poll", "0.1s", "--backend", backend],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        told = json.loads(self.process.stdout.readline())
        self.urls = (
            f"http://127.0.0.1:{told['rest_port']}",
            f"grpc://127.0.0.1:{told['grpc_port']}",
        )
        threading.Thread(target=self.process.stderr.read, daemon=True).start()


class Load(threading.Thread):
    """One client in a closed loop, which checks every answer."""

    def __init__(self, url, texts, want, stop, seed):
        super().__init__(daemon=True)
        self.client, self.texts, self.want, self.stop = Client(url, "sentiment"), texts, want, stop
        self.drawn, self.answered, self.wrong, self.errors = random.Random(seed), 0, [], []
        self.versions = set()

    def run(self):
        while not self.stop.is_set():
            chosen = self.drawn.sample(range(len(self.texts)), self.drawn.randrange(1, 4))
            try:
                got = self.client.predict({"text": [self.texts[i] for i in chosen]})
            except RequestError as error:
                self.errors.append((time.monotonic(), error.code, error.message))
                continue
            names = {label.decode().partition("@")[2] for label in got["label"]}
            self.versions |= names
            close = np.allclose(got["probabilities"], self.want[chosen], atol=1e-5)
            if not close or len(names) != 1:
                self.wrong.append((chosen, got))
            self.answered += 1


def load_of(server, bundle):
    texts = [" ".join(["good", "film", "not", "bad", "dull"][: n % 5 + 1] * (n + 1))
             for n in range(40)]  # fmt: skip
    predictor = Predictor(bundle)
    want = predictor.run(predictor.preprocessor.to_request(texts))["probabilities"]
    stop = threading.Event()
    clients = [Load(server.urls[n % 2], texts, want, stop, n) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    return clients, stop


def settled(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def test_versions_change_under_load(sentiment_bundle, tmp_path):
    place = tmp_path / "bundle"
    shutil.copytree(sentiment_bundle, place)
    server = Served(place)
    try:
        clients, stop = load_of(server, place)
        watcher = Client(server.urls[0], "sentiment")

        def latest():
            return max((v for v, s in watcher.status().items() if s == "AVAILABLE"), default=0)

        for version in range(2, 12):
            publish(place, version, broken=version % 3 == 0)
            if version % 3 == 0:
                settled(lambda v=version: v in watcher.status())
                time.sleep(0.3)
                assert latest() == version - 1
            else:
                settled(lambda v=version: latest() == v)
        shutil.rmtree(place / "onnx" / "11")  # rolls back
        settled(lambda: latest() == 10)
        time.sleep(0.5)
        stop.set()
        for client in clients:
            client.join(30)
        assert sum(client.answered for client in clients) > 200
        assert not [client.wrong for client in clients if client.wrong]
        assert not [client.errors for client in clients if client.errors]
        assert {"2", "10"} <= set().union(*(client.versions for client in clients))
    finally:
        server.process.kill()


def test_sigterm_under_load_loses_nothing_that_was_accepted(sentiment_bundle):
    for _ in range(3):
        server = Served(sentiment_bundle)
        try:
            clients, stop = load_of(server, sentiment_bundle)
            for client in clients:
                client.client.retries = 0
            time.sleep(1.0)
            server.process.send_signal(signal.SIGTERM)
            told = time.monotonic()
            assert server.process.wait(30) == 0
            stop.set()
            for client in clients:
                client.join(30)
            assert not [client.wrong for client in clients if client.wrong]
            assert sum(client.answered for client in clients) > 50
            for client in clients:
                for when, code, message in client.errors:
                    # Refused, and therefore safe to ask elsewhere; never failed half-way.
                    assert code == "UNAVAILABLE", message
                    assert when >= told, message
        finally:
            server.process.kill()


def test_a_client_with_retries_does_not_notice_a_restart(sentiment_bundle):
    first = Served(sentiment_bundle)
    try:
        port = first.urls[0].rpartition(":")[2]
        clients, stop = load_of(first, sentiment_bundle)
        clients = clients[::2]  # of REST, whose port the next server takes
        for client in clients:
            client.client.retries = 20
        time.sleep(0.5)
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(30) == 0
        again = subprocess.Popen(
            [sys.executable, "-m", "seqloom", "serve", str(sentiment_bundle), "--rest-port", port,
             "--grpc-port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            again.stdout.readline()
            time.sleep(1.0)
            stop.set()
            for client in clients:
                client.join(30)
                assert not client.wrong
                assert not client.errors
        finally:
            again.kill()
    finally:
        first.process.kill()
