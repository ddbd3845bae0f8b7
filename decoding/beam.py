"""Beam search: the NumPy implementation, which needs no TensorFlow.

``decoding.beam_graph`` is the same in TensorFlow ops and gives the same hypotheses.

**The search.** Each row keeps ``beam`` open hypotheses. At each position every open hypothesis is
continued by every id, and the continuations are ranked by the sum of their log-probabilities; ties
go to the better open hypothesis, then to the more probable id, then to the lower id. Of the best
``beam`` continuations those that end are finished. The best ``beam`` that do not end stay open;
since at most
``beam`` can end, the best ``2 * beam`` are enough to find them (as in fairseq). At a row's maximum
length its open hypotheses count as finished.

**The penalties**, those of Wu et al. 2016 ("Google's neural machine translation system",
arXiv:1609.08144, equation 14), rank the finished hypotheses::

    normalised = score / ((5 + length) / 6) ** length_penalty
                 + coverage_penalty * sum over the source of log(min(attention summed over time, 1))

``length`` counts the end id. The earlier of two equal hypotheses ranks first.

**Stopping.** A row stops when its ``n_best`` finished hypotheses are all at least as good as the
best score that an open one can still reach. Scores only fall, their division by the length penalty
helps most at the maximum length, and the coverage term is at most 0, so that bound is the best
open score divided by the length penalty of the maximum length. A row that stops early has the
result that it would have had at its maximum length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from common.config import Config, number
from common.errors import ConfigError
from decoding.stepping import (
    MAX_LENGTH,
    TINY,
    DecodingError,
    Hypotheses,
    States,
    Step,
    call_step,
    check_end,
    check_log_probabilities,
    check_start,
    per_row,
    take_rows,
    top_ids,
)

MAX_BEAM = 1000
MAX_PENALTY = 10.0


@dataclass(frozen=True)
class BeamConfig(Config):
    """Settings of ``beam_search``: its arguments by name.

    Raises:
        ConfigError: if a value is out of range or ``n_best`` is greater than ``beam``.
    """

    beam: int = number(4, 1, MAX_BEAM, "open hypotheses of each row")
    n_best: int = number(1, 1, MAX_BEAM, "hypotheses returned of each row; at most beam")
    length_penalty: float = number(0.6, 0.0, MAX_PENALTY, "greater prefers longer sequences")
    coverage_penalty: float = number(
        0.0, 0.0, MAX_PENALTY, "greater prefers sequences that attend to all of the source"
    )
    max_tokens: int = number(100, 1, MAX_LENGTH, "most ids of a sequence")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_best > self.beam:
            raise ConfigError(f"n_best is {self.n_best}; it must be at most beam, {self.beam}")


class Finished(NamedTuple):
    """Hypotheses that may be returned: arrays ``[rows, hypotheses]``, ids ``[..., position]``."""

    normalised: Any
    scores: Any
    lengths: Any
    ids: Any


def beam_search(
    step: Step,
    first: Any,
    states: Mapping[str, Any],
    *,
    end: int | None,
    beam: int = 4,
    n_best: int = 1,
    length_penalty: Any = 0.6,
    coverage_penalty: Any = 0.0,
    max_tokens: Any = 100,
    attention: str = "attention",
    source_mask: str | None = None,
) -> Hypotheses:
    """The best sequences of each row that a beam of the given width finds.

    Args:
        step: ``step(ids, states) -> (log_probabilities, states)``, see ``decoding.stepping``. It is
            called with one row for each row at first, then with ``beam`` for each that is open.
        first: ``<int>[rows]``, the ids that the first step is given.
        states: arrays ``[rows, ...]`` that the first step is given, later each repeated.
        end: id that ends a sequence; None if there is none.
        beam: open hypotheses of each row.
        n_best: hypotheses returned of each row.
        length_penalty: number or ``<float>[rows]``, 0 to 10.
        coverage_penalty: number or ``<float>[rows]``, 0 to 10.
        max_tokens: integer or ``<int>[rows]``: most ids of a sequence, 0 or more.
        attention: name of ``<float32>[rows, source]`` among the states that the step returns: the
            weights with which it attended to the source. Read if ``coverage_penalty`` is not 0.
        source_mask: name of a state ``[rows, source]`` that is 0 or False where the source is
            padding, which the coverage penalty leaves out; without it all of the source counts.

    Raises:
        DecodingError: if shapes do not agree, or a value is out of range or NaN.
    """
    end = check_end(end)
    check_widths(beam, n_best)
    ids, arrays = check_start(first, states)
    count = len(ids)
    if source_mask is not None and source_mask not in arrays:
        raise DecodingError(f"source_mask names {source_mask!r}, which is not among the states")
    search = _Search(
        ids,
        arrays,
        end=end,
        beam=beam,
        n_best=n_best,
        limits=per_row("max_tokens", max_tokens, count, np.int32, 0, MAX_LENGTH),
        alpha=per_row("length_penalty", length_penalty, count, np.float32, 0.0, MAX_PENALTY),
        beta=per_row("coverage_penalty", coverage_penalty, count, np.float32, 0.0, MAX_PENALTY),
        attention=attention,
        source_mask=source_mask,
    )
    while len(search.rows):
        search.advance(step)
    best = search.best
    longest = best.lengths.max(initial=0)
    return Hypotheses(
        best.ids[:, :, :longest], best.lengths, best.scores.astype(np.float32), best.normalised
    )


def check_widths(beam: Any, n_best: Any) -> None:
    """Raises ``DecodingError`` unless 1 <= n_best <= beam <= 1000."""
    for name, value, maximum in (("beam", beam, MAX_BEAM), ("n_best", n_best, beam)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or not 1 <= value <= maximum:
            limit = maximum if name == "beam" else f"beam, {beam}"
            raise DecodingError(f"{name} is {value!r}; it must be an integer from 1 to {limit}")


class _Search:
    """The open rows of a search, and the best finished hypotheses of all rows.

    Arrays of open rows: ``rows <int>[open]`` their numbers, ``sums <float64>[open, width]`` (-inf
    where there is no hypothesis), ``written <int32>[open, width, position]``; states, ids and
    coverage ``[open * width, ...]``. ``width`` is 1 at first, since all hypotheses would be alike,
    then ``beam``, or less of a small vocabulary.
    """

    def __init__(
        self,
        first: np.ndarray,
        states: States,
        *,
        end: int,
        beam: int,
        n_best: int,
        limits: np.ndarray,
        alpha: np.ndarray,
        beta: np.ndarray,
        attention: str,
        source_mask: str | None,
    ) -> None:
        count = len(first)
        self.end, self.beam, self.n_best = end, beam, n_best
        self.limits, self.alpha = limits, alpha.astype(np.float64)
        self.beta = beta.astype(np.float64)
        self.covers = bool((beta > 0).any())
        self.attention, self.source_mask = attention, source_mask
        self.extra = None if attention in states else attention
        self.position = 0
        self.coverage: np.ndarray | None = None
        self.moving: set[str] = set()  # states that differ between the hypotheses of a row
        # A row that may have no ids has one finished hypothesis, the empty one.
        scores = np.full((count, n_best), -np.inf)
        scores[limits == 0, 0] = 0.0
        lengths, written = (
            np.zeros((count, n_best), np.int32),
            np.zeros((count, n_best, 0), np.int32),
        )
        self.best = Finished(scores.astype(np.float32), scores, lengths, written)
        self.rows = np.flatnonzero(limits > 0)
        self.sums = np.zeros((len(self.rows), 1))
        self.written = np.zeros((len(self.rows), 1, 0), np.int32)
        self.ids = first[self.rows]
        self.states = take_rows(states, self.rows)

    def advance(self, step: Step) -> None:
        """One position of all open rows."""
        values, changed = call_step(step, self.ids, self.states, extra=self.extra)
        alive = np.isfinite(self.sums)
        values = check_log_probabilities(values, alive.size, self.end, alive.reshape(-1))
        if self.covers:
            self._attend(changed)
        if self.extra:
            changed.pop(self.extra, None)
        self.moving.update(changed)
        self.states.update(changed)
        self.position += 1

        sums, parents, tokens = self._continuations(values)
        ends = tokens == self.end
        # Only the best `beam` can end; of the others the best `beam` stay open.
        finishes = ends & (np.arange(sums.shape[1]) < self.beam)
        stays = ~ends & (np.cumsum(~ends, axis=1) <= self.beam)
        at_limit = (self.limits[self.rows] == self.position)[:, None]
        written = _taken(self.written, parents)
        written = np.concatenate([written, np.where(ends, 0, tokens)[:, :, None]], axis=2)
        finishes |= stays & at_limit
        if finishes.any():
            normalised = np.where(finishes, self._normalised(sums, parents), -np.inf)
            lengths = (self.position - ends).astype(np.int32)
            self._keep_best(Finished(normalised.astype(np.float32), sums, lengths, written))

        # Stable: the hypotheses that stay open come first, in their order.
        order = np.argsort(~stays, axis=1, kind="stable")[:, : self.beam]
        sums = _taken(np.where(stays, sums, -np.inf), order)
        self._reorder(sums, parents, tokens, written, order)

    def _continuations(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best ``2 * beam``: sums, hypotheses continued and ids, each ``[open, 2 * beam]``, or
        as many as there are."""
        width = min(2 * self.beam, values.shape[1])
        tokens = top_ids(values, width)
        chosen = _taken(values, tokens).astype(np.float64)
        shape = len(self.rows), self.sums.shape[1] * width
        sums = (self.sums.reshape(-1, 1) + chosen).reshape(shape)
        order = np.argsort(-sums, axis=1, kind="stable")[:, : 2 * self.beam]
        tokens = _taken(tokens.reshape(shape), order).astype(np.int32)
        return _taken(sums, order), order // width, tokens

    def _normalised(self, sums: np.ndarray, parents: np.ndarray) -> np.ndarray:
        result = sums / self._length_penalty(self.position)[:, None]
        if self.coverage is not None:
            covered = np.log(np.clip(self.coverage, TINY, 1.0))
            if self.source_mask is not None:
                mask = self.states[self.source_mask]
                if mask.shape != covered.shape:
                    raise DecodingError(
                        f"the source mask has shape {mask.shape} and the attention "
                        f"{covered.shape}; they must be equal"
                    )
                covered = np.where(mask != 0, covered, 0.0)
            term = covered.sum(axis=1).reshape(self.sums.shape)
            result = result + self.beta[self.rows][:, None] * _taken(term, parents)
        return result

    def _length_penalty(self, length: Any) -> np.ndarray:
        return ((5.0 + length) / 6.0) ** self.alpha[self.rows]

    def _keep_best(self, found: Finished) -> None:
        kept = Finished(*(array[self.rows] for array in self.best))
        kept = kept._replace(ids=_lengthened(kept.ids, self.position))
        joined = [np.concatenate(pair, axis=1) for pair in zip(kept, found, strict=True)]
        order = np.argsort(-joined[0], axis=1, kind="stable")[:, : self.n_best]
        self.best = self.best._replace(ids=_lengthened(self.best.ids, self.position))
        for all_rows, array in zip(self.best, joined, strict=True):
            all_rows[self.rows] = _taken(array, order)

    def _reorder(
        self,
        sums: np.ndarray,
        parents: np.ndarray,
        tokens: np.ndarray,
        written: np.ndarray,
        order: np.ndarray,
    ) -> None:
        """Goes on with the chosen hypotheses of the rows that are not done."""
        limits = self.limits[self.rows]
        bound = (sums.max(axis=1) / self._length_penalty(limits)).astype(np.float32)
        worst = self.best.normalised[self.rows, -1]
        still = np.flatnonzero((limits > self.position) & (bound > worst))
        parents = _taken(parents, order)
        first = np.arange(len(parents)) * self.sums.shape[1]
        source = (parents + first[:, None])[still].reshape(-1)
        own = np.repeat(first[still], parents.shape[1])  # all hypotheses of a row have the same
        for name, array in self.states.items():
            if name in self.moving:
                self.states[name] = array[source]
            elif parents.shape[1] != self.sums.shape[1] or len(still) < len(self.rows):
                self.states[name] = array[own]
        if self.coverage is not None:
            self.coverage = self.coverage[source]
        self.ids = _taken(tokens, order)[still].reshape(-1)
        self.written = _taken(written, order)[still]
        self.sums, self.rows = sums[still], self.rows[still]

    def _attend(self, changed: Mapping[str, np.ndarray]) -> None:
        if self.attention not in changed:
            raise DecodingError(
                f"the coverage penalty needs {self.attention!r} among the states that the step "
                "returns: its attention, [rows, source]"
            )
        weights = changed[self.attention]
        before = self.coverage
        if weights.ndim != 2 or (before is not None and weights.shape != before.shape):
            raise DecodingError(
                f"the attention has shape {weights.shape}; it must be [rows, source], "
                "the same at each step"
            )
        weights = weights.astype(np.float32).astype(np.float64)
        alive = np.isfinite(self.sums).reshape(-1, 1)
        if not ((weights >= 0) | ~alive).all():
            raise DecodingError("an attention weight is negative or NaN; attention is 0 or greater")
        weights = np.where(alive, weights, 0.0)
        self.coverage = weights if before is None else before + weights


def _taken(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """``array [rows, n, ...]`` at ``index <int>[rows, m]`` of its second axis."""
    return array[np.arange(len(array))[:, None], index]


def _lengthened(ids: np.ndarray, length: int) -> np.ndarray:
    more = np.zeros((*ids.shape[:2], length - ids.shape[2]), ids.dtype)
    return np.concatenate([ids, more], axis=2)
