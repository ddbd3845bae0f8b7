"""``decoding.prefill`` as TensorFlow ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from decoding.stepping import DecodingError
from decoding.stepping_graph import States, Step, call_step, check_start, require, row_shape


def prefill(
    step: Step, ids: tf.Tensor, lengths: tf.Tensor, states: Mapping[str, Any]
) -> tuple[tf.Tensor, States]:
    """As ``decoding.prefill.prefill``."""
    ids, lengths = tf.convert_to_tensor(ids), tf.convert_to_tensor(lengths)
    if not (ids.shape.rank == 2 and ids.dtype.is_integer):
        raise DecodingError("beginnings must be integers [rows, time]")
    if not (lengths.shape.rank == 1 and lengths.dtype.is_integer):
        raise DecodingError("lengths must be integers [rows]")
    rows, time = tf.unstack(tf.shape(ids))
    require(tf.shape(lengths)[0] == rows, "lengths must be one for each of the beginnings")
    wide = tf.cast(lengths, tf.int64)
    require(
        tf.reduce_all((wide >= 1) & (wide <= tf.cast(time, tf.int64))),
        "lengths must be from 1 to the longest beginning",
    )
    # Clipped, so that what is out of range fails with the sentence above.
    lengths = tf.cast(tf.clip_by_value(wide, 1, tf.cast(tf.maximum(time, 1), tf.int64)), tf.int32)
    last, kept = check_start(tf.gather(ids, lengths - 1, batch_dims=1), states)
    ids = tf.cast(ids, tf.int32)
    longest = tf.maximum(tf.reduce_max(lengths), 1)  # the maximum of no rows is negative

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
        lambda position, _: position < longest - 1,
        body,
        (tf.constant(0), dict(kept)),
        shape_invariants=(tf.TensorShape([]), shapes),
    )
    return last, kept
