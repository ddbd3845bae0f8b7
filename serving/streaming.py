"""Rows as they come in: one in, one answer out, the state carried. No TensorFlow."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.preprocessor import Arrays, load_preprocessor
from serving.bundle import read_manifest
from serving.errors import ServingError
from serving.predictor import Predictor
from serving.steps import NEXT, StepModel


class RowModel:
    """``step.onnx`` with its preprocessor: rows of several series to wire outputs.

    Args:
        directory: such as ``BUNDLE/onnx/1``.
        threads: of ONNX Runtime; its own choice unless told.

    Attributes:
        signature: inputs and outputs as a server shows them; states are among both, the next ones
            under ``<name>_next``.

    Raises:
        ServingError: the model has no steps.
    """

    def __init__(self, directory: str | Path, threads: int | None = None) -> None:
        directory = Path(directory)
        self.preprocessor = load_preprocessor(directory)
        if not hasattr(self.preprocessor, "encode_row"):
            raise ServingError(f"{directory}: this kind of model does not go row by row")
        self.model = StepModel(directory / "step.onnx", threads)
        whole = self.preprocessor.signature
        states = {
            name: {"dtype": "float32", "shape": [-1, *array.shape[1:]]}
            for name, array in self.initial(1).items()
        }
        self.signature = {
            "inputs": {**_without_time(whole["inputs"]), **states},
            "outputs": {
                **_without_time(whole["outputs"]),
                **{f"{name}{NEXT}": spec for name, spec in states.items()},
            },
        }

    def initial(self, rows: int) -> Arrays:
        """The states before the first row of each of so many series."""
        return {**self.model.initial(rows), **self.preprocessor.first_memory(rows)}

    def step(self, wire: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        """The next row of each series.

        Args:
            wire: inputs of the served signature without their time axis.
            states: of ``initial`` or of the step before.

        Returns:
            Wire outputs without a time axis, and the states for the next row.
        """
        memory = {name: states[name] for name in states if name not in self.model.states}
        core, memory = self.preprocessor.encode_row(wire, memory)
        recurrent = {name: states[name] for name in self.model.states}
        outputs, recurrent = self.model.step(core, recurrent)
        return self.preprocessor.decode(outputs), {**recurrent, **memory}

    def run(self, inputs: Arrays) -> Arrays:
        """``step`` with states among the inputs and outputs, as the served signature has them."""
        states = {name: inputs[name] for name in self.initial(1)}
        wire = {name: value for name, value in inputs.items() if name not in states}
        outputs, following = self.step(wire, states)
        return {**outputs, **{f"{name}{NEXT}": value for name, value in following.items()}}


class Stream:
    """One series as it comes in.

    A detector with steps carries its state. Any other model is asked about the rows that it looks
    back over, which are remembered: an autoencoder, and a forecaster, which has no answer before
    as many rows have come.

    >>> stream = Stream("runs/anomaly-1/bundle")                       # doctest: +SKIP
    >>> stream.push([0.3, 21.5], time="2026-11-21T10:00:00")           # doctest: +SKIP
    {"score": 0.41, "anomaly": 0, "alarm": False, "expected": [0.29, 21.4]}

    Args:
        bundle: directory that ``seqloom export`` wrote.
        threads: of ONNX Runtime.
    """

    def __init__(self, bundle: str | Path, threads: int | None = 1) -> None:
        manifest = read_manifest(bundle)
        directory = Path(bundle) / "onnx" / str(manifest["version"])
        self.preprocessor = load_preprocessor(directory)
        self.rows = self.predictor = None
        if (directory / "step.onnx").is_file():
            self.rows = RowModel(directory, threads)
            self.states = self.rows.initial(1)
        else:
            self.predictor = Predictor(bundle, threads=threads)
        lookback = getattr(self.preprocessor, "lookback", None)
        self.waits = lookback or 1
        self.past: deque = deque(maxlen=lookback or getattr(self.preprocessor, "window", None))
        self.quiet = 0

    def push(self, values: Any, time: Any = None, known: Any = None) -> dict[str, Any] | None:
        """The next row, and the answer to it; None while a forecaster has seen too few.

        Args:
            values: of the columns.
            time: seconds since 1970, or ``2026-11-21T10:00:00``; where the model uses it.
            known: ``[lookback + horizon, columns]``, for a forecaster that uses them.
        """
        if isinstance(time, str):
            time = int(np.datetime64(time, "s").astype(np.int64))
        row = np.asarray(values, np.float32)
        if row.ndim != 1 or not np.isfinite(row).all():
            raise ServingError(f"a row is finite numbers, one a column; this is {values!r}")
        if self.rows is not None:
            wire = {"values": row[None]}
            if "time" in self.rows.signature["inputs"]:
                wire["time"] = np.array([time], np.int64)
            outputs, self.states = self.rows.step(wire, self.states)
            return self._verdict({name: value[0] for name, value in outputs.items()})
        self.past.append((row, time))
        if len(self.past) < self.waits:
            return None
        raw = {"values": np.stack([row for row, _ in self.past]), "time": time}
        if hasattr(self.preprocessor, "horizon"):
            return self.predictor.predict([{**raw, "known": known}])[0]
        raw["time"] = np.array([time or 0 for _, time in self.past], np.int64)
        wire = self.predictor.run(self.preprocessor.to_wire([raw]))
        return self._verdict({name: value[0, -1] for name, value in wire.items()})

    def _verdict(self, outputs: Arrays) -> dict[str, Any]:
        anomaly = int(outputs["anomaly"])
        alarm = bool(anomaly) and self.quiet == 0
        self.quiet = self.preprocessor.quiet if alarm else max(0, self.quiet - 1)
        return {
            "score": float(outputs["score"]),
            "anomaly": anomaly,
            "alarm": alarm,
            "expected": outputs["expected"].tolist(),
        }


def _without_time(specs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {**spec, "shape": [spec["shape"][0], *spec["shape"][2:]]}
        for name, spec in specs.items()
    }
