"""The logarithm of a path's probability under a CRF, with its gradient worked out by hand.

The gradient is what a path has, less what the forward-backward algorithm expects: of the emissions
the marginals, of the transitions how often each is taken. Loss and gradient together cost one pass
over the steps of a row, in both directions at once.
"""

from __future__ import annotations

import tensorflow as tf

from decoding.crf import CrfScores
from decoding.crf_sums_graph import Chain, forward_backward


@tf.custom_gradient
def log_likelihood(
    emissions: tf.Tensor,
    tags: tf.Tensor,
    lengths: tf.Tensor,
    transitions: tf.Tensor,
    start: tf.Tensor,
    end: tf.Tensor,
):
    """Score of a path of each row, less ``log sum exp`` of the scores of all.

    Args:
        emissions: ``<float32>[batch, time, tags]``.
        tags: ``<int32>[batch, time]``, from 0; whatever behind the end.
        lengths: ``<int32>[batch]``, from 0 to time.
        transitions: ``<float32>[tags, tags]``; forbidden ones far below all others.
        start: ``<float32>[tags]``.
        end: ``<float32>[tags]``.

    Returns:
        ``<float32>[batch]``, computed in float64: 0 for a row of length 0.

    Raises:
        NotImplementedError: where a gradient of the gradient is asked for.
    """
    chain = Chain.of(CrfScores(transitions, start, end))
    x = tf.cast(emissions, tf.float64)
    marginals, log_z, counts = forward_backward(x, lengths, chain)
    time, size = tf.shape(x)[1], tf.shape(x)[2]
    marginals = marginals[:, :time]  # forward_backward has one step at least
    inside = tf.sequence_mask(lengths, time)
    # One-hot rows of zeros where there is no tag; likewise for the number of each pair.
    taken = tf.one_hot(tf.where(inside, tags, -1), size, dtype=tf.float64)  # (B, T, N)
    pairs = tf.where(inside[:, 1:], tags[:, :-1] * size + tags[:, 1:], -1)  # (B, T - 1)
    last = tf.one_hot(lengths - 1, time, dtype=tf.float64)  # (B, T)
    moves = tf.gather(tf.reshape(chain.transitions, [-1]), tf.maximum(pairs, 0))
    moves = tf.reduce_sum(tf.where(pairs >= 0, moves, 0.0), 1)
    mine = tf.reduce_sum(taken * tf.where(inside[..., None], x, 0.0), [1, 2]) + moves
    mine += tf.linalg.matvec(tf.reduce_sum(taken[:, :1], 1), chain.start)
    mine += tf.linalg.matvec(tf.einsum("btn,bt->bn", taken, last), chain.end)

    def gradient(upstream):
        weight = tf.cast(upstream, tf.float64)  # (B,)
        each = (taken - marginals) * weight[:, None, None]
        weights = tf.broadcast_to(weight[:, None], tf.shape(pairs))
        seen = tf.math.unsorted_segment_sum(weights, pairs, size * size)
        by = (
            each,
            tf.reshape(seen, [size, size]) - counts(weight),
            tf.reduce_sum(each[:, :1], [0, 1]),
            tf.einsum("btn,bt->n", each, last),
        )
        given = (emissions, transitions, start, end)
        found = [_once(tf.cast(g, one.dtype)) for g, one in zip(by, given, strict=True)]
        return found[0], None, None, *found[1:]

    return tf.cast(mine - log_z, emissions.dtype), gradient


@tf.custom_gradient
def _once(tensor: tf.Tensor):
    """A gradient that says so where somebody wants the gradient of it."""

    def second(_):
        raise NotImplementedError(
            "the CRF's log likelihood has no second derivatives; take those of the marginals"
        )

    return tf.identity(tensor), second
