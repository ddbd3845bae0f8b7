"""TensorFlow Serving's REST API: from a request's line and body to a reply; no sockets.

Paths, codes and messages are those of its http_rest_api_handler.cc and http_rest_api_util.cc.
Streams (``:open``, ``:step``, ``:close``), ``:generate`` and ``/healthz`` are this server's own.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from serving.errors import RequestError
from serving.runtime.front_page import overview, page
from serving.runtime.inference import classifications, regressions
from serving.runtime.rest_examples import parse_examples
from serving.runtime.rest_generate import EventReply, generate
from serving.runtime.rest_json import (
    format_classifications,
    format_predict,
    format_regressions,
    parse_predict,
)
from serving.runtime.runtime import SMALL_BYTES, Runtime
from serving.runtime.servables import Servable
from serving.runtime.signatures import (
    CLASSIFY_METHOD,
    DEFAULT_SIGNATURE,
    REGRESS_METHOD,
    STEP_SIGNATURE,
    signature_defs,
)

_VERSION_OR_LABEL = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:?]+))?"
_VERBS = "classify|regress|predict|generate|open"
_API_PATH = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_PREDICT_PATH = re.compile(
    rf"/v1/models/(?P<name>[^/:?]+){_VERSION_OR_LABEL}:(?P<verb>{_VERBS})",
    re.IGNORECASE | re.ASCII,
)
_MODEL_PATH = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:?]+))?{_VERSION_OR_LABEL}(?P<metadata>/metadata)?",
    re.IGNORECASE | re.ASCII,
)
_STREAM_PATH = re.compile(r"/v1/streams/(?P<stream>[\w-]+):(?P<verb>step|close)", re.ASCII)
# TensorFlow Serving's default path of Prometheus's page.
METRICS_PATH = "/monitoring/prometheus/metrics"
_INT64_MAX = 2**63 - 1
_NOT_FOUND_PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>"
)
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestOptions:
    """Pages of the REST port, and who may ask for them.

    Attributes:
        metrics_path: path of Prometheus's page; None for no such page.
        cors: whether pages of other sites may ask.
        front_page: whether ``GET /`` says what is there; TensorFlow Serving has no such page.
        token: requests must carry it, unless it is None.
    """

    metrics_path: str | None = None
    cors: bool = False
    front_page: bool = False
    token: str | None = field(default=None, repr=False)


class Request(NamedTuple):
    """One HTTP request.

    Attributes:
        method: HTTP method in capitals.
        path: the request target as received, with query string, percent-encoded.
        body: the body as received.
        headers: values by name in lower case.
    """

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = {}


class Reply(NamedTuple):
    """Status, body, content type and further headers of one reply."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Target(NamedTuple):
    """Model, version and label that a request path names."""

    name: str
    version: int | None
    label: str | None


class _RequestRecord:
    """The labels under which a request is counted, filled in while it is answered."""

    name, api, status = "", "", "OK"


class RestApi:
    """Answers REST requests."""

    def __init__(self, runtime: Runtime, options: RestOptions | None = None) -> None:
        self._runtime, self._options = runtime, options or RestOptions()

    @property
    def max_body_bytes(self) -> int:
        """Longest request body, after decompression too."""
        return self._runtime.limits.max_body_bytes

    async def respond(self, request: Request) -> Reply | EventReply:
        """Answers one request; raises nothing but cancellation."""
        began, record = time.perf_counter(), _RequestRecord()
        try:
            reply = await self._dispatch(request, record)
        except RequestError as error:
            reply, record.status = error_reply(error), error.code
        except Exception as error:
            logger.exception("%s %s failed", request.method, request.path)
            message = f"Internal error: {type(error).__name__}: {error}"
            reply = error_reply(RequestError(message, code="INTERNAL"))
            record.status = "INTERNAL"
        self._runtime.count_request(
            record.name, record.api, "REST", record.status, time.perf_counter() - began
        )
        return reply._replace(headers=reply.headers + _CORS) if self._options.cors else reply

    async def _dispatch(self, request: Request, record: _RequestRecord) -> Reply | EventReply:
        method, path = request.method, request.path
        if path == "/healthz" and method == "GET":
            return Reply(200, b'{"status": "ok"}')
        if self._options.token is not None and method != "OPTIONS":
            check_token(request.headers.get("authorization", ""), self._options.token)
        metrics = self._options.metrics_path
        if self._options.front_page and path.partition("?")[0] == "/" and method == "GET":
            return await asyncio.to_thread(self._front_page, request.headers)
        if metrics is not None and path.partition("?")[0] == metrics:
            if path != metrics:
                raise RequestError(f"Unexpected path: {path}. Should be {metrics}")
            return Reply(200, self._runtime.metrics.text(), "text/plain")
        if not _API_PATH.fullmatch(path):
            return Reply(404, _NOT_FOUND_PAGE, "text/html")
        if method == "OPTIONS":
            origin = request.headers.get("origin", "")
            return Reply(200 if re.match(r"https?://", origin) else 400, b"")
        if method == "POST" and (match := _PREDICT_PATH.fullmatch(path)):
            return await self._post(request, match, record)
        if method == "POST" and (match := _STREAM_PATH.fullmatch(path)):
            return await self._stream(request, match, record)
        if method == "GET" and (match := _MODEL_PATH.fullmatch(path)):
            target = _target(match)
            if target is None:
                return Reply(400, b"")
            if not target.name:
                raise RequestError("Missing model name in request.")
            record.name = target.name
            return Reply(200, self._metadata(target) if match["metadata"] else self._status(target))
        raise RequestError(f"Malformed request: {method} {path}")

    def _front_page(self, headers: dict[str, str]) -> Reply:
        found = overview(self._runtime.manager, self._options.metrics_path)
        if "text/html" not in headers.get("accept", ""):
            return Reply(200, _json(found, indent=1))
        shown = page(found, headers.get("host", "localhost"))
        return Reply(200, shown.encode("utf-8", "replace"), "text/html; charset=utf-8")

    async def _post(
        self, request: Request, match: re.Match, record: _RequestRecord
    ) -> Reply | EventReply:
        target = _target(match)
        if target is None:
            return Reply(400, b"")
        record.name, record.api = target.name, match["verb"].lower()
        body = self._body(request)
        if record.api == "predict":
            return Reply(200, await self._predict(target, body))
        if record.api == "generate":
            written = await generate(self._runtime, target, body, self._deadline)
            return Reply(200, written) if isinstance(written, bytes) else written
        if record.api == "open":
            return Reply(200, self._open(target))
        return Reply(200, await self._infer(target, body, record.api))

    def _body(self, request: Request) -> bytes:
        if "gzip" in request.headers.get("content-encoding", "").lower():
            return inflate(request.body, self.max_body_bytes)
        return request.body

    @property
    def _deadline(self) -> float:
        return time.monotonic() + self._runtime.limits.timeout_seconds

    async def _predict(self, target: _Target, body: bytes) -> bytes:
        deadline = self._deadline
        with ExitStack() as uses:
            used: list[Servable] = []

            def inputs_of(signature_name: str) -> dict:
                used.append(uses.enter_context(self._runtime.manager.use(*target)))
                return _signature(used[0], signature_name)["inputs"]

            if len(body) > SMALL_BYTES:
                request = await asyncio.to_thread(parse_predict, body, inputs_of)
            else:
                request = parse_predict(body, inputs_of)
            runner = used[0].backend.runners[request.signature_name or DEFAULT_SIGNATURE]
            outputs = await self._runtime.run(used[0], runner, request.inputs, deadline)
            if len(body) > SMALL_BYTES:
                return await asyncio.to_thread(format_predict, outputs, request.row, runner.fields)
            return format_predict(outputs, request.row, runner.fields)

    async def _infer(self, target: _Target, body: bytes, verb: str) -> bytes:
        deadline = self._deadline
        # As upstream, the examples are read before the model is looked up.
        signature_name, examples = parse_examples(body)
        method = CLASSIFY_METHOD if verb == "classify" else REGRESS_METHOD
        with self._runtime.manager.use(*target) as servable:
            outputs = await self._runtime.infer(
                servable, signature_name, method, examples, deadline
            )
        if verb == "classify":
            return format_classifications(classifications(outputs, len(examples)))
        return format_regressions(regressions(outputs, len(examples)))

    def _open(self, target: _Target) -> bytes:
        with self._runtime.manager.use(*target) as servable:
            identity = self._runtime.sessions.open(servable)
            return _json(
                {
                    "stream": identity,
                    "model_spec": {"name": servable.name, "version": str(servable.version)},
                    "idle_seconds": self._runtime.sessions.limits.idle_seconds,
                },
                indent=4,
            )

    async def _stream(self, request: Request, match: re.Match, record: _RequestRecord) -> Reply:
        sessions, record.api = self._runtime.sessions, match["verb"]
        session = sessions.find(match["stream"])
        record.name = session.name
        if match["verb"] == "close":
            return Reply(200, _json({"steps": sessions.close(match["stream"])}, indent=4))
        deadline = self._deadline
        with self._runtime.manager.use(session.name, session.version) as servable:
            parsed = parse_predict(self._body(request), lambda _: sessions.inputs(servable))
            outputs = await sessions.step(session, servable, parsed.inputs, deadline)
            fields = servable.backend.runners[STEP_SIGNATURE].fields
        return Reply(200, format_predict(outputs, parsed.row, fields))

    def _status(self, target: _Target) -> bytes:
        """All versions, newest first, or the one asked for; labels are ignored here."""
        states = [
            {
                "version": str(servable.version),
                "state": servable.state.name,
                "status": {
                    "error_code": servable.error[0],
                    "error_message": servable.error[1],
                },
            }
            for servable in self._runtime.manager.versions(target.name, target.version)
        ]
        return _json({"model_version_status": states}, indent=1)

    def _metadata(self, target: _Target) -> bytes:
        with self._runtime.manager.use(*target) as servable:
            labels = servable.backend.labels
            return _json(
                {
                    "model_spec": {
                        "name": servable.name,
                        "signature_name": "",
                        "version": str(servable.version),
                    },
                    # The map's key and the proto's field have the same name, so it appears twice.
                    "metadata": {
                        "signature_def": {
                            "signature_def": signature_defs(servable.backend.signatures)
                        },
                        # This server's own; of a model without labels the reply is upstream's.
                        **({"output_labels": labels} if labels else {}),
                    },
                },
                indent=1,
            )


def check_token(authorization: str, token: str) -> None:
    """Refuses a request without the right ``Bearer``.

    Raises:
        RequestError: UNAUTHENTICATED.
    """
    scheme, _, given = authorization.partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not right:
        raise RequestError(
            "This server wants a token: Authorization: Bearer ...", code="UNAUTHENTICATED"
        )


def _target(match: re.Match) -> _Target | None:
    """The named parts of a path, percent-decoded; None for a version beyond int64.

    There TensorFlow Serving returns before it writes the error: 400 with an empty body.
    """
    version = None if match["version"] is None else int(match["version"][:30])
    if version is not None and (version > _INT64_MAX or len(match["version"]) > 30):
        return None
    label = None if match["label"] is None else _unquote(match["label"])
    return _Target(_unquote(match["name"] or ""), version, label)


def _unquote(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _signature(servable: Servable, signature_name: str) -> dict[str, Any]:
    """A signature by its name as sent, "" being the default."""
    name = signature_name or DEFAULT_SIGNATURE
    runner = servable.backend.runners.get(name)
    if runner is None:
        raise RequestError(f'Serving signature name: "{name}" not found in signature def')
    return runner.signature


def inflate(body: bytes, limit: int) -> bytes:
    """A gzip body decompressed; what does not decompress counts as empty, as upstream.

    Raises:
        RequestError: HTTP 413 beyond `limit` bytes; nothing beyond it is decompressed.
    """
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        inflated = decompressor.decompress(body, limit + 1)
    except zlib.error:
        return b""
    if len(inflated) > limit:
        raise too_large(limit)
    return inflated if decompressor.eof else b""


def too_large(limit: int) -> RequestError:
    """HTTP 413; TensorFlow Serving has no such limit."""
    return RequestError(
        f"The request body is longer than {limit} bytes.",
        code="RESOURCE_EXHAUSTED",
        http_status=413,
    )


def error_reply(error: RequestError) -> Reply:
    """`{"error": message}` with the error's HTTP status."""
    return Reply(error.http_status, _json({"error": error.message}, indent=4))


def _json(value: object, indent: int) -> bytes:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")
