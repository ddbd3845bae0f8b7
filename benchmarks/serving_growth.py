"""The server's cost as work grows: models in one server, open streams, rows in one request.

    python benchmarks/serving_growth.py [--only models|streams|rows] [--sizes N ...]

The model is the default detector of anomalies (its size is what counts, so it is trained for a
moment): it has windows for requests and a signature ``step`` for streams. Every point is a server
of its own, started anew, and its memory and threads are those of its process.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import RESULTS, processor_seconds, report
from serving_load import RestConnection, ask_all, posted

SIZES = {
    "models": [1, 10, 100, 500],
    "streams": [1, 10, 100, 1000, 10_000],
    "rows": [1, 10, 100, 1000, 10_000],
}
# Steps of a window; connections that streams share.
STEPS, CONNECTIONS = 32, 16
LATENCIES, POLLS_SECONDS = 300, 4


def main() -> None:
    """Measures the parts that are asked for, and keeps the others."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--sizes", nargs="+", type=int, help="instead of a part's own")
    options = parser.parse_args()
    measures = {"models": models, "streams": streams, "rows": rows}
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        bundle = make_bundle(Path(scratch))
        for part in options.only:
            for size in options.sizes or SIZES[part]:
                found.append({"part": part, "size": size, **measures[part](bundle, size)})
                print(found[-1], flush=True)
    kept = [row for row in recorded() if row["part"] not in options.only]
    order = list(SIZES)
    report("serving_growth", sorted(kept + found, key=lambda row: order.index(row["part"])))


def recorded() -> list[dict[str, Any]]:
    """The rows of the last time."""
    path = RESULTS / "serving_growth.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def make_bundle(scratch: Path) -> Path:
    """The detector, trained for a moment on the synthetic sensor."""
    import tasks
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task = tasks.get("anomaly")
    run = Run(scratch / "run")
    settings = task.with_settings(task.settings, {"epochs": 1})
    train(task, task.data_options("synthetic:3000"), settings, run)
    return Path(export(run, scratch / "bundle")["bundle"])


class Server:
    """A server's process, for as long as a point takes.

    Args:
        command: arguments of Python.
        rest_port: where it will answer.
    """

    def __init__(self, command: list[str], rest_port: int) -> None:
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.rest_port = rest_port
        while not self._answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: python {' '.join(command)}")
            time.sleep(0.005)
        self.ready = time.perf_counter() - began

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.rest_port)) == 0

    def status(self, field: str) -> int:
        """A number of /proc/PID/status."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))

    @property
    def megabytes(self) -> float:
        """Memory that it holds now."""
        return self.status("VmRSS") / 1e3

    def busy(self, seconds: float) -> float:
        """Processor seconds that it takes in a second, while nobody asks."""
        before = processor_seconds(self.process.pid)
        time.sleep(seconds)
        return (processor_seconds(self.process.pid) - before) / seconds

    def asked(self, requests: list[bytes], connections: int = 1) -> tuple[list[bytes], list[float]]:
        """Bodies of the answers, and the seconds that each took."""
        bodies, times = [b""] * len(requests), [0.0] * len(requests)

        def answered(connection: RestConnection, number: int, seconds: float) -> None:
            bodies[number], times[number] = connection.body, seconds

        made = [RestConnection(self.rest_port, requests) for _ in range(connections)]
        ask_all(made, iter(range(len(requests))), answered)
        for connection in made:
            connection.socket.close()
        return bodies, times


@contextmanager
def serving(command: Callable[[int, int], list[str]]) -> Iterator[tuple[Server, int]]:
    """A server on free ports, and its gRPC port; ended afterwards."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    server = Server(command(*ports), ports[0])
    try:
        yield server, ports[1]
    finally:
        server.process.terminate()
        server.process.wait(120)


def window(count: int = 1) -> dict[str, Any]:
    """Columnar inputs of so many windows."""
    times = [1_700_000_000 + 300 * step for step in range(STEPS)]
    values = [[2 + 0.1 * (step % 7), 40.0] for step in range(STEPS)]  # vibration, temperature
    return {"values": [values] * count, "time": [times] * count}


# --- models in one server ------------------------------------------------------------------------


def models(bundle: Path, size: int) -> dict[str, float]:
    """Seconds until a server of so many models is ready, memory, and what a reload takes."""
    import grpc

    from serving import protos

    names = [f"model{number}" for number in range(size + 1)]

    def config(count: int) -> Any:
        made = protos.ModelServerConfig()
        for name in names[:count]:
            made.model_config_list.config.add(
                name=name, base_path=str(bundle / "onnx"), model_platform="tensorflow"
            )
        return made

    with tempfile.NamedTemporaryFile("w", suffix=".pbtxt") as file:
        file.write(str(config(size)))
        file.flush()
        with serving(
            lambda rest, rpc: ["-m", "serving.tf_model_server", f"--rest_api_port={rest}",
                               f"--port={rpc}", f"--model_config_file={file.name}"]
        ) as (server, port):  # fmt: skip
            loaded, threads = server.megabytes, server.status("Threads")
            idle = server.busy(POLLS_SECONDS)
            body = json.dumps({"inputs": window()}).encode()
            requests = [posted(f"/v1/models/{name}:predict", body) for name in names[:size]]
            first = server.asked(requests)[1]
            drawn = random.Random(0)
            times = server.asked([drawn.choice(requests) for _ in range(LATENCIES)])[1]
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = channel.unary_unary(
                    "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
                )

                def reload(count: int) -> float:
                    began = time.perf_counter()
                    call(protos.ReloadConfigRequest(config=config(count)).SerializeToString())
                    return time.perf_counter() - began

                same, one_more = reload(size), reload(size + 1)
            return {
                "ready s": server.ready, "MB": loaded, "MB once all were asked": server.megabytes,
                "threads": threads, "processor share while idle": idle,
                "first request ms": 1e3 * statistics.median(first),
                "request ms": 1e3 * statistics.median(times),
                "reload of the same ms": 1e3 * same, "reload with one more ms": 1e3 * one_more,
            }  # fmt: skip


# --- open streams --------------------------------------------------------------------------------


def streams(bundle: Path, size: int) -> dict[str, float]:
    """Memory of so many open streams, what a step takes, and how they are forgotten."""
    name, idle = json.loads((bundle / "manifest.json").read_text())["name"], 3 + size / 400
    with serving(
        lambda rest, rpc: ["-m", "seqloom", "serve", str(bundle), "--rest-port", str(rest),
                           "--grpc-port", str(rpc), "--stream-idle", f"{idle}s"]
    ) as (server, _):  # fmt: skip
        row = {name: values[0] for name, values in window().items()}
        step = json.dumps({"inputs": {name: values[:1] for name, values in row.items()}}).encode()
        warm = server.asked([posted(f"/v1/models/{name}:open", b"")] * CONNECTIONS, CONNECTIONS)[0]
        server.asked([posted(path_of(one), step) for one in warm] * 20, CONNECTIONS)
        server.asked([posted(path_of(one, "close"), b"") for one in warm])
        before, busy = server.megabytes, processor_seconds(server.process.pid)
        began = time.perf_counter()
        opened = server.asked([posted(f"/v1/models/{name}:open", b"")] * size, CONNECTIONS)[0]
        opening = processor_seconds(server.process.pid) - busy
        paths = [path_of(one) for one in opened]
        server.asked([posted(path, step) for path in paths], CONNECTIONS)
        elapsed = time.perf_counter() - began
        held = server.megabytes
        drawn = random.Random(0)
        alone = server.asked([posted(drawn.choice(paths), step) for _ in range(LATENCIES)])[1]
        return {
            "MB": before, "KB a stream": 1e3 * (held - before) / size,
            "open and first step us each": 1e6 * elapsed / size,
            "processor us to open each": 1e6 * opening / size,
            "step ms": 1e3 * statistics.median(alone),
            **expiry(server, idle),
        }  # fmt: skip


def path_of(opened: bytes, verb: str = "step") -> str:
    """Where a stream is asked for a step."""
    return f"/v1/streams/{json.loads(opened)['stream']}:{verb}"


def expiry(server: Server, idle_seconds: float) -> dict[str, float]:
    """The longest that anybody waits while idle streams are forgotten; all of them must be."""
    waited: list[float] = []
    health = RestConnection(server.rest_port, [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    until = time.perf_counter() + 1.6 * idle_seconds  # it looks twice in that time
    while time.perf_counter() < until:
        ask_all([health], iter([0]), lambda _, number, seconds: waited.append(seconds))
        time.sleep(0.001)
    page = f"http://127.0.0.1:{server.rest_port}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(page) as answer:
        assert b":seqloom:sessions 0\n" in answer.read()
    return {"longest wait at expiry ms": 1e3 * max(waited), "MB afterwards": server.megabytes}


# --- rows in one request -------------------------------------------------------------------------


def rows(bundle: Path, size: int) -> dict[str, float]:
    """Milliseconds a row, and peak memory, of a request of so many windows."""
    name = json.loads((bundle / "manifest.json").read_text())["name"]
    with serving(
        lambda rest, rpc: ["-m", "seqloom", "serve", str(bundle), "--rest-port", str(rest),
                           "--grpc-port", str(rpc)]
    ) as (server, _):  # fmt: skip
        request = posted(
            f"/v1/models/{name}:predict", json.dumps({"inputs": window(size)}).encode()
        )
        server.asked(
            [posted(f"/v1/models/{name}:predict", json.dumps({"inputs": window()}).encode())]
        )
        before = server.status("VmHWM") / 1e3
        times = server.asked([request] * 3)[1]
        return {
            "request MB": len(request) / 1e6, "ms": 1e3 * min(times),
            "us a row": 1e6 * min(times) / size,
            "peak MB more": server.status("VmHWM") / 1e3 - before,
        }  # fmt: skip


if __name__ == "__main__":
    main()
