"""What a tagger sees of a word, as numbers: the NumPy implementation, which needs no TensorFlow.

Three things about each token: the number of the word, the numbers of its characters, and those of
its *forms*: its shape (``Xx``, ``d.d``) and its beginnings and ends. Unknown words are met by the
last two. ``pipelines.word_features_graph`` is the same as TensorFlow ops.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from pipelines.ragged import Arrays
from pipelines.text import LOWERCASE_LIMIT, fold_case, lowercase_table

PAD, UNKNOWN = 0, 1
BEGIN, END = 2, 3  # of a word, among its characters
FIRST_WORD, FIRST_CHARACTER, FIRST_FORM = 2, 4, 1
PREFIXES, SUFFIXES = (1, 2, 3), (1, 2, 3, 4)
# Characters and forms of fewer words are left out: too few to learn anything of them.
MIN_WORDS = 3
# Classes of characters in shapes; the last is that of all code points from LOWERCASE_LIMIT on.
UPPER, LOWER, DIGIT, PUNCTUATION, OTHER = "X", "x", "d", ".", "o"
_CACHED, _CACHED_LENGTH = 200_000, 64  # words whose numbers are kept, and characters of the longest
_DIGITS = re.compile("[0-9]")


class WordIds(NamedTuple):
    """The numbers of one token."""

    word: int
    characters: list[int]
    forms: list[int]


@lru_cache(maxsize=1)
def shape_classes() -> np.ndarray:
    """Class of every code point below ``LOWERCASE_LIMIT``, as a code point: ``<int32>[8192]``."""
    table = lowercase_table()
    classes = np.full(LOWERCASE_LIMIT, ord(OTHER), np.int32)
    upper = table != np.arange(len(table))
    classes[table[upper & (table < LOWERCASE_LIMIT)]] = ord(LOWER)
    classes[upper] = ord(UPPER)
    for first, last in ("!/", ":@", "[`", "{~"):
        classes[ord(first) : ord(last) + 1] = ord(PUNCTUATION)
    classes[ord("0") : ord("9") + 1] = ord(DIGIT)
    return classes


def shape_of(token: str) -> str:
    """Classes of a token's characters, of a run of one class two at most.

    >>> shape_of("Washington"), shape_of("U.S."), shape_of("USA-12")
    ('Xxx', 'X.X.', 'XX.dd')
    """
    table, shape = shape_classes(), ""
    for letter in token:
        point = ord(letter)
        found = chr(table[point]) if point < LOWERCASE_LIMIT else OTHER
        if shape[-2:] != found * 2:
            shape += found
    return shape


@dataclass(frozen=True)
class WordFeatures:
    """Numbers words, characters and forms; learnt from training sentences alone.

    Attributes:
        words: normalised word of each number from ``FIRST_WORD`` on, the most frequent first.
        characters: of each number from ``FIRST_CHARACTER`` on.
        forms: of each number from ``FIRST_FORM`` on, as ``form_keys`` spells them.
        slots: characters kept of a token, the marks of its ends included, from both ends of a
            longer one; 0 where every token of training is one character, which is then its word.
        lowercase: look words up in lower case; their case is left to characters and shape.
        digits: look every digit up as 0.
        seen: how many of the words training has; -1 for all of them.
    """

    words: tuple[str, ...]
    characters: tuple[str, ...]
    forms: tuple[str, ...]
    slots: int
    lowercase: bool
    digits: bool
    seen: int = -1

    @classmethod
    def adapt(
        cls,
        sentences: Iterable[Sequence[str]],
        *,
        vocabulary_size: int,
        min_count: int,
        slots: int,
        lowercase: bool,
        digits: bool,
    ) -> WordFeatures:
        """Counts training sentences.

        Args:
            sentences: tokens of each.
            vocabulary_size: largest number of words, padding and unknown included.
            min_count: rarer words are unknown.
            slots: see ``WordFeatures``.
            lowercase: see ``WordFeatures``.
            digits: see ``WordFeatures``.
        """
        empty = cls((), (), (), slots, lowercase, digits)
        tokens = Counter(token for sentence in sentences for token in sentence)
        single = all(len(token) == 1 for token in tokens)
        empty = cls((), (), (), 0 if single else slots, lowercase, digits)
        words, characters, forms = Counter(), Counter(), Counter()
        for token, count in tokens.items():
            words[empty.normalise(token)] += count
            for one in set(token):
                characters[one] += count
            for key in empty.form_keys(token):
                forms[key] += count
        most = vocabulary_size - FIRST_WORD
        return cls(
            _most_frequent(words, min_count)[:most],
            _most_frequent(characters, MIN_WORDS) if empty.slots else (),
            _most_frequent(forms, MIN_WORDS),
            empty.slots,
            lowercase,
            digits,
        )

    def extended(self, words: Iterable[str]) -> WordFeatures:
        """The same with further words behind its own, those that it does not have."""
        more = dict.fromkeys(map(self.normalise, words))
        words = tuple(dict.fromkeys((*self.words, *more)))
        return replace(self, words=words, seen=len(self.words) if self.seen < 0 else self.seen)

    @property
    def sizes(self) -> dict[str, int]:
        """Largest number plus one of words, characters and forms."""
        return {
            "words": FIRST_WORD + len(self.words),
            "characters": FIRST_CHARACTER + len(self.characters),
            "forms": FIRST_FORM + len(self.forms),
        }

    @property
    def forms_per_word(self) -> int:
        """How many forms a token has."""
        return 1 + (len(PREFIXES) + len(SUFFIXES) if self.slots else 0)

    def normalise(self, token: str) -> str:
        """The word by which a token is looked up."""
        word = fold_case(token) if self.lowercase else token
        return _DIGITS.sub("0", word) if self.digits else word

    def knows(self, token: str) -> bool:
        """Whether training has seen the word, whatever its case and digits."""
        return self.rank(token) is not None

    def rank(self, token: str) -> int | None:
        """Place of the word among those of training by frequency, from 0; None if unseen."""
        number = self._words.get(self.normalise(token))
        seen = len(self.words) if self.seen < 0 else self.seen
        return None if number is None or number >= FIRST_WORD + seen else number - FIRST_WORD

    def form_keys(self, token: str) -> list[str]:
        """Shape, beginnings and ends of a token, each with the name of its kind before it."""
        keys = [f"shape {shape_of(token)}"]
        if self.slots:
            word = self.normalise(token)
            keys += [f"begins{size} {word[:size]}" for size in PREFIXES]
            keys += [f"ends{size} {word[-size:]}" for size in SUFFIXES]
        return keys

    def of(self, token: str) -> WordIds:
        """The numbers of one token, which is not empty."""
        found = self._cache.get(token)
        if found is None:
            found = self._numbers(token)
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            if len(token) <= _CACHED_LENGTH:
                self._cache[token] = found
        return found

    def _numbers(self, token: str) -> WordIds:
        word = self._words.get(self.normalise(token), UNKNOWN)
        forms = [self._forms.get(key, 0) for key in self.form_keys(token)]
        if not self.slots:
            return WordIds(word, [], forms)
        kept, letters = self.slots - 2, token
        if len(token) > kept:
            letters = token[: kept - kept // 2] + token[len(token) - kept // 2 :]
        ids = [BEGIN, *(self._characters.get(one, UNKNOWN) for one in letters), END]
        return WordIds(word, ids + [PAD] * (self.slots - len(ids)), forms)

    def __call__(self, sentences: Sequence[Sequence[str]]) -> Arrays:
        """Sentences as ``words <int32>[batch, time]``, ``characters <int32>[batch, time, slots]``
        and ``forms <int32>[batch, time, forms]``.

        There is one step at least, and a sentence without a token has the unknown word there, so
        that every row has a valid step.
        """
        time = max([1, *map(len, sentences)])
        words = np.zeros((len(sentences), time), np.int32)
        characters = np.zeros((len(sentences), time, self.slots), np.int32)
        forms = np.zeros((len(sentences), time, self.forms_per_word), np.int32)
        for i, sentence in enumerate(sentences):
            found = [self.of(token) for token in sentence]
            if not found:
                words[i, 0] = UNKNOWN
                continue
            words[i, : len(found)] = [one.word for one in found]
            forms[i, : len(found)] = [one.forms for one in found]
            if self.slots:
                characters[i, : len(found)] = [one.characters for one in found]
        arrays = {"words": words, "characters": characters, "forms": forms}
        return arrays if self.slots else {"words": words, "forms": forms}

    @cached_property
    def _words(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, FIRST_WORD)}

    @cached_property
    def _characters(self) -> dict[str, int]:
        return {one: i for i, one in enumerate(self.characters, FIRST_CHARACTER)}

    @cached_property
    def _forms(self) -> dict[str, int]:
        return {key: i for i, key in enumerate(self.forms, FIRST_FORM)}

    @cached_property
    def _cache(self) -> dict[str, WordIds]:
        return {}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WordFeatures:
        """What ``to_dict`` gave."""
        lists = ("words", "characters", "forms")
        return cls(**{k: tuple(v) if k in lists else v for k, v in values.items()})


def _most_frequent(counts: Counter, least: int) -> tuple[str, ...]:
    """Keys by falling count; ties in alphabetical order, so that no order of rows matters."""
    kept = sorted((-count, key) for key, count in counts.items() if count >= least)
    return tuple(key for _, key in kept)
