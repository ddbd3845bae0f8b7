"""``:generate`` over REST: texts as server-sent events, or whole as ``:predict`` answers.

Events are those of the HTML standard, section 9.2, each one JSON object in ``data``. An extension:
TensorFlow Serving has no such path.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from json.encoder import encode_basestring as quoted
from typing import Any, NamedTuple

from pipelines.writing import SEPARATOR
from serving.errors import RequestError
from serving.runtime.generation import Generation, TokenEvent
from serving.runtime.json_tensor import is_named
from serving.runtime.rest_json import format_predict, parse_envelope, predict_of
from serving.runtime.runtime import Runtime, generating
from serving.runtime.servables import Servable

HEADERS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class EventReply(NamedTuple):
    """A reply that is sent while it is written.

    Whoever gets one closes it, whether it was sent or not.

    Attributes:
        generation: what is written.
        uses: keeps the version loaded.
        idle_seconds: a client that reads nothing for so long is left.
        headers: further headers.
    """

    generation: Generation
    uses: ExitStack
    idle_seconds: float
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status: int = 200
    content_type: str = "text/event-stream"

    async def chunks(self) -> AsyncIterator[bytes]:
        """Events as they come in, several together where the client is behind.

        An error in mid-stream is the last event, of type ``error``.
        """
        try:
            async for events in self.generation.events():
                yield b"".join(map(format_event, events))
        except RequestError as error:
            data = json.dumps({"error": error.message, "code": error.code}, ensure_ascii=False)
            yield f"event: error\ndata: {data}\n\n".encode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Ends what is still being written."""
        self.generation.cancel()
        self.uses.close()


def format_event(event: TokenEvent) -> bytes:
    """One id, and the end of its text where it is the last one."""
    # Put together by hand: this is done for every id, and takes a third of json.dumps's time.
    text = (
        f'data: {{"index": {event.index}, "token": {event.token}, "text": {quoted(event.text)}, '
        f'"log_probability": {event.log_probability:.6g}}}\n\n'
    )
    if (done := event.finished) is not None:
        text += (
            f'data: {{"index": {event.index}, "finish_reason": "{done.finish_reason}", '
            f'"text": {quoted(done.text)}, "log_probability": {done.row.score:.6g}, '
            f'"tokens": {len(done.ids)}}}\n\n'
        )
    return text.encode("utf-8")


async def generate(
    runtime: Runtime, target: tuple[Any, ...], body: bytes, deadline: float
) -> bytes | EventReply:
    """Answers one request.

    Args:
        runtime: of the server.
        target: name, version and label of the model.
        body: of the request: ``inputs`` or ``instances`` as for ``:predict``, and ``stream``.
        deadline: of a request that is not streamed, by ``time.monotonic``.

    Returns:
        The body of the reply; or, with ``"stream": true``, the reply.

    Raises:
        RequestError: the request is not valid, or too much is written already.
    """
    document, signature_name = parse_envelope(body)
    streamed = document.get("stream", False)
    if not isinstance(streamed, bool):
        raise RequestError("'stream' must be true or false")
    with ExitStack() as uses:
        servable: Servable = uses.enter_context(runtime.manager.use(*target))
        runner = generating(servable, signature_name)
        known = runner.signature["inputs"]
        request = predict_of(_with_stops(document, known), signature_name, lambda _: known)
        inputs = {n: a.reshape(1) if not a.ndim else a for n, a in request.inputs.items()}
        if streamed:
            generation = await runtime.write(servable, runner, inputs)
            idle = runner.scheduler.limits.idle_seconds
            return EventReply(generation, uses.pop_all(), idle, HEADERS)
        outputs = await runtime.run(servable, runner, inputs, deadline)
        return format_predict(outputs, request.row, runner.fields)


def _with_stops(document: dict, known: Mapping[str, Any]) -> dict:
    """The document with every list of a row's stop strings as the one string that a signature has.

    Raises:
        RequestError: an input is unknown. ``:predict`` ignores it in the columnar form, where a
            setting that is spelled wrongly would go unnoticed.
    """
    found = dict(document)
    if is_named(document.get("inputs")):
        if unknown := sorted(set(document["inputs"]) - set(known)):
            raise RequestError(f"There is no input {unknown[0]}; there are {', '.join(known)}")
        found["inputs"] = dict(document["inputs"])
        stops = found["inputs"].get("stop")
        if isinstance(stops, list):
            found["inputs"]["stop"] = [_joined(one) for one in stops]
    if isinstance(document.get("instances"), list):
        found["instances"] = [
            {**row, "stop": _joined(row["stop"])} if is_named(row) and "stop" in row else row
            for row in document["instances"]
        ]
    return found


def _joined(stops: Any) -> Any:
    if isinstance(stops, list) and all(isinstance(one, str) for one in stops):
        return SEPARATOR.join(stops)
    return stops
