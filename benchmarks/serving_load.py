"""Closed loops of requests over plain sockets, for ``serving.py``: one thread, bodies made before.

A client library takes as long for a request as a server does, and on one machine both share the
cores: what is measured is then half the library. Here REST and gRPC cost the client the same few
microseconds: HTTP/1.1 and HTTP/2 frames are written and read by hand, as far as TensorFlow
Serving's answers need it, and every request is bytes before the clock runs.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Frames of RFC 9113.
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LARGEST_FRAME = 16_384
_WIDE = 2**30


class RestConnection:
    """A kept connection of HTTP/1.1.

    Args:
        port: the server's, on this machine.
        requests: of ``posted``.

    Attributes:
        body: of the last answer.
    """

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.socket = _connected(port)
        self._requests, self.body = requests, b""
        self._read = bytearray()

    def ask(self, number: int) -> None:
        """Sends one request."""
        self.socket.sendall(self._requests[number])

    def answered(self) -> bool:
        """Reads what has arrived; whether the answer is whole.

        Raises:
            RuntimeError: it is not a good one.
        """
        self._read += _received(self.socket)
        head, found, body = bytes(self._read).partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server answered {bytes(self._read[:500])!r}")
        (length,) = (
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        if len(body) < length:
            return False
        self.body = body
        self._read.clear()
        return True


def posted(path: str, body: bytes) -> bytes:
    """One HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class GrpcConnection:
    """A connection of HTTP/2 with one call at a time, which sends the same headers with each.

    Args:
        port: the server's, on this machine.
        bodies: serialized messages of the requests.
        path: that they go to.
    """

    def __init__(self, port: int, bodies: Sequence[bytes], path: str) -> None:
        self.socket = _connected(port)
        self._bodies, self._path = bodies, path.encode()
        self._stream, self._room, self._full = -1, 65_535, False
        self._read = bytearray()
        settings = struct.pack(">HI", 4, _WIDE)  # bytes that the server may send unasked
        self.socket.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW, 0, 0, struct.pack(">I", _WIDE))
        )

    def ask(self, number: int) -> None:
        """Sends one request."""
        self._stream += 2
        body = self._bodies[number]
        message = struct.pack(">BI", 0, len(body)) + body
        sent = [_frame(_HEADERS, 4, self._stream, self._headers())]
        for first in range(0, len(message), _LARGEST_FRAME):
            part = message[first : first + _LARGEST_FRAME]
            last = first + len(part) == len(message)
            sent.append(_frame(_DATA, int(last), self._stream, part))
        self._room -= len(message)
        while self._room < 0:
            self.answered()
        self._full = False
        self.socket.sendall(b"".join(sent))

    def _headers(self) -> bytes:
        """The header block (RFC 7541): in full once, then by their places in the server's table."""
        if self._stream > 1:
            return bytes([0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62])
        parts = [bytes([0x83, 0x86])]
        named = (b"\x44", self._path), (b"\x41", b"localhost"), (b"\x5f", b"application/grpc")
        for name, value in (*named, (b"\x40\x02te", b"trailers")):
            parts.append(name + bytes([len(value)]) + value)
        return b"".join(parts)

    def answered(self) -> bool:
        """Reads what has arrived; whether the answer is whole.

        Raises:
            RuntimeError: it is not a good one.
        """
        self._read += _received(self.socket)
        ended = False
        while len(self._read) >= 9:
            length = int.from_bytes(self._read[:3], "big")
            if len(self._read) < 9 + length:
                break
            kind, flags, stream = struct.unpack_from(">BBI", self._read, 3)
            payload = bytes(self._read[9 : 9 + length])
            del self._read[: 9 + length]
            ended |= self._frame(kind, flags, stream, payload)
        return ended

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Takes one frame; whether it ends the answer."""
        if kind == _SETTINGS and not flags & 1:
            self.socket.sendall(_frame(_SETTINGS, 1, 0, b""))
        elif kind == _PING and not flags & 1:
            self.socket.sendall(_frame(_PING, 1, 0, payload))
        elif kind == _WINDOW and not stream:
            self._room += struct.unpack(">I", payload)[0]
        elif kind == _DATA:
            self._full = len(payload) > 5
        elif kind in (_RESET, _GOAWAY) or kind == _HEADERS and flags & 1 and not self._full:
            raise RuntimeError(f"the server answered {payload!r}")
        return kind == _HEADERS and bool(flags & 1)


def ask_all(
    connections: Sequence[Any], numbers: Iterator[int], answered: Callable[[Any, int, float], None]
) -> None:
    """Sends requests, one at a time over each connection, until there are no more.

    Args:
        connections: of one kind.
        numbers: of the requests.
        answered: called with connection, number and seconds of each answer.
    """
    events = selectors.DefaultSelector()
    asked: dict[Any, tuple[int, float]] = {}

    def ask(connection: Any) -> None:
        number = next(numbers, None)
        if number is None:
            events.unregister(connection.socket)
        else:
            connection.ask(number)
            asked[connection] = number, time.perf_counter()

    for connection in connections:
        events.register(connection.socket, selectors.EVENT_READ, connection)
        ask(connection)
    while events.get_map():
        for key, _ in events.select():
            if key.data.answered():
                number, began = asked[key.data]
                answered(key.data, number, time.perf_counter() - began)
                ask(key.data)


def load(order: dict[str, Any]) -> dict[str, float]:
    """Asks for a while; the first sixth of the time warms up.

    Args:
        order: ``protocol``, ``port``, ``model``, ``clients`` (connections, each with one request
            at a time), ``seconds``, ``texts`` (path of a JSON list) and ``pids`` of the server. Or
            ``requests`` instead of model and texts: path of a JSON object with the ``method`` of
            gRPC that is called, and messages as ``hex``.

    Returns:
        Requests a second, p50 and p99, and processor milliseconds of server and client for each.
    """
    from measuring import processor_seconds

    connections, texts = made(order)
    times: list[float] = []
    marks: list[tuple[float, ...]] = []

    def mark() -> None:
        busy = sum(map(processor_seconds, order["pids"]))
        marks.append((time.perf_counter(), busy, time.process_time(), len(times)))

    def numbers() -> Iterator[int]:
        drawn = random.Random(0)
        counted = time.perf_counter() + order["seconds"] / 5
        while (now := time.perf_counter()) < counted + order["seconds"]:
            if not marks and now > counted:
                mark()
            yield drawn.randrange(texts)
        if len(marks) < 2:
            mark()

    ask_all(connections, numbers(), lambda _, number, seconds: times.append(seconds))
    for connection in connections:
        connection.socket.close()
    before, after = marks
    times = sorted(times[before[-1] : after[-1]])
    elapsed, server, client, count = (b - a for a, b in zip(before, after, strict=True))
    return {
        "requests/s": count / elapsed,
        "p50 ms": times[count // 2] * 1e3,
        "p99 ms": times[int(count * 0.99)] * 1e3,
        "server ms": server / count * 1e3,
        "client ms": client / count * 1e3,
    }


def made(order: dict[str, Any]) -> tuple[list[Any], int]:
    """The connections, with a request for each text as bytes, and how many texts there are."""
    port, clients = order["port"], range(order["clients"])
    if "requests" in order:
        with open(order["requests"], encoding="utf-8") as file:
            asked = json.load(file)
        bodies = list(map(bytes.fromhex, asked["hex"]))
        return [GrpcConnection(port, bodies, asked["method"]) for _ in clients], len(bodies)
    with open(order["texts"], encoding="utf-8") as file:
        texts = json.load(file)
    if order["protocol"] == "REST":
        path = f"/v1/models/{order['model']}:predict"
        requests = [posted(path, json.dumps({"instances": [text]}).encode()) for text in texts]
        return [RestConnection(port, requests) for _ in clients], len(texts)
    path = "/tensorflow.serving.PredictionService/Predict"
    bodies = [grpc_message(order["model"], text) for text in texts]
    return [GrpcConnection(port, bodies, path) for _ in clients], len(texts)


def grpc_message(model: str, text: str) -> bytes:
    """A serialized ``PredictRequest`` of one text."""
    from serving import protos

    request = protos.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["text"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add().size = 1
    tensor.string_val.append(text.encode())
    return request.SerializeToString()


def _connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _received(connection: socket.socket) -> bytes:
    found = connection.recv(65_536)
    if not found:
        raise RuntimeError("the server closed the connection")
    return found


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
