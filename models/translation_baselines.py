"""Word-by-word translation, which scores are compared with: an alignment table and a trigram model.

The table is IBM model 1 (Brown et al. 1993, "The mathematics of statistical machine translation"),
fitted by expectation maximisation; among the likeliest translations of each word a trigram model of
the target language chooses, with stupid backoff (Brants et al. 2007).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

Words = Sequence[str]
NULL = ""  # the empty source word, which any target word may come from
ITERATIONS, CANDIDATES, BEAM, BACKOFF = 5, 8, 10, 0.4
_EDGE = "\n"


class AlignmentTable:
    """IBM model 1: the probability of each target word given each source word.

    Attributes:
        likeliest: by source word its ``CANDIDATES`` likeliest target words with probabilities.
        log_likelihoods: of the training pairs before each iteration, in nats; it never falls.
    """

    def __init__(self, pairs: Sequence[tuple[Words, Words]], iterations: int = ITERATIONS) -> None:
        sources, targets = _Numbers([NULL]), _Numbers()
        cells, positions, begin = [], [], 0
        for source, target in pairs:
            rows = np.array([0, *map(sources.of, source)], np.int64)
            columns = np.array([targets.of(word) for word in target], np.int64)
            # Every source word beside every target word of a pair.
            cells.append((rows[None, :] << 32 | columns[:, None]).reshape(-1))
            positions.append(np.repeat(np.arange(len(columns)) + begin, len(rows)))
            begin += len(columns)
        joined = np.concatenate(cells) if cells else np.zeros(0, np.int64)
        unique, cell = np.unique(joined, return_inverse=True)
        position = np.concatenate(positions) if positions else np.zeros(0, np.int64)
        self._source, self._target = unique >> 32, unique & 0xFFFFFFFF
        self.log_likelihoods: list[float] = []
        self._probabilities = np.full(len(unique), 1.0 / max(1, len(targets.words)))
        choices = np.bincount(position, minlength=begin)  # source words of each target word
        for _ in range(iterations):
            shares = self._probabilities[cell]
            totals = np.bincount(position, shares, begin)
            self.log_likelihoods.append(float(np.log(totals / choices).sum()))
            counts = np.bincount(cell, shares / totals[position], len(unique))
            of_source = np.bincount(self._source, counts, len(sources.words))
            self._probabilities = counts / of_source[self._source]
        self._words = sources, targets
        self.likeliest = self._likeliest()

    def probability(self, target: str, source: str) -> float:
        """Of a target word given a source word; ``NULL`` is the empty one."""
        sources, targets = self._words
        if source not in sources.numbers or target not in targets.numbers:
            return 0.0
        wanted = sources.numbers[source] << 32 | targets.numbers[target]
        place = int(np.searchsorted(self._source << 32 | self._target, wanted))
        there = place < len(self._source) and (
            self._source[place] << 32 | self._target[place] == wanted
        )
        return float(self._probabilities[place]) if there else 0.0

    def _likeliest(self) -> dict[str, list[tuple[str, float]]]:
        sources, targets = self._words
        order = np.lexsort((self._target, -self._probabilities, self._source))
        found: dict[str, list[tuple[str, float]]] = {}
        for i in order:
            mine = found.setdefault(sources.words[self._source[i]], [])
            if len(mine) < CANDIDATES:
                mine.append((targets.words[self._target[i]], float(self._probabilities[i])))
        return found


class _Numbers:
    """Words and their numbers, in the order in which they come."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words, self.numbers = list(words), {word: i for i, word in enumerate(words)}

    def of(self, word: str) -> int:
        if word not in self.numbers:
            self.numbers[word] = len(self.words)
            self.words.append(word)
        return self.numbers[word]


class TrigramModel:
    """Relative frequencies of three words, else 0.4 times those of two, else of one."""

    def __init__(self, sentences: Sequence[Words]) -> None:
        self._counts: list[Counter] = [Counter(), Counter(), Counter()]
        for sentence in sentences:
            padded = (_EDGE, _EDGE, *sentence, _EDGE)
            for size, counts in enumerate(self._counts, 1):
                counts.update(zip(*(padded[i:] for i in range(size)), strict=False))
        self._total = sum(self._counts[0].values())

    def score(self, before: tuple[str, ...], word: str) -> float:
        """Log of the score of a word behind two others."""
        penalty = 0.0
        for size in (3, 2):
            context = before[len(before) - size + 1 :]
            count = self._counts[size - 1].get((*context, word), 0)
            if count:
                return penalty + math.log(count / self._counts[size - 2][context])
            penalty += math.log(BACKOFF)
        return penalty + math.log(self._counts[0].get((word,), 0.5) / max(1, self._total))


def word_by_word(table: AlignmentTable, model: TrigramModel, source: Words) -> list[str]:
    """A target word for each source word, in its order; unknown words stay as they are."""
    beams: list[tuple[float, tuple[str, ...]]] = [(0.0, (_EDGE, _EDGE))]
    for word in source:
        options = table.likeliest.get(word) or [(word, 1.0)]
        longer = [
            (score + math.log(p) + model.score(words[-2:], choice), (*words, choice))
            for score, words in beams for choice, p in options if p > 0
        ]  # fmt: skip
        beams = sorted(longer, key=lambda one: (-one[0], one[1]))[:BEAM]
    scored = [(score + model.score(words[-2:], _EDGE), words) for score, words in beams]
    return list(max(scored, key=lambda one: one[0])[1][2:])
