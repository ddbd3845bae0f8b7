"""Ids to text while they come in: what is final is given at once, and never half a character."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from pipelines.text import SPECIAL_TOKENS, TextEncoder


class Detokenizer:
    """What each id adds to a text.

    Args:
        written: bytes of UTF-8, or parts of them, that each id adds; b"" for special ids.
        spaced: whether units are words that bring the space before them; one space at the beginning
            of the text and of each line is left out.
    """

    def __init__(self, written: Sequence[bytes], spaced: bool = False) -> None:
        self.written, self.spaced = list(written), spaced
        # What is text by itself needs no decoder; None for parts of characters.
        self.texts = [_text(one) for one in self.written]

    @classmethod
    def of_encoder(cls, encoder: TextEncoder) -> Detokenizer:
        """That of a ``TextEncoder``: joined pieces are its ``decode``."""
        charset = "latin-1" if encoder.level == "byte" else "utf-8"
        spaced = encoder.level == "word"
        words = encoder.vocabulary[len(SPECIAL_TOKENS) :]
        written = [(" " * spaced + word).encode(charset) for word in words]
        return cls([b""] * len(SPECIAL_TOKENS) + written, spaced)

    def begin(self) -> Detokenized:
        """A text of no ids yet."""
        return Detokenized(self)

    def text(self, ids: Sequence[int]) -> str:
        """The text of all ids."""
        one = self.begin()
        return "".join([*map(one.push, ids), one.flush()])


class Detokenized:
    """One text as its ids come in; ``"".join`` of all that it gives is ``Detokenizer.text``."""

    def __init__(self, table: Detokenizer) -> None:
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = False
        self._fresh = table.spaced  # nothing stands in this line yet

    def push(self, number: int) -> str:
        """The text that is final with one more id."""
        text = self._table.texts[number]
        if text is None or self._partial:
            text = self._decoder.decode(self._table.written[number])
            self._partial = bool(self._decoder.getstate()[0])
        return self._without_space(text) if self._table.spaced else text

    def flush(self) -> str:
        """The rest, where there is no further id: a character that was not finished is U+FFFD."""
        return self._decoder.decode(b"", True) if self._partial else ""

    def _without_space(self, text: str) -> str:
        if self._fresh:
            text = text.removeprefix(" ")
        if text:
            self._fresh = text.endswith("\n")
        return text


class StoppedText:
    """A text that ends before the first of its stop strings, however these are cut into ids.

    What may be the beginning of a stop string is held back until it is known not to be one.

    Args:
        text: the text as it comes in.
        stops: stop strings, none of them empty.

    Attributes:
        stopped: whether one was found; nothing is given from there on.
    """

    def __init__(self, text: Detokenized, stops: Sequence[str] = ()) -> None:
        self._text, self._stops = text, tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, number: int) -> str:
        """The text that is final with one more id."""
        piece = self._text.push(number)
        return self._given(piece) if self._stops else piece

    def flush(self) -> str:
        """The rest, where there is no further id."""
        piece = self._text.flush()
        if not self._stops:
            return piece
        given = self._given(piece)
        held, self._held = self._held, ""
        return given if self.stopped else given + held

    def _given(self, piece: str) -> str:
        if self.stopped:
            return ""
        held = self._held + piece
        found = [place for stop in self._stops if (place := held.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)]
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of a text that may be the beginning of a stop string."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


def _text(written: bytes) -> str | None:
    try:
        return written.decode("utf-8")
    except UnicodeDecodeError:
        return None
