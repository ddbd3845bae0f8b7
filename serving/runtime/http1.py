"""The REST port: HTTP/1.1 (RFC 9112) as an asyncio protocol around httptools' parser.

No framework stands between: TensorFlow Serving matches raw targets, query string and all, which no
router does, and what a framework takes for a request is as long as all else but the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple

import httptools

from serving.runtime.rest_api import Reply, Request, RestApi, error_reply, too_large
from serving.runtime.rest_generate import EventReply

BACKLOG = 2048
KEPT_SECONDS = 75.0  # for which a connection without a request stays open
MOST_HEAD = 65_536  # bytes of a request's line and headers
MOST_WAITING = 16  # requests of one connection that are read before the first is answered
_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_STATUS_LINES[499] = b"HTTP/1.1 499 Client Closed Request\r\n"

logger = logging.getLogger(__name__)


class HttpEndpoint:
    """The port and its connections; to be opened and closed in a running event loop.

    Args:
        api: answers the requests.
        options: ``serving.runtime.server.ServerOptions``.
    """

    def __init__(self, api: RestApi, options: Any) -> None:
        self.api, self._options = api, options
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._idle: asyncio.Future | None = None
        self._second, self._date = 0, b""

    async def open(self, bound_socket: socket.socket) -> None:
        """Listens.

        Raises:
            OSError: that fails.
        """
        bound_socket.listen(BACKLOG)
        tls = self._options.rest_tls
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), sock=bound_socket, backlog=BACKLOG,
            ssl=tls.context() if tls is not None else None,
        )  # fmt: skip
        self._idle = asyncio.ensure_future(self._close_idle())

    async def close(self) -> None:
        """Answers what is under way, for ``drain_seconds`` at most, and closes all connections."""
        self._server.close()
        self._idle.cancel()
        for connection in list(self.connections):
            connection.finish()
        until = time.monotonic() + self._options.drain_seconds
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()

    def head(self, status: int, content_type: str) -> bytes:
        """The first lines of a reply."""
        if (now := int(time.time())) != self._second:
            self._second = now
            self._date = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
        return b"%bcontent-type: %b\r\n%b" % (
            _STATUS_LINES[status], content_type.encode(), self._date
        )  # fmt: skip

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(KEPT_SECONDS / 15)
            until = time.monotonic() - KEPT_SECONDS
            for connection in list(self.connections):
                if not connection.busy and connection.heard < until:
                    connection.finish()


class _Asked(NamedTuple):
    """A request that was read, or the reply to what could not be.

    Attributes:
        what: the one or the other.
        keep: whether the connection stays open behind it.
        chunks: whether the client knows chunked replies.
    """

    what: Request | Reply
    keep: bool
    chunks: bool


class _Connection(asyncio.Protocol):
    """One connection: its requests are answered one after the other.

    Attributes:
        heard: when the last byte came or went, by ``time.monotonic``.
    """

    def __init__(self, endpoint: HttpEndpoint) -> None:
        self._endpoint, self._api = endpoint, endpoint.api
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._waiting: deque[_Asked] = deque()
        self._task: asyncio.Task | None = None
        self._deaf = self._finishing = self._full = False
        self._room: asyncio.Future | None = None  # done when the client reads on
        self.heard = time.monotonic()
        self._in_head = False
        self.on_message_begin()

    # --- of asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first call."""
        self._transport = transport
        self._endpoint.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """A client that went away is not waited for: what it asked leaves the queue."""
        self._endpoint.connections.discard(self)
        self._deaf = True
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._deaf:
            return
        self.heard = time.monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_again(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(400, b"Invalid HTTP request received.")
            return
        if self._in_head:
            self._head_length += len(data)
            if self._head_length > MOST_HEAD:
                self._refuse(431, b"The headers of the request are too long.")

    def _read_again(self, rest: bytes) -> None:
        """Reads a request that asks for another protocol as if it did not: the parser would take
        its body for that protocol. Java's client asks for HTTP/2 in this way."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(400, b"This server is no proxy.")
            return
        kept = {k: v for k, v in self._headers.items() if k not in ("connection", "upgrade")}
        lines = "".join(f"{name}: {value}\r\n" for name, value in kept.items()).encode("latin-1")
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, self._url, lines, rest))

    def pause_writing(self) -> None:
        """The client does not read."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """It reads on, or is gone."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # --- of the parser -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers, self._body = b"", {}, []
        self._length = self._head_length = 0
        self._in_head, self._skips = self._transport is not None, False

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; of several of one name the last counts."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._in_head = False
        if self._parser.should_upgrade():
            return
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > 2 * self._api.max_body_bytes:
            self._skip()
        elif self._headers.get("expect", "").lower() == "100-continue" and not self.busy:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """A part of the body.

        A body over the limit is read on for as much again, and thrown away: a client that is cut
        off while it sends would see a broken connection in place of the reply.
        """
        self._length += len(part)
        if self._length <= self._api.max_body_bytes:
            self._body.append(part)
        else:
            self._body.clear()
            if self._length > 2 * self._api.max_body_bytes and not self._skips:
                self._skip()

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._skips or self._parser.should_upgrade():
            return
        if self._length > self._api.max_body_bytes:
            self._skip()
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = self._parser.get_method().decode("latin-1")
        self._put(Request(method, _target(self._url), body, self._headers))

    # --- requests and replies ------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether something is being answered."""
        return self._task is not None or bool(self._waiting)

    def finish(self) -> None:
        """Answers what was asked, and closes the connection."""
        self._finishing = True
        if not self.busy:
            self._transport.close()

    def abort(self) -> None:
        """Cuts the connection off."""
        self._transport.abort()

    def _skip(self) -> None:
        """Refuses a body; what more of it comes is thrown away."""
        self._skips = True
        self._put(error_reply(too_large(self._api.max_body_bytes)))

    def _refuse(self, status: int, text: bytes) -> None:
        """Answers what cannot be read, and nothing behind it."""
        self._deaf = self._finishing = True
        self._put(Reply(status, text, "text/plain; charset=utf-8"))

    def _put(self, asked: Request | Reply) -> None:
        """Answers it in its turn."""
        chunks = self._parser.get_http_version() == "1.1"
        self._waiting.append(_Asked(asked, chunks and self._parser.should_keep_alive(), chunks))
        if self._task is None:
            self._next()
        elif len(self._waiting) >= MOST_WAITING and not self._full:
            self._full = True
            self._transport.pause_reading()

    def _next(self) -> None:
        """Answers those that wait, until one takes time."""
        while self._waiting:
            asked = self._waiting.popleft()
            if isinstance(asked.what, Request):
                self._task = self._loop.create_task(self._answer(asked))
                return
            self._send(asked, asked.what)
        if self._full and not self._transport.is_closing():
            self._full = False
            self._transport.resume_reading()

    async def _answer(self, asked: _Asked) -> None:
        request: Request = asked.what  # type: ignore[assignment]
        try:
            reply = await self._api.respond(request)
            if isinstance(reply, EventReply):
                try:
                    await self._send_events(asked, reply)
                finally:
                    reply.close()  # ends what it still writes
            else:
                self._send(asked, reply, head_only=request.method == "HEAD")
        except Exception:  # a mistake of this file: the client shall not wait for ever
            logger.exception("%s %s was not answered", request.method, request.path)
            self.abort()
            return
        self._task = None
        self._next()

    def _send(self, asked: _Asked, reply: Reply, head_only: bool = False) -> None:
        """A whole reply, in one write."""
        last = not asked.keep or (self._finishing and not self._waiting)
        self._write(
            b"%bcontent-length: %d\r\n%b%b\r\n%b" % (
                self._endpoint.head(reply.status, reply.content_type), len(reply.body),
                b"".join(b"%b: %b\r\n" % header for header in reply.headers),
                b"connection: close\r\n" if last else b"", b"" if head_only else reply.body,
            )
        )  # fmt: skip
        if last:
            self._close()

    def _write(self, data: bytes) -> None:
        """Sends it, unless the connection is closed, which asyncio tells a moment later."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        self._deaf = True
        self._waiting.clear()
        self._transport.close()

    async def _send_events(self, asked: _Asked, reply: EventReply) -> None:
        """Sends events as they are written, unless the client does not read them."""
        last = not asked.keep or self._finishing
        self._write(
            self._endpoint.head(reply.status, reply.content_type)
            + b"".join(b"%b: %b\r\n" % header for header in reply.headers)
            + (b"transfer-encoding: chunked\r\n" if asked.chunks else b"")
            + (b"connection: close\r\n\r\n" if last else b"\r\n")
        )
        async for part in reply.chunks():
            self._write(b"%x\r\n%b\r\n" % (len(part), part) if asked.chunks else part)
            if self._room is not None:
                await self._wait_for_room(reply.idle_seconds)
        if asked.chunks:
            self._write(b"0\r\n\r\n")
        if last or self._finishing:
            self._close()

    async def _wait_for_room(self, seconds: float) -> None:
        """Until the client reads on; one that does not is cut off."""
        try:
            await asyncio.wait_for(self._room, seconds)
        except asyncio.TimeoutError:
            self.abort()
            await self._loop.create_future()  # which ends with the connection


def _target(url: bytes) -> str:
    """The request target as the client sent it, without what names the server."""
    if not url.startswith(b"/"):
        with contextlib.suppress(httptools.HttpParserInvalidURLError):
            parts = httptools.parse_url(url)
            url = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
    return url.partition(b"#")[0].removesuffix(b"?").decode("latin-1")
