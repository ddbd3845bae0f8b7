"""Raw text to tokens and where they stand: the NumPy implementation, which needs no TensorFlow.

A tagger's training data comes in tokens, and each corpus cuts text by rules of its own: "don't" or
"do" "n't", "third-party" or three tokens. ``TokenRules.adapt`` finds out which by counting what
training's tokens look like. ``pipelines.tokens_graph`` is the same as TensorFlow ops: both run the
same substitutions, in a notation that `re` and RE2 share, on a text in which two control characters
mark where tokens begin and end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from common.errors import DataError
from pipelines.text import CLASSES, PATTERNS, RULES, as_text

SEPARATOR = "\x1f"  # stands between given tokens; ASCII calls it the unit separator
OPEN, CLOSE = "\x02", "\x03"
MARKS = f"[{OPEN}{CLOSE}]"  # in a text they are white space
GIVEN = f"([^{SEPARATOR}]+)"
MARKED = f"{OPEN}\\1{CLOSE}"

_LETTERS = f"[^{CLASSES.space}{CLASSES.single}{CLASSES.unspaced}'\u2019]"
_APOSTROPHE = "['\u2019]"
_URL = '(?:https?://|www\\.)[^\\x00-\\x20\u00a0\u3000<>"]*[^\\x00-\\x20\u00a0\u3000<>".,;:!?)\'\\]]'
# The part before the @ has 64 characters at most (RFC 5321, 4.5.3.1.1); without that bound a text
# of "a.a.a." would be read to its end from each of its letters.
_MAIL = "[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9.-]*[A-Za-z0-9]"
_TAGGED = f"[@#]{_LETTERS}+"
_RUNS = "|".join(f"{re.escape(one)}{{2,}}" for one in ".-!?*=_~/'`") + "|\u2026+|\u2014+"
_SUFFIXES = ("s", "m", "re", "ve", "ll", "d")
_MOST_EXCEPTIONS, _LEAST_SEEN, _LONGEST = 400, 2, 20


class Token(NamedTuple):
    """A token of a text, and where it begins and ends there, in code points."""

    token: str
    start: int
    end: int


@dataclass(frozen=True)
class TokenRules:
    """How a corpus cuts text.

    Attributes:
        characters: every character that is no white space is a token.
        apostrophes: "whole" (``don't``), "suffix" (``do`` ``n't``, ``Ann`` ``'s``) or "prefix"
            (``l'`` ``eau``).
        hyphens: words with hyphens are one token.
        runs: the same mark several times, such as ``...``, is one token.
        numbers: marks that do not part the digits of a number.
        exceptions: tokens that end in a mark and that the rules would cut, such as ``Mr.``.
        text_rules: number of the rules of ``pipelines.text`` for scripts without spaces.
    """

    characters: bool = False
    apostrophes: str = "whole"
    hyphens: bool = True
    runs: bool = True
    numbers: str = ".,"
    exceptions: tuple[str, ...] = ()
    text_rules: int = RULES

    @classmethod
    def adapt(cls, sentences: Iterable[Sequence[str]]) -> TokenRules:
        """The rules that the tokens of training sentences follow."""
        seen = _Seen(sentences)
        if seen.single >= 0.95 * max(1, seen.total):
            return cls(characters=True)
        rules = cls(
            apostrophes=seen.apostrophes(),
            hyphens=seen.whole("-", "[^\\W\\d]") >= seen.parted("-", "[^\\W\\d]"),
            runs=seen.runs(),
            numbers="".join(
                # Where training says nothing, the default stands.
                one
                for one in ".,:/-"
                if seen.whole(one, "\\d") + 0.5 * (one in cls.numbers) > seen.parted(one, "\\d")
            ),
        )
        exceptions = seen.exceptions(rules)
        return cls(**{**asdict(rules), "exceptions": exceptions})

    @cached_property
    def substitutions(self) -> tuple[tuple[str, str], ...]:
        """(pattern, replacement), one after the other, on a text without marks."""
        if self.characters:
            return ((f"([^{CLASSES.space}])", MARKED),)
        steps = [(f"({'|'.join(self._alternatives())})", MARKED)]
        parted = f"\\1{CLOSE}{OPEN}\\2{CLOSE}"
        if self.apostrophes == "suffix":
            endings = "|".join(f"(?i:{ending})" for ending in _SUFFIXES)
            steps += [
                (f"([A-Za-z])([nN]{_APOSTROPHE}[tT]){CLOSE}", parted),
                (f"([^{OPEN}{CLOSE}])({_APOSTROPHE}(?:{endings})){CLOSE}", parted),
            ]
        if self.apostrophes == "prefix":
            steps += [(f"{OPEN}({_LETTERS}+{_APOSTROPHE})", f"{OPEN}\\1{CLOSE}{OPEN}")]
        return tuple(steps)

    def _alternatives(self) -> list[str]:
        """What may be a token, the first that fits wins."""
        word = f"{_LETTERS}+"
        joints = _APOSTROPHE if not self.hyphens else f"(?:{_APOSTROPHE}|-)"
        digits = f"[0-9]+(?:[{re.escape(self.numbers)}][0-9]+)*" if self.numbers else "[0-9]+"
        longest_first = sorted(self.exceptions, key=lambda one: (-len(one), one))
        known = [re.escape(one) for one in longest_first]
        # A number with letters behind it ("3rd") is a word, unless marks are in it.
        numbers = [f"{digits}(?:{joints}?{word})*"] if self.numbers else []
        words = f"{word}(?:{joints}{word})*"
        if self.apostrophes == "suffix":  # "'s" by itself, as tokens that were joined have it
            numbers.append(f"{_APOSTROPHE}(?i:{'|'.join(_SUFFIXES)})")
        letter = PATTERNS[self.text_rules][0]
        runs = [_RUNS] if self.runs else []
        return [_URL, _MAIL, *known, *numbers, _TAGGED, words, *runs, letter[1:-1],
                f"[^{CLASSES.space}]"]  # fmt: skip

    @cached_property
    def _compiled(self) -> list[tuple[re.Pattern, str]]:
        return [(re.compile(pattern), new) for pattern, new in self.substitutions]

    def cut(self, raw: str | bytes) -> list[Token]:
        """The tokens of a text, which is cut at U+001F and nowhere else if it holds that."""
        text = re.sub(MARKS, " ", as_text(raw))
        if SEPARATOR in text:
            return [Token(m[0], m.start(), m.end()) for m in re.finditer(GIVEN, text)]
        marked = text
        for pattern, new in self._compiled:
            marked = pattern.sub(new, marked)
        found, start = [], 0
        for passed, mark in enumerate(re.finditer(MARKS, marked)):
            at = mark.start() - passed  # as the text has it, without the marks before
            if mark[0] == OPEN:
                start = at
            else:
                found.append(Token(text[start:at], start, at))
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TokenRules:
        """What ``to_dict`` gave."""
        try:
            return cls(**{**values, "exceptions": tuple(values["exceptions"])})
        except (TypeError, KeyError) as error:
            raise DataError(f"these rules of tokens are of another version: {error}") from error


class _Seen:
    """What the tokens of training look like, and which stand side by side."""

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        self.tokens: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.threes: Counter[tuple[str, str, str]] = Counter()
        for sentence in sentences:
            self.tokens.update(sentence)
            self.pairs.update(zip(sentence, sentence[1:], strict=False))
            marks = (i for i, one in enumerate(sentence[1:-1], 1) if one in ".,:/-")
            self.threes.update(tuple(sentence[i - 1 : i + 2]) for i in marks)
        self.total = sum(self.tokens.values())
        self.single = sum(count for token, count in self.tokens.items() if len(token) == 1)

    def count(self, pattern: str) -> int:
        """Tokens that hold the pattern."""
        known = re.compile(pattern)
        return sum(count for token, count in self.tokens.items() if known.search(token))

    def whole(self, mark: str, side: str) -> int:
        """Tokens with the mark between two characters of a class."""
        return self.count(f"{side}{re.escape(mark)}{side}")

    def parted(self, mark: str, side: str) -> int:
        """Tokens that are the mark alone between two that begin and end so."""
        before, after = re.compile(f"{side}$"), re.compile(f"^{side}")
        return sum(
            count for (a, b, c), count in self.threes.items()
            if b == mark and before.search(a) and after.search(c)
        )  # fmt: skip

    def apostrophes(self) -> str:
        """See ``TokenRules``."""
        endings = "|".join(_SUFFIXES)
        whole = self.count(f"(?i)^[^\\W\\d]{{2,}}{_APOSTROPHE}(?:{endings}|t)$")
        suffix = self.count(f"(?i)^(?:n{_APOSTROPHE}t|{_APOSTROPHE}(?:{endings}))$")
        prefix = self.count(f"^[^\\W\\d]+{_APOSTROPHE}$")
        found = {"whole": whole, "suffix": 2 * suffix, "prefix": prefix}
        return max(found, key=lambda name: found[name])

    def runs(self) -> bool:
        """Whether the same mark several times is one token more often than several."""
        apart = sum(count for (a, b), count in self.pairs.items() if a == b and len(a) == 1
                    and not a.isalnum())  # fmt: skip
        return self.count(f"^(?:{_RUNS})$") >= apart

    def exceptions(self, rules: TokenRules) -> tuple[str, ...]:
        """Tokens that the rules cut, though they stand uncut more often than their pieces do."""
        found = []
        for token, count in self.tokens.items():
            if count < _LEAST_SEEN or not 2 <= len(token) <= _LONGEST or token[-1].isalnum():
                continue
            pieces = [one.token for one in rules.cut(token)]
            if len(pieces) > 1 and self.pairs[pieces[-2], pieces[-1]] < count:
                found.append((-count, token))
        return tuple(token for _, token in sorted(found)[:_MOST_EXCEPTIONS])
