"""Sets of notes drawn one after the other in TensorFlow ops: the twin of ``decoding.nade``."""

from __future__ import annotations

import tensorflow as tf

from decoding.nade import DrawnUnits, NadeWeights
from decoding.sampling_graph import uniforms
from decoding.stepping import TINY


def draw_units(
    bias: tf.Tensor,
    hidden: tf.Tensor | None,
    weights: NadeWeights | None,
    seeds: tf.Tensor,
    positions: tf.Tensor,
    temperature: tf.Tensor,
) -> DrawnUnits:
    """As ``decoding.nade.draw_units``; the number of units must be known."""
    count = bias.shape[1]
    bias = tf.cast(bias, tf.float64)
    sampled = temperature >= TINY
    divisor = tf.cast(tf.where(sampled, temperature, 1.0), tf.float64)
    if weights is not None:
        reading, writing = (tf.constant(w, tf.float64) for w in (weights.reading, weights.writing))
        before = tf.cast(hidden, tf.float64)
    places = positions[:, None] * count + tf.range(count, dtype=positions.dtype)
    chances = uniforms(tf.repeat(seeds, count), tf.reshape(places, [-1]))
    chances = tf.cast(tf.reshape(chances, [-1, count]), tf.float64)
    units, scores = [], []
    for i in range(count):
        score = bias[:, i]
        if weights is not None:
            score += tf.linalg.matvec(_sigmoid(before), writing[i])
        on = tf.where(sampled, chances[:, i] < _sigmoid(score / divisor), score > 0)
        on = tf.cast(on, tf.float64)
        units.append(on)
        scores.append(score)
        if weights is not None:
            before += on[:, None] * reading[i]
    drawn, score = tf.stack(units, 1), tf.stack(scores, 1)
    each = drawn * score - tf.math.softplus(score)
    found = (drawn, _sigmoid(score), tf.reduce_sum(each, 1))
    return DrawnUnits(*(tf.cast(tensor, tf.float32) for tensor in found))


def _sigmoid(x: tf.Tensor) -> tf.Tensor:
    return 0.5 + 0.5 * tf.tanh(0.5 * x)
