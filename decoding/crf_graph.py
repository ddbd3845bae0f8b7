"""``decoding.crf`` as TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from decoding.crf import FORBIDDEN, CrfScores


def viterbi(emissions: tf.Tensor, lengths: tf.Tensor, scores: CrfScores) -> tf.Tensor:
    """See ``decoding.crf.viterbi``."""
    shape = tf.shape(emissions)
    batch, time, tags = shape[0], shape[1], shape[2]
    x = _steps(emissions)
    incoming = tf.transpose(tf.cast(scores.transitions, tf.float64))
    start, end = tf.cast(scores.start, tf.float64), tf.cast(scores.end, tf.float64)

    def forward(carried, t):
        best, _ = carried
        reached = tf.expand_dims(best, 1) + incoming  # (B, to, from)
        choice = tf.argmax(reached, -1, output_type=tf.int32)
        moved = tf.reduce_max(reached, -1) + x[t]
        inside = tf.expand_dims(lengths > t, 1)
        same = tf.broadcast_to(tf.range(tags), tf.shape(choice))
        return tf.where(inside, moved, best), tf.where(inside, choice, same)

    none = tf.broadcast_to(tf.range(tags), tf.stack([batch, tags]))
    best, back = tf.scan(forward, tf.range(1, tf.shape(x)[0]), (x[0] + start, none))
    last = tf.argmax(best[-1] + end, -1, output_type=tf.int32)

    def backward(current, pointers):
        return tf.gather(pointers, current, batch_dims=1)

    earlier = tf.scan(backward, back, last, reverse=True)
    paths = tf.transpose(tf.concat([earlier, tf.expand_dims(last, 0)], 0))[:, :time]
    return tf.where(tf.sequence_mask(lengths, time), paths, 0)


def k_best(
    emissions: tf.Tensor, lengths: tf.Tensor, scores: CrfScores, k: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """See ``decoding.crf.k_best``."""
    shape = tf.shape(emissions)
    batch, time = shape[0], shape[1]
    tags = emissions.shape[2] or shape[2]
    x = _steps(emissions)
    transitions = tf.cast(scores.transitions, tf.float64)
    start, end = tf.cast(scores.start, tf.float64), tf.cast(scores.end, tf.float64)
    ways = tf.reshape(tf.range(k * tags), [1, k, tags])

    def forward(carried, t):
        best, _ = carried
        reached = tf.expand_dims(best, 3) + transitions  # (B, k, from, to)
        reached = tf.reshape(reached, [batch, k * tags, tags])
        moved, choice = tf.math.top_k(tf.transpose(reached, [0, 2, 1]), k)
        moved = tf.transpose(moved, [0, 2, 1]) + tf.expand_dims(x[t], 1)
        inside = tf.reshape(lengths > t, [-1, 1, 1])
        back = tf.where(inside, tf.transpose(choice, [0, 2, 1]), ways)
        return tf.where(inside, moved, best), back

    none = tf.fill([batch, k - 1, tags], tf.constant(float("-inf"), tf.float64))
    first = tf.concat([tf.expand_dims(x[0] + start, 1), none], 1)
    initial = first, tf.broadcast_to(ways, [batch, k, tags])
    best, back = tf.scan(forward, tf.range(1, tf.shape(x)[0]), initial)
    totals, last = tf.math.top_k(tf.reshape(best[-1] + end, [batch, k * tags]), k)

    def backward(current, pointers):
        return tf.gather(tf.reshape(pointers, [batch, k * tags]), current, batch_dims=1)

    earlier = tf.scan(backward, back, last, reverse=True)
    paths = tf.transpose(tf.concat([earlier, tf.expand_dims(last, 0)], 0), [1, 2, 0]) % tags
    only = tf.one_hot(0, k, on_value=0.0, off_value=float("-inf"), dtype=tf.float64)
    totals = tf.where(tf.expand_dims(lengths > 0, 1), totals, only)
    totals = tf.where(totals > FORBIDDEN / 2, totals, tf.constant(float("-inf"), tf.float64))
    inside = tf.expand_dims(tf.sequence_mask(lengths, time), 1)
    inside &= tf.expand_dims(tf.math.is_finite(totals), 2)
    return tf.where(inside, paths[..., :time], 0), totals


def _steps(emissions: tf.Tensor) -> tf.Tensor:
    """``<float64>[time, batch, tags]``, two steps at least: a scan over none has no result."""
    missing = tf.maximum(2 - tf.shape(emissions)[1], 0)
    x = tf.pad(tf.cast(emissions, tf.float64), [[0, 0], [0, missing], [0, 0]])
    return tf.transpose(x, [1, 0, 2])
