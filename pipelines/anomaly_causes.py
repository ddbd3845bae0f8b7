"""Which columns an anomaly is in, from what each of them contributes to the score of its row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAX_CAUSES = 5  # columns that are named
AS_MUCH = 0.5  # of the largest share: a column with less is not named beside it


def shares(contribution: np.ndarray) -> np.ndarray:
    """Contributions ``<float32>[..., columns]`` as shares of their sum; zeros of rows of zeros.

    >>> shares(np.array([[3.0, 1.0], [0.0, 0.0]])).tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    total = np.sum(contribution, -1, keepdims=True)
    return np.divide(contribution, total, out=np.zeros_like(contribution), where=total > 0)


def causes(share: np.ndarray, columns: Sequence[str]) -> dict[str, float]:
    """The columns to blame for one row, the first one most, with their shares.

    Args:
        share: of each column, ``<float>[columns]``.
        columns: their names.

    Returns:
        The column with the largest share and those that have at least half as much, five at most;
        none where no column contributes.

    >>> causes(np.array([0.1, 0.5, 0.4]), ("a", "b", "c"))
    {'b': 0.5, 'c': 0.4}
    """
    order = np.argsort(-share, kind="stable")[:MAX_CAUSES]
    least = max(AS_MUCH * share[order[0]], 1e-9)
    return {columns[c]: round(float(share[c]), 4) for c in order if share[c] >= least}
