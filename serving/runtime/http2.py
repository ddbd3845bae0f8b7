"""HTTP/2 (RFC 9113) as an asyncio protocol, as far as a server of gRPC calls needs it.

gRPC's own library is a world by itself: its completions reach Python's event loop one by one,
through a socket, which takes longer for a call than all else but the model.

A stream is handed on when its request is whole; requests are kept within bounds, replies within the
client's windows. Priorities and server push are not spoken.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any

from serving.runtime.http2_frames import (
    ACK,
    CALM,
    CONNECTION_WINDOW,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_HEAD,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_LIST,
    HEADERS,
    INITIAL_WINDOW,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    MOST_STREAMS,
    NO_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    PUSH,
    REFUSED_STREAM,
    RESET,
    SETTINGS,
    STREAM_WINDOW,
    WINDOW,
    WITH_PRIORITY,
    HeaderReader,
    Http2Error,
    frame,
    unpadded,
)
from serving.runtime.http2_stream import Http2Limits, Http2Stream

GREETING_SECONDS = 60.0  # within which a client says that it speaks HTTP/2


class Http2Connection(asyncio.Protocol):
    """One connection.

    Args:
        answer: called with each stream whose request is whole, or too long: a coroutine.
        limits: of the connection.
        connections: to which it belongs while it is open.
    """

    def __init__(
        self,
        answer: Callable[[Http2Stream], Any],
        limits: Http2Limits,
        connections: set[Http2Connection],
    ) -> None:
        self._answer, self._limits, self._connections = answer, limits, connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._read, self._greeted = bytearray(), False
        self._headers = HeaderReader(limits.header_bytes)
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags, headers so far
        self._streams: dict[int, Http2Stream] = {}
        self._last = 0  # the highest number of a stream
        self._window, self._streams_window = 65_535, 65_535  # that the client has left
        self._taken = 0
        self._waiting: set[asyncio.Future] = set()
        self._paused = self._finishing = False
        self.opened = self.heard = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a stream is open."""
        return bool(self._streams)

    # --- of asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first call."""
        self._transport = transport
        self._connections.add(self)
        settings = struct.pack(
            ">HIHIHI", MOST_STREAMS, self._limits.streams, INITIAL_WINDOW, STREAM_WINDOW,
            HEADER_LIST, self._limits.header_bytes,
        )  # fmt: skip
        more = struct.pack(">I", CONNECTION_WINDOW - 65_535)
        transport.write(frame(SETTINGS, 0, 0, settings) + frame(WINDOW, 0, 0, more))
        self._loop.call_later(GREETING_SECONDS, self._expect_greeting)

    def _expect_greeting(self) -> None:
        """Closes a connection that nobody speaks on."""
        if not self._greeted:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits for the answers any more."""
        self._connections.discard(self)
        self._finishing = True
        for stream in list(self._streams.values()):
            self._forget(stream)
        self._wake()

    def pause_writing(self) -> None:
        """The client does not read; neither is it read, as each ping has an answer."""
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads on."""
        self._paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Bytes of frames."""
        self.heard = time.monotonic()
        if self._read:
            self._read += data
            data = bytes(self._read)
            self._read.clear()
        place = 0
        try:
            if not self._greeted:
                if not PREFACE.startswith(data[: len(PREFACE)]):
                    raise Http2Error(PROTOCOL_ERROR)
                if len(data) < len(PREFACE):
                    self._read += data
                    return
                self._greeted, place = True, len(PREFACE)
            while place + 9 <= len(data):
                high, low, kind, flags, number = FRAME_HEAD.unpack_from(data, place)
                length = high << 8 | low
                if length > LARGEST_FRAME:
                    raise Http2Error(FRAME_SIZE_ERROR)
                end = place + 9 + length
                if end > len(data):
                    break
                self._frame(kind, flags, number & LARGEST_WINDOW, data[place + 9 : end])
                place = end
        except Http2Error as error:
            self._end(error.code)
            return
        self._read += data[place:]

    # --- frames --------------------------------------------------------------------------------

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if (self._block is not None) is not (kind == CONTINUATION):
            raise Http2Error(PROTOCOL_ERROR)
        if kind in _PARSERS:
            _PARSERS[kind](self, flags, number, payload)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        payload = unpadded(flags, payload)
        if flags & WITH_PRIORITY:
            payload = payload[5:]
        self._block = number, flags, bytearray(payload)
        if flags & END_HEADERS:
            self._on_block()

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        first, _, block = self._block  # type: ignore[misc]
        block += payload
        if number != first or len(block) > self._limits.header_bytes:
            raise Http2Error(CALM if number == first else PROTOCOL_ERROR)
        if flags & END_HEADERS:
            self._on_block()

    def _on_block(self) -> None:
        """A request begins, or ends with trailers."""
        number, flags, block = self._block  # type: ignore[misc]
        self._block = None
        headers = self._headers(bytes(block))
        if (stream := self._streams.get(number)) is not None:
            if not flags & END_STREAM:
                raise Http2Error(PROTOCOL_ERROR)
            self._complete(stream)
            return
        if number % 2 == 0 or number <= self._last:
            raise Http2Error(PROTOCOL_ERROR)
        if self._finishing:  # the client was told that nobody looks at it
            return
        self._last = number
        if len(self._streams) >= self._limits.streams:
            self._send_reset(number, REFUSED_STREAM)
            return
        stream = Http2Stream(self, number, headers, self._streams_window)
        self._streams[number] = stream
        if flags & END_STREAM:
            self._complete(stream)

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size, stream = len(payload), self._streams.get(number)
        if number == 0 or number > self._last and not self._finishing:
            raise Http2Error(PROTOCOL_ERROR)
        self._taken += size
        if self._taken > CONNECTION_WINDOW // 2:
            self._send_room(0, self._taken)
            self._taken = 0
        if stream is None or stream.task is not None:  # it was answered or left
            return
        stream.body += unpadded(flags, payload)
        stream.taken += size
        if flags & END_STREAM or len(stream.body) > self._limits.body_bytes:
            self._complete(stream, bool(flags & END_STREAM))
        elif stream.taken > STREAM_WINDOW // 2:
            self._send_room(number, stream.taken)
            stream.taken = 0

    def _complete(self, stream: Http2Stream, whole: bool = True) -> None:
        """A request is whole, or too long."""
        stream.whole |= whole
        if stream.task is None:
            stream.task = self._loop.create_task(self._answer(stream))

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(FRAME_SIZE_ERROR)
        if number == 0 or number > self._last and not self._finishing:
            raise Http2Error(PROTOCOL_ERROR)
        if (stream := self._streams.get(number)) is not None:
            self._forget(stream)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) % 6 or (flags & ACK and payload):
            raise Http2Error(FRAME_SIZE_ERROR)
        if flags & ACK:
            return
        for name, value in struct.iter_unpack(">HI", payload):
            if name == INITIAL_WINDOW:
                if value > LARGEST_WINDOW:
                    raise Http2Error(FLOW_CONTROL_ERROR)
                for stream in self._streams.values():
                    stream.window += value - self._streams_window
                self._streams_window = value
        self._write(frame(SETTINGS, ACK, 0, b""))
        self._wake()

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise Http2Error(FRAME_SIZE_ERROR)
        if not flags & ACK:
            self._write(frame(PING, ACK, 0, payload))

    def _on_window(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(FRAME_SIZE_ERROR)
        more = struct.unpack(">I", payload)[0] & LARGEST_WINDOW
        if number == 0:
            self._window += more
            if not more or self._window > LARGEST_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR)
        elif (stream := self._streams.get(number)) is not None:
            stream.window += more
            if not more or stream.window > LARGEST_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR)
        self._wake()

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:
        raise Http2Error(PROTOCOL_ERROR)

    # --- replies -------------------------------------------------------------------------------

    async def reply(
        self, stream: Http2Stream, head: bytes, data: bytes, tail: bytes, seconds: float | None
    ) -> None:
        """See ``Http2Stream.reply``."""
        self._check(stream)
        parts = [frame(HEADERS, END_HEADERS, stream.number, head)] if head else []
        place, size, until = 0, len(data), None
        while place < size:
            room = min(size - place, LARGEST_FRAME, self._window, stream.window)
            if room <= 0 or self._paused:
                self._write(b"".join(parts))
                parts.clear()
                if seconds is not None:
                    until = until or self._loop.time() + seconds
                await self._wait(until)
                self._check(stream)
                continue
            until = None
            self._window -= room
            stream.window -= room
            parts.append(frame(DATA, 0, stream.number, data[place : place + room]))
            place += room
        if tail:
            parts.append(frame(HEADERS, END_HEADERS | END_STREAM, stream.number, tail))
            if not stream.whole:  # it may stop sending
                parts.append(frame(RESET, 0, stream.number, struct.pack(">I", NO_ERROR)))
            del self._streams[stream.number]
        self._write(b"".join(parts))
        if self._finishing and not self._streams:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        """Sends it, unless the connection is closed, which asyncio tells a moment later."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def _check(self, stream: Http2Stream) -> None:
        """Ends whoever answers a stream that is over: a cancelled task may miss that."""
        if stream.number not in self._streams:
            raise asyncio.CancelledError

    async def _wait(self, until: float | None) -> None:
        """Until the client may have more room."""
        waiter = self._loop.create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait_for(waiter, until and max(0.0, until - self._loop.time()))
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _send_room(self, number: int, size: int) -> None:
        self._write(frame(WINDOW, 0, number, struct.pack(">I", size)))

    def _send_reset(self, number: int, code: int) -> None:
        self._write(frame(RESET, 0, number, struct.pack(">I", code)))

    def _forget(self, stream: Http2Stream) -> None:
        """A stream is over; what still works on it is cancelled."""
        self._streams.pop(stream.number, None)
        if stream.task is not None:
            stream.task.cancel()
        if self._finishing and not self._streams:
            self._transport.close()

    # --- the end -------------------------------------------------------------------------------

    def finish(self) -> None:
        """Answers the streams that are open, and closes the connection."""
        if self._finishing:
            return
        self._send_goaway(NO_ERROR)
        self._finishing = True
        if not self._streams:
            self._transport.close()

    def abort(self) -> None:
        """Cuts the connection off."""
        self._transport.abort()

    def _end(self, code: int) -> None:
        """Ends the connection of a client that does not speak HTTP/2."""
        self._send_goaway(code)
        self._transport.close()

    def _send_goaway(self, code: int) -> None:
        self._write(frame(GOAWAY, 0, 0, struct.pack(">II", self._last, code)))


_PARSERS: dict[int, Callable[[Http2Connection, int, int, bytes], None]] = {
    DATA: Http2Connection._on_data,
    HEADERS: Http2Connection._on_headers,
    RESET: Http2Connection._on_reset,
    SETTINGS: Http2Connection._on_settings,
    PUSH: Http2Connection._on_push,
    PING: Http2Connection._on_ping,
    WINDOW: Http2Connection._on_window,
    CONTINUATION: Http2Connection._on_continuation,
}
