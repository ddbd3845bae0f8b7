"""Which columns an anomaly is in, from what each of them contributes to the score of its row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

AS_MUCH = 0.5  # of the largest share: a column with less is not named beside it


def shares(contribution: np.ndarray) -> np.ndarray:
    """Contributions ``<float>[..., columns]`` as shares of their sum; zeros of rows of zeros.

    >>> shares(np.array([[3.0, 1.0], [0.0, 0.0]])).tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    total = np.sum(contribution, -1, keepdims=True)
    return np.divide(contribution, total, out=np.zeros_like(contribution), where=total > 0)


def causing(share: np.ndarray) -> np.ndarray:
    """The columns to blame: the one with the largest share, and those with at least half of it.

    >>> causing(np.array([[0.1, 0.5, 0.4], [0.0, 0.0, 0.0]])).tolist()
    [[False, True, True], [False, False, False]]

    Args:
        share: ``<float>[..., columns]``.

    Returns:
        ``<bool>[..., columns]``.
    """
    return (share > 0) & (share >= AS_MUCH * np.max(share, -1, keepdims=True))


def causes(share: np.ndarray, columns: Sequence[str]) -> dict[str, float]:
    """The columns to blame for one row with their shares, the one with the largest share first.

    >>> causes(np.array([0.1, 0.4, 0.5]), ("a", "b", "c"))
    {'c': 0.5, 'b': 0.4}

    Args:
        share: of each column, ``<float>[columns]``.
        columns: their names.
    """
    order = np.argsort(-share, kind="stable")
    blamed = causing(share)
    return {columns[c]: round(float(share[c]), 4) for c in order if blamed[c]}
