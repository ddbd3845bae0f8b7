"""The TensorFlow face of ``pipelines.forecasting``."""

from __future__ import annotations

import tensorflow as tf

from pipelines.series_graph import Tensors, calendar, scaled


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
