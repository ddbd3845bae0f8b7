"""``decoding.prefill`` as TensorFlow ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from decoding.stepping_graph import States, Step, call_step, check_start, row_shape


def prefill(
    step: Step, ids: tf.Tensor, lengths: tf.Tensor, states: Mapping[str, Any]
) -> tuple[tf.Tensor, States]:
    """As ``decoding.prefill.prefill``."""
    lengths = tf.cast(lengths, tf.int32)
    last = tf.gather(ids, lengths - 1, batch_dims=1)
    _, kept = check_start(last, states)

    def body(position: tf.Tensor, kept: States) -> tuple[tf.Tensor, States]:
        _, changed = call_step(step, ids[:, position], kept)
        reads = lengths - 1 > position

        def chosen(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
            ones = tf.ones([tf.rank(new) - 1], tf.int32)
            return tf.where(tf.reshape(reads, tf.concat([tf.shape(reads), ones], 0)), new, old)

        changed = {name: chosen(state, kept[name]) for name, state in changed.items()}
        return position + 1, {**kept, **changed}

    shapes = {name: row_shape(state) for name, state in kept.items()}
    _, kept = tf.while_loop(
        lambda position, _: position < tf.reduce_max(lengths) - 1,
        body,
        (tf.constant(0), dict(kept)),
        shape_invariants=(tf.TensorShape([]), shapes),
    )
    return last, kept
