"""Scaling and calendar features of series as TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from pipelines.frequency import calendar_speeds
from pipelines.scaling import Scaler


def scaled(x: tf.Tensor, scaler: Scaler) -> tf.Tensor:
    """``Scaler.apply``."""
    return (x - scaler.center) / scaler.scale


def calendar(times: tf.Tensor, names: tuple[str, ...], harmonics: int = 1) -> tf.Tensor:
    """``pipelines.frequency.calendar_features``."""
    periods, speeds = calendar_speeds(names, harmonics)
    within = tf.cast(tf.math.floormod(times[..., None], tf.constant(periods)), tf.float64)
    angles = within * tf.constant(speeds)
    return tf.cast(tf.concat([tf.sin(angles), tf.cos(angles)], -1), tf.float32)
