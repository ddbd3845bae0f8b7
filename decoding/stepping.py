"""What every search shares: the step function, its checks, and the results.

A step function is the model as the searches see it::

    step(ids <int32>[rows], states: dict of arrays [rows, ...])
        -> (log_probabilities <float32>[rows, vocabulary], states)

It is given the last id of each row and returns the log-probabilities of the next one.
Log-probability ``-inf`` forbids an id. States are named arrays whose first axis is the rows. The
step returns the states that it changed; a state that it does not return stays as it was, such as
the outputs of an encoder. Everything that belongs to a row must be in the states, because the
searches drop, repeat and reorder rows. A step must not write into the arrays that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from common.errors import SeqloomError

States = dict[str, np.ndarray]
Step = Callable[[np.ndarray, States], tuple[np.ndarray, Mapping[str, np.ndarray]]]

# Longest sequence that can be asked for.
MAX_LENGTH = 100_000
# Rounding can put a log-probability a little above 0; logits are mostly far above it.
LOG_PROBABILITY_TOLERANCE = 0.01
# Smallest normal float32. TensorFlow's kernels read smaller numbers as 0, so both do.
TINY = 2.0**-126
GROUPS_PER_ID = 16  # of the vocabulary for each id that ``top_ids`` looks for
NO_KEY = np.uint64(2**64 - 1)


class DecodingError(SeqloomError, ValueError):
    """Arguments, or answers of a step function, that no search can use."""


class Sequences(NamedTuple):
    """One sequence per row, from ``greedy`` or ``sample``.

    Attributes:
        ids: ``<int32>[rows, longest]``, padded with 0. The end id is not among them.
        lengths: ``<int32>[rows]``, ids of each row. A row that reached its maximum length without
            an end has ``lengths == max_tokens``; every other row is shorter.
        scores: ``<float32>[rows]``, sum of the log-probabilities, that of the end id included.
    """

    ids: Any
    lengths: Any
    scores: Any


class Hypotheses(NamedTuple):
    """The best sequences of each row, from ``beam_search``; the best one first.

    A row with fewer than ``n_best`` possible sequences is filled with empty ones that have
    ``scores`` and ``normalised`` -inf.

    Attributes:
        ids: ``<int32>[rows, n_best, longest]``, padded with 0. The end id is not among them.
        lengths: ``<int32>[rows, n_best]``. A sequence that reached its maximum length without an
            end has ``lengths == max_tokens``; every other sequence is shorter.
        scores: ``<float32>[rows, n_best]``, sum of the log-probabilities, that of the end id
            included.
        normalised: ``<float32>[rows, n_best]``, the scores after both penalties, which rank.
    """

    ids: Any
    lengths: Any
    scores: Any
    normalised: Any


def check_end(end: int | None) -> int:
    """The end id, or -1 for None: no id ends a sequence."""
    if end is None:
        return -1
    if isinstance(end, bool) or not isinstance(end, (int, np.integer)) or end < 0:
        raise DecodingError(f"end is {end!r}; it must be an id, 0 or greater, or None")
    return int(end)


def check_start(first: Any, states: Mapping[str, Any]) -> tuple[np.ndarray, States]:
    """First ids ``<int32>[rows]`` and states ``[rows, ...]`` as arrays.

    Raises:
        DecodingError: if shapes do not agree or an id is negative or no integer.
    """
    ids = np.asarray(first)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise DecodingError(
            f"first has type {ids.dtype} and shape {ids.shape}; it must be one integer per row"
        )
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < 2**31:
        raise DecodingError("an id in first is out of range; ids are from 0 to 2147483647")
    arrays = {name: np.asarray(value) for name, value in states.items()}
    for name, array in arrays.items():
        _check_rows(name, array, len(ids))
    return ids.astype(np.int32), arrays


def per_row(
    name: str, value: Any, rows: int, dtype: type, minimum: float, maximum: float
) -> np.ndarray:
    """A setting that is one number or one number per row: ``[rows]`` of ``dtype``.

    Raises:
        DecodingError: if it has another shape or is out of range.
    """
    array = np.asarray(value)
    kinds = "iu" if np.issubdtype(dtype, np.integer) else "iuf"
    if array.shape not in ((), (rows,)) or (array.size and array.dtype.kind not in kinds):
        word = "integer" if kinds == "iu" else "number"
        raise DecodingError(
            f"{name} has type {array.dtype} and shape {array.shape}; "
            f"it must be one {word} or one {word} for each of the {rows} rows"
        )
    if not ((array >= minimum) & (array <= maximum)).all():
        raise DecodingError(f"{name} is out of range; it must be from {minimum:g} to {maximum:g}")
    return np.broadcast_to(array.astype(dtype), (rows,))


def take_rows(states: States, index: np.ndarray) -> States:
    """The rows ``index <int>[kept]`` of every state."""
    return {name: array[index] for name, array in states.items()}


def call_step(
    step: Step, ids: np.ndarray, states: States, *, extra: str | None = None
) -> tuple[Any, States]:
    """Calls the step and checks the states that it returns, which may be only some.

    Args:
        step: the step function.
        ids: ``<int32>[rows]``.
        states: arrays ``[rows, ...]``.
        extra: name that may be returned although it is no state.

    Returns:
        The unchecked log-probabilities and the returned states.

    Raises:
        DecodingError: if a returned name is unknown or an array has another number of rows.
    """
    log_probabilities, returned = step(ids, dict(states))
    changed = {name: np.asarray(value) for name, value in returned.items()}
    for name, array in changed.items():
        if name not in states and name != extra:
            raise DecodingError(f"the step returned a state {name!r}, which it was not given")
        _check_rows(name, array, len(ids))
    return log_probabilities, changed


def check_log_probabilities(
    values: Any, rows: int, end: int, needed: np.ndarray | None = None
) -> np.ndarray:
    """Log-probabilities ``<float32>[rows, vocabulary]``, none above 0.

    Args:
        values: what a step returned.
        rows: how many rows there must be.
        end: the end id, which must be in the vocabulary; -1 for none.
        needed: ``<bool>[rows]``; all other rows are not looked at and become -inf.

    Raises:
        DecodingError: if the shape is another, or a value is NaN or greater than 0.01.
    """
    values = np.asarray(values)
    if values.ndim != 2 or len(values) != rows or values.shape[1] <= max(end, 0):
        raise DecodingError(
            f"the log-probabilities have shape {values.shape}; it must be [{rows}, vocabulary], "
            f"and the vocabulary must hold the end id {end}"
        )
    values = values.astype(np.float32, copy=False)
    if needed is not None and not needed.all():
        values = np.where(needed[:, None], values, np.float32(-np.inf))
    # By the greatest of each row, which is NaN where one is: nearly always one pass will do.
    greatest = values.max(axis=1)
    if not (greatest <= LOG_PROBABILITY_TOLERANCE).all():
        row = int(np.flatnonzero(~(greatest <= LOG_PROBABILITY_TOLERANCE))[0])
        found = "NaN" if np.isnan(greatest[row]) else f"{greatest[row]:g}"
        raise DecodingError(
            f"a log-probability in row {row} is {found}; "
            "none may be above 0, so apply a log-softmax to logits first"
        )
    if (greatest > -TINY).any():
        values = np.where(values > -TINY, np.float32(0), values)
    return values


def check_allowed(log_probabilities: np.ndarray) -> None:
    """Raises ``DecodingError`` if a row of ``<float32>[rows, vocabulary]`` allows no id at all."""
    nothing = np.flatnonzero(np.isneginf(log_probabilities.max(axis=1, initial=-np.inf)))
    if len(nothing):
        raise DecodingError(
            f"every id has log-probability -inf in row {nothing[0]}; at least one must be allowed"
        )


def top_ids(log_probabilities: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` most probable ids of each row, best first and ties by lower id.

    Args:
        log_probabilities: ``<float32>[rows, vocabulary]``, none above 0 and none NaN.
        k: at most the vocabulary.

    Returns:
        ``<int64>[rows, k]``.
    """
    rows, vocabulary = log_probabilities.shape
    groups = GROUPS_PER_ID * k
    if 2 * groups > vocabulary:
        ids = np.arange(vocabulary, dtype=np.uint64)
        keys = _keys(log_probabilities, ids)
    else:
        # Ids in groups: so many of them have a greatest one that is at least the k-th greatest of
        # these, and none of the best is below it. Few others are above it.
        size = vocabulary // groups
        parts = log_probabilities[:, : size * groups].reshape(rows, size, groups)
        least = np.partition(parts.max(axis=1), groups - k, axis=1)[:, groups - k]
        places = np.flatnonzero(log_probabilities >= least[:, None])
        row, ids = np.divmod(places, vocabulary)
        counts = np.bincount(row, minlength=rows)
        column = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        keys = np.full((rows, max(k, counts.max(initial=0))), NO_KEY)
        keys[row, column] = _keys(log_probabilities.reshape(-1)[places], ids.astype(np.uint64))
    if k < keys.shape[1]:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    keys.sort(axis=1)
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _keys(log_probabilities: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """``<uint64>``, the less the better: every one is different, so that a fast unstable sort gives
    the one right order."""
    # The bits of floats that are not negative are ordered as the floats are; below stands the id.
    bits = np.ascontiguousarray(np.float32(0) - log_probabilities).view(np.uint32)
    return (bits.astype(np.uint64) << np.uint64(32)) | ids


def _check_rows(name: str, array: np.ndarray, rows: int) -> None:
    if array.ndim < 1 or len(array) != rows:
        raise DecodingError(
            f"the state {name!r} has shape {array.shape}; its first axis must be the {rows} rows"
        )
