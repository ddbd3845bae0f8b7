"""Bad requests of every kind, with good ones among them: no crash, no fault of the server's own."""

import json
import random
import resource
import socket
from pathlib import Path

import grpc
import numpy as np
import pytest
from live_server import DoublingBackend, client_of, post, runtime_of

from serving import protos
from serving.runtime.server import ServerOptions, running
from serving.tensors import fill_proto

GOOD = json.dumps({"instances": [[1.0, 2.0], [3.0, 4.0]]}).encode()
ANSWER = {"predictions": [[2.0, 4.0], [6.0, 8.0]]}
PIECES = [
    b"{", b"}", b"[", b"]", b'"instances"', b'"inputs"', b":", b",", b"1", b"-", b"1e999", b"NaN",
    b"null", b'"b64"', b'"\\ud800"', b"\xff\xfe", b"\x00", b'"signature_name"', b" ", b"true",
    b"9" * 400, b"[" * 60, b'{"x":', b"Infinity", b"0.1", b'"text"',
]  # fmt: skip
PATHS = [
    "/v1/models/m:predict", "/v1/models/m:classify", "/v1/models/m:regress", "/v1/models/m:open",
    "/v1/models/m/versions/1:predict", "/v1/streams/x:step", "/v1/models/m/labels/a:predict",
    "/v1/models/%00%ff:predict", "/v1/models/../../etc/passwd:predict", "/v1/models/m:predict?a=1",
]  # fmt: skip


@pytest.fixture
def server():
    runtime, models = runtime_of([DoublingBackend(checked=True)], max_body_bytes=100_000)
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as live:
        yield live


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def bad_body(drawn):
    kind = drawn.random()
    if kind < 0.4:
        return b"".join(drawn.choices(PIECES, k=drawn.randrange(12)))
    if kind < 0.7:  # a good one with a wound
        body = bytearray(GOOD)
        for _ in range(drawn.randrange(1, 4)):
            body[drawn.randrange(len(body))] = drawn.randrange(256)
        return bytes(body)
    if kind < 0.9:
        return GOOD[: drawn.randrange(len(GOOD))]
    return drawn.randbytes(drawn.randrange(200))


def bad_http(drawn):
    """What no HTTP client sends."""
    lines = [
        b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"POST /v1/models/m:predict HTTP/9.9\r\n\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 5\r\n\r\n{}",
        b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/models/m HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", drawn.randbytes(80),
    ]  # fmt: skip
    return drawn.choice(lines)


def fuzz_rest(server, count, drawn):
    with client_of(server) as client:
        for number in range(count):
            path = drawn.choice(PATHS)
            method = drawn.choice(["POST"] * 6 + ["GET", "PUT", "DELETE", "OPTIONS"])
            headers = {"Content-Encoding": "gzip"} if drawn.random() < 0.1 else {}
            reply = client.request(method, path, content=bad_body(drawn), headers=headers)
            assert reply.status_code < 500 or reply.status_code in (501, 503), reply.content
            if number % 20 == 0:
                assert post(client, GOOD) == (200, ANSWER)


def fuzz_sockets(server, count, drawn):
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", server.rest_port), timeout=60) as raw:
            raw.sendall(bad_http(drawn))
            if drawn.random() < 0.5:
                raw.shutdown(socket.SHUT_WR)
                raw.settimeout(2)
                try:
                    answer = raw.recv(4096)
                except (TimeoutError, ConnectionResetError):
                    continue
                assert not answer.startswith((b"HTTP/1.1 500", b"HTTP/1.1 502")), answer


def fuzz_grpc(server, count, drawn):
    good = protos.PredictRequest()
    good.model_spec.name = "m"
    fill_proto(good.inputs["x"], np.array([[1.0, 2.0]], np.float32))
    whole = good.SerializeToString()
    methods = [
        "tensorflow.serving.PredictionService/Predict",
        "tensorflow.serving.PredictionService/Classify",
        "tensorflow.serving.PredictionService/MultiInference",
        "tensorflow.serving.PredictionService/GetModelMetadata",
        "tensorflow.serving.ModelService/GetModelStatus",
        "seqloom.StreamService/Open", "seqloom.StreamService/Step", "grpc.health.v1.Health/Check",
    ]  # fmt: skip
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        predict = channel.unary_unary(f"/{methods[0]}")
        for number in range(count):
            body = bytearray(whole)
            for _ in range(drawn.randrange(1, 6)):
                body[drawn.randrange(len(body))] = drawn.randrange(256)
            if drawn.random() < 0.3:
                body = bytearray(drawn.randbytes(drawn.randrange(60)))
            call = channel.unary_unary(f"/{drawn.choice(methods)}").future(bytes(body), timeout=60)
            error = call.exception()
            assert error is None or error.code().name not in ("INTERNAL", "UNKNOWN"), error
            if number % 20 == 0:
                reply = protos.PredictResponse.FromString(predict(whole, timeout=60))
                assert list(reply.outputs["y"].float_val) == [2.0, 4.0]


def run(server, count, seed):
    drawn = random.Random(seed)
    fuzz_rest(server, count // 10, drawn)  # what grows once has grown
    before = resident()
    fuzz_rest(server, count * 6 // 10, drawn)
    fuzz_sockets(server, count // 10, drawn)
    fuzz_grpc(server, count * 3 // 10, drawn)
    assert resident() - before < 60e6
    assert not server.runtime.sessions._open


def test_a_thousand_bad_requests(server):
    run(server, 1000, 0)


@pytest.mark.slow
def test_ten_thousand_bad_requests(server):
    run(server, 12_000, 1)
