"""``decoding.ctc`` and ``decoding.ctc_beam`` in TensorFlow ops, without a scorer.

Stock TensorFlow Serving runs it: no op outside of TensorFlow's own, and the width of the beam may
differ from request to request, which that of TensorFlow's ``CTCBeamSearchDecoder`` may not.
"""

from __future__ import annotations

import tensorflow as tf

from decoding.ctc import BLANK, NOTHING
from decoding.ctc_beam import FIRST_HASH, MULTIPLIER, NO_KEY, NO_PARENT

_HASH = tf.int64


def log_add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """``log(exp(a) + exp(b))``."""
    return tf.maximum(a, b) + tf.math.log1p(tf.exp(-tf.abs(a - b)))


def greedy(scores: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """See ``decoding.ctc.greedy``: symbols ``<int32>[batch, longest]`` and their number."""
    inside = tf.sequence_mask(lengths, tf.shape(scores)[1])
    each = tf.where(inside, tf.argmax(scores, -1, tf.int32), BLANK)
    before = tf.pad(each, [[0, 0], [1, 0]], constant_values=BLANK)[:, :-1]
    texts = tf.ragged.boolean_mask(each, (each != BLANK) & (each != before))
    return texts.to_tensor(BLANK), tf.cast(texts.row_lengths(), tf.int32)


def beam_search(
    scores: tf.Tensor, lengths: tf.Tensor, beam: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """See ``decoding.ctc_beam.beam_search``: symbols ``<int32>[batch, longest]`` and their number.

    Args:
        scores: ``<float32>[batch, steps, symbols]``.
        lengths: ``<int32>[batch]``.
        beam: ``<int32>[]``.
    """
    rows, steps, symbols = tf.unstack(tf.shape(scores))
    empty = tf.fill([rows, beam], NO_KEY)
    first = tf.one_hot(0, beam, on_value=True, off_value=False)[None]
    state = (
        tf.where(first, tf.zeros([rows, beam]), NOTHING),
        tf.fill([rows, beam], tf.constant(NOTHING)),
        tf.fill([rows, beam], -1),
        tf.where(first, tf.constant(FIRST_HASH, _HASH), tf.cast(empty, _HASH)),
        tf.where(
            first, tf.constant(0, _HASH), tf.fill([rows, beam], tf.constant(NO_PARENT, _HASH))
        ),
        tf.zeros([rows, beam, 0], tf.int32),
        tf.zeros([rows, beam], tf.int32),
    )

    def body(t: tf.Tensor, state: tuple) -> tuple:
        grown = _grown(scores[:, t], state, beam, symbols)
        inside = t < lengths
        old = (*state[:5], tf.pad(state[5], [[0, 0], [0, 0], [0, 1]]), state[6])
        return t + 1, tuple(
            tf.where(tf.reshape(inside, [-1] + [1] * (new.shape.rank - 1)), new, one)
            for new, one in zip(grown, old, strict=True)
        )

    shapes = tuple(tf.TensorShape([None] * one.shape.rank) for one in state)
    _, state = tf.while_loop(
        lambda t, _: t < tf.minimum(steps, tf.reduce_max(tf.concat([lengths, [0]], 0))),
        body, (tf.constant(0), state), shape_invariants=(tf.TensorShape([]), shapes),
    )  # fmt: skip
    top = tf.argmax(log_add(state[0], state[1]), 1, tf.int32)
    texts, counts = (tf.gather(one, top, batch_dims=1) for one in (state[5], state[6]))
    longest = tf.reduce_max(tf.concat([counts, [0]], 0))
    return texts[:, :longest], counts


def _grown(scores: tf.Tensor, state: tuple, beam: tf.Tensor, symbols: tf.Tensor) -> tuple:
    blank, other, last, key, parent, texts, length = state
    rows = tf.shape(scores)[0]
    total = log_add(blank, other)
    ending = tf.where(
        last >= 0, tf.gather(scores, tf.maximum(last, 0), batch_dims=1), tf.constant(NOTHING)
    )
    stay_blank, stay_other = total + scores[:, BLANK, None], other + ending
    repeated = tf.range(symbols)[None, None] == last[:, :, None]
    longer = tf.where(repeated, blank[:, :, None], total[:, :, None]) + scores[:, None]
    is_blank = tf.range(symbols)[None, None] == BLANK
    longer = tf.where(is_blank, tf.constant(NOTHING), longer)
    # [batch, child, parent]: a text is the other with its last symbol more.
    grown = (parent[:, :, None] == key[:, None]) & (length[:, :, None] > length[:, None])
    gained = tf.gather(longer, tf.maximum(last, 0), axis=2, batch_dims=1)  # (B, parent, child)
    gained = tf.where(grown, tf.transpose(gained, [0, 2, 1]), tf.constant(NOTHING))
    stay_other = log_add(stay_other, tf.reduce_max(gained, 2))
    mine = tf.one_hot(last, symbols, on_value=True, off_value=False)  # (B, child, symbols)
    used = tf.reduce_any(grown[:, :, :, None] & mine[:, :, None, :], 1)  # (B, parent, symbols)
    longer = tf.where(used, tf.constant(NOTHING), longer)
    rank = tf.concat([log_add(stay_blank, stay_other), tf.reshape(longer, [rows, -1])], 1)
    value, best = tf.math.top_k(rank, beam)
    dead = value <= NOTHING / 2
    best = tf.where(dead, 0, best)
    stays = best < beam
    source = tf.where(stays, best, (best - beam) // symbols)
    symbol = tf.where(stays, -1, (best - beam) % symbols)

    def of(array: tf.Tensor) -> tf.Tensor:
        return tf.gather(array, source, batch_dims=1)

    new = tf.gather(tf.reshape(longer, [rows, -1]), tf.maximum(best - beam, 0), batch_dims=1)
    texts = tf.pad(of(texts), [[0, 0], [0, 0], [0, 1]], constant_values=BLANK)
    here = tf.range(tf.shape(texts)[2])[None, None] == of(length)[:, :, None]
    texts = tf.where(here & ~stays[:, :, None], symbol[:, :, None], texts)
    grown_key = of(key) * MULTIPLIER + tf.cast(symbol, _HASH) + 1
    floor = tf.constant(NOTHING)
    return (
        tf.where(stays & ~dead, tf.maximum(of(stay_blank), floor), floor),
        tf.where(dead, floor, tf.maximum(tf.where(stays, of(stay_other), new), floor)),
        tf.where(stays, of(last), symbol),
        tf.where(dead, tf.constant(NO_KEY, _HASH), tf.where(stays, of(key), grown_key)),
        tf.where(dead, tf.constant(NO_PARENT, _HASH), tf.where(stays, of(parent), of(key))),
        texts,
        of(length) + tf.cast(~stays, tf.int32),
    )


class _TrellisGraph:
    """See ``decoding.ctc._Trellis``."""

    def __init__(self, scores: tf.Tensor, symbols: tf.Tensor, counts: tf.Tensor) -> None:
        self.counts, self.scores = counts, scores
        rows, width = tf.unstack(tf.shape(symbols))
        pairs = tf.stack([tf.zeros_like(symbols), symbols], 2)
        ends = tf.zeros([rows, 1], tf.int32)
        self.states = tf.concat([ends, tf.reshape(pairs, [rows, -1]), ends], 1)
        skipped = tf.pad(self.states, [[0, 0], [2, 0]])[:, :-2]
        self.may_skip = (self.states != BLANK) & (self.states != skipped)
        places = tf.range(2 * width + 2)[None]
        self.inside = (places > 0) & (places <= 2 * counts[:, None] + 1)

    def start(self) -> tf.Tensor:
        """Before the first step."""
        first = tf.range(tf.shape(self.states)[1])[None] == 0
        return tf.where(first, tf.zeros_like(self.states, tf.float32), tf.constant(NOTHING))

    def moves(self, alpha: tf.Tensor) -> tf.Tensor:
        """Of staying, coming from the one before and from two before: ``[3, batch, states]``."""

        def by(count: int) -> tf.Tensor:
            return tf.pad(alpha, [[0, 0], [count, 0]], constant_values=NOTHING)[:, :-count]

        return tf.stack([alpha, by(1), tf.where(self.may_skip, by(2), tf.constant(NOTHING))])

    def at(self, t: tf.Tensor) -> tf.Tensor:
        """Scores of the symbols of the states at a step."""
        found = tf.gather(self.scores[:, t], self.states, batch_dims=1)
        return tf.where(self.inside, found, tf.constant(NOTHING))

    def ends(self, alpha: tf.Tensor) -> tf.Tensor:
        """Of the states in which a text may end: ``[2, batch]``."""
        places = tf.stack([2 * self.counts, 2 * self.counts + 1], 1)
        return tf.transpose(tf.gather(alpha, places, batch_dims=1))


def log_likelihood(
    scores: tf.Tensor, lengths: tf.Tensor, symbols: tf.Tensor, counts: tf.Tensor
) -> tf.Tensor:
    """See ``decoding.ctc.log_likelihood``."""
    trellis = _TrellisGraph(scores, symbols, counts)

    def body(t: tf.Tensor, alpha: tf.Tensor) -> tuple:
        grown = tf.reduce_logsumexp(trellis.moves(alpha), 0) + trellis.at(t)
        grown = tf.maximum(grown, NOTHING)
        return t + 1, tf.where((t < lengths)[:, None], grown, alpha)

    _, alpha = tf.while_loop(
        lambda t, _: t < tf.shape(scores)[1], body, (tf.constant(0), trellis.start()),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
    )  # fmt: skip
    return tf.reduce_logsumexp(trellis.ends(alpha), 0)


def align(
    scores: tf.Tensor, lengths: tf.Tensor, symbols: tf.Tensor, counts: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """See ``decoding.ctc.align``."""
    trellis = _TrellisGraph(scores, symbols, counts)
    steps = tf.shape(scores)[1]

    def forward(t: tf.Tensor, alpha: tf.Tensor, choices: tf.TensorArray) -> tuple:
        moves = trellis.moves(alpha)
        choice = tf.argmax(moves, 0, tf.int32)
        grown = tf.maximum(tf.reduce_max(moves, 0) + trellis.at(t), NOTHING)
        inside = (t < lengths)[:, None]
        choices = choices.write(t, tf.where(inside, choice, 0))
        return t + 1, tf.where(inside, grown, alpha), choices

    array = tf.TensorArray(tf.int32, steps, element_shape=[None, None], infer_shape=False)
    _, alpha, choices = tf.while_loop(
        lambda t, *_: t < steps, forward, (tf.constant(0), trellis.start(), array),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None]), None),
    )  # fmt: skip
    place = 2 * counts + tf.argmax(trellis.ends(alpha), 0, tf.int32)
    width = tf.range(tf.shape(symbols)[1])[None]

    def backward(
        t: tf.Tensor, place: tf.Tensor, first: tf.Tensor, last: tf.Tensor, seen: tf.Tensor
    ) -> tuple:
        on = (t < lengths) & (place % 2 == 0) & (place > 0)
        here = (width == (place // 2 - 1)[:, None]) & on[:, None]
        last = tf.where(here & ~seen, t, last)
        first = tf.where(here, t, first)
        moved = place - tf.gather(choices.read(t), place, batch_dims=1)
        return t - 1, moved, first, last, seen | here

    zero = tf.zeros_like(symbols)
    _, _, first, last, _ = tf.while_loop(
        lambda t, *_: t >= 0, backward,
        (steps - 1, place, zero, zero, tf.zeros_like(symbols, tf.bool)),
    )  # fmt: skip
    return first, last
