"""The gRPC port: grpc.aio around ``GrpcApi``."""

from __future__ import annotations

from typing import Any

import grpc

from serving.errors import ServingError
from serving.runtime.grpc_api import GrpcApi, GrpcOptions
from serving.runtime.runtime import Runtime


class GrpcEndpoint:
    """The gRPC port; to be made, opened and closed in a running event loop.

    Args:
        runtime: answers the calls.
        options: ``serving.runtime.server.ServerOptions``.
    """

    def __init__(self, runtime: Runtime, options: Any) -> None:
        self._options = options
        self.api = GrpcApi(runtime, GrpcOptions(options.health, options.as_content, options.token))
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", runtime.limits.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                # Otherwise a second server would share the port without an error.
                ("grpc.so_reuseport", 0),
                # By default the width of a connection is found out by a ping for each request,
                # which takes a tenth of the server's time; a fixed window is as wide.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", 1 << 20),
                *options.grpc_arguments,
            ]
        )
        self._server.add_generic_rpc_handlers(tuple(self.api.handlers()))

    async def open(self) -> int | None:
        """Opens the port.

        Returns:
            The port.

        Raises:
            ServingError: it is taken.
        """
        options, port = self._options, None
        host = f"[{options.address}]" if ":" in options.address else options.address
        try:
            if options.grpc_port is not None:
                port = self._add(f"{host}:{options.grpc_port}")
            if options.grpc_socket:
                self._server.add_insecure_port(f"unix:{options.grpc_socket}")
        except RuntimeError as error:
            raise ServingError(
                f"--grpc-port {options.grpc_port} on {options.address} cannot be opened "
                f"({error}); choose another port, or 0 for any free one."
            ) from error
        await self._server.start()
        return port

    def _add(self, address: str) -> int:
        if self._options.grpc_tls is None:
            return self._server.add_insecure_port(address)
        tls = self._options.grpc_tls
        credentials = grpc.ssl_server_credentials(
            [(tls.key, tls.cert)], tls.client_ca, require_client_auth=tls.client_ca is not None
        )
        return self._server.add_secure_port(address, credentials)

    async def close(self, drain_seconds: float) -> None:
        """Answers what is under way, and refuses the rest with UNAVAILABLE."""
        await self._server.stop(drain_seconds)
