"""The logarithm of a CRF's partition function, with its gradient worked out by hand.

The gradient is what the forward-backward algorithm gives: by the emissions the marginals, by the
transitions how often each is expected. Loss and gradient cost as many steps as a row has.
"""

from __future__ import annotations

import tensorflow as tf

from decoding.crf import CrfScores
from decoding.crf_sums_graph import Chain, forward_backward


@tf.custom_gradient
def log_partition(
    emissions: tf.Tensor,
    lengths: tf.Tensor,
    transitions: tf.Tensor,
    start: tf.Tensor,
    end: tf.Tensor,
):
    """``log sum exp`` of the scores of all paths of each row.

    Args:
        emissions: ``<float32>[batch, time, tags]``.
        lengths: ``<int32>[batch]``, from 0 to time.
        transitions: ``<float32>[tags, tags]``; forbidden ones far below all others.
        start: ``<float32>[tags]``.
        end: ``<float32>[tags]``.

    Returns:
        ``<float32>[batch]``, 0 for a row of length 0.
    """
    chain = Chain.of(CrfScores(transitions, start, end))
    x = tf.cast(emissions, tf.float64)
    marginals, log_z, counts = forward_backward(x, lengths, chain)

    def gradient(upstream):
        weight = tf.cast(upstream, tf.float64)  # (B,)
        each = marginals * weight[:, None, None]
        last = tf.one_hot(lengths - 1, tf.shape(x)[1], dtype=tf.float64)
        by = (
            each,
            counts(weight),
            tf.reduce_sum(each[:, :1], [0, 1]),
            tf.einsum("btn,bt->n", each, last),
        )
        given = (emissions, transitions, start, end)
        found = [tf.cast(g, one.dtype) for g, one in zip(by, given, strict=True)]
        return found[0], None, *found[1:]

    return tf.cast(log_z, emissions.dtype), _once(gradient)


def _once(gradient):
    """A gradient that says so where somebody wants the gradient of it."""

    @tf.custom_gradient
    def refuse(tensor):
        def second(_):
            raise NotImplementedError(
                "the CRF's log partition has no second derivatives; take those of the marginals"
            )

        return tf.identity(tensor), second

    def first(upstream):
        return tuple(None if g is None else refuse(g) for g in gradient(upstream))

    return first
