"""Microseconds a row: a detector that carries its state, in the process and served over REST.

    python benchmarks/streaming.py

Trains the default detector on the synthetic sensor for a moment (its size is what counts),
exports it, and pushes rows one by one; beside it, asking about the last 64 rows anew each time.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import report

import tasks
from serving import Predictor, Stream
from tasks.stages.exporting import export
from tasks.stages.run_directory import Run
from tasks.stages.training import train

ROWS, WINDOW = 2000, 64


def main() -> None:
    """Measures and reports."""
    task = tasks.get("anomaly")
    data = task.data_options("synthetic:3000")
    settings = task.with_settings(task.settings, {"epochs": 1})
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Path(scratch) / "run")
        train(task, data, settings, run)
        bundle = Path(export(run, run.path / "bundle")["bundle"])
        series = task.load(data).test[0].series
        values, times = series.values, series.times
        stream, predictor = Stream(bundle), Predictor(bundle, threads=1)

        def window(t: int) -> None:
            rows = slice(max(0, t - WINDOW), t + 1)
            raw = {"values": values[rows], "time": times[rows]}
            predictor.run(predictor.preprocessor.to_request([raw]))

        rows = [
            {
                "form": "Stream.push, state carried",
                **timed(lambda t: stream.push(values[t], times[t])),
            },
            {"form": f"Predictor, last {WINDOW} rows anew", **timed(window)},
            {
                "form": "REST, signature step, states sent back",
                **served(bundle, predictor.model.programs["step"].initial(1), values, times),
            },
        ]
    report("streaming", rows)


def timed(push: Callable[[int], object]) -> dict[str, float]:
    """Median and 99th percentile of a row, in microseconds."""
    found = []
    for t in range(ROWS):
        began = time.perf_counter()
        push(t)
        found.append(1e6 * (time.perf_counter() - began))
    return {
        "median us": statistics.median(found[100:]),
        "p99 us": float(np.quantile(found[100:], 0.99)),
    }


def served(
    bundle: Path, initial: dict[str, np.ndarray], values: np.ndarray, times: np.ndarray
) -> dict[str, float]:
    """Round trips over one kept connection, JSON and all."""
    states = {name: value.tolist() for name, value in initial.items()}
    command = [sys.executable, "-m", "seqloom", "serve", str(bundle)]
    command += ["--rest-port", "0", "--grpc-port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        ready = json.loads(server.stdout.readline())
        client = http.client.HTTPConnection("127.0.0.1", ready["rest_port"], timeout=30)

        def push(t: int) -> None:
            inputs = {"values": [values[t].tolist()], "time": [int(times[t])], **states}
            body = json.dumps({"signature_name": "step", "inputs": inputs})
            client.request("POST", f"/v1/models/{ready['model']}:predict", body)
            outputs = json.loads(client.getresponse().read())["outputs"]
            states.update({name: outputs[f"{name}_next"] for name in states})

        return timed(push)
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
