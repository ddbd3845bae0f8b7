"""The texts of one request while they are written, and the limits of all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from decoding.running import RunningRow
from pipelines.writing import Text
from serving.errors import RequestError


@dataclass(frozen=True)
class GenerationLimits:
    """Limits of all texts that one version of a model writes at a time.

    Attributes:
        max_rows: largest number of texts in one step; more take turns.
        max_texts: largest number of texts that run, wait or are paused.
        max_bytes: largest size of their states, prompts and forms.
        max_unread: ids that a reader may be behind before its request pauses.
        idle_seconds: a request of which nothing is read for so long is ended.
        turn_steps: steps after which a text makes way for one that waits.
        flush_seconds: with many texts, how often their readers are told; few are told every step.
    """

    max_rows: int = 256
    max_texts: int = 10_000
    max_bytes: int = 256 * 2**20
    max_unread: int = 256
    idle_seconds: float = 60.0
    turn_steps: int = 128
    flush_seconds: float = 0.01


class TokenEvent(NamedTuple):
    """One id of one text of a request.

    Attributes:
        index: which of the request's texts.
        token: the id; the end id too.
        text: the text that is final with it, which may be "".
        log_probability: by the model, before any setting.
        finished: the whole text, with the last id.
    """

    index: int
    token: int
    text: str
    log_probability: float
    finished: Text | None


class Load(NamedTuple):
    """What a scheduler has done since it was last asked, and has to do."""

    running: int
    waiting: int
    paused: int
    tokens: int
    steps: int
    seconds: float


class Generation:
    """The texts of one request; made by ``Scheduler.submit``, and read in its event loop.

    Args:
        scheduler: writes them.
        texts: in the order of the request's rows.
        streamed: whether they are read with ``events``, or ``whole``.

    Attributes:
        unread: what was written and not read; None unless streamed.
        left: number of texts that have not ended.
        error: why writing ended before its time.
        bytes: what its states and prompts take.
        parked: rows put aside, while it is paused for its reader; None while it is not.
        parked_since: time of that, by ``time.monotonic``.
        closed: whether it was cancelled or has failed.
        loop: the event loop of the reader, in which ``ready`` is set when there is news.
    """

    def __init__(self, scheduler: Any, texts: Sequence[Text], streamed: bool) -> None:
        self.texts = list(texts)
        self.unread: deque[TokenEvent] | None = deque() if streamed else None
        self.left, self.bytes = len(self.texts), 0
        self.error: RequestError | None = None
        self.parked: list[RunningRow] | None = None
        self.parked_since = 0.0
        self.closed = False
        self._scheduler = scheduler
        self.loop = asyncio.get_running_loop()
        self.ready = asyncio.Event()
        if not self.left:
            self.ready.set()

    async def events(self) -> AsyncIterator[list[TokenEvent]]:
        """What was written since the last time, until all texts have ended.

        Raises:
            RequestError: writing failed, or nothing was read for too long.
        """
        assert self.unread is not None
        try:
            while True:
                await self.ready.wait()
                self.ready.clear()
                over = self.left == 0  # looked up first: what is written before is in `unread`
                batch = [self.unread.popleft() for _ in range(len(self.unread))]
                if batch:
                    yield batch
                if self.error is not None:
                    raise self.error
                if over:
                    return
                if self.parked is not None:
                    self._scheduler.resume(self)
        finally:
            self.cancel()

    async def whole(self) -> list[Text]:
        """All texts, once they have ended; cancelled, they are given up.

        Raises:
            RequestError: writing failed.
        """
        try:
            while self.left and self.error is None:
                await self.ready.wait()
                self.ready.clear()
            if self.error is not None:
                raise self.error
            return self.texts
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends what is still being written; nobody wants it."""
        if self.left:
            self._scheduler.cancel(self)
