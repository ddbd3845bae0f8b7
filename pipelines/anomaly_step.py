"""The program of anomaly detection that takes a series row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipelines.program import NEXT, Cores, Program, run_core
from pipelines.ragged import Arrays


class AnomalyStep(Program):
    """One row of several series; the row before is remembered among the states.

    Args:
        preprocessor: that of whole series, an ``AnomalyPreprocessor``.
    """

    cores = ("step",)
    stateful = True

    def __init__(self, preprocessor: Any) -> None:
        self.preprocessor = preprocessor
        watch = preprocessor.watch
        self.memory = {
            "previous": (len(preprocessor.columns),), "seen": (), **(watch.memory if watch else {})
        }  # fmt: skip

    @property
    def signature(self) -> dict[str, Any]:
        """That of whole series, without the time axis."""
        return {
            side: {
                name: {**spec, "shape": [spec["shape"][0], *spec["shape"][2:]]}
                for name, spec in specs.items()
            }
            for side, specs in self.preprocessor.signature.items()
        }

    def encode(self, request: Arrays) -> Arrays:
        """``values [rows, columns]``, the row before, the time; and what is to be remembered."""
        whole = self.preprocessor
        series = {name: request[name][:, None] for name in whole.signature["inputs"]}
        encoded = {name: x[:, 0] for name, x in whole.encode(series).items()}
        values = request["values"]
        before = np.where(request["seen"][:, None] > 0, request["previous"], values)
        encoded |= {
            "previous": whole.scaler.apply(before),
            "previous_next": values,
            "seen_next": np.ones(len(values), np.float32),
        }
        if whole.watch is None:
            return encoded
        # The watch's memory, under names that the model does not take.
        kept = {name: request[name] for name in (*whole.watch.memory, "seen")}
        return {**encoded, **kept, "before": encoded["previous"]}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """The model's scores, then the watch's; and what that remembers."""
        outputs, watch = run_core(cores["step"], encoded), self.preprocessor.watch
        if watch is None:
            return outputs
        row = {**outputs, "scores": outputs["score"], "row": outputs["rows"]}
        states = {name: outputs[name] for name in watch.memory}
        found, alarm, blamed, states = watch.advance(states, row)
        following = {f"{name}{NEXT}": array for name, array in states.items()}
        told = {"score": found.max(-1), "alarm": alarm, "contribution": blamed}
        return {**outputs, **following, **told}

    def decode(self, outputs: Arrays) -> Arrays:
        """As of whole series."""
        return self.preprocessor.decode(outputs)

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """The rows of a series, one after the other."""
        names = self.signature["inputs"]
        for t in range(request["values"].shape[1]):
            yield {name: request[name][:, t] for name in names}

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.anomaly_detection_graph import AnomalyStepGraph

        return AnomalyStepGraph(self.preprocessor)
