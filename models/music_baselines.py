"""First-order Markov models of chords: the simple baseline of polyphonic music."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Chord = tuple[int, ...]
PSEUDO = 0.5  # count that is added to a note's, both sounding and silent
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


@dataclass
class ChordMarkov:
    """The next chord by the last one; what was not seen by its notes.

    Three models are mixed: how often a chord followed this one in training, how often it came at
    all, and notes that are independent of each other, each by whether it sounded before. The last
    has a probability for any chord. The two shares are chosen on validation.

    Args:
        notes: how many there are; a chord is a tuple of some of ``range(notes)``.
    """

    notes: int
    shares: tuple[float, float] = (0.3, 0.1)
    _after: dict[Chord, Counter] = field(default_factory=lambda: defaultdict(Counter))
    _all: Counter = field(default_factory=Counter)

    def fit(self, pieces: Sequence[Sequence[Chord]]) -> ChordMarkov:
        """Counts pieces; a piece begins after silence."""
        counts = np.full((self.notes, 2, 2), PSEUDO)  # of a note: sounded before, sounds
        for piece in pieces:
            for before, now in zip([(), *piece], piece, strict=False):
                self._after[before][now] += 1
                self._all[now] += 1
                was, sounds = (_units(chord, self.notes) for chord in (before, now))
                np.add.at(counts, (np.arange(self.notes), was, sounds), 1)
        self._notes = np.log(counts / counts.sum(2, keepdims=True))
        return self

    def choose(self, pieces: Sequence[Sequence[Chord]]) -> ChordMarkov:
        """Sets the shares that foretell validation pieces best."""
        pairs = [(a, b) for a in SHARES for b in SHARES if a + b < 1]
        parts = [part for piece in pieces for part in self._parts(piece)]
        array = np.array(parts) if parts else np.zeros((0, 3))

        def nats(pair: tuple[float, float]) -> float:
            return -float(np.log(array @ _weights(pair)).sum())

        self.shares = min(pairs, key=nats)
        return self

    def log_probabilities(self, piece: Sequence[Chord]) -> np.ndarray:
        """Of each step, given the one before: ``<float64>[steps]``."""
        parts = np.array(self._parts(piece)).reshape(-1, 3)
        return np.log(parts @ _weights(self.shares))

    def _parts(self, piece: Sequence[Chord]) -> list[tuple[float, float, float]]:
        """Probabilities of each step by the three models."""
        found, total, places = [], max(1, self._all.total()), np.arange(self.notes)
        for before, now in zip([(), *piece], piece, strict=False):
            following = self._after.get(before, Counter())
            was, sounds = (_units(chord, self.notes) for chord in (before, now))
            free = math.exp(self._notes[places, was, sounds].sum())
            seen = following[now] / following.total() if following else free
            found.append((seen, self._all[now] / total, free))
        return found


def _weights(shares: tuple[float, float]) -> np.ndarray:
    return np.array([*shares, 1 - sum(shares)])


def _units(chord: Chord, notes: int) -> np.ndarray:
    found = np.zeros(notes, np.int64)
    found[list(chord)] = 1
    return found
