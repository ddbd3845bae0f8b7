"""``pipelines.forecasting`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.program_graph import GraphProgram, Tensors
from pipelines.series_graph import calendar, scaled
from pipelines.target_values import LARGEST, TargetValues


class ForecastGraph(GraphProgram):
    """``ForecastPreprocessor``, and ``examples`` of gathered windows."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self._pre = preprocessor

    def encode(self, request: Tensors) -> Tensors:
        """Scaled values, and what is known in advance."""
        pre = self._pre
        values, columns = request["values"], len(pre.targets)
        if pre.values.transform != "none":
            targets = forward(values[..., :columns], pre.values)
            values = tf.concat([targets, values[..., columns:]], -1)
        encoded = {"values": scaled(values, pre.scaler)}
        parts = [scaled(request["known"], pre.known_scaler)] if pre.known else []
        if pre.calendar:
            steps = tf.constant(pre.steps * pre.frequency.seconds, tf.int64)
            parts.append(calendar(request["time"][:, None] + steps, pre.calendar))
        if parts:
            encoded["known"] = tf.concat(parts, -1)
        return encoded

    def decode(self, outputs: Tensors) -> Tensors:
        """In the data's units, see ``ForecastPreprocessor.decode``."""
        pre, half = self._pre, len(self._pre.levels) // 2
        scaler = pre.scaler.first(len(pre.targets))
        center, scale = scaler.center[:, None], scaler.scale[:, None]
        mean = inverse(outputs["mean"][..., None] * scale + center, pre.values)
        quantiles = tf.sort(inverse(outputs["quantiles"] * scale + center, pre.values), -1)
        low = tf.minimum(quantiles[..., :half], mean)
        high = tf.maximum(quantiles[..., half + 1 :], mean)
        quantiles = tf.concat([low, quantiles[..., half : half + 1], high], -1)
        return {"mean": mean[..., 0], "quantiles": quantiles}

    def examples(self, rows: Tensors) -> tuple[Tensors, Tensors]:
        """Gathered rows to model inputs, and the scaled future for each output."""
        pre = self._pre
        future = forward(rows["future"], pre.values)
        future = scaled(future, pre.scaler.first(len(pre.targets)))
        return self.encode(rows), {"mean": future, "quantiles": future}


def forward(x: tf.Tensor, values: TargetValues) -> tf.Tensor:
    """``TargetValues.forward``."""
    if values.transform == "none":
        return x
    x = tf.maximum(x, tf.constant(values.floor, x.dtype))
    return tf.math.log(x) if values.transform == "log" else tf.math.log1p(x)


def inverse(y: tf.Tensor, values: TargetValues) -> tf.Tensor:
    """``TargetValues.inverse`` of ``[..., targets, levels]``."""
    if values.transform != "none":
        y = tf.minimum(y, tf.constant(LARGEST, y.dtype))
        y = tf.exp(y) if values.transform == "log" else tf.math.expm1(y)
    return tf.maximum(y, tf.constant(values.minimum, y.dtype)[:, None]) if values.minimum else y
