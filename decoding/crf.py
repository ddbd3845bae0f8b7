"""Linear-chain conditional random fields, decoded: the NumPy implementation, TensorFlow-free.

The score of a path of tags is the sum of the emissions of its tags, the transitions between them, a
start and an end score; its probability is the softmax over all paths of the row (Lafferty et al.
2001). ``decoding.crf_graph`` is the same as TensorFlow ops. Everything is computed in float64, so
that both find the same paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import ConfigError

# Score of a transition that is not allowed: far below all others, and finite, since two infinities
# of opposite sign would give NaN.
FORBIDDEN = -1e6


@dataclass(frozen=True)
class CrfScores:
    """Scores of a chain, besides the emissions.

    Attributes:
        transitions: ``<float32>[tags, tags]``, from the first to the second.
        start: ``<float32>[tags]``, of the first tag of a row.
        end: ``<float32>[tags]``, of the last.
    """

    transitions: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @classmethod
    def zeros(cls, tags: int) -> CrfScores:
        """Those of tags that do not depend on one another."""
        zeros = np.zeros(tags, np.float32)
        return cls(np.zeros((tags, tags), np.float32), zeros, zeros)

    def divided(self, temperature: float) -> CrfScores:
        """Those of the same chain at a temperature; what is not allowed stays so."""
        parts = (self.transitions, self.start, self.end)
        return CrfScores(
            *(np.where(x > FORBIDDEN / 2, x / np.float32(temperature), x) for x in parts)
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON, exactly."""
        return {
            "transitions": self.transitions.astype(float).tolist(),
            "start": self.start.astype(float).tolist(),
            "end": self.end.astype(float).tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CrfScores:
        """What ``to_dict`` gave."""
        names = ("transitions", "start", "end")
        return cls(*(np.asarray(values[name], np.float32) for name in names))


def allowed_transitions(
    tags: Sequence[str], scheme: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which tag may begin a row, follow another and end a row.

    Args:
        tags: their names: ``B-PER``, ``I-PER``, in "bioes" also ``E-PER`` and ``S-PER``; a name
            without a prefix is outside of all spans.
        scheme: "bio" or "bioes".

    Returns:
        start ``<bool>[tags]``, pairs ``<bool>[tags, tags]``, end ``<bool>[tags]``.

    Raises:
        ConfigError: the scheme is unknown, or a tag has another prefix.
    """
    prefixes = {"bio": "BI", "bioes": "BIES"}.get(scheme)
    if prefixes is None:
        raise ConfigError(f"constraints {scheme!r} are unknown; use bio or bioes")
    parts = []
    for tag in tags:
        prefix, _, kind = tag.partition("-")
        if len(prefix) == 1 and kind and prefix not in prefixes:
            raise ConfigError(
                f"tag {tag!r} does not fit the scheme {scheme}: its prefix is none of "
                f"{', '.join(prefixes)}"
            )
        parts.append((prefix, kind) if len(prefix) == 1 and kind else ("O", ""))
    is_open = [prefix in ("B", "I") and scheme == "bioes" for prefix, _ in parts]
    goes_on = [prefix in ("I", "E") for prefix, _ in parts]
    holds = [prefix in ("B", "I") for prefix, _ in parts]
    start = np.array([not on for on in goes_on])
    end = np.array([not one for one in is_open])
    same = np.array([[a[1] == b[1] for b in parts] for a in parts])
    continues = np.array(goes_on)[None, :]
    pairs = np.where(continues, np.array(holds)[:, None] & same, end[:, None])
    return start, pairs, end


def _hard(scores: CrfScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transitions, start and end in float64, what is not allowed minus infinity."""
    parts = (scores.transitions, scores.start, scores.end)
    return tuple(np.where(one > FORBIDDEN / 2, one.astype(np.float64), -np.inf) for one in parts)


def viterbi(emissions: np.ndarray, lengths: np.ndarray, scores: CrfScores) -> np.ndarray:
    """The best path of each row; of equal ones, the lower tag where they part last.

    The way forward keeps the best scores alone: which tag each came from is asked along one path
    only, on the way back. Rows are sorted by length, so that those which have ended cost nothing.

    Args:
        emissions: ``<float>[batch, time, tags]``.
        lengths: ``<int>[batch]``.
        scores: of the chain.

    Returns:
        ``<int32>[batch, time]``, 0 behind the end. Where tags allow no path of a row's length, the
        row's are arbitrary.
    """
    batch, time, tags = emissions.shape
    paths = np.zeros((batch, time), np.int32)
    order = np.argsort(-lengths, kind="stable")
    longest = int(lengths[order[0]]) if batch else 0
    if not longest:
        return paths
    transitions, start, end = _hard(scores)
    active = (lengths > np.arange(longest)[:, None]).sum(1).tolist()  # rows that reach each step
    best = emissions[order, :longest].transpose(1, 0, 2).astype(np.float64, order="C")
    best[0] += start
    reached, outgoing = np.empty((tags, batch, tags)), transitions[:, None]
    for t in range(1, longest):
        n = active[t]
        ways = reached[:, :n]
        np.add(best[t - 1, :n].T[:, :, None], outgoing, out=ways)  # (from, B, to)
        best[t, :n] += np.maximum.reduce(ways, axis=0)
    # A row's last step is followed by the row of the table that holds the end.
    incoming = np.concatenate([transitions.T, end[None]])
    current = np.full(batch, tags)
    found = np.zeros((longest, batch), np.int32)
    for t in range(longest - 1, -1, -1):
        n = active[t]
        current[:n] = found[t, :n] = (best[t, :n] + incoming[current[:n]]).argmax(-1)
    paths[order, :longest] = found.T
    return paths


def k_best(
    emissions: np.ndarray, lengths: np.ndarray, scores: CrfScores, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best paths of each row, the best first.

    The list form of the Viterbi algorithm (Seshadri and Sundberg 1994): at each step and tag the k
    best ways that lead there are kept.

    Args:
        emissions: ``<float>[batch, time, tags]``.
        lengths: ``<int>[batch]``.
        scores: of the chain.
        k: how many, from 1.

    Returns:
        tags ``<int32>[batch, k, time]``, 0 behind the end; scores ``<float64>[batch, k]``, -inf
        where a row has fewer paths.
    """
    batch, time, tags = emissions.shape
    paths = np.zeros((batch, k, time), np.int32)
    totals = np.full((batch, k), -np.inf)
    totals[:, 0] = 0.0  # of a row without a step
    if not batch or not time:
        return paths, totals
    x = emissions.astype(np.float64)
    transitions, start, end = _hard(scores)
    best = np.full((batch, k, tags), -np.inf)
    best[:, 0] = x[:, 0] + start
    back = np.zeros((time, batch, k, tags), np.int32)  # k * tags ways to come, by number
    last = np.zeros((batch, k), np.int32)
    for t in range(time):
        if t:
            reached = best[..., None] + transitions  # (B, k, from, to)
            best, back[t] = _largest(reached.reshape(batch, k * tags, tags), k)
            best = best + x[:, None, t]
        ended = lengths == t + 1
        final = (best[ended] + end).reshape(-1, k * tags, 1)
        found, ways = _largest(final, k)
        totals[ended], last[ended] = found[..., 0], ways[..., 0]
    rows = np.arange(batch)[:, None]
    current = last
    for t in range(time - 1, -1, -1):
        if t + 1 < time:
            moved = back[t + 1, rows, current // tags, current % tags]
            current = np.where(lengths[:, None] > t + 1, moved, current)
        paths[..., t] = np.where(lengths[:, None] > t, current % tags, 0)
    return np.where(np.isfinite(totals)[..., None], paths, 0), totals


def _largest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of ``[batch, n, m]`` along n, and where they were; of equals the first."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, 1), order.astype(np.int32)
