"""Counting of n-grams for the wide path, see ``models.wide``: NumPy alone.

Sizes are bounded: whatever a table has for each n-gram and class has ``MOST_RATIOS`` numbers at
most, and what is counted of a text is an array of integers.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

FIRST_TOKEN = 4  # ids below are padding, unknown, start and end
# Two rolling hashes of an n-gram, small enough that 32 bits never overflow: one names the slot, the
# other tells whether the slot is this n-gram's.
SLOT_HASH, CHECK_HASH = (1021, 1048573), (1999, 999983)
CHECK_BITS = 20  # that either hash takes
# Numbers of a table of ratios, features times classes: of more classes fewer n-grams count. There
# are six arrays of this size in training: the ratios, the weights, their average, Adam's moments.
MOST_RATIOS = 4_000_000


@dataclass(frozen=True)
class WideTables:
    """What counting the training texts gave; F word and G character n-grams, ids from 1.

    Attributes:
        check: ``<int32>[slots]``, second hash of the n-gram in each slot, -1 where there is none.
        slot: ``<int32>[slots]``, its id.
        word_ratio: ``<float32>[F + 1, classes]``, their ``feature_values``; row 0 is zeros.
        grams: ``<int32>[vocabulary, J]``, ids of the character n-grams of each word, 0 for none.
        gram_ratio: ``<float32>[G + 1, classes]``.
        pairs: so many of the word n-grams, the most frequent ones, are embedded where they are
            pairs of words; 0 where words have spaces between them.
    """

    check: np.ndarray
    slot: np.ndarray
    word_ratio: np.ndarray
    grams: np.ndarray
    gram_ratio: np.ndarray
    pairs: int = 0


def count_wide_tables(
    rows: Sequence[np.ndarray],
    labels: np.ndarray,
    vocabulary: Sequence[str],
    classes: int,
    *,
    orders: int = 3,
    min_documents: int = 2,
    max_grams: int = 40,
    max_pairs: int = 40_000,
    letters: Callable[[str], bool] = lambda word: False,
) -> WideTables:
    """Counts n-grams in training texts.

    Args:
        rows: token ids of each text, without padding.
        labels: ``<int>[texts]``.
        vocabulary: word of each id.
        classes: number of labels.
        orders: longest word n-gram.
        min_documents: n-grams in fewer texts are left out.
        max_grams: character n-grams kept of one word.
        max_pairs: limit of ``WideTables.pairs``.
        letters: whether a word is but one letter of a script without spaces. Such words have no
            character n-grams of their own; where they are most of the text, what a word is to other
            scripts is a pair of them, so pairs are embedded.
    """
    most = max(1, MOST_RATIOS // classes)
    documents = [np.unique(ngram_keys(row, orders)) for row in rows]
    kept = _frequent(documents, min_documents)[:most]
    # Slots beyond the range of their hash would stay empty.
    size = min(1 << int(np.ceil(np.log2(8 * max(len(kept), 1)))), 1 << CHECK_BITS)
    places = (kept >> CHECK_BITS) % size
    first = np.sort(np.unique(places, return_index=True)[1])  # the more frequent one keeps a slot
    check, slot = np.full(size, -1, np.int32), np.zeros(size, np.int32)
    check[places[first]] = kept[first] & ((1 << CHECK_BITS) - 1)
    slot[places[first]] = np.arange(1, len(first) + 1)
    word_rows = _numbered(documents, kept[first])

    is_letter = np.array([i >= FIRST_TOKEN and letters(word) for i, word in enumerate(vocabulary)])
    spelled = _Spelled.of(
        word if i >= FIRST_TOKEN and not is_letter[i] else None for i, word in enumerate(vocabulary)
    )
    grams, count = spelled.table(rows, min_documents, most, max_grams)
    gram_rows = [np.setdiff1d(grams[row], [0]) for row in rows]
    return WideTables(
        check,
        slot,
        feature_values(word_rows, labels, len(first) + 1, classes),
        grams,
        feature_values(gram_rows, labels, count + 1, classes),
        min(len(first), max_pairs) if _mostly(is_letter, rows) else 0,
    )


@dataclass(frozen=True)
class _Spelled:
    """The character n-grams of the words of a vocabulary, each n-gram kept once.

    Attributes:
        names: the n-grams.
        numbers: ``<int32>[all]``, places of the n-grams of all words in ``names``.
        ends: ``<int64>[vocabulary + 1]``, where those of each word begin, and where the last end.
    """

    names: list[str]
    numbers: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, words: Iterable[str | None]) -> _Spelled:
        """Those of each word; a word that is None has none."""
        known: dict[str, int] = {}
        numbers, ends = array("i"), [0]
        for word in words:
            if word is not None:
                numbers.extend(known.setdefault(g, len(known)) for g in character_grams(word))
            ends.append(len(numbers))
        return cls(list(known), np.array(numbers, np.int32), np.array(ends))

    def word(self, number: int) -> np.ndarray:
        """Numbers of the n-grams of a word."""
        return self.numbers[self.ends[number] : self.ends[number + 1]]

    def table(
        self, rows: Sequence[np.ndarray], least: int, most: int, width: int
    ) -> tuple[np.ndarray, int]:
        """``WideTables.grams``, and how many n-grams there are: those of ``least`` texts or more,
        the ``most`` commonest of them, and of one word the first ``width``."""
        counts = np.zeros(len(self.names), np.int64)
        for row in rows:
            found = [self.word(i) for i in np.unique(row).tolist()]
            counts[np.unique(np.concatenate(found))] += 1
        order = sorted(
            np.flatnonzero(counts >= least).tolist(), key=lambda i: (-counts[i], self.names[i])
        )[:most]
        renamed = np.zeros(len(self.names), np.int32)
        renamed[order] = np.arange(1, len(order) + 1)
        grams = np.zeros((len(self.ends) - 1, width), np.int32)
        for i, row in enumerate(grams):
            known = renamed[self.word(i)]
            known = known[known > 0][:width]
            row[: len(known)] = known
        return grams[:, : max(1, int((grams > 0).sum(1).max()))], len(order)


def _mostly(kind: np.ndarray, rows: Sequence[np.ndarray]) -> bool:
    """Whether half of the tokens or more are of the kind ``<bool>[vocabulary]``."""
    counts = np.bincount(np.concatenate(rows), minlength=len(kind))
    return counts[FIRST_TOKEN:].sum() > 0 and counts[kind].sum() >= counts[FIRST_TOKEN:].sum() / 2


def character_grams(word: str, shortest: int = 3, longest: int = 5) -> list[str]:
    """Distinct character n-grams of a word with its ends marked.

    >>> character_grams("so")
    ['<so', '<so>', 'so>']
    """
    marked = f"<{word}>"
    sizes = range(shortest, longest + 1)
    return sorted({marked[i : i + n] for n in sizes for i in range(len(marked) - n + 1)})


def log_count_ratio(
    rows: Iterable[Sequence[int]], labels: np.ndarray, features: int, classes: int
) -> np.ndarray:
    """``log p(f | class) - log p(f | other classes)`` with add-one smoothing.

    Args:
        rows: ids of the features present in each text, from 1.
        labels: ``<int>[texts]``.
        features: number of ids, 0 included.
        classes: number of labels.

    Returns:
        ``<float32>[features, classes]``; row 0, which stands for no feature, is zeros.
    """
    counts = np.zeros((features, classes), np.float32)
    for row, label in zip(rows, labels, strict=True):
        counts[row, label] += 1
    totals = counts[1:].sum(1, dtype=np.float64)
    for label in range(classes):  # one at a time: in float64 all would be many times the result
        inside = counts[1:, label].astype(np.float64)
        outside = totals - inside + 1
        inside += 1
        counts[1:, label] = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
    counts[0] = 0
    return counts


def feature_values(
    rows: Sequence[Sequence[int]], labels: np.ndarray, features: int, classes: int
) -> np.ndarray:
    """Square root of the log-count ratio, with its sign, times the inverse document frequency.

    A rare n-gram's ratio is large by chance as often as by meaning, and drowns the common ones in
    the sum: the root damps it. On reviews in English and Chinese a linear model over these values
    is right a little more often on average (``benchmarks/ngrams.py``).

    Arguments and result are those of ``log_count_ratio``.
    """
    ratio = log_count_ratio(rows, labels, features, classes)
    texts = np.zeros(features)
    for row in rows:
        texts[row] += 1
    rarity = np.log((1 + len(rows)) / (1 + texts)) + 1
    for label in range(classes):
        own = ratio[:, label]
        ratio[:, label] = np.sign(own) * np.sqrt(np.abs(own)) * rarity
    return ratio


def _frequent(documents: Sequence[np.ndarray], least: int) -> np.ndarray:
    """The keys of ``least`` documents or more, ``<int64>[n]``, the commonest first; each document
    has a key once."""
    keys, counts = np.unique(np.concatenate(documents), return_counts=True)
    keys, counts = keys[counts >= least], counts[counts >= least]
    return keys[np.lexsort((keys, -counts))]


def _numbered(documents: Sequence[np.ndarray], keys: np.ndarray) -> list[np.ndarray]:
    """The keys of each document by their places among ``keys``, from 1; others are left out."""
    order = np.argsort(keys)
    found = []
    for document in documents:
        at = np.searchsorted(keys, document, sorter=order)
        at = order[np.minimum(at, len(keys) - 1)] if len(keys) else at[:0]
        found.append(at[keys[at] == document] + 1 if len(keys) else at)
    return found


def ngram_keys(row: np.ndarray, orders: int = 3) -> np.ndarray:
    """A number ``<int64>[n]`` for every n-gram of known words: slot hash * 2**20 + check hash, as
    ``WordNGrams`` computes them."""
    ids = np.asarray(row, np.int64)
    slot = check = np.zeros(len(ids), np.int64)
    known = np.ones(len(ids), bool)
    found = []
    for n in range(orders):
        shifted = np.concatenate([ids[n:], np.zeros(min(n, len(ids)), np.int64)])
        slot = (slot * SLOT_HASH[0] + shifted) % SLOT_HASH[1]
        check = (check * CHECK_HASH[0] + shifted) % CHECK_HASH[1]
        known = known & (shifted >= FIRST_TOKEN)
        found.append((slot[known] << CHECK_BITS) + check[known])
    return np.concatenate(found)
