"""The TensorFlow face of ``pipelines.forecasting`` and ``pipelines.anomalies``."""

from __future__ import annotations

import tensorflow as tf

from pipelines.anomalies import HARMONICS
from pipelines.frequency import calendar_speeds
from pipelines.scaling import Scaler

Tensors = dict[str, tf.Tensor]


class ForecastGraph(tf.Module):
    """``encode``, ``decode`` and ``examples`` as TensorFlow ops."""

    def __init__(self, preprocessor) -> None:
        super().__init__()
        self._pre = preprocessor

    def encode(self, wire: Tensors) -> Tensors:
        """Wire inputs to core inputs."""
        pre = self._pre
        core = {"values": scaled(wire["values"], pre.scaler)}
        parts = [scaled(wire["known"], pre.known_scaler)] if pre.known else []
        if pre.calendar:
            steps = tf.constant(pre.steps * pre.frequency.seconds, tf.int64)
            parts.append(calendar(wire["time"][:, None] + steps, pre.calendar))
        if parts:
            core["known"] = tf.concat(parts, -1)
        return core

    def decode(self, core: Tensors) -> Tensors:
        """Core outputs to wire outputs."""
        pre, y = self._pre, core["forecast"]
        scaler = pre.scaler.first(len(pre.targets))
        center, scale = scaler.center[:, None], scaler.scale[:, None]
        return {
            "mean": y[..., 0] * scaler.scale + scaler.center,
            "quantiles": tf.sort(y[..., 1:], -1) * scale + center,
        }

    def examples(self, rows: Tensors) -> tuple[Tensors, tf.Tensor]:
        """Gathered rows to (core inputs, scaled future)."""
        scaler = self._pre.scaler.first(len(self._pre.targets))
        return self.encode(rows), scaled(rows["future"], scaler)


class AnomalyGraph(tf.Module):
    """``encode`` and ``decode`` as TensorFlow ops."""

    def __init__(self, preprocessor) -> None:
        super().__init__()
        self._pre = preprocessor

    def encode(self, wire: Tensors) -> Tensors:
        """Wire inputs to core inputs."""
        pre = self._pre
        values = scaled(wire["values"], pre.scaler)
        core = {"values": values}
        if pre.previous:
            core["previous"] = tf.concat([values[:, :1], values[:, :-1]], 1)
        if pre.calendar:
            core["calendar"] = calendar(wire["time"], pre.calendar, HARMONICS)
        return core

    def examples(self, rows: Tensors) -> tuple[Tensors, tf.Tensor]:
        """Gathered rows to (what the model sees, scaled rows); an autoencoder sees these."""
        core = self.encode({"values": rows["values"], "time": rows["times"]})
        values = core["values"]
        return ({k: v for k, v in core.items() if k != "values"} or core), values

    def decode(self, core: Tensors) -> Tensors:
        """Core outputs to wire outputs."""
        scaler = self._pre.scaler
        return {
            "score": core["score"],
            "anomaly": tf.cast(core["score"] >= 1, tf.int32),
            "expected": core["expected"] * scaler.scale + scaler.center,
        }


def scaled(x: tf.Tensor, scaler: Scaler) -> tf.Tensor:
    """``Scaler.apply``."""
    return (x - scaler.center) / scaler.scale


def calendar(times: tf.Tensor, names: tuple[str, ...], harmonics: int = 1) -> tf.Tensor:
    """``pipelines.frequency.calendar_features``."""
    periods, speeds = calendar_speeds(names, harmonics)
    within = tf.cast(tf.math.floormod(times[..., None], tf.constant(periods)), tf.float64)
    angles = within * tf.constant(speeds)
    return tf.cast(tf.concat([tf.sin(angles), tf.cos(angles)], -1), tf.float32)
