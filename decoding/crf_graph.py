"""``decoding.crf`` as TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from decoding.crf import FORBIDDEN, CrfScores


def _hard(scores: CrfScores) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """See ``decoding.crf._hard``."""
    parts = (scores.transitions, scores.start, scores.end)
    parts = [tf.cast(one, tf.float64) for one in parts]
    return tuple(tf.where(one > FORBIDDEN / 2, one, float("-inf")) for one in parts)


def viterbi(emissions: tf.Tensor, lengths: tf.Tensor, scores: CrfScores) -> tf.Tensor:
    """See ``decoding.crf.viterbi``."""
    shape = tf.shape(emissions)
    batch, time, tags = shape[0], shape[1], shape[2]
    transitions, start, end = _hard(scores)
    order = tf.argsort(-lengths, stable=True)
    longest = tf.reduce_max(tf.concat([lengths, [0]], 0))
    # Rows that reach each step, and none behind the last.
    active = tf.reduce_sum(tf.cast(lengths > tf.range(longest + 1)[:, None], tf.int32), 1)
    best = _best_scores(_steps(tf.gather(emissions, order)), active, longest, transitions, start)
    # A row's last step is followed by the row of the table that holds the end.
    incoming = tf.concat([tf.transpose(transitions), end[None]], 0)
    # One more step, so that there is something to stack where no row has any.
    paths = tf.TensorArray(tf.int32, longest + 1, element_shape=[None])
    paths = paths.write(longest, tf.zeros([batch], tf.int32))

    def backward(t, current, paths):
        begun = tf.fill([active[t] - active[t + 1]], tags)
        ways = best.read(t) + tf.gather(incoming, tf.concat([current, begun], 0))
        current = tf.argmax(ways, -1, output_type=tf.int32)
        return t - 1, current, paths.write(t, tf.pad(current, [[0, batch - active[t]]]))

    _, _, paths = tf.while_loop(
        lambda t, *_: t >= 0,
        backward,
        (longest - 1, tf.zeros([0], tf.int32), paths),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None]), None),
        parallel_iterations=1,
    )
    found = tf.pad(tf.transpose(paths.stack()[:longest]), [[0, 0], [0, time - longest]])
    return tf.gather(found, tf.argsort(order))


def _best_scores(
    x: tf.Tensor, active: tf.Tensor, longest: tf.Tensor, transitions: tf.Tensor, start: tf.Tensor
) -> tf.TensorArray:
    """Of the best way to each tag, ``<float64>[active, tags]`` at each step."""
    shape = tf.TensorShape([None, x.shape[2]])
    best = tf.TensorArray(tf.float64, longest + 1, infer_shape=False, element_shape=shape)
    first = (x[0] + start)[: active[0]]
    best = best.write(0, first)

    def forward(t, reached, best):
        ways = reached[: active[t], :, None] + transitions  # (B, from, to)
        reached = tf.reduce_max(ways, 1) + x[t, : active[t]]
        return t + 1, reached, best.write(t, reached)

    _, _, best = tf.while_loop(
        lambda t, *_: t < longest,
        forward,
        (1, first, best),
        shape_invariants=(tf.TensorShape([]), shape, None),
        parallel_iterations=1,
    )
    return best


def k_best(
    emissions: tf.Tensor, lengths: tf.Tensor, scores: CrfScores, k: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """See ``decoding.crf.k_best``."""
    shape = tf.shape(emissions)
    batch, time = shape[0], shape[1]
    tags = emissions.shape[2] or shape[2]
    x = _steps(emissions)
    transitions, start, end = _hard(scores)
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
    inside = tf.expand_dims(tf.sequence_mask(lengths, time), 1)
    inside &= tf.expand_dims(tf.math.is_finite(totals), 2)
    return tf.where(inside, paths[..., :time], 0), totals


def _steps(emissions: tf.Tensor) -> tf.Tensor:
    """``<float64>[time, batch, tags]``, two steps at least: a scan over none has no result."""
    missing = tf.maximum(2 - tf.shape(emissions)[1], 0)
    x = tf.pad(tf.cast(emissions, tf.float64), [[0, 0], [0, missing], [0, 0]])
    return tf.transpose(x, [1, 0, 2])
