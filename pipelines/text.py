"""Text to token ids: the NumPy face, which needs no TensorFlow.

``pipelines.text_graph`` is the other face, the same rules as TensorFlow ops. Both follow rules that
are spelled out here as explicit code-point ranges and one explicit lower-case table, never as
``\\w`` or ``\\p{L}``: Python, ICU and RE2 each carry their own edition of Unicode and would
disagree.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.config import Config, choice, number, switch
from common.errors import DataError

PAD, UNKNOWN, START, END = 0, 1, 2, 3
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[START]", "[END]")

MOST_IN_TABLE = 200_000  # words up to which stems have a table, of several entries for each word
LONG_TEXT = 100_000  # letters or bytes, from which tokens are not all in memory at once
LEVELS = ("word", "char", "byte")
STEM_LENGTHS = range(4, 9)
TRUNCATIONS = ("head", "tail", "ends")

# Ranges inside a regular-expression class, in a notation that `re` and RE2 read alike.
_SPACE = "\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff\ufffd"
# Characters that are tokens by themselves: punctuation and symbols, ideographs and kana (their
# scripts put no spaces between words), and the planes of emoji.
_SINGLE = (
    "!-&(-/:-@\\[-^`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2190-\u2bff\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
    "\U0001f000-\U0001faff\U00020000-\U0003ffff"
)
# Thai, Lao, Burmese and Khmer put no spaces between words either. A token of theirs is what readers
# see as one letter: a consonant with the vowel before it and the signs around it.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_LEADING = "\u0e40-\u0e44\u0ec0-\u0ec4"
_CONSONANT = "\u0e01-\u0e2e\u0e81-\u0eae\u0edc-\u0edf\u1000-\u102a\u103f\u1050-\u1055\u1780-\u17b3"
_SIGN = (
    "\u0e30-\u0e3a\u0e45\u0e47-\u0e4e\u0eb0-\u0ebc\u0ec8-\u0ece"
    "\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u17dd"
)
_STACK = "\u1039\u17d2"  # joins the next consonant below the last
_LETTER = f"[{_LEADING}]?[{_CONSONANT}](?:[{_STACK}][{_CONSONANT}]|[{_SIGN}])*|[{_UNSPACED}]"
# Tibetan syllables end in a dot; half-width kana and the rarer blocks of East Asia stand alone.
_MORE_SPACE = f"{_SPACE}\u0f0b\u0f0c"
_MORE_SINGLE = f"{_SINGLE}\u0f0d-\u0f14\u3100-\u312f\u31a0-\u33ff\uff66-\uff9f"


def _patterns(space: str, single: str, unspaced: str = "", letter: str = "") -> tuple[str, str]:
    """Regular expressions of a token and of white space, in a notation that `re` and RE2 share."""
    word = f"[^{space}{single}{unspaced}']"
    return f"({word}+(?:'{word}+)*|{letter}[{single}'])", f"[{space}]+"


# By the rules' number, which is saved with the vocabulary: under other rules the tokens of a text
# would not be those that a model was trained with. Number 1 knew of East Asia's scripts only.
RULES = 2
PATTERNS = {
    1: _patterns(_SPACE, _SINGLE),
    2: _patterns(_MORE_SPACE, _MORE_SINGLE, _UNSPACED, f"{_LETTER}|"),
}


class Classes(NamedTuple):
    """Ranges of characters inside a regular-expression class, of the newest rules."""

    space: str
    single: str
    unspaced: str


CLASSES = Classes(_MORE_SPACE, _MORE_SINGLE, _UNSPACED)
_UNSPACED_TOKEN = re.compile(
    f"[{_UNSPACED}\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff]"
)
_TOKENS = {rules: re.compile(token) for rules, (token, _) in PATTERNS.items()}
APOSTROPHE_PATTERN = "[\u2018\u2019]"
MARKUP_PATTERN = "<[A-Za-z/][^<>]*>"

_APOSTROPHE = re.compile(APOSTROPHE_PATTERN)
_MARKUP = re.compile(MARKUP_PATTERN)

# Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee...: every cased letter of the everyday
# scripts lies below this code point, and Unicode never changes a case pair once it is assigned.
LOWERCASE_LIMIT = 0x2000


@lru_cache(maxsize=1)
def lowercase_table() -> np.ndarray:
    """Lower-case code point of every code point below ``LOWERCASE_LIMIT``: ``<int32>[8192]``.

    Letters whose lower case is more than one code point (U+0130) stay as they are.
    """
    table = np.arange(LOWERCASE_LIMIT, dtype=np.int32)
    for block in (range(0x0000, 0x0530), range(0x0531, 0x0557), range(0x1E00, LOWERCASE_LIMIT)):
        for point in block:
            lower = chr(point).lower()
            if len(lower) == 1 and ord(lower) < 0x3000:
                table[point] = ord(lower)
    return table


# One string and not a dict of what changes: what a dict lacks costs `translate` an exception.
@lru_cache(maxsize=1)
def _lowercase() -> str:
    return "".join(map(chr, lowercase_table()))


def fold_case(text: str) -> str:
    """The text in lower case, by ``lowercase_table``."""
    return text.lower() if text.isascii() else text.translate(_lowercase())


# The rules for ASCII, where all editions of them agree, with few passes in C instead of a regular
# expression's step for each character, which takes 2.5 times as long.
_ASCII_SPACE = dict.fromkeys((*range(0x21), 0x7F), " ")
_ASCII_SINGLE = tuple((c, f" {c} ") for c in '!"#$%&()*+,-./:;<=>?@[\\]^`{|}~')
_APART = re.compile("'(?:(?<![0-9A-Za-z_]')|(?![0-9A-Za-z_]))")  # not between two letters


def _ascii_tokens(text: str) -> list[str]:
    text = text.translate(_ASCII_SPACE)
    for single, apart in _ASCII_SINGLE:
        if single in text:
            text = text.replace(single, apart)
    return _APART.sub(" ' ", text).split()


def as_text(raw: str | bytes) -> str:
    """Raw input as text; bytes are read as UTF-8, each broken sequence as U+FFFD."""
    if isinstance(raw, bytes):
        return raw.decode("utf-8", "replace")
    # A lone surrogate cannot be written as UTF-8; on the wire it would have been a "?".
    return raw.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class TextPreprocessing(Config):
    """How text becomes tokens."""

    level: str = choice(
        "word",
        LEVELS,
        "what a token is: a word (in scripts without spaces a letter), a char or a byte",
    )
    lowercase: bool = switch(True, "fold case first")
    strip_markup: bool = switch(True, "replace <tags> by a space")
    vocabulary_size: int = number(
        50_000, 5, 10_000_000, "largest number of distinct tokens, the four special ones included"
    )
    min_count: int = number(
        1, 1, 1_000_000, "tokens seen fewer times in the training text become [UNK]"
    )
    stem_unknown: bool = switch(
        True,
        "unknown words take the id of the most frequent word that begins alike",
    )
    max_length: int = number(400, 1, 1_000_000, "tokens kept of a text")
    truncate: str = choice("ends", TRUNCATIONS, "which tokens of a longer text are kept")


@dataclass(frozen=True)
class TextEncoder(TextPreprocessing):
    """Splits text into words, characters or bytes and numbers them.

    Every sequence is ``[START] tokens [END]``, so no sequence is ever empty: a row without one
    valid step would abort cuDNN's kernels.

    Attributes:
        vocabulary: token of each id; empty before ``adapt``.
        rules: number of the rules by which words are cut, see ``PATTERNS``.
    """

    vocabulary: tuple[str, ...] = ()
    rules: int = RULES

    def normalise(self, raw: str | bytes) -> str:
        """The text as it is cut into tokens: markup gone, case folded."""
        text = as_text(raw)
        if self.lowercase:
            text = fold_case(text)
        if self.strip_markup:
            text = _MARKUP.sub(" ", text)
        return text

    def tokenise(self, raw: str | bytes) -> list[str]:
        """Tokens of one text, nothing cut off; bytes come as the latin-1 letters of their codes."""
        text = self.normalise(raw)
        if self.level == "word" and text.isascii():
            return _ascii_tokens(text)
        text = self._cuttable(text)
        return _TOKENS[self.rules].findall(text) if self.level == "word" else list(text)

    def _cuttable(self, text: str) -> str:
        """A normalised text as tokens are found in it: words by the rules, else each letter."""
        if self.level == "word":
            return _APOSTROPHE.sub("'", text)
        return text if self.level == "char" else text.encode("utf-8").decode("latin-1")

    def _each(self, raw: str | bytes) -> Iterator[str]:
        """The tokens of a text, one by one."""
        text = self._cuttable(self.normalise(raw))
        if self.level != "word":
            return iter(text)
        return (found[0] for found in _TOKENS[self.rules].finditer(text))

    def count(self, raw: str | bytes) -> int:
        """How many tokens a text has, nothing cut off."""
        return sum(1 for _ in self._each(raw)) if len(raw) > LONG_TEXT else len(self.tokenise(raw))

    def adapt(self, texts: Iterable[str | bytes]) -> TextEncoder:
        """The same encoder with the vocabulary of ``texts``, which must be training text only."""
        if self.level == "byte":
            tokens = [chr(code) for code in range(256)]
        else:
            counts = Counter(token for text in texts for token in self.tokenise(text))
            kept = [item for item in counts.items() if item[1] >= self.min_count]
            # Ties in alphabetical order: the vocabulary must not depend on the order of the rows.
            kept.sort(key=lambda item: (-item[1], item[0]))
            tokens = [token for token, _ in kept[: self.vocabulary_size - len(SPECIAL_TOKENS)]]
        return TextEncoder(**{**asdict(self), "vocabulary": (*SPECIAL_TOKENS, *tokens)})

    def extended(self, words: Iterable[str]) -> TextEncoder:
        """The same encoder with further words behind its own, those that it does not have."""
        more = dict.fromkeys(map(self.normalise, words), None)
        vocabulary = tuple(dict.fromkeys((*self.vocabulary, *more)))
        return TextEncoder(**{**asdict(self), "vocabulary": vocabulary})

    def encode(self, raw: str | bytes) -> list[int]:
        """Ids of one text, ``[START]`` and ``[END]`` included."""
        tokens = self.kept(raw)
        ids = [START, *map(self._numbers.get, tokens), END]
        place = 0
        for _ in range(ids.count(None)):
            place = ids.index(None, place)
            ids[place] = self._stem_id(tokens[place - 1])
        return ids

    def kept(self, raw: str | bytes) -> list[str]:
        """The tokens of one text that are read: of a longer one its ends, see ``truncate``."""
        head, tail = self.kept_ends
        if len(raw) > LONG_TEXT:  # its tokens would take ten times the memory of the text
            tokens = self._each(raw)
            return [*islice(tokens, head), *deque(tokens if tail else (), tail)]
        tokens = self.tokenise(raw)
        if len(tokens) > self.max_length:
            tokens = tokens[:head] + tokens[len(tokens) - tail :]
        return tokens

    def _stem_id(self, token: str) -> int:
        if not self.stems_words:
            return UNKNOWN
        if len(self.vocabulary) > MOST_IN_TABLE:
            return self._neighbour_id(token)
        ids = self.stem_ids
        for length in range(min(len(token), STEM_LENGTHS[-1]), STEM_LENGTHS[0] - 1, -1):
            if (found := ids.get(token[:length])) is not None:
                return found
        return UNKNOWN

    def _neighbour_id(self, token: str) -> int:
        """The same without ``stem_ids``: words that begin alike are alphabetical neighbours."""
        words, ids = self._sorted
        start = token[: STEM_LENGTHS[-1]]
        place = bisect_left(words, start)
        near = words[max(0, place - 1) : place + 1]
        length = max((_common(start, word) for word in near), default=0)
        if length < STEM_LENGTHS[0]:
            return UNKNOWN
        stem = start[:length]
        first = bisect_left(words, stem)
        end = bisect_right(words, stem, first, key=lambda word: word[:length])
        return int(ids[first:end].min())

    # Of the encoder, not of a cache by vocabulary: to look there a long tuple would be hashed anew
    # for every text and every unknown word, which takes longer than all the rest.
    @cached_property
    def _numbers(self) -> dict[str, int]:
        # The special names are skipped so that no text can spell "[PAD]" and become padding.
        first = len(SPECIAL_TOKENS)
        return {token: first + i for i, token in enumerate(self.vocabulary[first:])}

    @cached_property
    def _sorted(self) -> tuple[list[str], np.ndarray]:
        """The words that have a stem, in alphabetical order, and their ids ``<int32>[words]``."""
        pairs = sorted(pair for pair in self._numbers.items() if len(pair[0]) >= STEM_LENGTHS[0])
        return [word for word, _ in pairs], np.array([identity for _, identity in pairs], np.int32)

    @cached_property
    def stem_ids(self) -> dict[str, int]:
        """Id of the most frequent word of each stem."""
        ids: dict[str, int] = {}
        for token, identity in self._numbers.items():
            for stem in stems(token):
                ids.setdefault(stem, identity)
        return ids

    @property
    def stems_words(self) -> bool:
        """Whether unknown tokens are looked up by their stems."""
        return self.stem_unknown and self.level == "word"

    def __call__(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """Texts to right-padded ids: ``<int32>[batch, time]``."""
        rows = [self.encode(text) for text in texts]
        ids = np.zeros((len(rows), max(map(len, rows), default=0)), np.int32)
        for row, values in zip(ids, rows, strict=True):
            row[: len(values)] = values
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out; words are joined by spaces."""
        tokens = [self.vocabulary[i] for i in ids if i >= len(SPECIAL_TOKENS)]
        if self.level == "byte":
            return "".join(tokens).encode("latin-1").decode("utf-8", "replace")
        return (" " if self.level == "word" else "").join(tokens)

    @property
    def kept_ends(self) -> tuple[int, int]:
        """Tokens kept at the (head, tail) of a text that is too long."""
        if self.truncate == "head":
            return self.max_length, 0
        if self.truncate == "tail":
            return 0, self.max_length
        return self.max_length - self.max_length // 2, self.max_length // 2

    def save(self, directory: Path) -> dict[str, Any]:
        """Writes ``vocabulary.json`` and returns the remaining settings for the caller's JSON."""
        settings = asdict(self)
        vocabulary = settings.pop("vocabulary")
        text = json.dumps(vocabulary, ensure_ascii=False, indent=0)
        (directory / "vocabulary.json").write_text(text, encoding="utf-8")
        return settings

    @classmethod
    def load(cls, directory: Path, settings: dict[str, Any]) -> TextEncoder:
        """Reads back what ``save`` wrote."""
        path = directory / "vocabulary.json"
        try:
            vocabulary = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{"rules": 1, **settings, "vocabulary": tuple(vocabulary)})
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path} cannot be used as a vocabulary ({error})") from error


def stems(word: str) -> list[str]:
    """Beginnings of a word by which an unknown word finds a known one, shortest first.

    >>> stems("finely")
    ['fine', 'finel', 'finely']
    """
    return [word[:length] for length in STEM_LENGTHS if length <= len(word)]


def _common(one: str, other: str) -> int:
    """How many letters two words begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def is_unspaced(token: str) -> bool:
    """Whether a token is one letter of a script that puts no spaces between words."""
    return _UNSPACED_TOKEN.match(token) is not None


def text_request(raw: Sequence[Any]) -> np.ndarray:
    """Raw texts as ``<object>[batch]`` of UTF-8; anything that is not text is a DataError."""
    for i, text in enumerate(raw):
        if not isinstance(text, (str, bytes)):
            raise DataError(f"input {i} is a {type(text).__name__}; give one text as each input")
    return np.array(
        [t if isinstance(t, bytes) else t.encode("utf-8", "replace") for t in raw], object
    )
