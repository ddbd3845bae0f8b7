"""Looks at a file and says how to read it as text: encoding, compression, or why not.

The look is one pass in constant memory (a few where the file is not UTF-8), so that a reader can
afterwards stream without meeting a bad byte or a cut-off gzip stream half-way.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from common.errors import DataError
from pipelines.encodings import find_encoding, special_lines
from pipelines.messages import name_list

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


@dataclass(frozen=True)
class TextFile:
    """A file known to be readable text.

    Attributes:
        path: where it is.
        encoding: a Python codec name.
        compressed: whether it is a gzip stream.
        bad_line: the first line that is not UTF-8 where the encoding is a guess, else 0.
        damages: places whose bytes are no character in the encoding; they are read as U+FFFD.
        damaged_line: the first line with such a place, else 0.
    """

    path: Path
    encoding: str
    compressed: bool
    bad_line: int = 0
    damages: int = 0
    damaged_line: int = 0

    @property
    def note(self) -> str:
        """What the user should know of its encoding; "" where nothing was guessed or replaced."""
        return encoding_note([self])

    def open(self) -> io.TextIOWrapper:
        """Opens the file for reading, line ends untouched (csv needs them so)."""
        stream = _open_bytes(self.path, self.compressed)
        errors = "replace" if self.damages else "strict"
        return io.TextIOWrapper(stream, encoding=self.encoding, errors=errors, newline="")


def encoding_note(files: Iterable[TextFile]) -> str:
    """Says of which files the encoding was guessed and where bytes were replaced, or ""."""
    guessed = [file for file in files if file.bad_line]
    damaged = [file for file in files if file.damages]
    says = []
    if guessed:
        codecs = "/".join(sorted({file.encoding for file in guessed}))
        places = name_list([f"{file.path.name} (line {file.bad_line})" for file in guessed], 4)
        subject = "1 file is" if len(guessed) == 1 else f"{len(guessed)} files are"
        says.append(f"{subject} not UTF-8 and read as {codecs}: {places}")
    if damaged:
        count = sum(file.damages for file in damaged)
        codecs = "/".join(sorted({file.encoding.removesuffix("-sig") for file in damaged}))
        places = name_list([f"{file.path.name} (line {file.damaged_line})" for file in damaged], 4)
        subject = "1 broken character" if count == 1 else f"{count} broken characters"
        verb = "was" if count == 1 else "were"
        says.append(f"{subject} of {codecs} {verb} replaced by \ufffd: {places}")
    if not says:
        return ""
    return "; ".join(says) + "; if that is wrong, name the encoding with --encoding."


def inspect_file(
    path: str | Path, encoding: str = "", neighbours: Callable[[], Iterable[bytes]] = tuple
) -> TextFile:
    """Looks through a file and says how to read it.

    It is UTF-8 if its bytes are, but for damage; else what its byte order mark says; else
    `encoding`; else what chardet guesses. gzip is recognised by its first bytes, whatever the name.

    Args:
        path: the file.
        encoding: codec name of a file that is not UTF-8; guessed if "".
        neighbours: gives lines of files that are probably in the same encoding, for the guess.

    Returns:
        How to open it.

    Raises:
        DataError: there is no such file, it cannot be read, is binary, its gzip is broken, or it
            fits no encoding.
    """
    path = Path(path)
    with _told(path):
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
        if path.suffix.lower() == ".gz" and not compressed and path.stat().st_size:
            raise DataError(f"{path} is not gzip although its name says so; rename or compress it.")
        _refuse_magic(next(_chunks(path, compressed), b""), path)
        fit, bad_line = find_encoding(
            lambda: _chunks(path, compressed), str(path), encoding, neighbours
        )
    return TextFile(path, fit.encoding, compressed, bad_line, fit.bad, fit.line)


def lines_outside_ascii(paths: Iterable[Path]) -> Iterator[bytes]:
    """Yields some lines with bytes outside ASCII of each file, as they are."""
    for path in paths:
        with _told(path):
            with path.open("rb") as raw:
                compressed = raw.read(2) == _GZIP_MAGIC
            yield from special_lines(_chunks(path, compressed))


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


def _chunks(path: Path, compressed: bool) -> Iterator[bytes]:
    with _open_bytes(path, compressed) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what goes wrong with a file into a `DataError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} is a damaged or cut-off gzip file ({error}); download or compress it again."
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _refuse_magic(start: bytes, path: Path) -> None:
    for magic, kind in _BINARY_MAGICS.items():
        # Printable magics may begin an honest text: they count with the binary bytes after them.
        if start.startswith(magic) and (not magic.isascii() or b"\0" in start):
            raise DataError(f"{path} is not text but {kind}; export it as csv, tsv or jsonl.")
