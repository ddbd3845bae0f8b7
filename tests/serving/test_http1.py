"""The REST port's HTTP/1.1: what clients may send, byte by byte."""

import json
import socket
import time

import pytest
from live_server import DoublingBackend, runtime_of

from serving.runtime import http1
from serving.runtime.server import ServerOptions, running

BODY = b'{"instances": [[1.0]]}'
ANSWER = {"predictions": [[2.0]]}
LIMIT = 20_000


def asking(headers=b"", body=BODY, version=b"1.1", method=b"POST"):
    lines = b"%b /v1/models/m:predict HTTP/%b\r\nHost: x\r\n%b" % (method, version, headers)
    if b"ransfer-Encoding" not in headers:
        lines += b"Content-Length: %d\r\n" % len(body)
    return lines + b"\r\n" + body


@pytest.fixture(scope="module")
def live():
    backend = DoublingBackend()
    runtime, models = runtime_of([backend], max_body_bytes=LIMIT)
    with running(models, runtime, ServerOptions(rest_port=0)) as server:
        server.gate = backend.gate
        yield server


@pytest.fixture
def raw(live):
    with socket.create_connection(("127.0.0.1", live.rest_port), timeout=20) as made:
        yield made


def replies(raw, count):
    """Status, headers and body of so many replies."""
    file, found = raw.makefile("rb"), []
    for _ in range(count):
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, value = line.partition(b": ")
            headers[name] = value
        body = file.read(int(headers[b"content-length"])) if b"content-length" in headers else b""
        found.append((status, headers, body))
    return found


def is_closed(raw):
    return raw.recv(1) == b""


def test_requests_that_come_together_are_answered_in_order(raw):
    bodies = [b'{"instances": [[%d]]}' % n for n in range(40)]  # more than are read at once
    raw.sendall(b"".join(asking(body=body) for body in bodies) + b"GET /healthz HTTP/1.1\r\n\r\n")
    found = [json.loads(body) for _, _, body in replies(raw, 41)]
    assert found[:40] == [{"predictions": [[2.0 * n]]} for n in range(40)]
    assert found[40] == {"status": "ok"}


def test_a_request_in_pieces(raw):
    for piece in asking(b"Content-Type: application/json\r\n"):
        raw.sendall(bytes([piece]))
    assert json.loads(replies(raw, 1)[0][2]) == ANSWER


def test_a_body_in_chunks(raw):
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, BODY[i : i + 1]) for i in range(len(BODY)))
    raw.sendall(asking(b"Transfer-Encoding: chunked\r\n", chunks + b"0\r\n\r\n") * 2)
    assert [json.loads(body) for _, _, body in replies(raw, 2)] == [ANSWER] * 2


@pytest.mark.parametrize(
    ("request_bytes", "stays"),
    [
        (asking(), True),
        (asking(b"Connection: close\r\n"), False),
        (asking(version=b"1.0"), False),
        # Java's client asks for HTTP/2 in this way, and takes HTTP/1.1 as well.
        (asking(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"), True),
    ],
)
def test_which_connections_stay_open(raw, request_bytes, stays):
    raw.sendall(request_bytes)
    ((status, headers, body),) = replies(raw, 1)
    assert (status, json.loads(body), headers[b"content-type"]) == (
        200,
        ANSWER,
        b"application/json",
    )
    assert (headers.get(b"connection") == b"close") is not stays
    if stays:
        raw.sendall(request_bytes)
        assert replies(raw, 1)[0][0] == 200
    else:
        assert is_closed(raw)


def test_a_body_is_asked_for_where_a_client_waits_for_that(raw):
    head, _, body = asking(b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    raw.sendall(head + b"\r\n\r\n")
    assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.sendall(body)
    assert replies(raw, 1)[0][0] == 200


def test_a_head_has_no_body(raw):
    raw.sendall(b"HEAD /nothing HTTP/1.1\r\n\r\n")
    file = raw.makefile("rb")
    assert file.readline() == b"HTTP/1.1 404 Not Found\r\n"
    headers = list(iter(file.readline, b"\r\n"))
    assert any(line.startswith(b"content-length: ") for line in headers)
    raw.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert file.readline() == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT + 1, 10 * LIMIT])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_does_not_break_the_connection(raw, size, chunked):
    body, headers = b" " * size, b""
    if chunked:
        headers = b"Transfer-Encoding: chunked\r\n"
        body = b"%x\r\n%b\r\n" % (1000, b" " * 1000) * (size // 1000 + 1) + b"0\r\n\r\n"
    raw.sendall(asking(headers, body) + asking())
    first, second = replies(raw, 2)
    assert (first[0], second[0], json.loads(second[2])) == (413, 200, ANSWER)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * (http1.MOST_HEAD + 1), 431),
        (b"GET / HTTP/1.1\r\n" + b"A: bcdefghi\r\n" * (http1.MOST_HEAD // 10), 431),
    ],
)
def test_what_cannot_be_read_is_refused_after_what_can(raw, request_bytes, status):
    raw.sendall(asking())
    assert replies(raw, 1)[0][0] == 200
    raw.sendall(request_bytes)
    ((found, headers, _),) = replies(raw, 1)
    assert (found, headers[b"connection"]) == (status, b"close")
    assert is_closed(raw)


def test_a_reply_under_way_comes_before_the_refusal_of_what_follows(live, raw):
    live.gate.clear()
    try:
        raw.sendall(asking())
        time.sleep(0.1)
        raw.sendall(b"\x00nonsense\r\n\r\n")
        time.sleep(0.1)
    finally:
        live.gate.set()
    assert [status for status, _, _ in replies(raw, 2)] == [200, 400]
    assert is_closed(raw)


def test_connections_without_a_request_are_closed(monkeypatch):
    monkeypatch.setattr(http1, "KEPT_SECONDS", 0.3)
    runtime, models = runtime_of([DoublingBackend()])
    with running(models, runtime, ServerOptions(rest_port=0)) as server:
        with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as raw:
            raw.sendall(asking())
            assert replies(raw, 1)[0][0] == 200
            assert is_closed(raw)
        with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as raw:
            raw.sendall(asking()[:-3])
            assert is_closed(raw)
