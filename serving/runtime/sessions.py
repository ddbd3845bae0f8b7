"""Streams: a client opens one, sends a row at a time, and the server keeps the model's state.

Only models with a ``step`` signature have them. A stream stays on the version that it began with,
belongs to whoever knows its random name, and ends when it is closed, when it has been idle for too
long, or when its version is unloaded. Steps of different streams are joined into batches like other
requests.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from pipelines.program import NEXT
from pipelines.ragged import Arrays
from serving.errors import RequestError
from serving.runtime import metrics as m
from serving.runtime.servables import Servable
from serving.runtime.signatures import STEP_SIGNATURE


@dataclass(frozen=True)
class SessionLimits:
    """Limits of all streams together.

    Attributes:
        idle_seconds: a stream without a step for so long is closed.
        max_sessions: largest number of open streams.
        max_bytes: largest size of all their states.
    """

    idle_seconds: float = 300.0
    max_sessions: int = 10_000
    max_bytes: int = 256 * 2**20


@dataclass(eq=False)
class Session:
    """One stream.

    Attributes:
        identity: its secret name.
        name: the model's name.
        version: the model's version.
        states: those after the last step; None before the first, which sets the number of rows.
        steps: number of steps so far.
        used: time of the end of the last step, by ``time.monotonic``.
    """

    identity: str
    name: str
    version: int
    states: Arrays | None = None
    steps: int = 0
    used: float = field(default_factory=time.monotonic)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def bytes(self) -> int:
        """Size of the states."""
        return sum(array.nbytes for array in (self.states or {}).values())


class Sessions:
    """All streams of a server; to be called from its event loop.

    Args:
        runtime: runs the steps.
        limits: limits of all streams together.
    """

    def __init__(self, runtime: Any, limits: SessionLimits | None = None) -> None:
        self.limits = limits or SessionLimits()
        self._runtime = runtime
        self._open: OrderedDict[str, Session] = OrderedDict()  # by their last use
        self._bytes = 0

    def open(self, servable: Servable) -> str:
        """A new stream's secret name.

        Raises:
            RequestError: the model has no steps, or too many streams are open.
        """
        runner = servable.backend.runners.get(STEP_SIGNATURE)
        if runner is None or not runner.states:
            raise RequestError(
                f"Model {servable.name} cannot be streamed: it has no signature "
                f'"{STEP_SIGNATURE}". Models that read both ways or pool over time have no steps.',
                code="FAILED_PRECONDITION",
            )
        self.expire()
        if len(self._open) >= self.limits.max_sessions:
            raise RequestError(
                f"{len(self._open)} streams are open, which is the limit; close some, or wait "
                "for idle ones to expire.",
                code="RESOURCE_EXHAUSTED",
            )
        identity = secrets.token_urlsafe(24)
        self._open[identity] = Session(identity, servable.name, servable.version)
        self._count()
        return identity

    def find(self, identity: str) -> Session:
        """An open stream.

        Raises:
            RequestError: NOT_FOUND: it was never opened, or is closed or expired.
        """
        session = self._open.get(identity)
        if session is not None and not self._expired(session):
            return session
        self._forget(identity)
        raise RequestError("There is no such stream; it may have expired.", code="NOT_FOUND")

    def inputs(self, servable: Servable) -> dict[str, Any]:
        """The inputs of a step: those of the step signature without the states."""
        runner = servable.backend.runners[STEP_SIGNATURE]
        inputs = runner.signature["inputs"]
        return {name: info for name, info in inputs.items() if name not in runner.states}

    async def step(
        self, session: Session, servable: Servable, inputs: Arrays, deadline: float | None
    ) -> Arrays:
        """One step of a stream, with one row for each of its series.

        Args:
            session: as ``find`` gives it.
            servable: the version of the stream, in use by the caller.
            inputs: arrays by name, as ``inputs`` lists them, one row for each series.
            deadline: time by ``time.monotonic``.

        Returns:
            The outputs of the step signature without the states.

        Raises:
            RequestError: as for any request; the stream is then as it was before.
        """
        async with session.turn:
            rows = max((len(array) for array in inputs.values() if array.ndim), default=0)
            if not rows:
                raise RequestError("A step needs at least one row.")
            states, runner = session.states, servable.backend.runners[STEP_SIGNATURE]
            if states is None:
                states = runner.initial(rows)
                self._room_for(sum(array.nbytes for array in states.values()))
            elif rows != (known := len(next(iter(states.values()), inputs))) and states:
                raise RequestError(f"This stream has {known} rows a step, not {rows}.")
            if clash := set(states) & set(inputs):
                raise RequestError(f"The server keeps {', '.join(sorted(clash))}; do not send it.")
            outputs = await self._runtime.run(servable, runner, {**inputs, **states}, deadline)
            before = session.bytes
            # Copies: a slice of a batch would keep the whole batch in memory.
            session.states = {name: outputs.pop(f"{name}{NEXT}").copy() for name in states}
            session.steps += 1
            self._was_used(session)
            self._bytes += session.bytes - before
            return outputs

    def close(self, identity: str) -> int:
        """Ends a stream.

        Returns:
            The number of its steps.

        Raises:
            RequestError: NOT_FOUND.
        """
        steps = self.find(identity).steps
        self._forget(identity)
        return steps

    def expire(self) -> None:
        """Forgets streams that were idle for too long."""
        until = time.monotonic() - self.limits.idle_seconds
        while self._open and (first := next(iter(self._open.values()))).used < until:
            if first.turn.locked():
                self._was_used(first)
            else:
                self._forget(first.identity)

    def _was_used(self, session: Session) -> None:
        session.used = time.monotonic()
        if session.identity in self._open:  # it may have been closed meanwhile
            self._open.move_to_end(session.identity)

    def _expired(self, session: Session) -> bool:
        idle = time.monotonic() - session.used
        return idle > self.limits.idle_seconds and not session.turn.locked()

    def _forget(self, identity: str) -> None:
        session = self._open.pop(identity, None)
        if session is not None:
            self._bytes -= session.bytes
            self._count()

    def _room_for(self, more: int) -> None:
        if self._bytes + more <= self.limits.max_bytes:
            return
        self.expire()
        if self._bytes + more > self.limits.max_bytes:
            raise RequestError(
                f"The states of all streams take {self._bytes} bytes, which is the limit.",
                code="RESOURCE_EXHAUSTED",
            )

    def _count(self) -> None:
        self._runtime.metrics.set(m.SESSIONS, len(self._open))
