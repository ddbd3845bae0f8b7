"""Text to units and back: what a language model reads and writes, one number each.

Nothing is lost on the way (of words nothing but how wide the space between them is, of tokens the
space and the case), so that what a model writes is text again. ``pipelines.units_graph`` is the
same as TensorFlow ops.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from common.errors import DataError
from pipelines.subwords import SPACE, SubwordEncoder
from pipelines.text import END, PAD, START, UNKNOWN, TextEncoder, as_text

LEVELS = ("word", "token", "subword", "char", "byte")
# How the special units are called in answers; only the unknown one can be written.
SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
# White space between words, in a notation that `re` and RE2 read alike; a line break is a word.
SPACES = "[ \\t\\r\\f\\v]+"
_WORDS = re.compile(r"\n|[^ \t\r\f\v\n]+")
VOCABULARY = "units.json"
ANY_LENGTH = 2**31 - 1
TOKENS = TextEncoder(level="word")

__all__ = ["END", "PAD", "START", "UNKNOWN", "Units"]


@dataclass(frozen=True)
class Units:
    """Words, characters or bytes by number.

    Attributes:
        level: "word": what stands between spaces, and line breaks; "token": words in lower case,
            punctuation by itself, as ``pipelines.text`` cuts them, so that classifiers and taggers
            know them again; "subword": pieces of words (``pipelines.subwords``), and line breaks;
            "char": code points; "byte": bytes of UTF-8.
        names: the unit of each number, the four special ones first.
        pieces: of subwords, what cuts a line.
    """

    level: str
    names: tuple[str, ...] = field(repr=False)
    pieces: SubwordEncoder | None = None

    @classmethod
    def adapt(
        cls, texts: Iterable[str], level: str, size: int = 10_000_000, min_count: int = 1
    ) -> Units:
        """The units of training texts, the frequent ones first.

        Args:
            texts: of training only.
            level: one of ``LEVELS``.
            size: largest number of units, the special ones included.
            min_count: units seen fewer times are unknown.
        """
        if level == "byte":
            return cls(level, (*SPECIAL, *map(chr, range(256))))
        if level == "subword":
            lines = (line for text in texts for line in text.split("\n"))
            pieces = SubwordEncoder(max_length=ANY_LENGTH).adapt(lines, size - 1)
            return cls(level, (*SPECIAL, *pieces.vocabulary[len(SPECIAL) :], "\n"), pieces)
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_cut(text, level))
        del counts[SPECIAL[UNKNOWN]]  # as in Penn Treebank: a word that is unknown already
        kept = [one for one in counts.items() if one[1] >= min_count]
        kept.sort(key=lambda one: (-one[1], one[0]))
        return cls(level, (*SPECIAL, *(unit for unit, _ in kept[: size - len(SPECIAL)])))

    def extended(self, others: Units) -> Units:
        """Units of the same level with those of others behind their own; of subwords and bytes just
        those others, which any text can be cut into."""
        if self.level in ("subword", "byte"):
            return others
        return Units(self.level, tuple(dict.fromkeys((*self.names, *others.names))))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        first = len(SPECIAL)
        return {name: first + i for i, name in enumerate(self.names[first:])}

    def encode(self, text: str | bytes) -> np.ndarray:
        """``<int32>[units]``, without start and end."""
        if self.pieces is not None:
            return self._in_pieces(as_text(text))
        find = self._numbers.get
        return np.array([find(unit, UNKNOWN) for unit in _cut(as_text(text), self.level)], np.int32)

    def _in_pieces(self, text: str) -> np.ndarray:
        found: list[int] = []
        for line in text.split("\n"):
            found += [*self.pieces.encode(line)[1:-1], len(self) - 1]
        return np.array(found[:-1], np.int32)

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of numbers; padding, start and end are nothing."""
        return self.text(b"".join(self.written[number] for number in numbers))

    def text(self, written: bytes) -> str:
        """The text of joined ``written`` units."""
        text = written.decode("utf-8", "replace")
        return text.replace("\n ", "\n").removeprefix(" ") if self.spaced else text

    @property
    def spaced(self) -> bool:
        """Whether units are words that bring the space before them."""
        return self.level in ("word", "token", "subword")

    @cached_property
    def written(self) -> np.ndarray:
        """What each unit adds to the text: ``<object>[units]`` of bytes."""
        return _bytes([b"" if i in (PAD, START, END) else self._write(name)
                       for i, name in enumerate(self.names)])  # fmt: skip

    @cached_property
    def shown(self) -> np.ndarray:
        """The name of each unit: ``<object>[units]`` of UTF-8; bytes outside ASCII as ``<e4>``."""
        if self.level != "byte":
            return _bytes([name.encode("utf-8") for name in self.names])
        first = len(SPECIAL)
        names = [name if ord(name) < 128 else f"<{ord(name):02x}>" for name in self.names[first:]]
        return _bytes([name.encode("ascii") for name in (*SPECIAL, *names)])

    def _write(self, name: str) -> bytes:
        if self.level == "byte" and len(name) == 1:
            return bytes([ord(name)])
        if self.level == "subword":
            return name.replace(SPACE, " ").encode("utf-8")
        space = self.spaced and name != "\n"
        return (" " * space + name).encode("utf-8")

    def save(self, directory: Path) -> None:
        """Writes ``units.json``, and ``subwords.model`` of subwords."""
        state = None if self.pieces is None else self.pieces.save(directory)
        value = json.dumps(
            {"level": self.level, "names": self.names, "pieces": state}, ensure_ascii=False
        )
        (directory / VOCABULARY).write_text(value, encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Units:
        """Reads back what ``save`` wrote."""
        path = directory / VOCABULARY
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            state = found.get("pieces")
            pieces = SubwordEncoder.load(directory, state) if state else None
            return cls(found["level"], tuple(found["names"]), pieces)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} cannot be used as a vocabulary ({error})") from error


def _cut(text: str, level: str) -> Iterable[str]:
    if level == "token":
        return TOKENS.tokenise(text)
    if level == "word":
        return _WORDS.findall(text)
    return text if level == "char" else text.encode("utf-8").decode("latin-1")


def _bytes(values: Sequence[bytes]) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = values
    return found
