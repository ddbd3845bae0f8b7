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
    UNREST,
    UNREST_RATE,
    Watch,
)
from pipelines.program_graph import Tensors


def advanced(watch: Watch, states: Tensors, row: Tensors) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
    """``Watch.advance``."""
    found, following = _witnesses(watch, states, row)
    hot, was_open = found >= 1, states["open"] > 0
    on = tf.logical_or(hot, tf.logical_and(was_open, found >= GOES_ON))
    quiet, since = float(watch.quiet), states["since"]
    following["open"] = tf.where(on, quiet, tf.maximum(states["open"] - 1, 0.0))
    wait = np.where(watch.lagging, max(watch.quiet, UNREST), watch.quiet).astype(np.float32)
    free = tf.logical_or((since == 0)[:, None], since[:, None] > wait)
    opens = tf.logical_and(tf.logical_and(hot, tf.logical_not(was_open)), free)
    alarm = tf.reduce_any(opens, 1)
    later = tf.where(since == 0, since, tf.minimum(since + 1, LONG_AGO))
    following["since"] = tf.where(alarm, 1.0, later)
    return found, tf.cast(alarm, tf.int32), following


def _witnesses(watch: Watch, states: Tensors, row: Tensors) -> tuple[tf.Tensor, Tensors]:
    scores = row["scores"]
    if not watch.unit:
        return scores, {}
    values, first = row["row"], (row["seen"] == 0)[:, None]
    usual = tf.maximum(tf.constant(watch.change, tf.float32), LEAST_CHANGE)
    level = tf.where(first, values, states["level"])
    away = (values - level) / tf.constant(watch.unit, tf.float32)
    step = tf.abs(values - row["before"])
    change = tf.where(first, usual, states["change"])
    change = change + STILL_RATE * (step - change)
    unrest = states["unrest"] + UNREST_RATE * (scores[:, 0] - states["unrest"])
    less = tf.math.log(usual / tf.maximum(change, usual * STILLEST))
    mine = [
        tf.sqrt(tf.reduce_mean(tf.square(away), -1)),
        unrest / watch.unrest,
        tf.maximum(tf.reduce_max(less, -1), 0.0) / watch.still,
    ]
    level = level + LEVEL_RATE * (values - level)
    found = tf.concat([scores, tf.stack(mine, -1)], -1)
    return found, {"level": level, "change": change, "unrest": unrest}


def watched(watch: Watch, scores: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """``Watch.over``."""
    scores, rows = tf.transpose(scores, (1, 0, 2)), tf.transpose(rows, (1, 0, 2))  # time first
    time, series = tf.shape(scores)[0], tf.shape(scores)[1]
    states = {name: tf.zeros([series, *size]) for name, size in watch.memory.items()}
    names = sorted(states)
    # A row of nothing comes first, without which a series of no rows has no shape.
    found = tf.TensorArray(tf.float32, time + 1).write(0, tf.zeros([series, watch.witnesses]))
    alarms = tf.TensorArray(tf.int32, time + 1).write(0, tf.zeros([series], tf.int32))

    def one_row(t, found, alarms, *values):
        row = {
            "scores": scores[t], "row": rows[t], "before": rows[tf.maximum(t - 1, 0)],
            "seen": tf.fill([series], tf.cast(tf.minimum(t, 1), tf.float32)),
        }  # fmt: skip
        mine, alarm, following = advanced(watch, dict(zip(names, values, strict=True)), row)
        following = [following[name] for name in names]
        return t + 1, found.write(t + 1, mine), alarms.write(t + 1, alarm), *following

    shapes = [tf.TensorShape([None, *watch.memory[name]]) for name in names]
    scalar = tf.TensorShape([])
    _, found, alarms, *_ = tf.while_loop(
        lambda t, *_: t < time,
        one_row,
        (0, found, alarms, *(states[name] for name in names)),
        shape_invariants=(scalar, scalar, scalar, *shapes),
        parallel_iterations=1,
    )
    return tf.transpose(found.stack()[1:], (1, 0, 2)), tf.transpose(alarms.stack()[1:], (1, 0))
