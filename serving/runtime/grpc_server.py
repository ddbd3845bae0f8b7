"""The gRPC port: calls of ``GrpcApi`` over HTTP/2.

What goes over the wire is written down in gRPC's PROTOCOL-HTTP2.md and compression.md.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
import zlib
from collections.abc import Mapping
from typing import Any

from serving.errors import RequestError, ServingError
from serving.runtime.grpc_api import GrpcApi, GrpcOptions
from serving.runtime.grpc_status import trailers
from serving.runtime.http2 import Http2Connection
from serving.runtime.http2_frames import literal
from serving.runtime.http2_stream import Http2Limits, Http2Stream
from serving.runtime.runtime import Runtime

BACKLOG = 2048
_PREFIX = struct.Struct(">BI")  # of a message: whether it is compressed, and its length
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_INFLATED = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
# ":status" is 200, the first of the static table with that name.
_OK = b"\x88" + literal(b"content-type", b"application/grpc")
_DONE = trailers("OK")
# Channel arguments of gRPC's own library that this server heeds too.
ARGUMENTS = (
    "grpc.max_concurrent_streams", "grpc.max_connection_age_ms",
    "grpc.max_connection_idle_ms", "grpc.max_metadata_size", "grpc.max_receive_message_length",
)  # fmt: skip

logger = logging.getLogger(__name__)


class Call:
    """One call, as ``GrpcApi`` sees it.

    Attributes:
        metadata: by name in lower case.
        deadline: by ``time.monotonic``; None for none.
    """

    __slots__ = ("_begun", "_stream", "deadline", "metadata")

    def __init__(self, stream: Http2Stream, deadline: float | None) -> None:
        self._stream, self._begun = stream, False
        self.metadata: Mapping[bytes, bytes] = stream.headers
        self.deadline = deadline

    async def write(self, message: bytes, seconds: float | None = None) -> None:
        """Sends a message of an answer that has several.

        Args:
            message: serialized.
            seconds: for which it waits until the client reads; None for ever.

        Raises:
            TimeoutError: asyncio's.
        """
        await self._stream.reply(self._head(), _prefixed(message), b"", seconds)

    async def end(self, message: bytes | None) -> None:
        """Sends the last message, if there is one, and that all went well."""
        data = b"" if message is None else _prefixed(message)
        await self._stream.reply(self._head(), data, _DONE)

    async def fail(self, error: RequestError) -> None:
        """Ends the call with an error."""
        await self._stream.reply(self._head(), b"", trailers(error.code, error.message))

    def _head(self) -> bytes:
        head, self._begun = b"" if self._begun else _OK, True
        return head


class GrpcEndpoint:
    """The gRPC port; to be opened and closed in a running event loop.

    Args:
        runtime: answers the calls.
        options: ``serving.runtime.server.ServerOptions``.
    """

    def __init__(self, runtime: Runtime, options: Any) -> None:
        self._options = options
        self.api = GrpcApi(runtime, GrpcOptions(options.health, options.as_content, options.token))
        self._calls = self.api.calls()
        given = dict(options.grpc_arguments)
        if idle := [name for name in given if name not in ARGUMENTS]:
            logger.info("channel arguments without effect in this server: %s", ", ".join(idle))
        self._most = _limit(given, "grpc.max_receive_message_length", runtime.limits.max_body_bytes)
        self._age = _limit(given, "grpc.max_connection_age_ms", None)
        self._idle = _limit(given, "grpc.max_connection_idle_ms", None)
        standard = Http2Limits()
        self._limits = Http2Limits(
            _limit(given, "grpc.max_concurrent_streams", standard.streams),
            _limit(given, "grpc.max_metadata_size", standard.header_bytes),
            _PREFIX.size + self._most,
        )
        self._connections: set[Http2Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._aging: asyncio.Future | None = None

    async def open(self, bound_socket: socket.socket | None) -> None:
        """Listens on a port, if there is one, and on the options' Unix socket.

        Raises:
            OSError: the port cannot be had.
            ServingError: the Unix socket cannot.
        """
        loop, tls = asyncio.get_running_loop(), self._options.grpc_tls

        def connected() -> Http2Connection:
            return Http2Connection(self._answer, self._limits, self._connections)

        if path := self._options.grpc_socket:
            try:
                self._servers.append(await loop.create_unix_server(connected, path))
            except OSError as error:
                raise ServingError(
                    f"--grpc_socket_path {path} cannot be opened ({error.strerror or error}); "
                    "choose another path."
                ) from error
        if bound_socket is not None:
            bound_socket.listen(BACKLOG)
            self._servers.append(
                await loop.create_server(
                    connected, sock=bound_socket, backlog=BACKLOG,
                    ssl=tls.context("h2") if tls is not None else None,
                )
            )  # fmt: skip
        if self._age or self._idle:
            self._aging = asyncio.ensure_future(self._end_old())

    async def close(self, drain_seconds: float) -> None:
        """Answers what is under way, and closes all connections."""
        for server in self._servers:
            server.close()
        if self._aging is not None:
            self._aging.cancel()
        for connection in list(self._connections):
            connection.finish()
        until = time.monotonic() + drain_seconds
        while self._connections and time.monotonic() < until:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()

    async def _end_old(self) -> None:
        """Asks clients to connect anew after a while."""
        while True:
            await asyncio.sleep(min(filter(None, (self._age, self._idle))) / 10_000)
            now = 1e3 * time.monotonic()
            for one in list(self._connections):
                old = self._age and now - 1e3 * one.opened > self._age
                idle = self._idle and not one.busy and now - 1e3 * one.heard > self._idle
                if old or idle:
                    one.finish()

    async def _answer(self, stream: Http2Stream) -> None:
        call = Call(stream, None)
        try:
            handler = self._calls.get(stream.headers.get(b":path", b""))
            if not stream.headers.get(b"content-type", b"").startswith(b"application/grpc"):
                await stream.reply(b"", b"", literal(b":status", b"415"))
                return
            if handler is None:
                raise RequestError("Method not found!", code="UNIMPLEMENTED")
            call.deadline = _deadline(stream.headers.get(b"grpc-timeout"))
            await call.end(await handler(self._message(stream), call))
        except RequestError as error:
            await call.fail(error)
        except Exception as error:
            logger.exception("a call failed")
            await call.fail(RequestError(f"{type(error).__name__}: {error}", code="INTERNAL"))

    def _message(self, stream: Http2Stream) -> bytes:
        """The one message of a call."""
        body, size = stream.body, len(stream.body) - _PREFIX.size
        compressed, length = _PREFIX.unpack_from(body) if size >= 0 else (0, 0)
        if length > self._most:
            raise _too_long(length, self._most)
        if size < 0 or length != size:
            raise RequestError("The call has not one whole message.", code="INTERNAL")
        message = bytes(memoryview(body)[_PREFIX.size :])
        if not compressed:
            return message
        encoding = stream.headers.get(b"grpc-encoding", b"identity")
        if encoding not in _INFLATED:
            name = encoding.decode("latin-1")
            raise RequestError(f"Messages cannot be read in {name}.", code="UNIMPLEMENTED")
        inflating = zlib.decompressobj(_INFLATED[encoding])
        try:
            message = inflating.decompress(message, self._most + 1)
        except zlib.error:
            message = b""
        if len(message) > self._most:
            raise _too_long(len(message), self._most)
        if not inflating.eof:
            raise RequestError("The message is broken: it cannot be inflated.", code="INTERNAL")
        return message


def _prefixed(message: bytes) -> bytes:
    return _PREFIX.pack(0, len(message)) + message


def _deadline(text: bytes | None) -> float | None:
    """The end of a ``grpc-timeout`` from now on, by ``time.monotonic``.

    Raises:
        RequestError: it is none.
    """
    if text is None:
        return None
    if not text[:-1].isdigit() or len(text) > 9 or text[-1:] not in _UNITS:
        raise RequestError("The timeout of the call is none.", code="INTERNAL")
    return time.monotonic() + int(text[:-1]) * _UNITS[text[-1:]]


def _limit(given: Mapping[str, Any], name: str, default: Any) -> Any:
    """A channel argument; -1 stands for no limit."""
    value = given.get(name, default)
    return 2**31 - 1 if value == -1 else value


def _too_long(length: int, most: int) -> RequestError:
    return RequestError(
        f"SERVER: Received message larger than max ({length} vs. {most})",
        code="RESOURCE_EXHAUSTED",
    )
