"""Prefix beam search for ``decoding.ctc``: the NumPy implementation.

A hypothesis is a text, with the probabilities of its alignments that end in a blank and of those
that do not. All hypotheses of all rows take a step at once; where a text comes about in two ways,
as an old one and as an old one with a symbol more, the two are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from decoding.ctc import BLANK, NOTHING, Best, Scorer, log_likelihood

MULTIPLIER, FIRST_HASH, NO_KEY, NO_PARENT = 1_000_003, 7, -1, -2


@dataclass
class PrefixHypotheses:
    """The beam of each row; ``[batch, beam]`` each, the best first.

    Attributes:
        blank, other: log-probability of the alignments that end in a blank, and of the others.
        last: the last symbol; -1 of the empty text.
        key, parent: hashes of the text and of the text without its last symbol.
        texts: ``<int32>[batch, beam, longest]``.
        length: of the texts.
        bonus: by a ``Scorer``.
        states: of the scorer, ``[batch * beam, ...]``.
    """

    blank: np.ndarray
    other: np.ndarray
    last: np.ndarray
    key: np.ndarray
    parent: np.ndarray
    texts: np.ndarray
    length: np.ndarray
    bonus: np.ndarray
    states: Any = None

    @property
    def total(self) -> np.ndarray:
        """Log-probability of each text so far."""
        return np.logaddexp(self.blank, self.other)


class PrefixBeam:
    """A search that takes steps as they come.

    Args:
        rows: of the batch.
        beam: hypotheses of each.
        scorer: what else knows about texts; None for none.
    """

    def __init__(self, rows: int, beam: int, scorer: Scorer | None = None) -> None:
        self.beam, self.scorer = beam, scorer
        shape = (rows, 1)
        self.at = PrefixHypotheses(
            np.zeros(shape, np.float32), np.full(shape, NOTHING), np.full(shape, -1),
            np.full(shape, FIRST_HASH), np.zeros(shape, np.int64),
            np.zeros((rows, 1, 0), np.int32), np.zeros(shape, np.int32),
            np.zeros(shape, np.float32), scorer.start(rows) if scorer else None,
        )  # fmt: skip

    def push(self, scores: np.ndarray, inside: np.ndarray | None = None) -> None:
        """One step.

        Args:
            scores: log-probabilities of the symbols, ``<float32>[batch, symbols]``.
            inside: ``<bool>[batch]``, rows that have this step; all if None.
        """
        at, before = self._grown(scores), self.at
        if inside is not None and not inside.all():
            at = _chosen(inside, at, before)
        self.at = at

    def _grown(self, scores: np.ndarray) -> PrefixHypotheses:
        at = self.at
        rows, beam = at.last.shape
        symbols = scores.shape[1]
        total = at.total
        ending = np.where(
            at.last >= 0, np.take_along_axis(scores, np.maximum(at.last, 0), 1), NOTHING
        )
        blank, other = total + scores[:, BLANK, None], at.other + ending
        # By one symbol: a repeated one needs a blank in between.
        before = np.repeat(total[:, :, None], symbols, 2)
        repeated = np.arange(symbols) == at.last[:, :, None]
        longer = np.where(repeated, at.blank[:, :, None], before) + scores[:, None]
        longer[:, :, BLANK] = NOTHING
        grown = at.parent[:, :, None] == at.key[:, None]  # (B, child, parent)
        row, child, parent = np.nonzero(grown & (at.length[:, :, None] > at.length[:, None]))
        symbol = at.last[row, child]
        other[row, child] = np.logaddexp(other[row, child], longer[row, parent, symbol])
        longer[row, parent, symbol] = NOTHING
        more = np.zeros_like(longer)
        if self.scorer:
            more = self.scorer.following(at.states).reshape(longer.shape)
        stay = np.logaddexp(blank, other) + at.bonus
        rank = np.concatenate([stay, (longer + more + at.bonus[:, :, None]).reshape(rows, -1)], 1)
        best = np.argsort(-rank, 1, kind="stable")[:, : self.beam]
        dead = np.take_along_axis(rank, best, 1) <= NOTHING / 2
        return self._taken(best, dead, blank, other, longer, more)

    def _taken(
        self,
        best: np.ndarray,
        dead: np.ndarray,
        blank: np.ndarray,
        other: np.ndarray,
        longer: np.ndarray,
        more: np.ndarray,
    ) -> PrefixHypotheses:
        at = self.at
        beam, symbols = at.last.shape[1], longer.shape[2]
        # What cannot be stands still, as no text at all: nothing is its parent or child.
        best = np.where(dead, 0, best)
        stays = best < beam
        source = np.where(stays, best, (best - beam) // symbols)
        symbol = np.where(stays, -1, (best - beam) % symbols)

        def of(array: np.ndarray) -> np.ndarray:
            return np.take_along_axis(array, source, 1)

        chosen = np.maximum(best - beam, 0)
        new, added = (
            np.take_along_axis(x.reshape(len(best), -1), chosen, 1) for x in (longer, more)
        )
        length = of(at.length)
        texts = np.take_along_axis(at.texts, source[:, :, None], 1)
        texts = np.pad(texts, ((0, 0), (0, 0), (0, 1)), constant_values=BLANK)
        row, place = np.nonzero(~stays)
        texts[row, place, length[row, place]] = symbol[row, place]
        key = of(at.key)
        with np.errstate(over="ignore"):
            after = key * np.int64(MULTIPLIER) + symbol + 1
        states = at.states
        if self.scorer:
            flat = (source + beam * np.arange(len(best))[:, None]).ravel()
            states = self.scorer.take(states, flat)
            grown = np.flatnonzero(~stays.ravel())
            moved = self.scorer.after(self.scorer.take(states, grown), symbol.ravel()[grown])
            states = _put(states, grown, moved)
        longest = int((length + ~stays).max(initial=0))
        return PrefixHypotheses(
            np.where(stays & ~dead, np.maximum(of(blank), NOTHING), NOTHING),
            np.where(dead, NOTHING, np.maximum(np.where(stays, of(other), new), NOTHING)),
            np.where(stays, of(at.last), symbol),
            np.where(dead, NO_KEY, np.where(stays, key, after)),
            np.where(dead, NO_PARENT, np.where(stays, of(at.parent), key)),
            texts[:, :, :longest],
            (length + ~stays).astype(np.int32),
            of(at.bonus) + np.where(stays, 0, added).astype(np.float32),
            states,
        )  # fmt: skip

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """The best text of each row so far and its length; ends are weighed by the scorer."""
        at = self.at
        rank = at.total + at.bonus
        if self.scorer:
            rank = rank + self.scorer.end(at.states).reshape(rank.shape)
        top = rank.argmax(1)
        rows = np.arange(len(top))
        return at.texts[rows, top], at.length[rows, top]


def _chosen(inside: np.ndarray, new: PrefixHypotheses, old: PrefixHypotheses) -> PrefixHypotheses:
    """``new`` where a row has the step, ``old`` elsewhere, filled up to one size."""
    beam, longest = new.last.shape[1], new.texts.shape[2]

    def filled(array: np.ndarray, value: Any) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, beam - array.shape[1])), constant_values=value)

    def merged(name: str, value: Any) -> np.ndarray:
        return np.where(inside[:, None], getattr(new, name), filled(getattr(old, name), value))

    rest = longest - old.texts.shape[2]
    texts = np.pad(old.texts, ((0, 0), (0, beam - old.last.shape[1]), (0, max(0, rest))))
    wider = np.pad(new.texts, ((0, 0), (0, 0), (0, max(0, -rest))))
    return PrefixHypotheses(
        merged("blank", NOTHING), merged("other", NOTHING), merged("last", -1),
        merged("key", NO_KEY), merged("parent", NO_PARENT),
        np.where(inside[:, None, None], wider, texts),
        merged("length", 0), merged("bonus", 0), new.states,
    )  # fmt: skip


def _put(states: Any, rows: np.ndarray, values: Any) -> Any:
    """Named arrays with some rows replaced."""
    found = {name: array.copy() for name, array in states.items()}
    for name, array in found.items():
        array[rows] = values[name]
    return found


def beam_search(
    log_probabilities: np.ndarray, lengths: np.ndarray, beam: int, scorer: Scorer | None = None
) -> Best:
    """The likeliest text of each row by prefix beam search.

    Args:
        log_probabilities: ``<float32>[batch, steps, symbols]``.
        lengths: ``<int>[batch]``, steps of each row.
        beam: hypotheses that are kept.
        scorer: what else knows about texts; rows must then be of one length.

    Returns:
        The texts, with the log-probabilities of all their alignments, without the scorer's part.
    """
    lengths = np.asarray(lengths)
    search = PrefixBeam(len(log_probabilities), beam, scorer)
    for t in range(int(lengths.max(initial=0))):
        search.push(log_probabilities[:, t], t < lengths)
    symbols, counts = search.best()
    symbols = symbols[:, : int(counts.max(initial=0))]
    return Best(symbols, counts, log_likelihood(log_probabilities, lengths, symbols, counts))
