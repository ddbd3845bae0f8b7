"""Rows as they come in: one in, one answer out, the state carried. No TensorFlow."""

from __future__ import annotations

import operator
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.program import DEFAULT
from pipelines.ragged import Arrays
from pipelines.raw_windows import LATEST
from serving.bundle import read_manifest
from serving.errors import ServingError
from serving.predictor import OnnxModel

STEP_SIGNATURE = "step"


class Stream:
    """One series as it comes in.

    A model with steps carries its state. Any other is asked about the rows that it looks back over,
    which are remembered: an autoencoder, and a forecaster, which has no answer before as many rows
    have come.

    >>> stream = Stream("runs/anomaly-1/bundle")                       # doctest: +SKIP
    >>> stream.push([0.3, 21.5], time="2026-11-21T10:00:00")           # doctest: +SKIP
    {"score": 0.41, "anomaly": 0, "alarm": False, "expected": [0.29, 21.4]}

    Args:
        bundle: directory that ``seqloom export`` wrote.
        threads: number of ONNX Runtime's threads.

    Raises:
        ServingError: the kind of the model does not go row by row.
    """

    def __init__(self, bundle: str | Path, threads: int | None = 1) -> None:
        manifest = read_manifest(bundle)
        model = OnnxModel(Path(bundle) / "onnx" / str(manifest["version"]), threads)
        self.preprocessor = model.preprocessor
        if not hasattr(self.preprocessor, "row_answer"):
            raise ServingError(f"{bundle}: this kind of model does not go row by row")
        self.whole, self.step = model.programs[DEFAULT], model.programs.get(STEP_SIGNATURE)
        self.states = self.step.initial(1) if self.step else {}
        self.past: deque = deque(maxlen=self.preprocessor.remembers)
        self.notes: dict[str, Any] = {}  # of the kind, from row to row

    def push(self, values: Any, time: Any = None, known: Any = None) -> dict[str, Any] | None:
        """The answer about the next row.

        Args:
            values: one number for each column.
            time: time of the row, if the model uses it: seconds since 1970, or ISO text in UTC.
            known: columns that a forecaster knows in advance: ``[lookback + horizon, columns]``.

        Returns:
            The kind's answer for a row; None where more rows must come first.

        Raises:
            ServingError: the row does not suit the model.
        """
        row, time = self._row(values), self._seconds(time)
        if self.step is not None:
            request: Arrays = {"values": row[None]}
            if "time" in self.step.signature["inputs"]:
                request["time"] = np.array([time], np.int64)
            response = self.step.run({**request, **self.states})
            self.states = {name: response[f"{name}_next"] for name in self.states}
            return self._answered({name: value[0] for name, value in response.items()}, None)
        past = deque([*self.past, (row, time)], self.past.maxlen)
        if len(past) < self.preprocessor.waits:
            self.past = past
            return None
        raw = self.preprocessor.raw_window(list(past), known)
        response = self.whole.run(self.preprocessor.to_request([raw]))
        self.past = past  # a row that was refused is not remembered
        return self._answered({name: value[0] for name, value in response.items()}, raw)

    def _row(self, values: Any) -> np.ndarray:
        columns = self._columns
        try:
            with np.errstate(over="ignore"):  # it is then infinite
                row = np.asarray(values, np.float32)
        except (TypeError, ValueError, OverflowError):
            row = np.zeros(0, np.float32)
        if row.shape != (columns,) or not np.isfinite(row).all():
            raise ServingError(
                f"a row is {columns} finite numbers, one for each column; this is {values!r}"
            )
        return row

    def _seconds(self, time: Any) -> int | None:
        """Seconds since 1970; None where there is no time and the model does not use it."""
        if time is None and "time" not in self.whole.signature["inputs"]:
            return None
        try:
            if isinstance(time, (str, np.datetime64)):
                time = np.datetime64(time, "s").astype(np.int64)
            seconds = operator.index(time)
            if abs(seconds) <= LATEST:
                return seconds
        except (TypeError, ValueError):
            pass
        raise ServingError(
            f"time is {time!r}; this model needs the time of each row: whole seconds since 1970, "
            "or ISO text in UTC"
        )

    @property
    def _columns(self) -> int:
        return self.whole.signature["inputs"]["values"]["shape"][-1]

    def _answered(self, response: Arrays, raw: Any) -> dict[str, Any]:
        return self.preprocessor.row_answer(response, raw, self.notes)
