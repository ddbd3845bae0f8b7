"""The model server's process: sockets, signals, REST and gRPC in one event loop.

    serve("bundle", rest_port=8501, grpc_port=8500, on_ready=print)

With the ONNX backend neither TensorFlow nor Keras is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serving.errors import ServingError
from serving.runtime.http1 import HttpEndpoint
from serving.runtime.loading import find_model
from serving.runtime.rest_api import RestApi, RestOptions
from serving.runtime.runtime import Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.sockets import Tls, allow_connections, bound, port_error

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerOptions:
    """Where to listen, and to whom.

    Attributes:
        address: the address to listen on.
        rest_port: 0 picks a free one; None for no REST.
        grpc_port: 0 picks a free one; None for no gRPC.
        grpc_socket: path of a Unix socket for gRPC, in addition to the port.
        grpc_arguments: channel arguments of gRPC, such as ``grpc.max_connection_age_ms``.
        rest: options of the REST API.
        health: whether gRPC has its health service.
        as_content: gRPC outputs as packed bytes.
        token: REST and gRPC requests must carry it, unless it is None.
        rest_tls: certificates of REST; None for plain HTTP.
        grpc_tls: certificates of gRPC; None for plain text.
        drain_seconds: seconds that running requests may still take after SIGTERM.
        wait_for_models: whether the ports stay closed until every model has a version; otherwise a
            model without one is an error.
    """

    address: str = "127.0.0.1"
    rest_port: int | None = 8501
    grpc_port: int | None = None
    grpc_socket: str | None = None
    grpc_arguments: tuple[tuple[str, Any], ...] = ()
    rest: RestOptions = field(default_factory=RestOptions)
    health: bool = True
    as_content: bool = False
    token: str | None = field(default=None, repr=False)
    rest_tls: Tls | None = None
    grpc_tls: Tls | None = None
    drain_seconds: float = 30.0
    wait_for_models: bool = False


class Server:
    """REST and gRPC endpoints of a runtime on bound ports.

    The ports are bound at once, so that a taken one is found before a model is loaded, but they
    refuse connections until ``run`` has loaded all models: as with TensorFlow Serving an open port
    means a ready model.

    Args:
        runtime: answers the requests.
        options: ports, tokens and certificates.

    Raises:
        ServingError: a port is taken, the address is not this machine's, or a certificate is not
            valid.
    """

    def __init__(self, runtime: Runtime, options: ServerOptions) -> None:
        self.runtime, self.options = runtime, options
        self.rest_port, self.grpc_port = options.rest_port, options.grpc_port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._stopped = threading.Event()
        self._sockets: dict[str, socket.socket] = {}
        for tls in (options.rest_tls, options.grpc_tls):
            if tls is not None:
                tls.context()
        try:
            if options.rest_port is not None:
                self.rest_port = self._bind("--rest-port", options.rest_port)
            if options.grpc_port is not None:
                self.grpc_port = self._bind("--grpc-port", options.grpc_port)
        except ServingError:
            self.close()
            raise

    def _bind(self, flag: str, port: int) -> int:
        self._sockets[flag] = bound(self.options.address, port, flag)
        return self._sockets[flag].getsockname()[1]

    def run(
        self, models: Iterable[ModelSettings], on_ready: Callable[[Server], None] = lambda _: None
    ) -> None:
        """Serves until SIGTERM, Ctrl-C or ``stop``; requests under way are answered first.

        Args:
            models: settings of the first models.
            on_ready: called once, in another thread, when requests are answered.

        Raises:
            ServingError: a model could not be loaded, or a port cannot be opened.
        """
        try:
            _run(self._main(list(models), on_ready))
        finally:
            self.close()

    def stop(self) -> None:
        """Asks ``run`` to return; from any thread, also before ``run``."""
        self._stopped.set()
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            with contextlib.suppress(RuntimeError):  # it is closed already
                loop.call_soon_threadsafe(stopping.set)

    def close(self) -> None:
        """Gives the ports back; only needed where ``run`` is never called."""
        for one in self._sockets.values():
            one.close()

    async def _main(self, models: list[ModelSettings], on_ready: Callable) -> None:
        self._stopping, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if self._stopped.is_set():
            return
        if threading.current_thread() is threading.main_thread():
            # The process is this server's own. Threads that come back from a model wait for whoever
            # holds the interpreter; Python's own 5 ms are as long as many a model takes.
            sys.setswitchinterval(0.0005)
            allow_connections()
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(number, self._stopping.set)
        manager = self.runtime.manager
        loading = asyncio.ensure_future(
            asyncio.to_thread(manager.start, models, self.options.wait_for_models)
        )
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
                await self._serve(on_ready, stopping)
        finally:
            stopping.cancel()
            await asyncio.to_thread(manager.stop, self.options.drain_seconds)

    async def _serve(self, on_ready: Callable, stopping: asyncio.Future) -> None:
        """Opens the ports, waits for the end, answers running requests and closes the ports."""
        grpc_endpoint = None
        async with contextlib.AsyncExitStack() as open_ports:
            if self.options.grpc_port is not None or self.options.grpc_socket:
                grpc_endpoint = await self._open_grpc()
                open_ports.push_async_callback(grpc_endpoint.close, self.options.drain_seconds)
            if self.options.rest_port is not None:
                open_ports.push_async_callback((await self._open_rest()).close)
            sweeping = asyncio.ensure_future(self._sweep())
            open_ports.callback(sweeping.cancel)
            announced = asyncio.ensure_future(asyncio.to_thread(on_ready, self))
            await stopping
            await announced
            logger.info("draining: requests under way are answered, no others")
            if grpc_endpoint is not None:
                grpc_endpoint.api.serving = False
                await asyncio.sleep(0.1)

    async def _open_grpc(self) -> Any:
        from serving.runtime.grpc_server import GrpcEndpoint

        endpoint = GrpcEndpoint(self.runtime, self.options)
        with self._opening("--grpc-port", self.grpc_port):
            await endpoint.open(self._sockets.get("--grpc-port"))
        return endpoint

    async def _open_rest(self) -> HttpEndpoint:
        options = replace(self.options.rest, token=self.options.token)
        endpoint = HttpEndpoint(RestApi(self.runtime, options), self.options)
        with self._opening("--rest-port", self.rest_port):
            await endpoint.open(self._sockets["--rest-port"])
        return endpoint

    @contextmanager
    def _opening(self, flag: str, port: int | None) -> Iterator[None]:
        """Of two servers that were bound at once the second cannot listen."""
        try:
            yield
        except OSError as error:
            raise port_error(self.options.address, port or 0, error, flag) from error

    async def _sweep(self) -> None:
        """Forgets idle streams."""
        while True:
            await asyncio.sleep(min(30.0, self.runtime.sessions.limits.idle_seconds / 2))
            self.runtime.sessions.expire()


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Like ``asyncio.Runner``, which Python 3.10 does not have; on uvloop if it is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop
    loop = new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        loop.close()


def serve(
    bundle_dir: str | Path,
    rest_port: int | None = 8501,
    backend: str | None = None,
    host: str = "127.0.0.1",
    on_ready: Callable[[dict], None] | None = None,
    *,
    grpc_port: int | None = None,
    model_name: str | None = None,
    runtime: Runtime | None = None,
    options: ServerOptions | None = None,
) -> None:
    """Serves a bundle or a SavedModel until SIGTERM or Ctrl-C, then returns.

    New versions that are published there take over; see ``serving.runtime.manager``.

    Args:
        bundle_dir: a bundle; or a SavedModel, or integer versions of one.
        rest_port: TCP port of the REST API; 0 picks a free one, None for none.
        backend: ``onnx``, ``savedmodel`` or ``tensorrt``; by default ONNX where the bundle has it.
        host: address to listen on. Without a token anybody who reaches it may ask.
        on_ready: called once with ``{"rest_port", "grpc_port", "model"}`` when requests are
            answered.
        grpc_port: TCP port of the gRPC API; 0 picks a free one, None for none.
        model_name: name of the model in requests; the bundle's own if None.
        runtime: limits, batching and other options.
        options: tokens, certificates and other options.

    Raises:
        ServingError: nothing servable there, or a port cannot be opened.
    """
    location = find_model(bundle_dir, backend)
    model = ModelSettings(model_name or location.name, location)
    options = replace(
        options or ServerOptions(), address=host, rest_port=rest_port, grpc_port=grpc_port
    )
    server = Server(runtime or Runtime(), options)

    def announce(server: Server) -> None:
        announce_ports(server)
        if on_ready is not None:
            on_ready(
                {
                    "rest_port": server.rest_port,
                    "grpc_port": server.grpc_port,
                    "model": model.name,
                }
            )

    server.run([model], announce)


def announce_ports(server: Server) -> None:
    """Prints the ports, in the words that people grep TensorFlow Serving's log for."""
    address = server.options.address
    if server.grpc_port is not None:
        print(f"Running gRPC ModelServer at {address}:{server.grpc_port} ...", file=sys.stderr)
    if server.rest_port is not None:
        print(f"Exporting HTTP/REST API at:localhost:{server.rest_port} ...", file=sys.stderr)
    sys.stderr.flush()


@contextmanager
def running(
    models: Iterable[ModelSettings] | str | Path,
    runtime: Runtime | None = None,
    options: ServerOptions | None = None,
    ready_within: float = 120.0,
) -> Iterator[Server]:
    """A server in a thread of this process, for notebooks and tests.

    Args:
        models: settings of each model, or the path of a bundle.
        runtime: runs the models; one with default options if None.
        options: ports, tokens and certificates; free ports by default.
        ready_within: seconds to wait for it.

    Raises:
        ServingError: it did not start.
    """
    if isinstance(models, (str, Path)):
        location = find_model(models)
        models = [ModelSettings(location.name, location)]
    server = Server(runtime or Runtime(), options or ServerOptions(rest_port=0, grpc_port=0))
    ready, failed = threading.Event(), []

    def work() -> None:
        try:
            server.run(models, lambda _: ready.set())
        except BaseException as error:  # noqa: BLE001 it belongs to the thread that waits
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="server", daemon=True)
    thread.start()
    try:
        if not ready.wait(ready_within):
            raise ServingError(f"the server did not start within {ready_within:g} s")
        if failed:
            raise failed[0]
        yield server
    finally:
        server.stop()
        thread.join(server.options.drain_seconds + 10)
