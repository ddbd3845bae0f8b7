"""Texts as a client reads them while a server writes them, over REST and over gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from pipelines.writing import Piece
from serving.errors import HTTP_STATUS, RequestError


class GeneratedText(NamedTuple):
    """One text that has ended.

    Attributes:
        index: which of the request's texts.
        finish_reason: ``end`` (the model ended it), ``length`` or ``stop``.
        text: all of it.
        log_probability: sum of those of its ids and its end.
        tokens: number of its ids, without the end.
    """

    index: int
    finish_reason: str
    text: str
    log_probability: float
    tokens: int


class TextStream:
    """Iterates over the ``Piece``s of the texts of one request as the server writes them.

    >>> for piece in client.generate("Once", stream=True):             # doctest: +SKIP
    ...     print(piece.text, end="", flush=True)

    It ends with the last text; ``close``, or the end of a ``with`` block, ends it before.

    Args:
        events: of the transport.
        hang_up: ends them.

    Attributes:
        texts: those that have ended, by their index.
    """

    def __init__(
        self, events: Iterable[Piece | GeneratedText], hang_up: Callable[[], None]
    ) -> None:
        self.texts: dict[int, GeneratedText] = {}
        self._events, self._hang_up = iter(events), hang_up

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        """The next piece.

        Raises:
            RequestError: what the server answered in mid-stream, or UNAVAILABLE.
        """
        for event in self._events:
            if isinstance(event, Piece):
                return event
            self.texts[event.index] = event
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Hangs up; the server drops what it has not written."""
        self._hang_up()

    def __enter__(self) -> TextStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def rest_events(lines: Iterable[bytes]) -> Iterator[Piece | GeneratedText]:
    """Server-sent events as pieces and texts.

    Raises:
        RequestError: an event of type ``error``, or an end before the end of the texts.
    """
    kind, open_texts = "", set()
    for line in lines:
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        if name == b"event":
            kind = value.strip().decode("utf-8", "replace")
        if name != b"data":
            continue
        found = json.loads(value)
        if kind == "error":
            raise RequestError(str(found.get("error", "")), code=_known(found.get("code")))
        if "finish_reason" in found:
            open_texts.discard(found["index"])
            yield GeneratedText(**found)
        else:
            open_texts.add(found["index"])
            yield Piece(**found)
    if open_texts:
        raise RequestError("the server ended the stream before the text", code="UNAVAILABLE")


def grpc_events(messages: Iterable[Any]) -> Iterator[Piece | GeneratedText]:
    """``GenerateResponse`` messages as pieces and texts."""
    for message in messages:
        for one in message.tokens:
            yield Piece(one.index, one.token, one.text, one.log_probability)
        for one in message.texts:
            yield GeneratedText(
                one.index, one.finish_reason, one.text, one.log_probability, one.tokens
            )


def _known(code: Any) -> str:
    return code if code in HTTP_STATUS else "UNKNOWN"
