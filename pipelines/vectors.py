"""Pre-trained word vectors that the user has: GloVe, word2vec and fastText files.

Told apart by content, each also compressed by gzip:

| format | first line | a row |
|---|---|---|
| GloVe | a row | word, numbers, in text |
| word2vec text, fastText .vec | count and dimension | word, numbers, in text |
| word2vec binary | count and dimension | word, a space, float32 little-endian |

Only the rows of a vocabulary are kept, so that memory follows from the vocabulary whatever the size
of the file. A word of the vocabulary takes the first vector of the best of these spellings:

1. as it is;
2. any that the vocabulary would spell so, where it folds case or has 0 for each digit;
3. in lower case, for files that have no other;
4. in lower case with 0 or # for each digit, as some files have numbers (word2vec's news: #).
"""

from __future__ import annotations

import gzip
import io
import re
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
    b"BZh": "compressed by bzip2: unpack it first",
    b"\xfd7zXZ": "compressed by xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it first",
    b"\xff\xfe": "no UTF-8 but UTF-16: save it as UTF-8",
    b"\xfe\xff": "no UTF-8 but UTF-16: save it as UTF-8",
    b"\x89HDF": "an HDF5 file",
    _FASTTEXT_MODEL: "a fastText model: give the .vec file that fastText writes beside it",
}
_MARK = b"\xef\xbb\xbf"  # of UTF-8, before the first row
_WAYS = "use GloVe's text, word2vec's text or binary, or fastText's .vec, each also with .gz"
_LONGEST_WORD = 4096  # bytes
_LONGEST_LINE = 1 << 20
_CHUNK = 1 << 20
# Rows of the vocabulary that may be broken: of all that the file has of it, and at least.
_BROKEN_SHARE, _BROKEN = 0.01, 20
# How near a word of the file is to one of the vocabulary, see above.
_SAME, _NORMAL, _LOWER, _DIGITS, _NOT = range(5)
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class WordVectors:
    """Vectors of a vocabulary.

    Attributes:
        table: ``<float32>[vocabulary, dimension]``, zeros where there is none.
        found: ``<bool>[vocabulary]``.
        words: ``<bool>[vocabulary]``, which rows are of a word.
        broken: rows of the file that would have been of use, and are no vectors.
    """

    table: np.ndarray
    found: np.ndarray
    words: np.ndarray
    broken: int = 0

    def coverage(self, counts: np.ndarray, name: str, what: str = "words") -> str:
        """A sentence about what was found.

        Args:
            counts: ``<int>[vocabulary]``, how often training has each word.
            name: of the file.
            what: how the rows of the vocabulary are called.
        """
        words = (counts > 0) & self.words
        share = counts[self.found].sum() / max(1, counts.sum())
        known, every = int((self.found & words).sum()), int(words.sum())
        sentence = (
            f"{name} has vectors of {self.table.shape[1]} numbers for {known:,} of the {every:,} "
            f"{what} of training, {share:.0%} of its tokens"
        )
        if not self.broken:
            return f"{sentence}."
        rows = "a broken row was" if self.broken == 1 else f"{self.broken:,} broken rows were"
        return f"{sentence}; {rows} left out."


def read_vectors(
    path: str | Path, vocabulary: Sequence[str], normalise: Callable[[str], str] = str
) -> WordVectors:
    """Reads the vectors of a vocabulary.

    Args:
        path: of the file.
        vocabulary: word of each row; "" has no vector.
        normalise: a word of the file to how the vocabulary would spell it.

    Raises:
        DataError: there is no such file, it is in no format above, is cut off, more than a few of
            its rows are broken, or it has no word of the vocabulary.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"--vectors {path} is a directory; name a file in it")
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
        self.rows_of: dict[str, int] = {}
        self.others: dict[str, list[tuple[int, int]]] = {}
        self.nearness = [_NOT] * len(self.vocabulary)
        for row, word in enumerate(self.vocabulary):
            if word:
                self.rows_of[word] = row
                self._add_others(word, row)

    def _add_others(self, word: str, row: int) -> None:
        lower = word.lower()
        spellings = {lower: _LOWER}
        if _DIGIT.search(lower):
            spellings |= {_DIGIT.sub(mark, lower): _DIGITS for mark in "0#"}
        for spelling, nearness in spellings.items():
            if spelling != word:
                self.others.setdefault(spelling, []).append((row, nearness))

    def places_of(self, word: bytes) -> list[tuple[int, int]]:
        """Rows that a word of the file is the best for as yet, each with how near it is."""
        text = word.decode("utf-8", "replace")
        places = list(self.others.get(text, ()))
        for spelling, nearness in ((text, _SAME), (self.normalise(text), _NORMAL)):
            row = self.rows_of.get(spelling)
            if row is not None:
                places.append((row, nearness))
        return [(row, nearness) for row, nearness in places if nearness < self.nearness[row]]

    def keep(self, places: list[tuple[int, int]], values: np.ndarray, number: int) -> None:
        """Keeps a vector, or notes that it is broken."""
        if not np.isfinite(values).all():
            self.broken.append(number)
            return
        for row, nearness in places:
            if nearness < self.nearness[row]:  # a word may be near a row in two ways
                self.table[row] = values
                self.nearness[row] = nearness

    def begin(self, dimension: int) -> None:
        """Makes the table."""
        self.table = np.zeros((len(self.vocabulary), dimension), np.float32)

    def vectors(self) -> WordVectors:
        """What was found, if it is of use."""
        found = np.array(self.nearness) < _NOT
        kept, broken = int(found.sum()), len(self.broken)
        if broken and (not kept or broken > max(_BROKEN, _BROKEN_SHARE * (kept + broken))):
            more = f", and {broken - 1:,} more are so" if broken > 1 else ""
            raise DataError(
                f"--vectors {self.path}:{self.broken[0]}: this row is not a word and "
                f"{self.table.shape[1]} numbers{more}; {_WAYS}"
            )
        if not kept:
            raise DataError(
                f"--vectors {self.path} has none of the {len(self.rows_of):,} words of the "
                f"vocabulary among its {self.rows:,} rows; is it of another language?"
            )
        words = np.array([bool(word) for word in self.vocabulary])
        return WordVectors(self.table, found, words, broken)


def _read(stream: io.BufferedReader, found: _Found) -> None:
    head = stream.peek(_CHUNK)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"--vectors {found.path} is {what}; {_WAYS}")
    first = stream.readline(_LONGEST_LINE).removeprefix(_MARK)
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
        places = found.places_of(word)
        if not places:
            continue
        values = _numbers(rest.split())
        if values is None or len(values) != dimension:
            parts = line.rsplit(None, dimension)  # a word with spaces in it
            values = _numbers(parts[1:])
            if values is None or len(values) != dimension:
                found.broken.append(number)
                continue
            places = found.places_of(parts[0].strip())
        found.keep(places, values, number)


def _numbers(parts: list[bytes]) -> np.ndarray | None:
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
            return np.array(parts, np.float64).astype(np.float32)
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
        places = found.places_of(word)
        if places:
            found.keep(places, np.frombuffer(data, "<f4"), number + 2)


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
