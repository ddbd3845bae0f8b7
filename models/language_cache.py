"""A neural cache: what a text has said lately, by how alike the states were in which it said it.

Grave et al. 2017, arXiv:1612.04426: the distribution of the model is mixed with one over the units
that followed the last hidden states, each weighed by how alike it is to the present state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class ReadWindow(NamedTuple):
    """One window of a text as a language model read it, in the order of the text.

    Attributes:
        log_probabilities: of the units that follow, by the model alone, ``<float32>[time]``.
        hidden: what the model's scores were made of, ``<float32>[time, width]``.
        following: the units that follow, ``<int32>[time]``.
    """

    log_probabilities: np.ndarray
    hidden: np.ndarray
    following: np.ndarray


def cache_nats(
    windows: Iterable[ReadWindow], size: int, thetas: Sequence[float], shares: Sequence[float]
) -> np.ndarray:
    """Negative log-likelihood of a text by the model and its cache, for several settings at once.

    A unit ``w`` after the state ``h`` has ``(1 - share) p(w) + share c(w)``, where ``c(w)`` is the
    sum of ``exp(theta h . k)`` of those of the last ``size`` states ``k`` that ``w`` followed,
    divided by that of all of them. Before there is any, it has ``p(w)``.

    Args:
        windows: all of the text; no more of them than one is held.
        size: greatest number of states in the cache.
        thetas: how much likeness counts; 0: all alike.
        shares: weights of the cache in the mixture (the paper's lambda).

    Returns:
        ``<float64>[thetas, shares]``.
    """
    total = np.zeros((len(thetas), len(shares)))
    keys, units = None, np.zeros(0, np.int32)
    # The logarithm of nothing: a unit that the cache has not; NaN: an empty cache.
    with np.errstate(divide="ignore", invalid="ignore"):
        own, others = np.log1p(-np.array(shares)), np.log(np.array(shares, float))
        for window in windows:
            keys = window.hidden if keys is None else np.concatenate([keys, window.hidden])
            units = np.concatenate([units, window.following])
            plain = window.log_probabilities.astype(np.float64)
            for i, cached in enumerate(_cached(window, keys, units, size, thetas)):
                mixed = np.logaddexp(plain[:, None] + own, cached[:, None] + others)
                mixed = np.where(np.isnan(cached)[:, None], plain[:, None], mixed)
                total[i] -= mixed.sum(0)
            keys, units = keys[-size:], units[-size:]
    return total


def _cached(
    window: ReadWindow, keys: np.ndarray, units: np.ndarray, size: int, thetas: Sequence[float]
) -> Iterable[np.ndarray]:
    """For each theta the log-probability of what follows by the cache alone ``<float64>[time]``;
    NaN where the cache is empty.

    Args:
        window: whose states and units are the last of ``keys`` and ``units``.
        keys: the states so far ``<float32>[n, width]``.
        units: those that followed them ``<int32>[n]``.
        size: greatest number of states in the cache.
        thetas: see ``cache_nats``.
    """
    likeness = window.hidden @ keys.T  # (T, N + T)
    places = np.arange(len(keys))
    present = places[len(keys) - len(window.hidden) :, None]
    inside = (places < present) & (places >= present - size)
    same = inside & (units == window.following[:, None])
    filled = inside.any(1)
    for theta in thetas:
        scores = np.where(inside, theta * likeness, -np.inf)
        scores -= np.where(filled, scores.max(1), 0)[:, None]
        weights = np.exp(scores)
        shares = (weights * same).sum(1, dtype=np.float64)
        every = weights.sum(1, dtype=np.float64)
        yield np.where(filled, np.log(shares) - np.log(np.where(filled, every, 1)), np.nan)
