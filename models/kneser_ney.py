"""N-grams with interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999).

All n-grams of one order are one sorted array of numbers, so that a million words are counted and
scored in seconds. Contexts that reach before the start of a document are filled with its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

UNSEEN = -1
FEW = 0.5  # discount where no n-gram was seen so often


@dataclass(frozen=True)
class _Order:
    """The n-grams of one order.

    Attributes:
        keys: ``<int64>[ngrams]``, sorted: the number of what stands before the last unit, among the
            n-grams one shorter, times the number of units, plus the last unit.
        counts: ``<int64>[ngrams]``: how often each was seen; below the highest order, behind how
            many different units.
        contexts: ``<int64>[contexts]``: the sum of the counts behind each shorter n-gram.
        spared: ``<float64>[contexts]``: what the discounts leave to shorter contexts, as a share.
        discounts: ``<float64>[4]``, of counts 0, 1, 2, and 3 and more.
    """

    keys: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    spared: np.ndarray
    discounts: np.ndarray


class KneserNey:
    """A model of units, each by the ``order - 1`` before it.

    Args:
        documents: numbers of units ``<int>[units]`` each, the first of which is not foretold.
        size: number of units that there are.
        order: length of the longest n-grams.
        foretold: how many of them can follow; shared equally below the shortest context.
    """

    def __init__(
        self, documents: Iterable[Sequence[int]], size: int, order: int, foretold: int
    ) -> None:
        self.size, self.order, self.foretold = size, order, foretold
        units, there = self._joined(documents)
        before = np.zeros(len(units), np.int64)  # of the empty context
        raw, keys_of = [], []
        for n in range(order):
            # The unit and the n before it, in two steps: its context ends one place earlier.
            context = before if n == 0 else _shifted(raw[-1])
            keys = context * size + units
            chosen = keys[there] if n + 1 == order else keys
            found = np.unique(chosen)
            raw.append(np.searchsorted(found, keys) if n + 1 < order else None)
            keys_of.append((found, keys))
        self.orders = [self._counted(n, raw, keys_of, there) for n in range(order)]

    def _joined(self, documents: Iterable[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """All units with the start of each document repeated, and which are foretold."""
        parts, there = [], []
        for document in documents:
            row = np.asarray(document, np.int64)
            parts += [np.full(self.order - 1, row[0]), row]
            there += [np.zeros(self.order, bool), np.ones(len(row) - 1, bool)]
        return np.concatenate(parts), np.concatenate(there)

    def _counted(self, n: int, raw: list, keys_of: list, there: np.ndarray) -> _Order:
        """Order ``n + 1``."""
        found, keys = keys_of[n]
        if n + 1 == self.order:
            present, counts = np.unique(keys[there], return_counts=True)
        else:
            # Behind how many different units: the n-grams one longer, each once.
            longer, where = np.unique(keys_of[n + 1][1][there], return_index=True)
            ending = keys[there][where]
            present, counts = np.unique(ending, return_counts=True)
        discounts = _discounts(counts)
        context = present // self.size
        contexts = 1 if n == 0 else len(keys_of[n - 1][0])
        sums = np.bincount(context, counts, contexts)
        spared = np.bincount(context, discounts[np.minimum(counts, 3)], contexts)
        spared = np.divide(spared, sums, out=np.ones(contexts), where=sums > 0)
        self._numbers = getattr(self, "_numbers", [])
        self._numbers.append(found)
        return _Order(present, counts, sums, spared, discounts)

    def log_probabilities(self, document: Sequence[int]) -> np.ndarray:
        """Of each unit but the first: ``<float64>[units - 1]``, in nats."""
        units, there = self._joined([document])
        context = np.zeros(len(units), np.int64)
        shares = np.full(len(units), 1 / self.foretold)
        for n, order in enumerate(self.orders):
            known = context >= 0
            keys = np.where(known, context * self.size + units, UNSEEN)
            place = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
            counts = np.where(order.keys[place] == keys, order.counts[place], 0)
            at = np.maximum(context, 0)
            sums, spared = order.contexts[at], order.spared[at]
            seen = known & (sums > 0)
            own = np.maximum(counts - order.discounts[np.minimum(counts, 3)], 0)
            mixed = own / np.maximum(sums, 1) + spared * shares
            shares = np.where(seen, mixed, shares)
            numbers = self._numbers[n]
            place = np.minimum(np.searchsorted(numbers, keys), len(numbers) - 1)
            context = _shifted(np.where(numbers[place] == keys, place, UNSEEN), UNSEEN)
        return np.log(shares[there])


def _shifted(values: np.ndarray, first: int = 0) -> np.ndarray:
    """Each value one place later."""
    return np.concatenate([[first], values[:-1]])


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Chen and Goodman's, of counts 0, 1, 2, and 3 and more."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)[1:5]
    y = n[0] / (n[0] + 2 * n[1]) if n[0] else 0.0
    found = [i + 1 - (i + 2) * y * n[i + 1] / n[i] if n[i] else FEW for i in range(3)]
    # Of a few n-grams the formula may give none or all: something must be left for what is unseen.
    return np.array([0.0, *np.clip(found, 0.05, [0.95, 1.95, 2.95])])
