"""How calls end over gRPC."""

from __future__ import annotations

import grpc

from serving.errors import HTTP_STATUS

# HTTP_STATUS lists the canonical codes in numeric order.
CODES = {name: number for number, name in enumerate(HTTP_STATUS)}
MAX_CHARACTERS = 1024


async def abort(context: grpc.aio.ServicerContext, status: str, text: str) -> None:
    """Ends a call with an error; raises what gRPC ends handlers by.

    Args:
        context: of the call.
        status: a key of ``HTTP_STATUS``.
        text: cut where TensorFlow Serving cuts it.
    """
    text = text.encode("utf-8", "replace").decode()
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}...TRUNCATED"
    await context.abort(getattr(grpc.StatusCode, status), text)
