"""The REST API as an ASGI application: reads bodies within bounds, notices clients that go away."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from serving.errors import RequestError
from serving.runtime.rest_api import Reply, Request, RestApi, error_reply, too_large
from serving.runtime.rest_generate import EventReply


class RestApp:
    """ASGI around ``RestApi``.

    No router: TensorFlow Serving matches raw targets, query string and all, which no framework's
    route syntax does.
    """

    def __init__(self, api: RestApi) -> None:
        self._api = api

    async def __call__(self, scope, receive, send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        try:
            body = await self._read(receive, headers.get("content-length", ""))
        except RequestError as error:
            await _send(send, error_reply(error))
            return
        if body is None:
            return
        request = Request(scope["method"], _target(scope), body, headers)
        task, left, reply = asyncio.current_task(), False, None

        def leave(received: asyncio.Future) -> None:
            nonlocal left
            if not received.cancelled():
                left = True
                task.cancel()

        gone = asyncio.ensure_future(receive())
        gone.add_done_callback(leave)
        try:
            reply = await self._api.respond(request)
            await (_send_events if isinstance(reply, EventReply) else _send)(send, reply)
        except asyncio.CancelledError:
            # A client that went away is not waited for: what it asked leaves the queue.
            if not left:
                raise
        finally:
            gone.cancel()
            if isinstance(reply, EventReply):  # ends what it still writes
                reply.close()

    async def _read(self, receive, content_length: str) -> bytes | None:
        """The request body, or None if the client went away while sending it.

        A body over the limit is read on for as much again, and thrown away: a client that is cut
        off while it sends would see a broken connection in place of the reply.
        """
        limit = self._api.max_body_bytes
        if content_length.isdigit() and int(content_length[:20]) > 2 * limit:
            raise too_large(limit)
        chunks, length, more = [], 0, True
        while more and length <= 2 * limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            length += len(chunk)
            if length > limit:
                chunks.clear()
            else:
                chunks.append(chunk)
            more = message.get("more_body", False)
        if length > limit:
            raise too_large(limit)
        return b"".join(chunks)


def _target(scope) -> str:
    """The request target as the client sent it."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    query = scope.get("query_string", b"")
    return (raw + b"?" + query if query else raw).decode("latin-1")


async def _send_events(send, reply: EventReply) -> None:
    """Sends events as they are written, unless the client does not read them.

    It is watched from outside, by one timer for the whole reply: a timeout for each event would
    take longer than the event.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    headers = [(b"content-type", reply.content_type.encode()), *reply.headers]
    since: float | None = None  # when what is being sent now was begun
    idle = False

    def watch() -> None:
        nonlocal timer, idle
        if since is not None and loop.time() - since >= reply.idle_seconds:
            idle = True
            task.cancel()
        else:
            timer = loop.call_later(reply.idle_seconds / 2, watch)

    timer = loop.call_later(reply.idle_seconds / 2, watch)
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        async for chunk in reply.chunks():
            since = loop.time()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            since = None
        await send({"type": "http.response.body", "body": b""})
    except asyncio.CancelledError:
        if not idle:
            raise
        await _abort(send)
    finally:
        timer.cancel()


async def _abort(send) -> None:
    """Cuts a connection off: the server's own end would wait until all is sent."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)  # uvicorn's
    if transport is not None:
        transport.abort()
        await asyncio.sleep(0.01)  # until uvicorn has noticed, which else reports a broken reply


async def _send(send, reply: Reply) -> None:
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
