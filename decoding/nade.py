"""Sets of notes drawn one after the other, each by those below it: the NumPy implementation.

A neural autoregressive distribution estimator (Larochelle and Murray 2011) has for the i-th of D
binary units

    p(v_i = 1 | v_1 ... v_{i-1}) = sigmoid(b_i + V_i . sigmoid(c + sum_{j < i} v_j W_j)).

In an RNN-NADE (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392) a recurrent network gives b and
c at each step of time. ``decoding.nade_graph`` is the same in TensorFlow ops and draws the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from decoding.sampling import uniforms
from decoding.stepping import TINY


@dataclass(frozen=True)
class NadeWeights:
    """The weights that do not change from step to step.

    Attributes:
        reading: W, ``<float32>[units, hidden]``: what a unit that is on adds to those after it.
        writing: V, ``<float32>[units, hidden]``.
    """

    reading: np.ndarray
    writing: np.ndarray


class DrawnUnits(NamedTuple):
    """What was drawn.

    Attributes:
        units: ``<float32>[rows, units]``, 0 or 1.
        probabilities: ``<float32>[rows, units]``, of each unit by the model, given those drawn
            before it.
        log_probabilities: ``<float32>[rows]``, of all units together by the model.
    """

    units: np.ndarray
    probabilities: np.ndarray
    log_probabilities: np.ndarray


def draw_units(
    bias: np.ndarray,
    hidden: np.ndarray | None,
    weights: NadeWeights | None,
    seeds: np.ndarray,
    positions: np.ndarray,
    temperature: np.ndarray,
) -> DrawnUnits:
    """Draws units by random numbers that follow from seed and position.

    Args:
        bias: b, ``<float32>[rows, units]``; without weights the units are independent, and this
            is all of them.
        hidden: c, ``<float32>[rows, hidden]``; None without weights.
        weights: of the estimator; None for units that are independent of each other.
        seeds: ``<int64>[rows]``.
        positions: ``<int64>[rows]``, 0 and up: of the set among those drawn with a seed.
        temperature: ``<float32>[rows]``, by which the scores of units are divided; at 0 a unit is
            on where that is more likely than not.
    """
    rows, count = bias.shape
    # In float64, so that the rounding of two implementations hardly ever decides about a unit.
    scores = bias.astype(np.float64)
    sampled = temperature >= TINY
    divisor = np.where(sampled, temperature, 1).astype(np.float64)
    places = positions[:, None] * count + np.arange(count)
    chances = uniforms(np.repeat(seeds, count), places.reshape(-1))
    chances = chances.reshape(rows, count).astype(np.float64)

    def chosen(score: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """Which units are on, ``<bool>[..., rows]``."""
        return np.where(sampled, chance < _sigmoid(score / divisor), score > 0)

    if weights is None:
        units = chosen(scores.T, chances.T).T.astype(np.float64)
    else:
        units = np.zeros((rows, count))
        reading, writing = (w.astype(np.float64) for w in (weights.reading, weights.writing))
        before = hidden.astype(np.float64)
        for i in range(count):
            scores[:, i] += _sigmoid(before) @ writing[i]
            units[:, i] = chosen(scores[:, i], chances[:, i])
            before = before + units[:, i, None] * reading[i]
    with np.errstate(invalid="ignore"):  # states that a client sends may be NaN
        each = units * scores - np.logaddexp(0.0, scores)
    found = (units, _sigmoid(scores), each.sum(1))
    return DrawnUnits(*(array.astype(np.float32) for array in found))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)
