"""Connectionist temporal classification: greedy and prefix beam search, likelihoods, alignments.

A model gives, for each step, log-probabilities of symbols and of a *blank*, number 0. An alignment
is one symbol a step; what it spells is found by joining repeats and taking blanks away, so "hello"
needs a blank between its two l. The probability of a text is the sum over its alignments.

Source: Graves et al. 2006 (ICML, "Connectionist temporal classification"); prefix beam search as in
Hannun et al. 2014 (arXiv:1408.2873). ``decoding.ctc_graph`` is the same in TensorFlow ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

BLANK = 0
# Far below any log-probability, and yet sums of some are finite in float32.
NOTHING = np.float32(-1e30)
MAX_BEAM = 1024


class Best(NamedTuple):
    """The likeliest texts of a batch.

    Attributes:
        symbols: ``<int32>[batch, longest]``, padded with ``BLANK``.
        length: ``<int32>[batch]``.
        log_probability: ``<float32>[batch]`` of each text, or of the one alignment of greedy
            search.
    """

    symbols: np.ndarray
    length: np.ndarray
    log_probability: np.ndarray


class Scorer(Protocol):
    """What else knows how likely texts are, such as a language model or a list of words.

    States are arrays whose first axis is the hypotheses.
    """

    def start(self, rows: int) -> Any:
        """States of empty texts."""

    def following(self, states: Any) -> np.ndarray:
        """What each symbol adds to the score of a text: ``<float32>[hypotheses, symbols]``; that of
        the blank is not used, and ``NOTHING`` forbids a symbol."""

    def after(self, states: Any, symbols: np.ndarray) -> Any:
        """States of texts with one more symbol ``<int>[hypotheses]``."""

    def end(self, states: Any) -> np.ndarray:
        """What it adds that a text ends: ``<float32>[hypotheses]``."""

    def take(self, states: Any, rows: np.ndarray) -> Any:
        """States of some of the hypotheses."""


def greedy(log_probabilities: np.ndarray, lengths: np.ndarray) -> Best:
    """The text of the likeliest symbol of each step.

    Args:
        log_probabilities: ``<float32>[batch, steps, symbols]``.
        lengths: ``<int>[batch]``, steps of each row.
    """
    rows, steps, _ = log_probabilities.shape
    each = log_probabilities.argmax(-1)
    inside = np.arange(steps) < np.asarray(lengths)[:, None]
    each = np.where(inside, each, BLANK)
    before = np.pad(each, ((0, 0), (1, 0)), constant_values=BLANK)[:, :-1]
    kept = (each != BLANK) & (each != before)
    texts = [row[keep] for row, keep in zip(each, kept, strict=True)]
    total = np.where(inside, log_probabilities.max(-1, initial=-np.inf), 0).sum(1)
    return _padded(texts, total.astype(np.float32))


def _padded(texts: Sequence[np.ndarray], scores: np.ndarray) -> Best:
    length = np.array([len(text) for text in texts], np.int32)
    symbols = np.full((len(texts), int(length.max(initial=0))), BLANK, np.int32)
    for row, text in zip(symbols, texts, strict=True):
        row[: len(text)] = text
    return Best(symbols, length, scores)


def log_likelihood(
    log_probabilities: np.ndarray, lengths: np.ndarray, symbols: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Log-probability of a text for each row, summed over its alignments.

    Args:
        log_probabilities: ``<float32>[batch, steps, symbols]``.
        lengths: ``<int>[batch]``, steps of each row.
        symbols: ``<int>[batch, longest]``, the texts.
        counts: ``<int>[batch]``, their lengths.

    Returns:
        ``<float32>[batch]``; about ``NOTHING`` where a text does not fit into so many steps.
    """
    trellis = _Trellis(log_probabilities, symbols, counts)
    alpha = trellis.start()
    for t in range(log_probabilities.shape[1]):
        grown = np.logaddexp.reduce(trellis.moves(alpha), 0) + trellis.at(t)
        alpha = np.where((t < np.asarray(lengths))[:, None], np.maximum(grown, NOTHING), alpha)
    return np.logaddexp.reduce(trellis.ends(alpha), 0).astype(np.float32)


def align(
    log_probabilities: np.ndarray, lengths: np.ndarray, symbols: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The steps of each symbol on the likeliest alignment of a text (Viterbi).

    Args:
        log_probabilities: ``<float32>[batch, steps, symbols]``.
        lengths: ``<int>[batch]``, steps of each row.
        symbols: ``<int>[batch, longest]``, the texts, which must fit.
        counts: ``<int>[batch]``, their lengths.

    Returns:
        First and last step of each symbol: ``<int32>[batch, longest]``; 0 behind the end of a text.
    """
    trellis = _Trellis(log_probabilities, symbols, counts)
    rows, steps, _ = log_probabilities.shape
    lengths, alpha, choices = np.asarray(lengths), trellis.start(), []
    for t in range(steps):
        moves = trellis.moves(alpha)
        choice = moves.argmax(0)
        grown = np.maximum(np.take_along_axis(moves, choice[None], 0)[0] + trellis.at(t), NOTHING)
        inside = (t < lengths)[:, None]
        alpha, choice = np.where(inside, grown, alpha), np.where(inside, choice, 0).astype(np.int8)
        choices.append(choice)
    place = 2 * trellis.counts + trellis.ends(alpha).argmax(0)
    width = symbols.shape[1]
    first, last = np.zeros((rows, width), np.int32), np.zeros((rows, width), np.int32)
    which = np.arange(rows)
    seen = np.zeros((rows, width), bool)
    for t in reversed(range(steps)):
        on = np.flatnonzero((t < lengths) & (place % 2 == 0) & (place > 0))
        symbol = place[on] // 2 - 1
        last[on, symbol] = np.where(seen[on, symbol], last[on, symbol], t)
        first[on, symbol] = t
        seen[on, symbol] = True
        place = place - choices[t][which, place]
    return first, last


class _Trellis:
    """States of the alignments of texts: before the first step, blank, symbol, blank, ..., blank.

    Symbol i is state ``2 * i + 2``.
    """

    def __init__(self, scores: np.ndarray, symbols: np.ndarray, counts: np.ndarray) -> None:
        rows, width = symbols.shape
        self.counts, self.scores = np.asarray(counts), scores
        self.states = np.full((rows, 2 * width + 2), BLANK, np.int64)
        self.states[:, 2::2] = symbols
        skipped = np.pad(self.states, ((0, 0), (2, 0)), constant_values=BLANK)[:, :-2]
        self.may_skip = (self.states != BLANK) & (self.states != skipped)
        places = np.arange(2 * width + 2)
        self.inside = (places > 0) & (places <= 2 * self.counts[:, None] + 1)

    def start(self) -> np.ndarray:
        """Before the first step."""
        alpha = np.full(self.states.shape, NOTHING, np.float32)
        alpha[:, 0] = 0
        return alpha

    def moves(self, alpha: np.ndarray) -> np.ndarray:
        """Scores of staying in each state, of coming from the one before and from two before."""

        def by(count: int) -> np.ndarray:
            return np.pad(alpha, ((0, 0), (count, 0)), constant_values=NOTHING)[:, : alpha.shape[1]]

        return np.stack([alpha, by(1), np.where(self.may_skip, by(2), NOTHING)])

    def at(self, t: int) -> np.ndarray:
        """Scores of the symbols of the states at a step."""
        found = np.take_along_axis(self.scores[:, t], self.states, 1)
        return np.where(self.inside, found, NOTHING)

    def ends(self, alpha: np.ndarray) -> np.ndarray:
        """Scores of the states in which a text may end: the last symbol and the last blank, or for
        the empty text before the first step and the only blank: ``<float32>[2, batch]``."""
        rows = np.arange(len(alpha))
        return np.stack([alpha[rows, 2 * self.counts], alpha[rows, 2 * self.counts + 1]])
