"""Looks at a file once and says how to read it as text: encoding, compression, or why not.

The look is one pass in constant memory, so that a reader can afterwards stream without meeting a
bad byte or a cut-off gzip stream half-way.
"""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from common.errors import DataError

_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_BINARY_MAGICS = {
    b"PK\x03\x04": "a zip archive (a spreadsheet?)",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF file",
    b"\x89PNG": "a PNG image",
    b"RIFF": "a RIFF (audio or video) file",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstandard archive",
}
# Bytes that text in a one-byte encoding does not hold (tab, line ends, form feed, escape excepted).
_CONTROLS = bytes(set(range(32)) - {9, 10, 11, 12, 13, 27}) + b"\x7f"
_NOT_CP1252 = (0x81, 0x8D, 0x8F, 0x90, 0x9D)


@dataclass(frozen=True)
class TextFile:
    """A file known to be readable text.

    Attributes:
        path: where it is.
        encoding: a Python codec name.
        compressed: whether it is a gzip stream.
        bad_line: the first line that is not UTF-8 where the encoding is a guess, else 0.
    """

    path: Path
    encoding: str
    compressed: bool
    bad_line: int = 0

    def open(self) -> io.TextIOWrapper:
        """Opens the file for reading, line ends untouched (csv needs them so)."""
        stream = _open_bytes(self.path, self.compressed)
        return io.TextIOWrapper(stream, encoding=self.encoding, newline="")


def inspect_file(path: str | Path) -> TextFile:
    """Looks through a file once and says how to read it.

    UTF-8 (with or without BOM) is tried first, UTF-16 where it has a BOM, else Windows-1252, else
    Latin-1, which fits anything. gzip is recognised by its first bytes, whatever the name.

    Args:
        path: the file.

    Returns:
        How to open it.

    Raises:
        DataError: there is no such file, it cannot be read, is binary, or its gzip is broken.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
        if path.suffix.lower() == ".gz" and not compressed and path.stat().st_size:
            raise DataError(f"{path} is not gzip although its name says so; rename or compress it.")
        with _open_bytes(path, compressed) as stream:
            encoding, bad_line = _find_encoding(_chunks(stream), path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} is a damaged or cut-off gzip file ({error}); download or compress it again."
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    return TextFile(path, encoding, compressed, bad_line)


def read_document(source: TextFile | str | Path) -> str:
    """Returns a whole text file as one string, line ends as newlines.

    Raises:
        DataError: see `inspect_file`.
    """
    if not isinstance(source, TextFile):
        source = inspect_file(source)
    with source.open() as stream:
        return stream.read().replace("\r\n", "\n").replace("\r", "\n")


def _open_bytes(path: Path, compressed: bool) -> BinaryIO:
    return gzip.open(path, "rb") if compressed else path.open("rb")


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _find_encoding(chunks: Iterable[bytes], path: Path) -> tuple[str, int]:
    """Returns (codec, first line that is not UTF-8 or 0); refuses binary data."""
    chunks = iter(chunks)
    first = next(chunks, b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        _check_utf16(itertools.chain([first], chunks), path)
        return "utf-16", 0
    _refuse_magic(first, path)
    decoder = codecs.getincrementaldecoder("utf-8")()
    bad_line, lines, total, controls, fits_cp1252 = 0, 1, 0, 0, True
    for chunk in itertools.chain([first], chunks):
        if b"\0" in chunk:
            raise DataError(f"{path} is not text: it holds NUL bytes; give a text file.")
        total += len(chunk)
        controls += len(chunk) - len(chunk.translate(None, _CONTROLS))
        fits_cp1252 &= not any(byte in chunk for byte in _NOT_CP1252)
        if not bad_line:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                # error.object may begin with bytes kept from the chunk before, never a line end.
                bad_line = lines + error.object[: error.start].count(b"\n")
        lines += chunk.count(b"\n")
    if not bad_line and decoder.getstate()[0]:  # the file ends within a character
        bad_line = lines
    if not bad_line:
        return ("utf-8-sig" if first.startswith(codecs.BOM_UTF8) else "utf-8"), 0
    if controls * 20 > total:
        raise DataError(f"{path} is not text: it is full of control bytes; give a text file.")
    return ("cp1252" if fits_cp1252 else "latin-1"), bad_line


def _check_utf16(chunks: Iterable[bytes], path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        for chunk in chunks:
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} begins like UTF-16 but is not ({error.reason}); save it as UTF-8."
        ) from error


def _refuse_magic(start: bytes, path: Path) -> None:
    for magic, kind in _BINARY_MAGICS.items():
        # Printable magics may begin an honest text: they count with the binary bytes after them.
        if start.startswith(magic) and (not magic.isascii() or b"\0" in start):
            raise DataError(f"{path} is not text but {kind}; export it as csv, tsv or jsonl.")
