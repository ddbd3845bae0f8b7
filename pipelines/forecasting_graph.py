"""``pipelines.forecasting`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.program_graph import GraphProgram, Tensors
from pipelines.series_graph import calendar, scaled


class ForecastGraph(GraphProgram):
    """``ForecastPreprocessor``, and ``examples`` of gathered windows."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self._pre = preprocessor

    def encode(self, request: Tensors) -> Tensors:
        """Scaled values, and what is known in advance."""
        pre = self._pre
        encoded = {"values": scaled(request["values"], pre.scaler)}
        parts = [scaled(request["known"], pre.known_scaler)] if pre.known else []
        if pre.calendar:
            steps = tf.constant(pre.steps * pre.frequency.seconds, tf.int64)
            parts.append(calendar(request["time"][:, None] + steps, pre.calendar))
        if parts:
            encoded["known"] = tf.concat(parts, -1)
        return encoded

    def decode(self, outputs: Tensors) -> Tensors:
        """In the data's units."""
        scaler = self._pre.scaler.first(len(self._pre.targets))
        center, scale = scaler.center[:, None], scaler.scale[:, None]
        return {
            "mean": outputs["mean"] * scaler.scale + scaler.center,
            "quantiles": tf.sort(outputs["quantiles"], -1) * scale + center,
        }

    def examples(self, rows: Tensors) -> tuple[Tensors, Tensors]:
        """Gathered rows to model inputs, and the scaled future for each output."""
        scaler = self._pre.scaler.first(len(self._pre.targets))
        future = scaled(rows["future"], scaler)
        return self.encode(rows), {"mean": future, "quantiles": future}
