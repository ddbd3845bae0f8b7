"""Pre-trained word vectors that the user has: GloVe, word2vec and fastText files.

Told apart by content, each also compressed by gzip:

| format | first line | a row |
|---|---|---|
| GloVe | a row | word, numbers, in text |
| word2vec text, fastText .vec | count and dimension | word, numbers, in text |
| word2vec binary | count and dimension | word, a space, float32 little-endian |

Only the rows of a vocabulary are kept, so that memory follows from the vocabulary whatever the size
of the file.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from common.errors import DataError
from pipelines.messages import shorten

_FASTTEXT_MODEL = (793712314).to_bytes(4, "little")
_FOREIGN = {
    b"\x93NUMPY": "a NumPy array",
    b"\x80": "a pickle",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x89HDF": "an HDF5 file",
    _FASTTEXT_MODEL: "a fastText model: give the .vec file beside it",
}
_WAYS = "use GloVe's text, word2vec's text or binary, or fastText's .vec, each also with .gz"
_LONGEST_WORD = 4096  # bytes
_LONGEST_LINE = 1 << 20
_CHUNK = 1 << 20
# Rows that may be broken, as those of words with spaces in some files are; of all, and at least.
_BROKEN_SHARE, _BROKEN = 0.01, 20


@dataclass(frozen=True)
class WordVectors:
    """Vectors of a vocabulary.

    Attributes:
        table: ``<float32>[vocabulary, dimension]``, zeros where there is none.
        found: ``<bool>[vocabulary]``.
    """

    table: np.ndarray
    found: np.ndarray

    def coverage(self, counts: np.ndarray, name: str) -> str:
        """A sentence about what was found.

        Args:
            counts: ``<int>[vocabulary]``, how often training has each word.
            name: of the file.
        """
        words = counts > 0
        share = counts[self.found].sum() / max(1, counts.sum())
        known, every = int((self.found & words).sum()), int(words.sum())
        return (
            f"{name} has vectors of {self.table.shape[1]} numbers for {known:,} of the {every:,} "
            f"words of training, {share:.0%} of its tokens."
        )


def read_vectors(
    path: str | Path, vocabulary: Sequence[str], normalise: Callable[[str], str] = str
) -> WordVectors:
    """Reads the vectors of a vocabulary.

    A word is looked up as it is written; where the file does not have it so, the first word of the
    file counts that is the same when both are normalised.

    Args:
        path: of the file.
        vocabulary: word of each row; "" has no vector.
        normalise: a word of the file to how the vocabulary would spell it.

    Raises:
        DataError: there is no such file, it is in no format above, is cut off, more than a few of
            its rows are broken, or it has no word of the vocabulary.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
            found = _Found(path, vocabulary, normalise)
            _read(io.BufferedReader(stream, _CHUNK), found)
    except FileNotFoundError as error:
        raise DataError(f"--vectors {path}: there is no such file") from error
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"--vectors {path} cannot be read: {why}") from error
    return found.vectors()


@dataclass
class _Found:
    """The rows that are kept, while a file is read."""

    path: Path
    vocabulary: Sequence[str]
    normalise: Callable[[str], str]
    table: np.ndarray | None = None
    broken: list[int] = field(default_factory=list)
    rows: int = 0

    def __post_init__(self) -> None:
        self.at = {word: i for i, word in enumerate(self.vocabulary) if word}
        self.exact = np.zeros(len(self.vocabulary), bool)
        self.near = np.zeros(len(self.vocabulary), bool)

    def row_of(self, word: bytes) -> tuple[int, bool] | None:
        """The row that a word of the file is for, and whether it is spelled so; None for none."""
        text = word.decode("utf-8", "replace")
        row = self.at.get(text)
        if row is not None:
            return None if self.exact[row] else (row, True)
        row = self.at.get(self.normalise(text))
        if row is None or self.exact[row] or self.near[row]:
            return None
        return row, False

    def keep(self, place: tuple[int, bool], values: np.ndarray, number: int) -> None:
        """Keeps a vector, or notes that it is broken."""
        if not np.isfinite(values).all():
            self.broken.append(number)
            return
        row, exact = place
        self.table[row] = values
        (self.exact if exact else self.near)[row] = True

    def begin(self, dimension: int) -> None:
        """Makes the table."""
        self.table = np.zeros((len(self.vocabulary), dimension), np.float32)

    def vectors(self) -> WordVectors:
        """What was found, if it is of use."""
        if len(self.broken) > max(_BROKEN, _BROKEN_SHARE * self.rows):
            raise DataError(
                f"--vectors {self.path}:{self.broken[0]}: this row is not a word and "
                f"{self.table.shape[1]} numbers, and {len(self.broken) - 1} more are so; {_WAYS}"
            )
        found = self.exact | self.near
        if not found.any():
            raise DataError(
                f"--vectors {self.path} has none of the {len(self.at):,} words of the vocabulary "
                f"among its {self.rows:,} rows; is it of another language?"
            )
        return WordVectors(self.table, found)


def _read(stream: io.BufferedReader, found: _Found) -> None:
    head = stream.peek(_CHUNK)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"--vectors {found.path} is {what}; {_WAYS}")
    first = stream.readline(_LONGEST_LINE)
    if not first.strip():
        raise DataError(f"--vectors {found.path} is empty or begins with an empty line; {_WAYS}")
    header = first.split()
    if len(header) == 2 and all(part.isdigit() for part in header):
        dimension = int(header[1])
        if not 1 <= dimension <= 100_000:
            raise DataError(f"--vectors {found.path}:1: {dimension} numbers in a row; {_WAYS}")
        found.begin(dimension)
        if _is_binary(stream.peek(_CHUNK), dimension):
            _read_binary(stream, int(header[0]), dimension, found)
            return
        _read_text(iter(lambda: stream.readline(_LONGEST_LINE), b""), 2, dimension, found)
        return
    dimension = _numbers_at_end(first)
    if not dimension:
        raise DataError(
            f"--vectors {found.path}:1: {shorten(first.decode('utf-8', 'replace'), 40)!r} is no "
            f"word with numbers behind it; {_WAYS}"
        )
    found.begin(dimension)
    rest = iter(lambda: stream.readline(_LONGEST_LINE), b"")
    _read_text(_chained(first, rest), 1, dimension, found)


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _numbers_at_end(line: bytes) -> int:
    """How many numbers stand behind the first word of a row; 0 where it is no row."""
    count = 0
    for part in line.split()[:0:-1]:
        if not _is_number(part):
            break
        count += 1
    return count


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _is_binary(head: bytes, dimension: int) -> bool:
    """Whether the first row is float32 and not text."""
    line = head.split(b"\n", 1)[0] if b"\n" in head else head
    return _numbers_at_end(line) < min(dimension, max(1, len(line.split()) - 1))


def _read_text(lines: Iterator[bytes], first: int, dimension: int, found: _Found) -> None:
    for number, line in enumerate(lines, first):
        word, _, rest = line.partition(b" ")
        if not rest:
            word, _, rest = line.partition(b"\t")
        if not word.strip():
            continue
        found.rows += 1
        place = found.row_of(word)
        if place is None:
            continue
        values = _numbers(rest)
        if values is None or len(values) != dimension:
            parts = line.rsplit(None, dimension)  # a word with spaces in it
            if len(parts) == dimension + 1 and all(map(_is_number, parts[1:])):
                place = found.row_of(parts[0].strip())
                values = np.array([float(part) for part in parts[1:]])
            else:
                found.broken.append(number)
                continue
        if place is not None:
            found.keep(place, values, number)


def _numbers(text: bytes) -> np.ndarray | None:
    try:
        return np.array(text.split(), np.float64).astype(np.float32)
    except ValueError:
        return None


def _read_binary(stream: io.BufferedReader, count: int, dimension: int, found: _Found) -> None:
    size = 4 * dimension
    for number in range(count):
        word = _word(stream, found.path, number)
        data = stream.read(size)
        if len(data) != size:
            raise DataError(
                f"--vectors {found.path} is cut off in row {number + 1} of {count}; download it "
                "again"
            )
        found.rows += 1
        place = found.row_of(word)
        if place is not None:
            found.keep(place, np.frombuffer(data, "<f4"), number + 2)


def _word(stream: BinaryIO, path: Path, number: int) -> bytes:
    """The bytes before the next space; rows may end in a newline."""
    word = bytearray()
    while len(word) <= _LONGEST_WORD:
        one = stream.read(1)
        if one in (b" ", b""):
            return bytes(word)
        if one != b"\n" or word:
            word += one
    raise DataError(
        f"--vectors {path}: row {number + 1} has a word of more than {_LONGEST_WORD} bytes, so "
        f"that this is no word2vec file; {_WAYS}"
    )
