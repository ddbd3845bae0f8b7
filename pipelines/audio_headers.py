"""What the header of a wav file promises, held against the file: libsndfile reads a file that is
cut off, or one whose header is wrong, as far as it goes and says nothing.

Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft 1991).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import IO

from common.errors import DataError

# What writers to pipes put where they cannot know a length; sox and arecord are near the lower one.
UNKNOWN_LENGTH = 0x7FFF_0000
_LINEAR = (1, 3, 0xFFFE)  # whole numbers, floats, and either with more about channels
_SLACK = 4096  # bytes behind the samples that need be no chunks: tags of other formats


@dataclass(frozen=True)
class WavHeader:
    """The parts of a header that can be held against each other and against the file.

    Attributes:
        linear: whether a sample takes as many bytes as any other.
        rate: samples a second.
        bytes_a_second, bytes_a_frame: as the header says.
        promised: bytes of samples that it promises; None where it leaves their number open.
        there: bytes from the first sample to the end of the file; -1 where it ends before.
        stray: bytes behind the samples that are no chunks.
    """

    linear: bool
    rate: int
    bytes_a_second: int
    bytes_a_frame: int
    promised: int | None
    there: int
    stray: int

    @classmethod
    def read(cls, file: IO[bytes]) -> WavHeader | None:
        """Of a file that is open at its beginning; None where it is no wav file, or one that
        libsndfile refuses."""
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
            return None
        order = "<" if head[:4] == b"RIFF" else ">"
        size = file.seek(0, os.SEEK_END)
        place, about = 12, None
        while place + 8 <= size:
            file.seek(place)
            name, length = struct.unpack(f"{order}4sI", file.read(8))
            if name == b"fmt " and length >= 16:
                about = struct.unpack(f"{order}HHIIHH", file.read(16).ljust(16, b"\0"))
            if name == b"data":
                break
            place += 8 + length + length % 2
        else:
            return cls(False, 0, 0, 0, None, -1, 0)
        if about is None:
            return None
        tag, _, rate, second, frame, _ = about
        there, promised = size - place - 8, None if length >= UNKNOWN_LENGTH else length
        stray = (
            0 if promised is None else _stray(file, place + 8 + length + length % 2, size, order)
        )
        return cls(tag in _LINEAR, rate, second, frame, promised, there, stray)

    def check(self, name: str) -> None:
        """Refuses a file whose header lies about it.

        Raises:
            DataError: it is cut off, goes on where its header says that it ends, or two of its
                numbers contradict each other.
        """
        if self.there < 0:
            raise DataError(
                f"{name} is no sound that can be read (it ends before its first sample); record or "
                "copy it again"
            )
        if self.promised is not None and self.promised > self.there:
            raise DataError(
                f"{name} is cut off: its header promises {self.promised} bytes of samples, and "
                f"{self.there} are there; record or copy it again, or repair its header"
            )
        if self.stray > _SLACK:
            raise DataError(
                f"{name} goes on where its header says that it ends: after {self.promised} bytes "
                f"of samples, {self.stray} more follow; repair its header"
            )
        implied = self.bytes_a_second / self.bytes_a_frame if self.bytes_a_frame else self.rate
        if self.linear and implied and abs(implied - self.rate) > 0.01 * self.rate:
            raise DataError(
                f"{name} has a header that contradicts itself: {self.rate} samples a second, and "
                f"{self.bytes_a_second} bytes, which are {implied:g} samples; repair its header"
            )


def _stray(file: IO[bytes], place: int, size: int, order: str) -> int:
    """Bytes from the first that begins no chunk to the end."""
    while place < size:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
            return size - place
        length = struct.unpack(f"{order}I", head[4:])[0]
        if place + 8 + length > size:
            return size - place
        place += 8 + length + length % 2
    return 0
