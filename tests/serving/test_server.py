"""The server over real HTTP: paths, models, limits, start and shutdown."""

import contextlib
import errno
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from live_server import DoublingBackend, post, running

from serving.errors import RequestError, ServingError
from serving.runtime.server import serve
from serving.runtime.sockets import allow_connections

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client():
    backends = [
        DoublingBackend(version=1),
        DoublingBackend(version=12),
        DoublingBackend("a b", 3),
        DoublingBackend("broken", error=KeyError("secret")),
        DoublingBackend("slow", error=RequestError("Timed out", code="DEADLINE_EXCEEDED")),
    ]
    with running(backends, max_body_bytes=100_000) as live:
        yield live


MALFORMED = "Malformed request: {} {}"
PATHS = [
    ("POST", "/v1/models/m:predict", 200, None),
    ("POST", "/v1/models/m/versions/1:predict", 200, None),
    ("POST", "/V1/Models/m/VERSIONS/01:PREDICT", 200, None),
    ("POST", "/v1/models/a%20b:predict", 200, None),
    ("POST", "/v1/models/M:predict", 404, "Servable not found for request: Latest(M)"),
    ("POST", "/v1/models/m/versions/2:predict", 404,
     "Servable not found for request: Specific(m, 2)"),
    ("POST", "/v1/models/m/labels/c%61t:predict", 400, "Unrecognized servable version label: cat"),
    ("POST", "/v1/models/m/versions/9223372036854775808:predict", 400, ""),
    ("POST", "/v1/models/m/versions/1/labels/a:predict", 400, MALFORMED),
    ("POST", "/v1/models/m:predict?x=1", 400, MALFORMED),
    ("POST", "/v1/models/m:predict/", 400, MALFORMED),
    ("POST", "/v1/models/m:explain", 400, MALFORMED),
    ("POST", "/v1/models/m/metadata", 400, MALFORMED),
    ("POST", "/v1/models/m", 400, MALFORMED),
    ("PUT", "/v1/models/m:predict", 400, MALFORMED),
    ("GET", "/v1/models/m:predict", 400, MALFORMED),
    ("GET", "/v1/models/m", 200, None),
    ("GET", "/v1/models/m/versions/12", 200, None),
    ("GET", "/v1/models/m/labels/any", 200, None),
    ("GET", "/v1/models/m/metadata", 200, None),
    ("GET", "/v1/models/m/versions/1/metadata", 200, None),
    ("GET", "/v1/models/m/labels/any/metadata", 400, "Unrecognized servable version label: any"),
    ("GET", "/v1/models/n/metadata", 404, "Servable not found for request: Latest(n)"),
    ("GET", "/v1/models/n", 404, "Could not find any versions of model n"),
    ("GET", "/v1/models/m/versions/9", 404, "Could not find version 9 of model m"),
    ("GET", "/v1/models/m/versions/99999999999999999999", 400, ""),
    ("GET", "/v1/models", 400, "Missing model name in request."),
    ("GET", "/v1/models/", 400, MALFORMED),
    ("GET", "/v1/models/m/", 400, MALFORMED),
    ("GET", "/v1/models/m?x=1", 400, MALFORMED),
    ("GET", "/v1/models/m/version/5", 400, MALFORMED),
    ("GET", "/v1/models/m/versions/abc", 400, MALFORMED),
    ("GET", "/v1/foo", 400, MALFORMED),
    ("DELETE", "/v1/models/m", 400, MALFORMED),
    ("PATCH", "/v1/models/m", 400, MALFORMED),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status", "error"), PATHS)
def test_paths_and_methods(client, method, path, status, error):
    body = b'{"instances": [[1.5]]}' if method == "POST" else None
    reply = client.request(method, path, content=body)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    if error == "":
        assert reply.content == b""
    elif error is not None:
        assert reply.json() == {"error": error.format(method, path)}
    elif method == "POST":
        assert reply.json() == {"predictions": [[3.0]]}


def test_other_methods_and_places(client):
    assert client.head("/v1/models/m").status_code == 400
    for path in ("/", "/v1", "/healthy", "/v2/models/m?/v1/"):
        reply = client.get(path)
        assert (reply.status_code, reply.headers["content-type"]) == (404, "text/html")
    assert client.options("/v1/models/m", headers={"Origin": "https://x"}).status_code == 200
    assert client.options("/v1/models/m").status_code == 400


def test_status_form(client):
    states = client.get("/v1/models/m").json()["model_version_status"]
    assert [state["version"] for state in states] == ["12", "1"]
    assert states[0] == {
        "version": "12",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }


def test_metadata_form(client):
    reply = client.get("/v1/models/m/metadata").json()
    assert reply["model_spec"] == {"name": "m", "signature_name": "", "version": "12"}
    definition = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    assert definition["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "-1", "name": ""}],
            "unknown_rank": False,
        },
        "name": "serving_default_x:0",
    }
    assert definition["outputs"]["y"]["tensor_shape"] == {"dim": [], "unknown_rank": True}


def test_signature_names(client):
    body = '{{"signature_name": "{}", "inputs": [1]}}'
    assert post(client, body.format("")) == (200, {"outputs": [2]})
    assert post(client, body.format("other")) == (200, {"outputs": [3]})
    error = 'Serving signature name: "no" not found in signature def'
    assert post(client, body.format("no")) == (400, {"error": error})


def test_broken_json_for_an_unknown_model_is_a_json_error(client):
    status, reply = post(client, "x", "/v1/models/none:predict")
    assert (status, reply["error"]) == (400, "JSON Parse error: Invalid value. at offset: 0")


def test_classify_and_regress_need_such_signatures(client):
    body = '{"signature_name": "%s", "examples": [{"x": 1}]}'
    for name, verb, error in (
        ("", "classify", "No classification inputs found in SignatureDef: ['x']"),
        ("other", "regress", "No regression inputs found in SignatureDef: ['x']"),
        ("no", "regress", "No signature was found with the name: no"),
    ):
        assert post(client, body % name, f"/v1/models/m:{verb}") == (400, {"error": error})
    assert post(client, body % "", "/v1/models/none:classify")[0] == 404


def test_model_failures(client):
    body = '{"inputs": 1}'
    assert post(client, body, "/v1/models/slow:predict") == (504, {"error": "Timed out"})
    status, reply = post(client, body, "/v1/models/broken:predict")
    assert (status, reply["error"]) == (500, "Internal error: KeyError: 'secret'")


def test_gzip_requests(client):
    headers = {"Content-Encoding": "gzip"}
    whole = gzip.compress(b'{"inputs": 1}')
    assert post(client, whole, headers=headers) == (200, {"outputs": 2})
    empty = (400, {"error": "JSON Parse error: The document is empty"})
    assert post(client, whole[:-9], headers=headers) == empty
    assert post(client, b'{"inputs": 1}', headers=headers) == empty
    bomb = gzip.compress(b" " * 10_000_000)
    assert post(client, bomb, headers=headers)[0] == 413


@pytest.mark.parametrize("size", [100_001, 1_000_000])
def test_body_limit(client, size):
    fits = b'{"inputs": 1}'.ljust(100_000)
    assert post(client, fits)[0] == 200
    status, reply = post(client, b" " * size)
    assert (status, reply["error"]) == (413, "The request body is longer than 100000 bytes.")


def test_body_limit_without_content_length(client):
    def chunks():
        for _ in range(15):
            yield b" " * 10_000

    assert post(client, chunks())[0] == 413


def test_deep_nesting_is_a_400(client):
    status, reply = post(client, b"[" * 99_000)
    assert (status, reply["error"]) == (400, "JSON Parse error: Nested deeper than 32 levels.")


def test_bytes_that_are_not_utf8_come_back_as_sent(client):
    reply = client.post("/v1/models/m:predict", content=b'{"inputs": "\xff"}')
    assert reply.status_code == 400
    assert b'\\"\xff\\" Type: String' in reply.content


def test_keep_alive_and_parallel_requests(client):
    body = json.dumps({"inputs": list(range(1000))})
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: post(client, body), range(64)))
    assert all(r == (200, {"outputs": [2 * i for i in range(1000)]}) for r in replies)


def test_the_event_loop_answers_while_a_model_runs():
    slow = DoublingBackend()
    slow.gate.clear()
    with running([slow]) as live, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, live, '{"inputs": 1}')
        assert live.get("/v1/models/m").status_code == 200
        assert not waiting.done()
        slow.gate.set()
        assert waiting.result(60) == (200, {"outputs": 2})


def test_replies_do_not_wait_for_delayed_acknowledgements(client):
    """Nagle's algorithm is off: with it each reply on a kept connection would take 40 ms."""
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
    connection.request("GET", "/v1/models/m")
    connection.getresponse().read()
    own, found = connection.sock.getsockname(), []
    for number in os.listdir("/proc/self/fd"):  # the server's end is in this process too
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(number))) as end:
            if end.getpeername() == own:
                found.append(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    connection.close()
    assert found
    assert all(found)


def test_a_target_of_odd_bytes_is_answered(client):
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
    for target in ("/v1/models/%ff", "/v1/models/%00:predict", "//v1/models/m", "/v1/models/m%3f"):
        connection.request("GET", target)
        reply = connection.getresponse()
        reply.read()
        assert reply.status in (400, 404)
    connection.close()


# --- the process -------------------------------------------------------------------------------


def test_a_taken_port_is_one_sentence(tmp_path):
    (tmp_path / "model.onnx").touch()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        for flag in ("rest", "grpc"):
            with pytest.raises(ServingError) as caught:
                serve(tmp_path, **{"rest_port": 0, f"{flag}_port": port})
            assert str(caught.value) == (
                f"--{flag}-port {port} on 127.0.0.1 cannot be opened "
                f"({os.strerror(errno.EADDRINUSE)}); "
                "choose another port, or 0 for any free one."
            )
    with pytest.raises(ServingError, match=r"--rest-port 70000 .*0 to 65535"):
        serve(tmp_path, rest_port=70000)


SCRIPT = """
import json, sys, time
from pathlib import Path
import serving.runtime.core_backends, serving.runtime.runtime, serving.predictor
from serving.runtime.loading import ModelLocation
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.server import serve
from serving.runtime.sockets import allow_connections

class Slow(SignatureRunner):
    def encode(self, inputs):
        return inputs
    def execute(self, core, timeout=None):
        print("running", file=sys.stderr, flush=True)
        time.sleep(1)
        return core

x = {"x": {"dtype": "float32", "shape": None}}
backend = Backend({"serving_default": Slow({"inputs": x, "outputs": x})})
serving.runtime.runtime.load = lambda *_: backend
serving.runtime.server.find_model = lambda *_: ModelLocation(Path("/"), {}, (1, Path("/1")), "m")
def ready(info):
    heavy = sorted({"tensorflow", "keras", "torch"} & set(sys.modules))
    print(json.dumps({**info, "heavy": heavy}), flush=True)
serve("anything", rest_port=0, grpc_port=0, on_ready=ready)
print("returned", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish_and_exits_with_0(number):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        info = json.loads(process.stdout.readline())
        assert info == {
            "rest_port": info["rest_port"],
            "grpc_port": info["grpc_port"],
            "model": "m",
            "heavy": [],
        }
        log = process.stderr.readline()
        assert log == f"Running gRPC ModelServer at 127.0.0.1:{info['grpc_port']} ...\n"
        log = process.stderr.readline()
        assert re.fullmatch(rf"Exporting HTTP/REST API at:localhost:{info['rest_port']} ...\n", log)
        url = f"http://127.0.0.1:{info['rest_port']}/v1/models/m:predict"
        with ThreadPoolExecutor(1) as pool:
            reply = pool.submit(httpx.post, url, content='{"inputs": 1}', timeout=60)
            assert process.stderr.readline() == "running\n"
            process.send_signal(number)
            assert reply.result(60).json() == {"outputs": 1.0}
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, output, errors) == (0, "returned\n", "")


def test_the_limit_of_connections_is_raised_to_what_the_system_allows():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("the system has no limit here")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) - 1, hard))
        allow_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
