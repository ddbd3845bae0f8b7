"""``pipelines.anomaly_detection`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.anomaly_watch_graph import advanced, watched
from pipelines.frequency import HARMONICS
from pipelines.program import NEXT
from pipelines.program_graph import GraphCores, GraphProgram, Tensors
from pipelines.series_graph import calendar, scaled


class AnomalyGraph(GraphProgram):
    """``AnomalyPreprocessor``, and ``examples`` of gathered windows."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self._pre = preprocessor

    def encode(self, request: Tensors) -> Tensors:
        """Scaled values, the rows before, the time."""
        pre = self._pre
        values = scaled(request["values"], pre.scaler)
        encoded = {"values": values}
        if pre.previous:
            encoded["previous"] = tf.concat([values[:, :1], values[:, :-1]], 1)
        if pre.calendar:
            encoded["calendar"] = calendar(request["time"], pre.calendar, HARMONICS)
        return {**encoded, "rows": values} if pre.watch else encoded

    def examples(self, rows: Tensors) -> tuple[Tensors, Tensors]:
        """Gathered rows to what the model sees, and the scaled rows for each of its outputs."""
        encoded = self.encode({"values": rows["values"], "time": rows["times"]})
        values = encoded["values"]
        if not self._pre.previous:
            return {"values": values}, {"rebuilt": values}
        seen = {name: x for name, x in encoded.items() if name != "values"}
        return seen, {"next": values, "usual": values}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """The model's scores, then the watch's."""
        outputs, watch = super().execute(cores, encoded), self._pre.watch
        if watch is None:
            return outputs
        parts = outputs["parts"] if watch.columns else None
        found, alarm, blamed = watched(watch, outputs["score"], outputs["rows"], parts)
        return {
            "expected": outputs["expected"], "score": tf.reduce_max(found, -1), "alarm": alarm,
            "contribution": blamed,
        }  # fmt: skip

    def decode(self, outputs: Tensors) -> Tensors:
        """Scores of one and more are anomalies; ``expected`` in the data's units."""
        scaler = self._pre.scaler
        return {
            "score": outputs["score"],
            "anomaly": tf.cast(outputs["score"] >= 1, tf.int32),
            **{name: outputs[name] for name in self._pre.watched},
            "expected": outputs["expected"] * scaler.scale + scaler.center,
        }


class AnomalyStepGraph(AnomalyGraph):
    """``AnomalyStep``."""

    cores = ("step",)

    def encode(self, request: Tensors) -> Tensors:
        """The row, the row before, the time; and what is to be remembered."""
        pre, values = self._pre, request["values"]
        before = tf.where(request["seen"][:, None] > 0, request["previous"], values)
        encoded = {
            "values": scaled(values, pre.scaler),
            "previous": scaled(before, pre.scaler),
            "previous_next": values,
            "seen_next": tf.ones_like(request["seen"]),
        }
        if pre.calendar:
            encoded["calendar"] = calendar(request["time"], pre.calendar, HARMONICS)
        if pre.watch is None:
            return encoded
        kept = {name: request[name] for name in (*pre.watch.memory, "seen")}
        return {**encoded, **kept, "rows": encoded["values"], "before": encoded["previous"]}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """The model's scores, then the watch's; and what that remembers."""
        outputs, watch = GraphProgram.execute(self, cores, encoded), self._pre.watch
        if watch is None:
            return outputs
        row = {**outputs, "scores": outputs["score"], "row": outputs["rows"]}
        states = {name: outputs[name] for name in watch.memory}
        found, alarm, blamed, states = advanced(watch, states, row)
        following = {f"{name}{NEXT}": tensor for name, tensor in states.items()}
        told = {"score": tf.reduce_max(found, -1), "alarm": alarm, "contribution": blamed}
        return {**outputs, **following, **told}
