"""Texts of speech recognition: how they are learnt, and when each word was said."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

OUTPUT = "log_probabilities"
# Of one request: times are found in memory that grows with the square of it.
MOST_SECONDS = 120


def normalised(text: str, lowercase: bool, punctuation: bool) -> str:
    """What is said as it is learnt: composed characters, single spaces.

    >>> normalised("Don't  stop!", True, False)
    "don't stop"
    """
    text = unicodedata.normalize("NFC", text.replace("\u2019", "'"))
    text = text.lower() if lowercase else text
    if not punctuation:
        kept = (c if c == "'" or unicodedata.category(c)[0] not in "PS" else " " for c in text)
        text = "".join(kept)
    return " ".join(text.split())


def steps_needed(symbols: Sequence[Any]) -> int:
    """Fewest steps that spell a text: a blank stands between equal neighbours."""
    return len(symbols) + sum(a == b for a, b in zip(symbols, symbols[1:], strict=False))


def words_of(characters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Characters with their times, joined between spaces."""
    words: list[dict[str, Any]] = []
    begins = True
    for one in characters:
        if one["character"].isspace():
            begins = True
        elif begins:
            words.append({"word": one["character"], "start": one["start"], "end": one["end"]})
            begins = False
        else:
            words[-1]["word"] += one["character"]
            words[-1]["end"] = one["end"]
    return words
