"""Texts token by token over gRPC: ``seqloom.StreamService/Generate``, an extension."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from serving import protos
from serving.errors import RequestError
from serving.runtime.generation import Generation, TokenEvent
from serving.runtime.runners import SignatureRunner


async def send_generated(
    writing: Generation, runner: SignatureRunner, context: Any, first: Any
) -> None:
    """Sends ids as they are written, until all texts have ended or the client has gone.

    Args:
        writing: as ``Runtime.write`` gives it.
        runner: the signature.
        context: of the call.
        first: a ``GenerateResponse``, to which what is written first is added.

    Raises:
        RequestError: writing failed, or the client reads nothing.
    """
    idle = runner.scheduler.limits.idle_seconds if runner.scheduler is not None else None
    try:
        async for events in writing.events():
            message, first = first or protos.GenerateResponse(), None
            add_events(message, events)
            await context.write(message.SerializeToString(), idle)
    except asyncio.TimeoutError:
        message = f"Nothing was read for {idle:g} s."
        raise RequestError(message, code="DEADLINE_EXCEEDED") from None
    finally:
        writing.cancel()


def add_events(message: Any, events: Sequence[TokenEvent]) -> None:
    """Adds ids, and the texts that end with them, to a ``GenerateResponse``."""
    for event in events:
        message.tokens.add(
            index=event.index, token=event.token, text=event.text,
            log_probability=event.log_probability,
        )  # fmt: skip
        if (done := event.finished) is not None:
            message.texts.add(
                index=event.index, finish_reason=done.finish_reason, text=done.text,
                log_probability=done.row.score, tokens=len(done.ids),
            )  # fmt: skip
