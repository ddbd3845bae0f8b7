"""Frames and header fields of HTTP/2 (RFC 9113 and 7541) as bytes."""

from __future__ import annotations

import struct

from hpack import Decoder, HPACKError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 1, 4, 8, 32, 1
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR = 0, 1, 3, 6
REFUSED_STREAM, COMPRESSION_ERROR, CALM = 7, 9, 11
MOST_STREAMS, INITIAL_WINDOW, HEADER_LIST = 3, 4, 6  # settings
LARGEST_FRAME = 16_384
LARGEST_WINDOW = 2**31 - 1
STREAM_WINDOW, CONNECTION_WINDOW = 1 << 20, 1 << 24  # bytes that a client may send unasked
FRAME_HEAD = struct.Struct(">HBBBI")


class Http2Error(Exception):
    """What ends a connection.

    Args:
        code: of RFC 9113, section 7.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    """One frame as bytes."""
    size = len(payload)
    return FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, number) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header as a field of a block, in full (RFC 7541, section 6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    size, digits = size - 127, bytearray([127])
    while size >= 128:
        digits.append(size & 127 | 128)
        size >>= 7
    digits.append(size)
    return bytes(digits) + text


def unpadded(flags: int, payload: bytes) -> bytes:
    """A frame's content without what only fills it."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Error(PROTOCOL_ERROR)
    return payload[1 : len(payload) - payload[0]]


class HeaderReader:
    """Reads the header blocks of one connection.

    Args:
        limit: bytes of the headers of one request.
    """

    def __init__(self, limit: int) -> None:
        self._decoder = Decoder(limit)
        self._known: dict[bytes, dict[bytes, bytes]] = {}

    def __call__(self, block: bytes) -> dict[bytes, bytes]:
        """The headers of a block; of several of one name the last counts.

        Those of a client's requests are mostly the same, and then nothing but places in the table
        that both sides have (RFC 7541, section 6.1), which such a block does not change.

        Raises:
            Http2Error: they cannot be read, or are too long.
        """
        if (known := self._known.get(block)) is not None:
            return known
        try:
            headers = dict(self._decoder.decode(block, raw=True))
        except HPACKError:
            raise Http2Error(COMPRESSION_ERROR) from None
        if block and min(block) >= 0x80 and 0xFF not in block:
            if len(self._known) < 16:
                self._known[block] = headers
        else:
            self._known.clear()
        return headers
