"""A real Triton: ``tritonserver`` and its Python backend out of the wheel ``nvidia-pytriton``.

The server imports the models with a Python of its own, which ``TRITON_PYTHON`` names; it is this
one if that is not set. It needs what docs/triton.md lists, and NumPy 1: the wheel's server is of
October 2024, before its Python backend knew NumPy 2 (triton-inference-server/python_backend, pull
request 384).
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ASK = """
import importlib.util, json, pathlib, sys, sysconfig
spec = importlib.util.find_spec("pytriton")
missing = [n for n in ("onnxruntime", "google.protobuf") if importlib.util.find_spec(n) is None]
import numpy
print(json.dumps({
    "wheel": spec and str(pathlib.Path(spec.origin).parent), "missing": missing,
    "numpy": numpy.__version__, "version": "%d.%d" % sys.version_info[:2],
    "bin": str(pathlib.Path(sys.executable).parent), "lib": sysconfig.get_config_var("LIBDIR"),
}))
"""


class NoTriton(Exception):
    """There is no Triton here that could run the models; the message says what is missing."""


def found():
    """Where the server's Python has what.

    Raises:
        NoTriton: something is not there.
    """
    python = os.environ.get("TRITON_PYTHON", sys.executable)
    done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise NoTriton(f"{python} cannot run Triton's models: {done.stderr.strip()[-200:]}")
    place = json.loads(done.stdout)
    if place["wheel"] is None:
        raise NoTriton("nvidia-pytriton, which carries tritonserver, is not installed; "
                    "TRITON_PYTHON may name a Python that has it")  # fmt: skip
    if place["missing"]:
        raise NoTriton(f"{python} has no {', '.join(place['missing'])}")
    if not place["numpy"].startswith("1."):
        raise NoTriton(f"this Triton's Python backend needs numpy<2; {python} has {place['numpy']}")
    return place


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def triton(repository, models, scratch):
    """Ports of HTTP and gRPC of a server that has loaded some models of a repository.

    Args:
        repository: directory with one directory for each model.
        models: names of those that are loaded; the wheel has no ONNX Runtime backend for others.
        scratch: an empty directory.
    """
    place = found()
    server = Path(place["wheel"]) / "tritonserver"
    backend = scratch / "backends" / "python"
    backend.mkdir(parents=True)
    stub = server / "python_backend_stubs" / place["version"] / "triton_python_backend_stub"
    if not stub.is_file():
        raise NoTriton(f"nvidia-pytriton has no stub for Python {place['version']}")
    for source in (*(server / "backends" / "python").glob("*.*"), stub):
        shutil.copy(source, backend / source.name)
    (backend / stub.name).chmod(0o755)
    http, grpc, metrics = free_ports(3)
    command = [str(server / "bin" / "tritonserver"), f"--model-repository={repository}",
               f"--backend-directory={backend.parent}", f"--http-port={http}",
               f"--grpc-port={grpc}", f"--metrics-port={metrics}", "--http-address=127.0.0.1",
               "--grpc-address=127.0.0.1", "--model-control-mode=explicit",
               *(f"--load-model={name}" for name in models)]  # fmt: skip
    libraries = os.pathsep.join([f"{place['wheel']}/../nvidia_pytriton.libs", place["lib"]])
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries,
                   "PATH": os.pathsep.join([place["bin"], os.environ["PATH"]])}  # fmt: skip
    environment.pop("PYTHONPATH", None)  # the models run on the code that they carry
    log = scratch / "triton.log"
    with log.open("w") as written:
        process = subprocess.Popen(command, env=environment, stdout=written, stderr=written)
    try:
        wait_until_ready(process, http, log)
        yield http, grpc
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_ready(process, http, log, seconds=240):
    until = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{http}/v2/health/ready", timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.2)
