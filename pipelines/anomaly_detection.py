"""Preprocessor of anomaly detection: rows of a series in, a score for each row out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.frequency import HARMONICS, Frequency, calendar_features, calendar_names, iso
from pipelines.preprocessor import Arrays
from pipelines.raw_windows import check_times, stacked
from pipelines.scaling import Scaler
from pipelines.series import Series
from pipelines.windows import Windows, covered_spans, joined


@dataclass(frozen=True)
class Watched:
    """A whole series, whose rows count from ``first`` on; the rows before warm the state up."""

    series: Series
    first: int

    def raw(self) -> dict[str, Any]:
        """As a client sends it."""
        one = self.series
        return {"series": one.name, "values": one.values, "time": one.times}


@dataclass(frozen=True)
class AnomalyPreprocessor:
    """Scales columns as train was, and tells the model the row before and the time.

    Attributes:
        columns: that are watched.
        frequency: usual time between rows.
        calendar: cycles whose phase the model is told; none for an autoencoder.
        previous: whether the model sees the row before beside the row, to expect it; an
            autoencoder does not.
        quiet: rows after an alarm in which no other is raised.
        window: rows of a training window, and that an autoencoder sees.
        scaler: of the columns.
    """

    columns: tuple[str, ...]
    frequency: Frequency
    calendar: tuple[str, ...]
    previous: bool
    quiet: int
    window: int
    scaler: Scaler

    @classmethod
    def adapt(
        cls,
        windows: Windows,
        *,
        scaler: str,
        calendar: bool,
        previous: bool,
        quiet: int,
    ) -> AnomalyPreprocessor:
        """Learns the scales of the training rows; ``quiet`` 0 is a quarter of a season."""
        table, spans = windows.table, covered_spans(windows)
        rows, longest = joined(table, spans), max(span.stop - span.start for span in spans)
        told = calendar_names(table.frequency, longest) if calendar and previous else ()
        return cls(
            table.columns,
            table.frequency,
            told,
            previous,
            quiet or max(1, table.frequency.season // 4),
            windows.lookback,
            Scaler.adapt(scaler, rows),
        )

    @property
    def signature(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Wire form: ``values`` and, where used, ``time`` to three outputs a row."""
        rows = [-1, -1, len(self.columns)]
        wire = {"values": {"dtype": "float32", "shape": rows}}
        if self.calendar:
            wire["time"] = {"dtype": "int64", "shape": [-1, -1]}
        return {
            "inputs": wire,
            "outputs": {
                "score": {"dtype": "float32", "shape": [-1, -1]},
                "anomaly": {"dtype": "int32", "shape": [-1, -1]},
                "expected": {"dtype": "float32", "shape": rows},
            },
        }

    def to_wire(self, raw: Sequence[dict[str, Any]]) -> Arrays:
        """``{"values": [time, columns], "time": [time]}`` each, all equally long."""
        check_times(raw)
        wire = stacked(raw, self.signature["inputs"])
        for i, one in enumerate(raw):
            if "time" in one and len(np.atleast_1d(one["time"])) != wire["values"].shape[1]:
                raise DataError(
                    f"input {i}: {len(np.atleast_1d(one['time']))} times for "
                    f"{wire['values'].shape[1]} rows of values; give one time a row"
                )
        return wire

    def encode(self, wire: Arrays) -> Arrays:
        """Scaled ``values``; ``previous``, the rows before, the first one its own; ``calendar``."""
        values = self.scaler.apply(wire["values"])
        if self.calendar and wire["time"].shape != values.shape[:2]:
            raise ValueError(
                f"time has shape {list(wire['time'].shape)}, values {list(values.shape)}: "
                "each row of values has one time"
            )
        core = {"values": values}
        if self.previous:
            core["previous"] = np.concatenate([values[:, :1], values[:, :-1]], 1)
        if self.calendar:
            core["calendar"] = calendar_features(wire["time"], self.calendar, HARMONICS)
        return core

    def first_memory(self, rows: int) -> Arrays:
        """What ``encode_row`` remembers before the first row of each of so many series."""
        if not self.previous:
            return {}
        return {
            "previous": np.zeros((rows, len(self.columns)), np.float32),
            "seen": np.zeros(rows, np.float32),
        }

    def encode_row(self, wire: Arrays, memory: Arrays) -> tuple[Arrays, Arrays]:
        """``encode`` for one row of each series, ``values [rows, columns]`` and ``time [rows]``.

        Returns:
            Core inputs without a time axis, and the memory for the next rows.
        """
        core = self.encode({name: np.asarray(x)[:, None] for name, x in wire.items()})
        core = {name: x[:, 0] for name, x in core.items()}
        if not self.previous:
            return core, {}
        seen = memory["seen"][:, None] > 0
        before = np.where(seen, memory["previous"], wire["values"])
        core["previous"] = self.scaler.apply(before.astype(np.float32))
        values = np.asarray(wire["values"], np.float32)
        return core, {"previous": values, "seen": np.ones(len(values), np.float32)}

    def decode(self, core: Arrays) -> Arrays:
        """Scores of one and more are anomalies; ``expected`` in the data's units."""
        return {
            "score": core["score"],
            "anomaly": (core["score"] >= 1).astype(np.int32),
            "expected": self.scaler.invert(core["expected"]),
        }

    def answers(self, wire: Arrays, raw: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """``{"score", "anomaly", "alarms", "expected": {column: [...]}}`` a series.

        ``alarms`` are the rows, from 0, at which a person would be called.
        """
        found = []
        for i, one in enumerate(raw):
            answer: dict[str, Any] = {"series": one.get("series", "")}
            if "time" in one:
                answer["times"] = iso(one["time"])
            answer["score"] = wire["score"][i].tolist()
            answer["anomaly"] = wire["anomaly"][i].tolist()
            answer["alarms"] = np.flatnonzero(alarms(wire["anomaly"][i], self.quiet)).tolist()
            answer["expected"] = {
                name: wire["expected"][i, :, c].tolist() for c, name in enumerate(self.columns)
            }
            found.append(answer)
        return found

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.anomaly_detection_graph import AnomalyGraph

        return AnomalyGraph(self)

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``."""
        state = {
            "type": "anomalies",
            "columns": self.columns,
            "frequency": vars(self.frequency),
            "calendar": self.calendar,
            "previous": self.previous,
            "quiet": self.quiet,
            "window": self.window,
            "scaler": self.scaler.to_json(),
        }
        text = json.dumps(state, ensure_ascii=False, indent=2)
        (directory / "preprocessor.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> AnomalyPreprocessor:
        """Reads back what ``save`` wrote."""
        try:
            return cls(
                tuple(state["columns"]),
                Frequency(**state["frequency"]),
                tuple(state["calendar"]),
                state["previous"],
                state["quiet"],
                state["window"],
                Scaler.from_json(state["scaler"]),
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"{directory / 'preprocessor.json'} is incomplete: {error}") from error


PREPROCESSOR = AnomalyPreprocessor


def alarms(anomaly: np.ndarray, quiet: int) -> np.ndarray:
    """Anomalous rows that raise an alarm: those with none in the ``quiet`` rows before.

    >>> alarms(np.array([0, 1, 1, 0, 1, 1]), 2).tolist()
    [False, True, False, False, True, False]

    Args:
        anomaly: ``<int or bool>[time]``.
        quiet: rows.

    Returns:
        ``<bool>[time]``.
    """
    raised, last = np.zeros(len(anomaly), bool), -quiet - 1
    for row in np.flatnonzero(anomaly):
        if row - last > quiet:
            raised[row], last = True, int(row)
    return raised
