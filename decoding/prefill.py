"""Steps over given beginnings, so that a search can go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from decoding.stepping import DecodingError, States, Step, call_step, check_start, take_rows


def prefill(
    step: Step, ids: Any, lengths: Any, states: Mapping[str, Any]
) -> tuple[np.ndarray, States]:
    """Reads the beginning of each row.

    Args:
        step: ``step(ids, states) -> (log_probabilities, states)``, see ``decoding.stepping``.
        ids: ``<int>[rows, time]``, the beginnings, right-padded.
        lengths: ``<int>[rows]``, ids of each, one or more.
        states: arrays ``[rows, ...]`` that the first step is given.

    Returns:
        The last id of each beginning ``<int32>[rows]``, which a search gives to its first step, and
        the states after the ids before it.

    Raises:
        DecodingError: if shapes do not agree or a beginning is empty.
    """
    ids, lengths = np.asarray(ids), np.asarray(lengths)
    if ids.ndim != 2 or lengths.shape != ids.shape[:1]:
        raise DecodingError(
            f"beginnings have shape {ids.shape} and lengths {lengths.shape}; they must be "
            "[rows, time] and [rows]"
        )
    for name, array in (("beginnings", ids), ("lengths", lengths)):
        if array.size and array.dtype.kind not in "iu":
            raise DecodingError(f"{name} have type {array.dtype}; they must be integers")
    if lengths.size and not 1 <= lengths.min() <= lengths.max() <= ids.shape[1]:
        raise DecodingError(f"lengths must be from 1 to {ids.shape[1]}, the longest beginning")
    lengths = lengths.astype(np.int32)
    last, _ = check_start(ids[np.arange(len(ids)), lengths - 1], states)
    ids = ids.astype(np.int32)
    kept = {name: np.array(state) for name, state in states.items()}
    for position in range(lengths.max(initial=1) - 1):
        rows = np.flatnonzero(lengths - 1 > position)
        _, changed = call_step(step, ids[rows, position], take_rows(kept, rows))
        for name, state in changed.items():
            kept[name][rows] = state
    return last, kept
