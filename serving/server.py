"""The embedded model server: TensorFlow Serving's REST API over HTTP/1.1, on uvicorn.

    serve("bundle", rest_port=8501, on_ready=print)

With the ONNX backend neither TensorFlow nor Keras is imported.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from serving.backends import Backend, load_backend
from serving.errors import RequestError, ServingError
from serving.rest_api import DEFAULT_MAX_BODY_BYTES, Reply, RestApi, error_reply, too_large


def build_app(
    backends: Iterable[Backend], *, max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
) -> Starlette:
    """The ASGI application that serves some loaded models.

    Args:
        backends: At most one for each name and version; of a name's versions the highest answers
            requests that do not say which.
        max_body_bytes: Longest request body, after decompression too; longer ones get HTTP 413.
    """
    endpoint = _Endpoint(RestApi(backends, max_body_bytes))
    # One mount for everything: TensorFlow Serving matches raw targets, query string and all,
    # which no framework's route syntax does.
    return Starlette(routes=[Mount("/", app=endpoint)])


class _Endpoint:
    """ASGI around `RestApi`: reads the body, answers in a worker thread, sends the reply."""

    def __init__(self, api: RestApi) -> None:
        self._api = api
        # TensorFlow Serving's default for --rest_api_num_threads.
        self._workers = ThreadPoolExecutor(4 * (os.cpu_count() or 1), "rest")

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
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
        reply = await asyncio.get_running_loop().run_in_executor(
            self._workers,
            self._api.respond,
            scope["method"],
            _target(scope),
            body,
            headers.get("content-encoding", ""),
            headers.get("origin", ""),
        )
        await _send(send, reply)

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


async def _send(send, reply: Reply) -> None:
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


class RestServer:
    """A bound port that serves an app until a signal or `stop`.

    The port is bound at once, so that a taken one is found before a model is loaded, but refuses
    connections until `run`: as with TensorFlow Serving an open port means a ready model.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 8501) -> None:
        """Binds the port; 0 picks a free one.

        Raises:
            ServingError: The port is taken, or the address is not this machine's.
        """
        if not 0 <= port <= 65535:  # getaddrinfo would wrap it around
            raise _port_error(host, port, OSError("ports are 0 to 65535"))
        self._socket: socket.socket | None = None
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            # asyncio turns Nagle's algorithm off only where the protocol is named, and with it on
            # every keep-alive reply waits 40 ms for a delayed acknowledgement.
            self._socket = socket.socket(family, kind, protocol)
            # Without it a restart would wait a minute for the old connections to be forgotten.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
        except OSError as error:
            self.close()
            raise _port_error(host, port, error) from error
        self.host = host
        self.port = self._socket.getsockname()[1]
        self._server: _Uvicorn | None = None
        self._stopped = threading.Event()

    def run(self, app: Starlette, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serves until SIGTERM, Ctrl-C or `stop`; requests in flight are answered first.

        Args:
            app: The application, from `build_app`.
            on_ready: Called once, in another thread, when requests are answered.
        """
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, server_header=False
        )
        self._server = _Uvicorn(config, on_ready)
        self._server.should_exit = self._stopped.is_set()
        try:
            with _quiet_signals():
                self._server.run(sockets=[self._socket])
        except OSError as error:  # two servers that were bound at once: the second cannot listen
            raise _port_error(self.host, self.port, error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Gives the port back; only needed where `run` is never called."""
        if self._socket is not None:
            self._socket.close()

    def stop(self) -> None:
        """Asks `run` to return; from any thread, also before `run`."""
        self._stopped.set()
        if self._server is not None:
            self._server.should_exit = True


class _Uvicorn(uvicorn.Server):
    """uvicorn that says when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # In a thread, so that a callback may query the server that it is told about.
        await asyncio.to_thread(self._on_ready)


@contextmanager
def _quiet_signals():
    """Makes a signal that uvicorn has already acted on end the process with exit code 0.

    After its graceful shutdown uvicorn raises the captured signal again for whoever handled it
    before; by default that would kill the process. A shutdown that was asked for is a success.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _port_error(host: str, port: int, error: Exception) -> ServingError:
    reason = getattr(error, "strerror", None) or error
    return ServingError(
        f"--rest-port {port} on {host} cannot be opened ({reason}); "
        "choose another port, or 0 for any free one."
    )


def serve(
    bundle_dir: str | Path,
    rest_port: int = 8501,
    backend: str | None = None,
    host: str = "127.0.0.1",
    on_ready: Callable[[dict], None] | None = None,
    *,
    model_name: str | None = None,
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
) -> None:
    """Serves a bundle or a SavedModel until SIGTERM or Ctrl-C, then returns.

    Args:
        bundle_dir: A bundle; or a SavedModel, or integer versions of one (the highest is served).
        rest_port: TCP port of the REST API; 0 picks a free one.
        backend: `onnx` or `savedmodel`; by default ONNX where the bundle has it.
        host: Address to listen on. There is no authentication: think before you open it.
        on_ready: Called once with `{"rest_port", "grpc_port", "model"}` when requests are
            answered.
        model_name: Name in URLs, instead of the bundle's own.
        max_body_bytes: Longest request body.

    Raises:
        ServingError: Nothing servable there, or the port cannot be opened.
    """
    server = RestServer(host, rest_port)
    try:
        model = load_backend(bundle_dir, backend, model_name)
    except ServingError:
        server.close()
        raise

    def announce() -> None:
        # The words that people grep TensorFlow Serving's log for.
        print(
            f"Exporting HTTP/REST API at:localhost:{server.port} ...", file=sys.stderr, flush=True
        )
        if on_ready is not None:
            on_ready({"rest_port": server.port, "grpc_port": None, "model": model.name})

    server.run(build_app([model], max_body_bytes=max_body_bytes), announce)
