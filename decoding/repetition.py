"""Repetition penalty: ids that a sequence has already lose probability. NumPy, no TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

MAX_PENALTY = 100.0


def penalised(log_probabilities: np.ndarray, seen: np.ndarray, penalty: Any) -> np.ndarray:
    """Log-probabilities, those of ids that were seen multiplied by the penalty.

    The penalty of Keskar et al. 2019, "CTRL" (arXiv:1909.05858, section 4.1), in the form that it
    takes for scores that are never above 0. They are not normalised again: ``decoding.choose`` does
    that when it draws.

    Args:
        log_probabilities: ``<float32>[rows, vocabulary]``; left as they are.
        seen: ``<bool>[rows, vocabulary]``: ids of the prompt and ids that were written.
        penalty: number or ``<float>[rows]``; 1 changes nothing, more makes repeats less probable.

    Returns:
        ``<float32>[rows, vocabulary]``.
    """
    factors = np.broadcast_to(np.asarray(penalty, np.float32), len(log_probabilities))
    return np.where(seen, log_probabilities * factors[:, None], log_probabilities)
