"""Sets of notes drawn one after the other in TensorFlow ops: the twin of ``decoding.nade``."""

from __future__ import annotations

from collections.abc import Callable

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
    scores = tf.cast(bias, tf.float64)
    sampled = temperature >= TINY
    divisor = tf.cast(tf.where(sampled, temperature, 1.0), tf.float64)
    places = positions[:, None] * count + tf.range(count, dtype=positions.dtype)
    chances = uniforms(tf.repeat(seeds, count), tf.reshape(places, [-1]))
    chances = tf.cast(tf.reshape(chances, [-1, count]), tf.float64)

    def chosen(score: tf.Tensor, chance: tf.Tensor) -> tf.Tensor:
        on = tf.where(sampled, chance < _sigmoid(score / divisor), score > 0)
        return tf.cast(on, tf.float64)

    if weights is None:
        units = tf.transpose(chosen(tf.transpose(scores), tf.transpose(chances)))
    else:
        scores, units = _one_by_one(scores, hidden, weights, chances, chosen)
    each = units * scores - tf.math.softplus(scores)
    found = (units, _sigmoid(scores), tf.reduce_sum(each, 1))
    return DrawnUnits(*(tf.cast(tensor, tf.float32) for tensor in found))


def _one_by_one(
    bias: tf.Tensor,
    hidden: tf.Tensor,
    weights: NadeWeights,
    chances: tf.Tensor,
    chosen: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores and units, each by those before it."""
    reading, writing = (tf.constant(w, tf.float64) for w in (weights.reading, weights.writing))

    def body(i: tf.Tensor, before: tf.Tensor, scores: tf.Tensor, units: tf.Tensor) -> tuple:
        score = bias[:, i] + tf.linalg.matvec(_sigmoid(before), writing[i])
        on = chosen(score, chances[:, i])
        place = tf.one_hot(i, bias.shape[1], dtype=tf.float64)
        before += on[:, None] * reading[i]
        return i + 1, before, scores + score[:, None] * place, units + on[:, None] * place

    start = (tf.constant(0), tf.cast(hidden, tf.float64), tf.zeros_like(bias), tf.zeros_like(bias))
    _, _, scores, units = tf.while_loop(lambda i, *_: i < bias.shape[1], body, start)
    return scores, units


def _sigmoid(x: tf.Tensor) -> tf.Tensor:
    return 0.5 + 0.5 * tf.tanh(0.5 * x)
