"""How calls end over gRPC."""

from __future__ import annotations

from urllib.parse import quote

from serving.errors import HTTP_STATUS
from serving.runtime.http2_frames import literal

# HTTP_STATUS lists the canonical codes in numeric order.
CODES = {name: number for number, name in enumerate(HTTP_STATUS)}
MAX_CHARACTERS = 1024
_KEPT = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def trailers(status: str, text: str = "") -> bytes:
    """The header block that ends a call.

    Args:
        status: a key of ``HTTP_STATUS``.
        text: cut where TensorFlow Serving cuts it.
    """
    block = literal(b"grpc-status", str(CODES[status]).encode())
    if not text:
        return block
    text = text.encode("utf-8", "replace").decode()
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}...TRUNCATED"
    return block + literal(b"grpc-message", quote(text, _KEPT).encode())
