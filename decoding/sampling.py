"""Greedy search and sampling: the NumPy implementation, which needs no TensorFlow.

``decoding.sampling_graph`` is the same in TensorFlow ops and gives the same ids. Random numbers
come from a hash of a row's seed and the position in its sequence, so a row's ids depend on nothing
else: not on its neighbours in the batch, and not on which implementation runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.config import Config, number, text
from decoding.repetition import MAX_PENALTY
from decoding.stepping import (
    MAX_LENGTH,
    TINY,
    Sequences,
    Step,
    call_step,
    check_allowed,
    check_end,
    check_log_probabilities,
    check_start,
    per_row,
    take_rows,
    top_ids,
)

MAX_TEMPERATURE = 100.0
MAX_TOP_K = 2**31 - 1
# The nucleus is complete when its mass is this close to top_p: log-probabilities are float32, and
# their rounding should not decide whether 0.5 + 0.25 reaches 0.75.
NUCLEUS_TOLERANCE = 1e-6
# Constants of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
# OOPSLA 2014; public domain code by Vigna).
GOLDEN_GAMMA = 0x9E3779B97F4A7C15
MIX_1, MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True)
class SamplingConfig(Config):
    """Settings of ``sample``; ``sample(step, first, states, end=..., **config.to_dict())``."""

    temperature: float = number(
        1.0, 0.0, MAX_TEMPERATURE, "below 1 sharper, above 1 flatter; 0 is greedy search"
    )
    top_k: int = number(0, 0, MAX_TOP_K, "sample from this many most probable ids; 0 for all")
    top_p: float = number(
        1.0, 0.0, 1.0, "sample from the fewest most probable ids that have this probability"
    )
    max_tokens: int = number(100, 1, MAX_LENGTH, "most ids of a sequence")
    seed: int = number(0, 0, 2**31 - 1, "seed of the random numbers")


@dataclass(frozen=True)
class WritingConfig(SamplingConfig):
    """Settings of programs that write text."""

    repetition_penalty: float = number(
        1.0, 1 / MAX_PENALTY, MAX_PENALTY, "above 1 makes units that stand there less likely"
    )
    stop: str = text("", "string before which a text ends; several with U+001F between them")
    form: str = text("", "regular expression that the whole text must match, prompt included")


def uniforms(seeds: Any, positions: Any) -> np.ndarray:
    """Random numbers by seed and position: ``<float32>[rows]`` in [0, 1), multiples of 2**-24.

    The counter-based generator splitmix64: the hash of a seed is where its stream starts, and a
    position is a place in the stream.

    Args:
        seeds: ``<int>[rows]`` or one integer, from -2**63 to 2**63 - 1.
        positions: ``<int>[rows]`` or one integer, 0 or greater.

    Raises:
        DecodingError: if an argument is no integer or out of range.
    """
    rows = max((np.size(value) for value in (seeds, positions) if np.ndim(value)), default=1)
    seed = per_row("seed", seeds, rows, np.int64, -(2**63), 2**63 - 1)
    position = per_row("position", positions, rows, np.int64, 0, 2**63 - 2).astype(np.uint64)
    return uniforms_after(seed_hashes(seed), position)


def seed_hashes(seeds: np.ndarray) -> np.ndarray:
    """Where the stream of each seed ``<int64>[rows]`` starts: ``<uint64>[rows]``."""
    return _mix(seeds.astype(np.uint64) + np.uint64(GOLDEN_GAMMA))


def uniforms_after(hashes: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """``uniforms`` of hashed seeds; both are ``<uint64>[rows]``, and nothing is checked."""
    hashed = _mix(hashes + (positions + np.uint64(1)) * np.uint64(GOLDEN_GAMMA))
    # 24 bits are all that a float32 in [0, 1) can hold at equal distances.
    return (hashed >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def choose(
    log_probabilities: Any,
    uniforms: Any,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
) -> np.ndarray:
    """One id per row, drawn by inverting the cumulative distribution in the order of the ids.

    The distribution is that of ``log_probabilities / temperature``; of it the ``top_k`` most
    probable ids are kept, and of these the nucleus: the fewest most probable ids whose probability
    among them is ``top_p`` or more (Holtzman et al. 2020, "The curious case of neural text
    degeneration", arXiv:1904.09751). Of equally probable ids the lower one is kept first.

    Args:
        log_probabilities: ``<float32>[rows, vocabulary]``; -inf forbids an id.
        uniforms: ``<float32>[rows]`` in [0, 1).
        temperature: number or ``<float>[rows]``, 0 to 100; at 0 the most probable id, the lowest of
            equals.
        top_k: integer or ``<int>[rows]``; 0 keeps all ids.
        top_p: number or ``<float>[rows]``, 0 to 1; 1 keeps all ids, 0 the most probable one.

    Returns:
        ``<int32>[rows]``.

    Raises:
        DecodingError: if shapes do not agree, a value is out of range or NaN, or a row allows no
            id.
    """
    rows = len(np.atleast_1d(log_probabilities))
    checked = check_log_probabilities(log_probabilities, rows, -1)
    chances = per_row("uniforms", uniforms, rows, np.float32, 0.0, 1.0 - 2.0**-24)
    return choose_checked(checked, chances, *_settings(rows, temperature, top_k, top_p))


def greedy(
    step: Step, first: Any, states: Mapping[str, Any], *, end: int | None, max_tokens: Any = 100
) -> Sequences:
    """The most probable id at each position; of equally probable ids the lowest.

    Args:
        step: ``step(ids, states) -> (log_probabilities, states)``, see ``decoding.stepping``.
        first: ``<int>[rows]``, the ids that the first step is given.
        states: arrays ``[rows, ...]`` that the first step is given.
        end: id that ends a sequence; None if there is none.
        max_tokens: integer or ``<int>[rows]``: most ids of a sequence, 0 or more.

    Raises:
        DecodingError: if shapes do not agree, a value is out of range or NaN, or a row allows no
            id.
    """

    def pick(log_probabilities: np.ndarray, rows: np.ndarray, position: int) -> np.ndarray:
        check_allowed(log_probabilities)
        return log_probabilities.argmax(axis=1)

    return _generate(step, first, states, end, max_tokens, pick)


def sample(
    step: Step,
    first: Any,
    states: Mapping[str, Any],
    *,
    end: int | None,
    seed: Any,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
    max_tokens: Any = 100,
) -> Sequences:
    """Ids drawn from the model, each by ``choose`` with ``uniforms(seed, position)``.

    Scores are those of the model; temperature, top-k and nucleus do not enter them.

    Args:
        step: ``step(ids, states) -> (log_probabilities, states)``, see ``decoding.stepping``.
        first: ``<int>[rows]``, the ids that the first step is given.
        states: arrays ``[rows, ...]`` that the first step is given.
        end: id that ends a sequence; None if there is none.
        seed: integer or ``<int>[rows]``. Equal rows with an equal seed get equal ids: for several
            samples of one input give each row a seed of its own, as ``seed + np.arange(rows)``.
        temperature: as for ``choose``.
        top_k: as for ``choose``.
        top_p: as for ``choose``.
        max_tokens: integer or ``<int>[rows]``: most ids of a sequence, 0 or more.

    Raises:
        DecodingError: if shapes do not agree, a value is out of range or NaN, or a row allows no
            id.
    """
    count = np.size(first)
    seeds = per_row("seed", seed, count, np.int64, -(2**63), 2**63 - 1)
    settings = _settings(count, temperature, top_k, top_p)

    def pick(log_probabilities: np.ndarray, rows: np.ndarray, position: int) -> np.ndarray:
        chances = uniforms(seeds[rows], position)
        return choose_checked(log_probabilities, chances, *(setting[rows] for setting in settings))

    return _generate(step, first, states, end, max_tokens, pick)


def _generate(
    step: Step,
    first: Any,
    states: Mapping[str, Any],
    end: int | None,
    max_tokens: Any,
    pick: Callable[[np.ndarray, np.ndarray, int], np.ndarray],
) -> Sequences:
    end = check_end(end)
    ids, kept = check_start(first, states)
    count = len(ids)
    limits = per_row("max_tokens", max_tokens, count, np.int32, 0, MAX_LENGTH)
    lengths = np.zeros(count, np.int32)
    scores = np.zeros(count, np.float64)
    columns = []
    rows = np.flatnonzero(limits > 0)  # that are still open; only they are stepped
    ids, kept = ids[rows], take_rows(kept, rows)
    while len(rows):
        values, changed = call_step(step, ids, kept)
        kept.update(changed)
        values = check_log_probabilities(values, len(rows), end)
        ids = pick(values, rows, len(columns)).astype(np.int32)
        scores[rows] += values[np.arange(len(rows)), ids]
        still = ids != end
        lengths[rows] += still
        columns.append(np.zeros(count, np.int32))
        columns[-1][rows] = np.where(still, ids, 0)
        still &= limits[rows] > len(columns)
        if not still.all():
            rows, ids, kept = rows[still], ids[still], take_rows(kept, np.flatnonzero(still))
    written = np.stack(columns, axis=1) if columns else np.zeros((count, 0), np.int32)
    return Sequences(written[:, : lengths.max(initial=0)], lengths, scores.astype(np.float32))


def _settings(
    rows: int, temperature: Any, top_k: Any, top_p: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        per_row("temperature", temperature, rows, np.float32, 0.0, MAX_TEMPERATURE),
        per_row("top_k", top_k, rows, np.int32, 0, MAX_TOP_K),
        per_row("top_p", top_p, rows, np.float32, 0.0, 1.0),
    )


def choose_checked(
    log_probabilities: np.ndarray,
    chances: np.ndarray,
    temperature: np.ndarray,
    top_k: np.ndarray,
    top_p: np.ndarray,
) -> np.ndarray:
    """``choose`` for arrays of the right dtypes, shapes and ranges, one setting for each row.

    Raises:
        DecodingError: a row allows no id.
    """
    check_allowed(log_probabilities)
    if not temperature.any():
        return log_probabilities.argmax(axis=1).astype(np.int32)
    vocabulary = log_probabilities.shape[1]
    sampled = temperature >= TINY
    # In float64 from here: the rounding of the two implementations then differs by 1e-16, while
    # the random numbers lie 6e-8 apart.
    values = log_probabilities.astype(np.float64)
    divisor = np.where(sampled, temperature, 1).astype(np.float64)[:, None]
    weights = np.exp((values - values.max(axis=1, keepdims=True)) / divisor)
    kept = np.where((top_k > 0) & (top_k < vocabulary), top_k, vocabulary)
    filtered = np.flatnonzero(sampled & ((kept < vocabulary) | (top_p < 1)))
    if len(filtered):
        chosen = log_probabilities[filtered], weights[filtered], kept[filtered], top_p[filtered]
        weights[filtered] = _filtered(*chosen)
    cumulative = np.cumsum(weights, axis=1)
    thresholds = chances.astype(np.float64) * cumulative[:, -1]
    ids = (cumulative <= thresholds[:, None]).sum(axis=1)
    return np.where(sampled, ids, log_probabilities.argmax(axis=1)).astype(np.int32)


def _filtered(
    log_probabilities: np.ndarray, weights: np.ndarray, top_k: np.ndarray, top_p: np.ndarray
) -> np.ndarray:
    """The weights ``<float64>[rows, vocabulary]``, 0 for ids that are not kept."""
    width = int(top_k.max())
    order = top_ids(log_probabilities, width)
    rank = np.arange(width)
    within = rank < top_k[:, None]
    ordered = np.where(within, np.take_along_axis(weights, order, axis=1), 0.0)
    cumulative = np.cumsum(ordered, axis=1)
    before = np.concatenate([np.zeros((len(order), 1)), cumulative[:, :-1]], axis=1)
    needed = top_p.astype(np.float64)[:, None] * (1 - NUCLEUS_TOLERANCE) * cumulative[:, -1:]
    keep = within & ((before < needed) | (top_p >= 1)[:, None] | (rank == 0))
    result = np.zeros_like(weights)
    np.put_along_axis(result, order, np.where(keep, ordered, 0.0), axis=1)
    return result


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(MIX_1)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(MIX_2)
    return values ^ (values >> np.uint64(31))
