"""``pipelines.anomaly_watch`` as TensorFlow ops."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pipelines.anomaly_watch import (
    GOES_ON,
    LEAST_CHANGE,
    LEVEL_RATE,
    LONG_AGO,
    STILL_RATE,
    STILLEST,
    TINY,
    UNREST,
    UNREST_RATE,
    Watch,
)
from pipelines.program_graph import Tensors


def advanced(
    watch: Watch, states: Tensors, row: Tensors
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Tensors]:
    """``Watch.advance``."""
    found, squares, following = _witnesses(watch, states, row)
    hot, was_open = found >= 1, states["open"] > 0
    on = tf.logical_or(hot, tf.logical_and(was_open, found >= GOES_ON))
    quiet, since = float(watch.quiet), states["since"]
    following["open"] = tf.where(on, quiet, tf.maximum(states["open"] - 1, 0.0))
    wait = np.where(watch.lagging, max(watch.quiet, UNREST), watch.quiet).astype(np.float32)
    free = tf.logical_or((since == 0)[:, None], since[:, None] > wait)
    opens = tf.logical_and(tf.logical_and(hot, tf.logical_not(was_open)), free)
    alarm = tf.reduce_any(opens, 1)
    counted = tf.logical_or(opens, tf.logical_not(alarm)[:, None])
    cause = tf.reduce_sum(squares * tf.cast(counted, tf.float32)[..., None], 1)
    share = cause / tf.maximum(tf.reduce_sum(cause, -1, keepdims=True), TINY)
    blamed = tf.reduce_max(found, -1, keepdims=True) * share
    later = tf.where(since == 0, since, tf.minimum(since + 1, LONG_AGO))
    following["since"] = tf.where(alarm, 1.0, later)
    return found, tf.cast(alarm, tf.int32), blamed, following


def _witnesses(watch: Watch, states: Tensors, row: Tensors) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
    scores, columns = row["scores"], watch.columns
    shape = [tf.shape(scores)[0], watch.expectations, columns]
    parts = tf.reshape(row["parts"], shape) if columns else tf.zeros(shape)
    if not watch.unit:
        return scores, parts, {}
    values, first = row["row"], (row["seen"] == 0)[:, None]
    usual = tf.maximum(tf.constant(watch.change, tf.float32), LEAST_CHANGE)
    level = tf.where(first, values, states["level"])
    away = (values - level) / tf.constant(watch.unit, tf.float32)
    step = tf.abs(values - row["before"])
    change = tf.where(first, usual, states["change"])
    change = change + STILL_RATE * (step - change)
    restless = parts[:, 0] / tf.maximum(scores[:, :1], TINY) if columns else scores[:, 0]
    unrest = states["unrest"] + UNREST_RATE * (restless - states["unrest"])
    less = tf.math.log(usual / tf.maximum(change, usual * STILLEST))
    less = tf.maximum(less, 0.0) / watch.still
    away, total = tf.square(away), tf.reduce_sum(unrest, -1) if columns else unrest
    stillest = tf.reduce_max(less, -1)
    mine = [tf.sqrt(tf.reduce_mean(away, -1)), total / watch.unrest, stillest]
    if columns:
        part = (less / tf.maximum(stillest[:, None], TINY)) ** 8
        every = tf.maximum(tf.reduce_sum(part, -1, keepdims=True), 1.0)
        squares = [
            away / columns,
            total[:, None] * unrest / watch.unrest**2,
            tf.square(stillest)[:, None] * part / every,
        ]
        parts = tf.concat([parts, tf.stack(squares, 1)], 1)
    else:
        parts = tf.zeros([tf.shape(scores)[0], watch.witnesses, 0])
    level = level + LEVEL_RATE * (values - level)
    found = tf.concat([scores, tf.stack(mine, -1)], -1)
    return found, parts, {"level": level, "change": change, "unrest": unrest}


def watched(
    watch: Watch, scores: tf.Tensor, rows: tf.Tensor, parts: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """``Watch.over``."""
    given = [scores, rows] if parts is None else [scores, rows, parts]
    scores, rows, *parts = (tf.transpose(x, (1, 0, 2)) for x in given)  # time first
    time, series = tf.shape(scores)[0], tf.shape(scores)[1]
    states = {name: tf.zeros([series, *size]) for name, size in watch.memory.items()}
    names = sorted(states)
    # A row of nothing comes first, without which a series of no rows has no shape.
    found = tf.TensorArray(tf.float32, time + 1).write(0, tf.zeros([series, watch.witnesses]))
    alarms = tf.TensorArray(tf.int32, time + 1).write(0, tf.zeros([series], tf.int32))
    blamed = tf.TensorArray(tf.float32, time + 1).write(0, tf.zeros([series, watch.columns]))

    def one_row(t, found, alarms, blamed, *values):
        row = {
            "scores": scores[t], "row": rows[t], "before": rows[tf.maximum(t - 1, 0)],
            "seen": tf.fill([series], tf.cast(tf.minimum(t, 1), tf.float32)),
        }  # fmt: skip
        if parts:
            row["parts"] = parts[0][t]
        states = dict(zip(names, values, strict=True))
        mine, alarm, blame, following = advanced(watch, states, row)
        told = [found.write(t + 1, mine), alarms.write(t + 1, alarm), blamed.write(t + 1, blame)]
        return t + 1, *told, *(following[name] for name in names)

    shapes = [tf.TensorShape([None, *watch.memory[name]]) for name in names]
    scalar = tf.TensorShape([])
    _, found, alarms, blamed, *_ = tf.while_loop(
        lambda t, *_: t < time,
        one_row,
        (0, found, alarms, blamed, *(states[name] for name in names)),
        shape_invariants=(scalar, scalar, scalar, scalar, *shapes),
        parallel_iterations=1,
    )
    found, blamed = (tf.transpose(x.stack()[1:], (1, 0, 2)) for x in (found, blamed))
    return found, tf.transpose(alarms.stack()[1:], (1, 0)), blamed
