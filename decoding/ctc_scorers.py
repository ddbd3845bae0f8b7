"""What else knows how likely texts are, for ``decoding.ctc_beam``: words, language models, both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from decoding.ctc import NOTHING, Scorer

SPACE = " "


class WordScorer:
    """Allows the words of a list alone, with single spaces between them.

    Args:
        words: all that may be written.
        symbols: what each number from 1 on stands for; one of them is the space.

    Raises:
        ValueError: no word can be spelled.
    """

    def __init__(self, words: Iterable[str], symbols: Sequence[str]) -> None:
        ids = {symbol: i for i, symbol in enumerate(symbols, 1)}
        self.width, self.space = 1 + len(symbols), ids.get(SPACE)
        # Node 0 is the beginning of a word: by symbol the next node, -1 where there is none.
        self.next = [np.full(self.width, -1, np.int64)]
        self.whole = [False]
        for word in words:
            if word and all(c in ids for c in word):
                self._add([ids[c] for c in word])
        if len(self.next) == 1:
            raise ValueError("no word of the list can be spelled in the symbols of the model")
        self.table, self.ends = np.array(self.next), np.array(self.whole)
        if self.space is not None:
            self.table[self.ends, self.space] = 0

    def _add(self, numbers: Sequence[int]) -> None:
        node = 0
        for number in numbers:
            if self.next[node][number] < 0:
                self.next[node][number] = len(self.next)
                self.next.append(np.full(self.width, -1, np.int64))
                self.whole.append(False)
            node = int(self.next[node][number])
        self.whole[node] = True

    def start(self, rows: int) -> dict[str, np.ndarray]:
        """At the beginning of a word."""
        return {"node": np.zeros(rows, np.int64)}

    def following(self, states: Mapping[str, np.ndarray]) -> np.ndarray:
        """0 where a word goes on or, after a whole one, a space; ``NOTHING`` elsewhere."""
        return np.where(self.table[states["node"]] >= 0, np.float32(0), NOTHING)

    def after(self, states: Mapping[str, np.ndarray], symbols: np.ndarray) -> dict[str, np.ndarray]:
        """The nodes behind."""
        return {"node": self.table[states["node"], symbols]}

    def end(self, states: Mapping[str, np.ndarray]) -> np.ndarray:
        """A text ends behind a whole word, or is empty."""
        node = states["node"]
        return np.where(self.ends[node] | (node == 0), np.float32(0), NOTHING / 2)

    def take(self, states: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some of them."""
        return {"node": states["node"][rows]}


class LanguageScorer:
    """A language model of characters.

    Args:
        step: ``(ids <int32>[rows], states) -> (log_probabilities <float32>[rows, units], states)``.
        zeros: the states before the first unit, of so many rows.
        units: number of the unit of each symbol, from 1 on, in the language model.
        start: number of the unit that begins a text.
        end: number of that which ends one; None where texts go on for ever.
        weight: of the log-probabilities.
        reward: added for each symbol, since a model of language likes short texts.
    """

    def __init__(
        self, step: Callable[..., tuple[np.ndarray, Any]],
        zeros: Callable[[int], Mapping[str, np.ndarray]],
        units: Sequence[int], start: int, end: int | None, weight: float, reward: float,
    ) -> None:  # fmt: skip
        self.step, self.zeros, self.first, self.last = step, zeros, start, end
        self.units = np.array([start, *units], np.int64)  # the blank's is never used
        self.weight, self.reward = weight, reward

    def start(self, rows: int) -> dict[str, np.ndarray]:
        """Behind the unit that begins a text."""
        scores, states = self.step(np.full(rows, self.first, np.int32), self.zeros(rows))
        return {**states, "scores": scores}

    def following(self, states: Mapping[str, np.ndarray]) -> np.ndarray:
        """What the model says of each symbol."""
        found = states["scores"][:, self.units]
        return (self.weight * found + self.reward).astype(np.float32)

    def after(self, states: Mapping[str, np.ndarray], symbols: np.ndarray) -> dict[str, np.ndarray]:
        """One step on."""
        if not len(symbols):
            return dict(states)
        inner = {name: array for name, array in states.items() if name != "scores"}
        scores, following = self.step(self.units[symbols].astype(np.int32), inner)
        return {**following, "scores": scores}

    def end(self, states: Mapping[str, np.ndarray]) -> np.ndarray:
        """What it says of the end."""
        if self.last is None:
            return np.zeros(len(states["scores"]), np.float32)
        return self.weight * states["scores"][:, self.last]

    def take(self, states: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some of them."""
        return {name: array[rows] for name, array in states.items()}


class BothScorers:
    """Two scorers together.

    Args:
        first: one of them.
        second: the other.
    """

    def __init__(self, first: Scorer, second: Scorer) -> None:
        self.parts = {"first": first, "second": second}

    def _each(self, states: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {
            part: {n[len(part) + 1 :]: x for n, x in states.items() if n.startswith(f"{part} ")}
            for part in self.parts
        }

    def _joined(self, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {f"{part} {n}": x for part, states in found.items() for n, x in states.items()}

    def start(self, rows: int) -> dict[str, Any]:
        """Of both."""
        return self._joined({part: one.start(rows) for part, one in self.parts.items()})

    def following(self, states: Mapping[str, Any]) -> np.ndarray:
        """The sum."""
        each = self._each(states)
        found = sum(one.following(each[part]) for part, one in self.parts.items())
        return np.maximum(found, NOTHING)

    def after(self, states: Mapping[str, Any], symbols: np.ndarray) -> dict[str, Any]:
        """Of both."""
        each = self._each(states)
        return self._joined({p: one.after(each[p], symbols) for p, one in self.parts.items()})

    def end(self, states: Mapping[str, Any]) -> np.ndarray:
        """The sum."""
        each = self._each(states)
        return sum(one.end(each[part]) for part, one in self.parts.items())

    def take(self, states: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
        """Some of them."""
        return {name: array[rows] for name, array in states.items()}
