"""TensorFlow Serving's REST API as one function from request to reply; no sockets, no threads.

Paths, codes and messages are those of its http_rest_api_handler.cc and http_rest_api_util.cc.
"""

import json
import logging
import re
import zlib
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from serving.backends import DEFAULT_SIGNATURE, PREDICT_METHOD, Backend, signature_defs
from serving.errors import RequestError
from serving.rest_json import check_examples, format_predict, parse_predict

DEFAULT_MAX_BODY_BYTES = 64 * 1024 * 1024

_VERSION_OR_LABEL = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:?]+))?"
_API_PATH = re.compile(r"/v1/.*", re.IGNORECASE)
_PREDICT_PATH = re.compile(
    rf"/v1/models/(?P<name>[^/:?]+){_VERSION_OR_LABEL}:(?P<verb>classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_MODEL_PATH = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:?]+))?{_VERSION_OR_LABEL}(?P<metadata>/metadata)?",
    re.IGNORECASE | re.ASCII,
)
_INT64_MAX = 2**63 - 1
_NOT_FOUND_PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>"
)

logger = logging.getLogger(__name__)


class Reply(NamedTuple):
    """Status, body and content type of one reply."""

    status: int
    body: bytes
    content_type: str = "application/json"


class _Target(NamedTuple):
    """What a request path names."""

    name: str
    version: int | None
    label: str | None


class RestApi:
    """Answers requests for a fixed set of loaded models."""

    def __init__(
        self, backends: Iterable[Backend], max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    ) -> None:
        """Takes the models to answer for.

        Args:
            backends: At most one for each name and version.
            max_body_bytes: Longest request body, after decompression too.
        """
        self.max_body_bytes = max_body_bytes
        self._models: dict[str, dict[int, Backend]] = {}
        for backend in backends:
            self._models.setdefault(backend.name, {})[backend.version] = backend

    def respond(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_encoding: str = "",
        origin: str = "",
    ) -> Reply:
        """Answers one request; never raises.

        Args:
            method: HTTP method in capitals.
            path: Request target as received, with query string, percent-encoded.
            body: Request body as received.
            content_encoding: That header; `gzip` bodies are inflated.
            origin: That header; only OPTIONS looks at it.
        """
        try:
            return self._dispatch(method, path, body, content_encoding, origin)
        except RequestError as error:
            return error_reply(error)
        except Exception as error:
            logger.exception("%s %s failed", method, path)
            message = f"Internal error: {type(error).__name__}: {error}"
            return error_reply(RequestError(message, code="INTERNAL"))

    def _dispatch(
        self, method: str, path: str, body: bytes, content_encoding: str, origin: str
    ) -> Reply:
        if not _API_PATH.fullmatch(path):
            return Reply(404, _NOT_FOUND_PAGE, "text/html")
        if method == "OPTIONS":
            return Reply(200 if re.match(r"https?://", origin) else 400, b"")
        if method == "POST" and (match := _PREDICT_PATH.fullmatch(path)):
            target = _target(match)
            if target is None:
                return Reply(400, b"")
            if "gzip" in content_encoding.lower():
                body = inflate(body, self.max_body_bytes)
            if match["verb"].lower() == "predict":
                return Reply(200, self._predict(target, body))
            self._refuse_examples(target, body, match["verb"].lower())
        if method == "GET" and (match := _MODEL_PATH.fullmatch(path)):
            target = _target(match)
            if target is None:
                return Reply(400, b"")
            if not target.name:
                raise RequestError("Missing model name in request.")
            return Reply(200, self._metadata(target) if match["metadata"] else self._status(target))
        raise RequestError(f"Malformed request: {method} {path}")

    def _find(self, target: _Target) -> Backend:
        """The model that a path names: the highest version unless it says which."""
        if target.label is not None:
            raise RequestError(f"Unrecognized servable version label: {target.label}")
        versions = self._models.get(target.name, {})
        wanted = target.version if target.version is not None else max(versions, default=None)
        if wanted not in versions:
            known_as = (
                f"Latest({target.name})"
                if target.version is None
                else f"Specific({target.name}, {target.version})"
            )
            raise RequestError(f"Servable not found for request: {known_as}", code="NOT_FOUND")
        return versions[wanted]

    def _predict(self, target: _Target, body: bytes) -> bytes:
        backend = None

        def inputs_of(signature_name: str) -> dict:
            nonlocal backend
            backend = self._find(target)
            return _signature(backend, signature_name)["inputs"]

        request = parse_predict(body, inputs_of)
        outputs = backend.run(request.inputs, request.signature_name or DEFAULT_SIGNATURE)
        return format_predict(outputs, request.row)

    def _refuse_examples(self, target: _Target, body: bytes, verb: str) -> None:
        """Raises: no model that this server runs answers tf.Example requests."""
        signature_name = check_examples(body)
        signature = self._find(target).signatures.get(signature_name or DEFAULT_SIGNATURE)
        if signature is None:
            name = signature_name or DEFAULT_SIGNATURE
            raise RequestError(f"No signature was found with the name: {name}")
        wanted, actual = f"tensorflow/serving/{verb}", signature.get("method_name", PREDICT_METHOD)
        kind = "classification" if verb == "classify" else "regression"
        if actual != wanted:
            raise RequestError(
                f"Expected {kind} signature method_name to be {wanted}. Was: {actual}"
            )
        raise RequestError(
            f"This server answers predict requests only, not {verb}.", code="UNIMPLEMENTED"
        )

    def _status(self, target: _Target) -> bytes:
        """All versions, newest first, or the one asked for; labels are ignored here."""
        versions = self._models.get(target.name, {})
        if target.version is None and not versions:
            raise RequestError(
                f"Could not find any versions of model {target.name}", code="NOT_FOUND"
            )
        if target.version is not None and target.version not in versions:
            raise RequestError(
                f"Could not find version {target.version} of model {target.name}",
                code="NOT_FOUND",
            )
        shown = sorted(versions, reverse=True) if target.version is None else [target.version]
        states = [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in shown
        ]
        return _json({"model_version_status": states}, indent=1)

    def _metadata(self, target: _Target) -> bytes:
        backend = self._find(target)
        return _json(
            {
                "model_spec": {
                    "name": backend.name,
                    "signature_name": "",
                    "version": str(backend.version),
                },
                # The map's key and the proto's field bear one name, hence twice.
                "metadata": {
                    "signature_def": {"signature_def": signature_defs(backend.signatures)}
                },
            },
            indent=1,
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


def _signature(backend: Backend, signature_name: str) -> dict:
    """A signature by its name as sent, "" being the default."""
    name = signature_name or DEFAULT_SIGNATURE
    if name not in backend.signatures:
        raise RequestError(f'Serving signature name: "{name}" not found in signature def')
    return backend.signatures[name]


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
