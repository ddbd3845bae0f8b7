"""Requests a second and latency of a bundle in a real Triton beside this project's own server.

    TRITON_PYTHON=triton/bin/python python benchmarks/triton_server.py --data ../shared/data/mr

Triton is the one of the wheel ``nvidia-pytriton`` (docs/triton.md says how to install it), with the
exported model of its Python backend: text in, label out, as from ``seqloom serve``. Both are asked
over gRPC, by a process of its own that sends the same bytes over and over, so that no client's
library is measured. Servers take turns, ``--rounds`` times, and a row is the median round. The last
column is the rate beside that of this project's server in the same round; "server ms" is processor
time of all processes of a server for a request.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from measuring import report
from serving_load import grpc_message, load

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "serving"))
MODEL = {"cell": "lstm", "layers": 2, "units": 64, "bidirectional": True, "epochs": 1}
TEXTS = 256
OWN = "seqloom serve"
# Processes of the model, by the row's name.
TRITON = {"Triton, one process": 1, "Triton, two processes": 2}


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="synthetic:2000")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bundle", type=Path, help="made before, by this script's --out")
    parser.add_argument("--out", type=Path, help="keeps the bundle there, and stops")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(load(json.loads(options.ask))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        bundle = options.bundle or make_bundle(options.out or Path(scratch), options.data)
        if not options.out:
            report("triton_server", measure(bundle, Path(scratch), options))


def make_bundle(place: Path, data: str) -> Path:
    """A classifier and texts to ask it about; trained for a moment, since only its size counts."""
    import tasks
    from serving.export import ExportOptions
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task, run = tasks.get("sentiment"), Run(place / "run")
    source = task.data_options(data)
    splits = task.load(source)
    train(task, source, task.with_settings(task.settings, MODEL), run, splits=splits)
    export(run, place / "bundle", ExportOptions(("onnx", "triton")), splits=splits)
    texts = [one.text for one in splits.test[:TEXTS]]
    (place / "bundle" / "texts.json").write_text(json.dumps(texts))
    return place / "bundle"


def measure(bundle: Path, scratch: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each server and number of clients."""
    texts = json.loads((bundle / "texts.json").read_text())
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with ExitStack() as stack:
        servers = {OWN: stack.enter_context(own_server(bundle))}
        for number, (name, processes) in enumerate(TRITON.items()):
            place = scratch / str(number)
            place.mkdir()
            servers[name] = stack.enter_context(triton_server(bundle, processes, place))
        for name, (port, _) in servers.items():
            write_requests(scratch / f"{port}.json", texts, triton=name != OWN)
        for _ in range(options.rounds):
            for clients in options.clients:
                for name, (port, pids) in servers.items():
                    order = {"protocol": "gRPC", "port": port, "pids": pids, "clients": clients,
                             "seconds": options.seconds,
                             "requests": str(scratch / f"{port}.json")}  # fmt: skip
                    found.setdefault((name, clients), []).append(asked(order))
                    print(name, clients, found[name, clients][-1], flush=True)
    return [
        {"server": name, "clients": clients,
         **{key: statistics.median(one[key] for one in measured) for key in measured[0]},
         "rate beside seqloom serve": statistics.median(
             one["requests/s"] / own["requests/s"]
             for one, own in zip(measured, found[OWN, clients], strict=True))}
        for (name, clients), measured in found.items()
    ]  # fmt: skip


@contextmanager
def own_server(bundle: Path):
    """The port of ``seqloom serve``, and its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seqloom", "serve", str(bundle), "--rest-port", "0",
         "--grpc-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    try:
        yield json.loads(process.stdout.readline())["grpc_port"], [process.pid]
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def triton_server(bundle: Path, processes: int, place: Path):
    """The port of a Triton with so many processes of the model, and all its processes."""
    import shutil

    from triton_process import NoTriton, triton

    name = json.loads((bundle / "manifest.json").read_text())["name"]
    shutil.copytree(bundle / "triton" / name, place / "models" / name)
    config = place / "models" / name / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 1", f"count: {processes}"))
    before = family(os.getpid())
    try:
        with triton(place / "models", [name], place) as (_, port):
            yield port, sorted(family(os.getpid()) - before)
    except NoTriton as error:
        sys.exit(str(error))


def family(pid: int) -> set[int]:
    """A process and all that it started, and what those started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def write_requests(path: Path, texts: list[str], triton: bool) -> None:
    """The method to call, and a serialized request for each text."""
    if triton:
        from tritonclient.grpc import service_pb2

        method = "/inference.GRPCInferenceService/ModelInfer"
        sent = []
        for text in texts:
            request = service_pb2.ModelInferRequest(model_name="sentiment")
            tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
            tensor.contents.bytes_contents.append(text.encode())
            sent.append(request.SerializeToString())
    else:
        method = "/tensorflow.serving.PredictionService/Predict"
        sent = [grpc_message("sentiment", text) for text in texts]
    path.write_text(json.dumps({"method": method, "hex": [one.hex() for one in sent]}))


def asked(order: dict[str, Any]) -> dict[str, float]:
    """What a process of its own measures."""
    command = [sys.executable, __file__, "--ask", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
