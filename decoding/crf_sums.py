"""Sums over all paths of a CRF: the forward-backward algorithm in NumPy, TensorFlow-free.

Probabilities are multiplied by the exponentials of the transitions, in float64 and normalised at
each step: a product of matrices in place of a logsumexp over all pairs of tags. Where a path that
is possible has become zero by that (scores some seven hundred apart), all is computed again by
logarithms. ``decoding.crf_sums_graph`` is the same as TensorFlow ops.
"""

from __future__ import annotations

import numpy as np

from decoding.crf import CrfScores

TINY = 1e-290  # below this a probability has lost digits, or all of them


def marginals(emissions: np.ndarray, lengths: np.ndarray, scores: CrfScores) -> np.ndarray:
    """The probability of each tag at each step, over all paths of its row.

    Args:
        emissions: ``<float>[batch, time, tags]``.
        lengths: ``<int>[batch]``.
        scores: of the chain.

    Returns:
        ``<float32>[batch, time, tags]``, zeros behind the end.
    """
    batch, time, _ = emissions.shape
    if not batch or not time:
        return np.zeros(emissions.shape, np.float32)
    inside = np.arange(time) < lengths[:, None]
    x = np.where(inside[..., None], emissions.astype(np.float64), 0)
    found = _by_products(x, lengths, inside, scores)
    if found is None:
        found = _by_logarithms(x, lengths, scores)
    return np.where(inside[..., None], found, 0).astype(np.float32)


def _reversal(lengths: np.ndarray, time: int) -> np.ndarray:
    """``<int>[batch, time]``: the steps of each row from its last to its first, then the rest."""
    steps = np.arange(time)
    return np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)


def _both_ways(x: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """``[batch, time, tags]`` and its reversed rows, as ``[time, 2, batch, tags]``."""
    reverse = np.take_along_axis(x, turned[..., None], 1)
    return np.stack([x, reverse]).transpose(2, 0, 1, 3)


def _back(states: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[time, 2, batch, tags]`` of ``_both_ways`` as two ``[batch, time, tags]``, in order."""
    forward, reverse = states.transpose(1, 2, 0, 3)
    return forward, np.take_along_axis(reverse, turned[..., None], 1)


def _by_products(
    x: np.ndarray, lengths: np.ndarray, inside: np.ndarray, scores: CrfScores
) -> np.ndarray | None:
    """``<float64>[batch, time, tags]``; None where a path was lost."""
    batch, time, tags = x.shape
    transitions = scores.transitions.astype(np.float64)
    pairs = np.exp(transitions - transitions.max())
    ends = [np.exp(one.astype(np.float64) - one.max()) for one in (scores.start, scores.end)]
    # One more row, without emissions: what is zero there no path reaches.
    factors = np.ones((batch + 1, time, tags))
    factors[:-1] = np.exp(x - x.max(-1, keepdims=True))
    turned = _reversal(np.append(lengths, time), time)
    steps, matrices = _both_ways(factors, turned), np.stack([pairs, pairs.T])
    reached = np.empty((time, 2, batch + 1, tags))
    reached[0] = np.stack(ends)[:, None]
    for t in range(1, time):
        state = reached[t - 1] * steps[t - 1]
        state /= np.maximum(state.sum(-1, keepdims=True), TINY)
        np.matmul(state, matrices, out=reached[t])
    forward, backward = _back(reached, turned)
    joint = forward * factors * backward
    total = joint.sum(-1, keepdims=True)
    state = forward * factors
    state /= np.maximum(state.sum(-1, keepdims=True), TINY)
    gone = (forward[-1:] > 0) & (state[:-1] < TINY) & inside[..., None]
    if gone.any() or (total[:-1, :, 0] < TINY)[inside].any():
        return None
    return joint[:-1] / np.maximum(total[:-1], TINY)


def _by_logarithms(x: np.ndarray, lengths: np.ndarray, scores: CrfScores) -> np.ndarray:
    """``<float64>[batch, time, tags]``: exact whatever the scores, and slow."""
    batch, time, tags = x.shape
    transitions = scores.transitions.astype(np.float64)
    turned = _reversal(lengths, time)
    steps, matrices = _both_ways(x, turned), np.stack([transitions, transitions.T])[:, None]
    reached = np.empty((time, 2, batch, tags))
    reached[0] = np.stack([scores.start, scores.end])[:, None]
    for t in range(1, time):
        sums = (reached[t - 1] + steps[t - 1])[..., None] + matrices
        most = sums.max(2)
        reached[t] = most + np.log(np.exp(sums - most[:, :, None]).sum(2))
    forward, backward = _back(reached, turned)
    joint = forward + x + backward
    shares = np.exp(joint - joint.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)
