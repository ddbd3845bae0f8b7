"""What a connection of HTTP/2 is made of: streams, of which each is one request and its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.runtime.http2_frames import LARGEST_WINDOW

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True)
class Http2Limits:
    """Bounds of one connection.

    Attributes:
        streams: that are open at once.
        header_bytes: of one request.
        body_bytes: of one request; a longer one is handed on as soon as it is too long.
    """

    streams: int = 1024
    header_bytes: int = 65_536
    body_bytes: int = LARGEST_WINDOW


class Http2Stream:
    """One request and its reply.

    Attributes:
        headers: by name; of several of one name the last counts.
        body: what was sent.
        whole: whether that is all of it.
        task: answers it; cancelled where the client does not wait any more.
    """

    __slots__ = ("_connection", "body", "headers", "number", "task", "taken", "whole", "window")

    def __init__(self, connection: Any, number: int, headers: Headers, window: int) -> None:
        self._connection, self.number, self.headers = connection, number, headers
        self.body = bytearray()
        self.window, self.taken = window, 0
        self.whole = False
        self.task: asyncio.Task | None = None

    async def reply(
        self, head: bytes, data: bytes, tail: bytes, seconds: float | None = None
    ) -> None:
        """Sends a reply, or a part of one, as soon as there is room for it.

        Args:
            head: a header block; none if empty.
            data: the body; none if empty.
            tail: a header block that ends the stream; none if empty.
            seconds: for which room is waited for; None for ever.

        Raises:
            TimeoutError: asyncio's: the client reads nothing.
            CancelledError: it does not wait any more.
        """
        await self._connection.reply(self, head, data, tail, seconds)
