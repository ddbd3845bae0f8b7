"""Ports and certificates of a server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from serving.errors import ServingError


@dataclass(frozen=True)
class Tls:
    """Certificates in PEM.

    Attributes:
        cert: the server's.
        key: private key of the certificate.
        client_ca: authority that must have signed the clients' certificates; None needs none.
    """

    cert: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None

    @classmethod
    def of_files(cls, cert: Path, key: Path, client_ca: Path | None = None) -> Tls:
        """Reads them.

        Raises:
            ServingError: a file cannot be read.
        """
        try:
            authority = client_ca.read_bytes() if client_ca else None
            return cls(cert.read_bytes(), key.read_bytes(), authority)
        except OSError as error:
            raise ServingError(f"{error.filename} cannot be read: {error.strerror}") from error

    def context(self, *protocols: str) -> ssl.SSLContext:
        """For a server's sockets.

        Args:
            protocols: that clients may ask for by name (RFC 7301); none for any.

        Raises:
            ServingError: key and certificate do not belong together, or are none.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            with tempfile.TemporaryDirectory() as private:  # ssl takes paths only
                for name, text in (("cert", self.cert), ("key", self.key)):
                    (Path(private) / name).write_bytes(text)
                context.load_cert_chain(f"{private}/cert", f"{private}/key")
            if self.client_ca is not None:
                context.load_verify_locations(cadata=self.client_ca.decode())
                context.verify_mode = ssl.CERT_REQUIRED
            if protocols:
                context.set_alpn_protocols(list(protocols))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ServingError(f"the TLS certificate and key cannot be used: {error}") from error
        return context


def allow_connections() -> None:
    """Raises this process's limit of open files, which connections are, to what the system allows.

    Its soft limit is often 1024, for the sake of old programs.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS refuses its own "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def bound(host: str, port: int, flag: str) -> socket.socket:
    """A TCP socket that is bound but does not listen yet.

    Raises:
        ServingError: the port is taken, or the address is not this machine's.
    """
    if not 0 <= port <= 65535:  # getaddrinfo would wrap it around
        raise port_error(host, port, OSError("ports are 0 to 65535"), flag)
    made = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio turns Nagle's algorithm off only where the protocol is named, and with it on
        # every keep-alive reply waits 40 ms for a delayed acknowledgement.
        made = socket.socket(family, kind, protocol)
        # Without it a restart would wait a minute for the old connections to be forgotten.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        if made is not None:
            made.close()
        raise port_error(host, port, error, flag) from error
    return made


def port_error(host: str, port: int, error: Exception, flag: str) -> ServingError:
    """One sentence on a port that cannot be had."""
    reason = getattr(error, "strerror", None) or error
    return ServingError(
        f"{flag} {port} on {host} cannot be opened ({reason}); "
        "choose another port, or 0 for any free one."
    )
