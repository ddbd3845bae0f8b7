"""The TensorFlow face of ``pipelines.anomaly_detection``."""

from __future__ import annotations

import tensorflow as tf

from pipelines.frequency import HARMONICS
from pipelines.series_graph import Tensors, calendar, scaled


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
