"""``decoding.crf`` as TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from decoding.crf import CrfScores


def viterbi(emissions: tf.Tensor, lengths: tf.Tensor, scores: CrfScores) -> tf.Tensor:
    """See ``decoding.crf.viterbi``."""
    shape = tf.shape(emissions)
    batch, time, tags = shape[0], shape[1], shape[2]
    x = tf.transpose(tf.cast(emissions, tf.float64), [1, 0, 2])  # (T, B, N)
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

    first = tf.concat([x, tf.zeros([1, batch, tags], tf.float64)], 0)[0] + start
    none = tf.broadcast_to(tf.range(tags), tf.stack([batch, tags]))
    best, back = tf.scan(forward, tf.range(1, tf.maximum(time, 1)), (first, none))
    last = tf.argmax(
        tf.concat([tf.expand_dims(first, 0), best], 0)[-1] + end, -1, output_type=tf.int32
    )

    def backward(current, pointers):
        return tf.gather(pointers, current, batch_dims=1)

    earlier = tf.scan(backward, back, last, reverse=True)
    paths = tf.transpose(tf.concat([earlier, tf.expand_dims(last, 0)], 0))[:, :time]
    return tf.where(tf.sequence_mask(lengths, time), paths, 0)
