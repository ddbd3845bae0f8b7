"""Sums over all paths of a CRF, as TensorFlow ops: the forward-backward algorithm.

Sources: Rabiner 1989; Lafferty et al. 2001. Both directions run in one loop over time, the backward
one on reversed rows. The loop multiplies probabilities by the exponentials of the transitions, in
float64 and normalised at each step: a product of matrices in place of a logsumexp over all pairs.
Where a path that is possible has become zero by that (scores some seven hundred apart), all is
computed again by logarithms.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from decoding.crf import CrfScores

# Below this a probability has lost digits, or all of them.
TINY = 1e-290


class Chain(NamedTuple):
    """Scores of a chain in float64, forbidden ones included.

    Attributes:
        transitions: ``<float64>[tags, tags]``.
        start: ``<float64>[tags]``.
        end: ``<float64>[tags]``.
    """

    transitions: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor

    @classmethod
    def of(cls, scores: CrfScores) -> Chain:
        """Scores in any precision, arrays or tensors."""
        return cls(
            *(tf.cast(x, tf.float64) for x in (scores.transitions, scores.start, scores.end))
        )


class Expected(NamedTuple):
    """What the forward-backward algorithm gives.

    Attributes:
        log_z: ``<float64>[batch]``.
        marginals: ``<float64>[batch, time, tags]``, zeros behind the end.
        before: ``<float64>[batch, time - 1, tags]`` and
        after: likewise: how often a pair of tags is expected at a step is
            ``before[i] * pairs[i, j] * after[j]``.
        pairs: ``<float64>[tags, tags]``.
    """

    log_z: tf.Tensor
    marginals: tf.Tensor
    before: tf.Tensor
    after: tf.Tensor
    pairs: tf.Tensor


def forward_backward(x: tf.Tensor, lengths: tf.Tensor, chain: Chain):
    """Marginals, log partition, and a function of row weights to expected transitions.

    Args:
        x: emissions ``<float64>[batch, time, tags]``.
        lengths: ``<int32>[batch]``.
        chain: scores.

    Returns:
        marginals ``<float64>[batch, time, tags]``; log partition ``<float64>[batch]``;
        ``weights <float64>[batch] -> <float64>[tags, tags]``.
    """
    tags = tf.shape(x)[2]
    # One step at least: the loops begin with it.
    x = tf.pad(x, [[0, 0], [0, tf.maximum(1 - tf.shape(x)[1], 0)], [0, 0]])
    time = tf.shape(x)[1]
    inside = tf.sequence_mask(lengths, time)
    x = tf.where(inside[..., None], x, 0.0)
    fast, lost = _by_products(x, lengths, inside, chain)
    found = Expected(
        *tf.cond(lost, lambda: _by_logarithms(x, lengths, inside, chain), lambda: fast)
    )

    def counts(weights: tf.Tensor) -> tf.Tensor:
        def joined() -> tf.Tensor:
            before = tf.reshape(found.before, [-1, tags])
            after = tf.reshape(found.after * weights[:, None, None], [-1, tags])
            return found.pairs * tf.matmul(before, after, transpose_a=True)

        return tf.cond(lost, lambda: _pairs_by_logarithms(found, chain, weights), joined)

    return found.marginals, found.log_z, counts


def _both_ways(x: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """``[batch, time, tags]`` and its reversed rows, as ``[time, 2, batch, tags]``."""
    reverse = tf.reverse_sequence(x, lengths, seq_axis=1, batch_axis=0)
    return tf.transpose(tf.stack([x, reverse]), [2, 0, 1, 3])


def _back(states: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """``[time, 2, batch, tags]`` of ``_both_ways`` as two ``[batch, time, tags]``, in order."""
    forward, reverse = tf.unstack(tf.transpose(states, [1, 2, 0, 3]), num=2)
    return forward, tf.reverse_sequence(reverse, lengths, seq_axis=1, batch_axis=0)


def _by_products(
    x: tf.Tensor, lengths: tf.Tensor, inside: tf.Tensor, chain: Chain
) -> tuple[Expected, tf.Tensor]:
    """The algorithm on probabilities, and whether it lost a path."""
    most = tf.reduce_max(x, -1, keepdims=True)
    shift = tf.reduce_max(chain.transitions)
    shifts = [tf.reduce_max(chain.start), tf.reduce_max(chain.end)]
    pairs = tf.exp(chain.transitions - shift)
    # One more row, without emissions: what is zero there no path reaches.
    factors = tf.pad(tf.exp(x - most), [[0, 1], [0, 0], [0, 0]], constant_values=1.0)
    sizes = tf.concat([lengths, [tf.shape(x)[1]]], 0)
    steps = _both_ways(factors, sizes)
    matrices = tf.stack([pairs, tf.transpose(pairs)])
    first = tf.stack([tf.exp(chain.start - shifts[0]), tf.exp(chain.end - shifts[1])])
    first = tf.broadcast_to(first[:, None], tf.shape(steps)[1:])
    reached = _loop(steps, first, lambda state: tf.matmul(state, matrices))
    forward, backward = _back(reached, sizes)
    before, after = forward * factors, backward * factors  # α, and β with the step's own emission
    sums = tf.reduce_sum(before, -1)  # (B + 1, T)
    before = before / _nonzero(sums)[..., None]
    after = after / _nonzero(tf.reduce_sum(after, -1))[..., None]
    joint = forward * factors * backward
    total = tf.reduce_sum(joint, -1)
    marginals = joint / _nonzero(total)[..., None]
    # Row sums, put together, are the partition function.
    past_end = tf.reduce_sum(
        before * tf.exp(chain.end - shifts[1]), -1
    )  # (B + 1, T): what ends at each step
    moved = tf.reduce_sum(forward[:, 1:] * after[:, 1:], -1)  # of the pair before each step
    lost = _lost(forward, factors, before, total, inside, moved)
    rows = slice(0, -1)
    is_last = tf.one_hot(lengths - 1, tf.shape(x)[1], dtype=x.dtype)
    log_sums = tf.where(inside, tf.math.log(_nonzero(sums[rows])) + most[..., 0] + shift, 0.0)
    ended = tf.reduce_sum(is_last * tf.math.log(_nonzero(past_end[rows])), -1) + shifts[1]
    log_z = tf.reduce_sum(log_sums, -1) + ended + shifts[0] - shift
    pair_inside = tf.cast(inside[:, 1:], x.dtype)[..., None]
    found = Expected(
        tf.where(lengths > 0, log_z, 0.0),
        tf.where(inside[..., None], marginals[rows], 0.0),
        before[rows, :-1] * pair_inside,
        after[rows, 1:] * pair_inside / _nonzero(moved[rows])[..., None],
        pairs,
    )
    return found, lost


def _nonzero(x: tf.Tensor) -> tf.Tensor:
    return tf.where(x > 0, x, 1.0)


def _lost(
    forward: tf.Tensor,
    factors: tf.Tensor,
    before: tf.Tensor,
    total: tf.Tensor,
    inside: tf.Tensor,
    moved: tf.Tensor,
) -> tf.Tensor:
    """Whether a path became nothing, or so little that digits are gone."""
    possible = forward[-1:] > 0  # (1, T, N)
    gone = possible & (before[:-1] < TINY) & inside[..., None]
    thin = (total[:-1] < TINY) & inside
    apart = (moved[:-1] < TINY) & inside[:, 1:]
    return tf.reduce_any(gone) | tf.reduce_any(thin) | tf.reduce_any(apart)


def _loop(steps: tf.Tensor, first: tf.Tensor, product) -> tf.Tensor:
    """``state -> product(state) * step``, normalised; what each step was reached with.

    Args:
        steps: ``<float64>[time, 2, batch, tags]``.
        first: ``[2, batch, tags]``, reached before the first step.
        product: one move along the chain.
    """
    time = tf.shape(steps)[0]
    read = tf.TensorArray(steps.dtype, time).unstack(steps)
    write = tf.TensorArray(steps.dtype, time).write(0, first)

    def body(t, reached, out):
        state = reached * read.read(t - 1)
        state = tf.math.divide_no_nan(state, tf.reduce_sum(state, -1, keepdims=True))
        reached = product(state)
        return t + 1, reached, out.write(t, reached)

    _, _, out = tf.while_loop(
        lambda t, *_: t < time, body, (1, first, write), parallel_iterations=1
    )
    return out.stack()


def _by_logarithms(x: tf.Tensor, lengths: tf.Tensor, inside: tf.Tensor, chain: Chain) -> Expected:
    """The algorithm on logarithms: exact whatever the scores, and slow."""
    steps = _both_ways(x, lengths)
    matrices = tf.stack([chain.transitions, tf.transpose(chain.transitions)])[:, None]
    first = tf.stack([chain.start, chain.end])[:, None]
    first = tf.broadcast_to(first, tf.shape(steps)[1:])
    time = tf.shape(x)[1]
    read = tf.TensorArray(x.dtype, time).unstack(steps)
    write = tf.TensorArray(x.dtype, time).write(0, first)

    def body(t, reached, out):
        state = reached + read.read(t - 1)
        reached = tf.reduce_logsumexp(state[..., None] + matrices, 2)
        return t + 1, reached, out.write(t, reached)

    _, _, out = tf.while_loop(
        lambda t, *_: t < time, body, (1, first, write), parallel_iterations=1
    )
    forward, backward = _back(out.stack(), lengths)
    joint = forward + x + backward
    log_z = tf.reduce_logsumexp(joint, -1)[:, 0]
    marginals = tf.where(inside[..., None], tf.nn.softmax(joint), 0.0)
    # Here the pairs are sums of logarithms: see _pairs_by_logarithms.
    outside = tf.where(inside[:, 1:], 0.0, float("-inf"))[..., None]
    before = (forward + x)[:, :-1]
    after = (backward + x)[:, 1:] + tf.cast(outside, x.dtype) - log_z[:, None, None]
    return Expected(
        tf.where(lengths > 0, log_z, 0.0), marginals, before, after, tf.exp(chain.transitions)
    )


def _pairs_by_logarithms(found: Expected, chain: Chain, weights: tf.Tensor) -> tf.Tensor:
    """Expected transitions, step by step: all pairs of all steps would take too much memory."""
    before, after = (tf.transpose(one, [1, 0, 2]) for one in (found.before, found.after))
    steps = tf.shape(before)[0]

    def body(t, total):
        pairs = tf.exp(before[t][:, :, None] + chain.transitions + after[t][:, None, :])
        return t + 1, total + tf.reduce_sum(pairs * weights[:, None, None], 0)

    _, total = tf.while_loop(
        lambda t, _: t < steps, body, (0, tf.zeros_like(chain.transitions)), parallel_iterations=1
    )
    return total


def marginals(emissions: tf.Tensor, lengths: tf.Tensor, scores: CrfScores) -> tf.Tensor:
    """See ``decoding.crf_sums.marginals``."""
    found, _, _ = forward_backward(tf.cast(emissions, tf.float64), lengths, Chain.of(scores))
    return tf.cast(found[:, : tf.shape(emissions)[1]], tf.float32)
