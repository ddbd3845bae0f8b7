"""Preprocessor of anomaly detection: rows of a series in, a score for each row out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.anomaly_causes import causes, shares
from pipelines.anomaly_step import AnomalyStep
from pipelines.anomaly_watch import Watch
from pipelines.encoded import EncodedWindows
from pipelines.frequency import HARMONICS, Frequency, calendar_features, calendar_names
from pipelines.preprocessor import save_state
from pipelines.program import DEFAULT, Cores, Program, run_core
from pipelines.ragged import Arrays
from pipelines.raw_windows import check_times, stacked
from pipelines.scaling import Scaler
from pipelines.series import Series, Written
from pipelines.windows import Windows, covered_spans, joined


@dataclass(frozen=True)
class SeriesExample:
    """A whole series, whose rows count from ``first`` on; the rows before warm the state up."""

    series: Series
    first: int

    def raw(self) -> dict[str, Any]:
        """As a client sends it."""
        one = self.series
        return {"series": one.name, "values": one.values, "time": one.times}


@dataclass(frozen=True)
class AnomalyPreprocessor(Program):
    """Scales columns as train was, and gives the model the row before and the time.

    It is the program of whole series; where the model expects the next row from those before,
    there is one of single rows too.

    Attributes:
        columns: that are watched.
        frequency: usual time between rows.
        calendar: cycles whose phase is a model input; none for an autoencoder.
        previous: whether the model expects each row from the row before; an autoencoder
            does not.
        quiet: rows after an alarm in which no other is raised.
        window: rows of a training window, and that an autoencoder sees.
        scaler: of the columns.
        watch: how scores become alarms, learnt after training; None before, and in bundles of
            earlier versions, whose clients make alarms of anomalies.
        written: how the data of training wrote numbers and dates.
    """

    columns: tuple[str, ...]
    frequency: Frequency
    calendar: tuple[str, ...]
    previous: bool
    quiet: int
    window: int
    scaler: Scaler
    watch: Watch | None = None
    written: Written = Written()

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
        cycles = calendar_names(table.frequency, longest) if calendar and previous else ()
        return cls(
            table.columns,
            table.frequency,
            cycles,
            previous,
            quiet or max(1, table.frequency.season // 4),
            windows.lookback,
            Scaler.adapt(scaler, rows),
            written=table.written,
        )

    @property
    def roles(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns that are watched, as series are read; none beside them."""
        return self.columns, ()

    @property
    def signature(self) -> dict[str, dict[str, dict[str, Any]]]:
        """``values`` and, where used, ``time`` to some outputs a row."""
        rows = [-1, -1, len(self.columns)]
        watched = {
            "alarm": {"dtype": "int32", "shape": [-1, -1]},
            "contribution": {"dtype": "float32", "shape": rows},
        }
        inputs = {"values": {"dtype": "float32", "shape": rows}}
        if self.calendar:
            inputs["time"] = {"dtype": "int64", "shape": [-1, -1]}
        return {
            "inputs": inputs,
            "outputs": {
                "score": {"dtype": "float32", "shape": [-1, -1]},
                "anomaly": {"dtype": "int32", "shape": [-1, -1]},
                **{name: watched[name] for name in self.watched},
                "expected": {"dtype": "float32", "shape": rows},
            },
        }

    @property
    def watched(self) -> tuple[str, ...]:
        """Outputs that the watch adds: none in bundles of earlier versions, or only ``alarm``."""
        if self.watch is None:
            return ()
        return ("alarm", "contribution") if self.watch.columns else ("alarm",)

    @property
    def programs(self) -> dict[str, Program]:
        """Whole series; and row by row, where the model has steps."""
        return {DEFAULT: self, **({"step": AnomalyStep(self)} if self.previous else {})}

    def encoded(self, examples: Windows) -> EncodedWindows:
        """Gathered and scaled batch by batch."""
        return EncodedWindows(examples, self)

    def raw(self, examples: Windows | Sequence[SeriesExample]) -> list[dict[str, Any]]:
        """Windows, or whole series, in their own units."""
        if not isinstance(examples, Windows):
            return [one.raw() for one in examples]
        table, size = examples.table, examples.lookback
        spans = [slice(start, start + size) for start in examples.starts]
        return [{"values": table.values[span], "time": table.times[span]} for span in spans]

    def edge_inputs(self) -> list[dict[str, Any]]:
        """Rows of zeros, and rows that never change, at the beginning of time and in 2100."""
        found = []
        for level, time in ((0.0, 0), (1.0, 4_102_444_800)):
            shape = (self.window, len(self.columns))
            values = np.full(shape, level, np.float32) * self.scaler.center
            steps = np.arange(self.window) * self.frequency.seconds
            found.append({"values": values, "time": time + steps})
        return found

    def validate(self, examples: Any) -> None:
        """Any row can be judged."""

    def to_request(self, raw: Sequence[dict[str, Any]]) -> Arrays:
        """``{"values": [time, columns], "time": [time]}`` each, all equally long."""
        check_times(raw)
        request = stacked(raw, self.signature["inputs"])
        for i, one in enumerate(raw):
            if "time" in one and len(np.atleast_1d(one["time"])) != request["values"].shape[1]:
                raise DataError(
                    f"input {i}: {len(np.atleast_1d(one['time']))} times for "
                    f"{request['values'].shape[1]} rows of values; give one time a row"
                )
        return request

    def encode(self, request: Arrays) -> Arrays:
        """Scaled ``values``; ``previous``, the rows before, the first one its own; ``calendar``.

        ``rows`` are the values again: the model takes its own away, and the watch needs them.
        """
        values = self.scaler.apply(request["values"])
        if self.calendar and request["time"].shape != values.shape[:2]:
            raise ValueError(
                f"time has shape {list(request['time'].shape)}, values {list(values.shape)}: "
                "each row of values has one time"
            )
        encoded = {"values": values}
        if self.previous:
            encoded["previous"] = np.concatenate([values[:, :1], values[:, :-1]], 1)
        if self.calendar:
            encoded["calendar"] = calendar_features(request["time"], self.calendar, HARMONICS)
        return {**encoded, "rows": values} if self.watch else encoded

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """The model's scores, then the watch's: the highest is the score of a row."""
        outputs = run_core(cores["model"], encoded)
        if self.watch is None:
            return outputs
        parts = outputs["parts"] if self.watch.columns else None
        found, alarm, blamed = self.watch.over(outputs["score"], outputs["rows"], parts)
        return {
            "expected": outputs["expected"], "score": found.max(-1), "alarm": alarm,
            "contribution": blamed,
        }  # fmt: skip

    def decode(self, outputs: Arrays) -> Arrays:
        """Scores of one and more are anomalies; ``expected`` in the data's units."""
        return {
            "score": outputs["score"],
            "anomaly": (outputs["score"] >= 1).astype(np.int32),
            **{name: outputs[name] for name in self.watched},
            "expected": self.scaler.invert(outputs["expected"]),
        }

    def answers(self, response: Arrays, raw: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """``{"score", "anomaly", "alarms", "expected": {column: [...]}}`` for each series.

        ``alarms`` are the rows, from 0, at which a person would be called. Where the model gives
        it, ``contribution`` is that of each column to ``score``, and ``causes`` names for each of
        the alarms the columns to blame, with their shares.
        """
        found = []
        for i, one in enumerate(raw):
            answer: dict[str, Any] = {"series": one.get("series", "")}
            if "time" in one:
                answer["times"] = self.frequency.label(one["time"])
            answer["score"] = response["score"][i].tolist()
            answer["anomaly"] = response["anomaly"][i].tolist()
            answer["alarms"] = np.flatnonzero(self.raised(response, i)).tolist()
            answer["expected"] = {
                name: response["expected"][i][:, c].tolist() for c, name in enumerate(self.columns)
            }
            if "contribution" in response:
                mine = response["contribution"][i]
                answer["contribution"] = {
                    name: mine[:, c].tolist() for c, name in enumerate(self.columns)
                }
                share = shares(mine)
                answer["causes"] = [causes(share[t], self.columns) for t in answer["alarms"]]
            found.append(answer)
        return found

    def raised(self, response: Arrays, i: int) -> np.ndarray:
        """Which rows of a series raise an alarm: ``<bool>[time]``."""
        if self.watch is None:
            return alarms(response["anomaly"][i], self.quiet)
        return np.asarray(response["alarm"][i]) == 1

    @property
    def waits(self) -> int:
        """See ``Streaming``: the first row has an answer."""
        return 1

    @property
    def remembers(self) -> int:
        """See ``Streaming``."""
        return self.window

    def raw_window(self, rows: Sequence[Any], known: Any = None) -> dict[str, Any]:
        """See ``Streaming``."""
        times = np.array([time or 0 for _, time in rows], np.int64)
        return {"values": np.stack([row for row, _ in rows]), "time": times}

    def row_answer(self, response: Arrays, raw: Any, notes: dict[str, Any]) -> dict[str, Any]:
        """See ``Streaming``: a step has told of alarms; for a window the last row's are found."""
        last = response if raw is None else {name: x[-1] for name, x in response.items()}
        answer = {
            "score": float(last["score"]),
            "anomaly": int(last["anomaly"]),
            "alarm": self._row_alarm(last, raw, notes),
            "expected": last["expected"].tolist(),
        }
        if "contribution" in last:
            blamed = causes(shares(last["contribution"]), self.columns)
            answer["contribution"] = last["contribution"].tolist()
            answer["causes"] = blamed if answer["alarm"] else {}
        return answer

    def _row_alarm(self, last: Arrays, raw: Any, notes: dict[str, Any]) -> bool:
        if self.watch is None:  # an anomaly, but for the ``quiet`` rows after an alarm
            since = notes.get("since", self.quiet)
            alarm = bool(last["anomaly"]) and since >= self.quiet
            notes["since"] = 0 if alarm else since + 1
            return alarm
        if raw is None:
            return bool(last["alarm"])
        # The window began its events anew: those of the stream are kept in the notes.
        states = {name: notes.get(name, x) for name, x in self.watch.initial(1).items()}
        row = {"scores": np.reshape(last["score"], (1, 1))}
        _, alarm, _, following = replace(self.watch, columns=0).advance(states, row)
        notes.update(following)
        return bool(alarm[0])

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.anomaly_detection_graph import AnomalyGraph

        return AnomalyGraph(self)

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        about = {"frequency": vars(self.frequency), "written": vars(self.written)}
        state = {**plain, **about, "scaler": self.scaler.to_json()}
        if self.watch:
            state["watch"] = self.watch.to_json()
        save_state(directory, "anomaly_detection", state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> AnomalyPreprocessor:
        """Reads back what ``save`` wrote."""
        return cls(
            tuple(state["columns"]),
            Frequency.from_json(state["frequency"]),
            tuple(state["calendar"]),
            state["previous"],
            state["quiet"],
            state["window"],
            Scaler.from_json(state["scaler"]),
            Watch.from_json(state["watch"]) if "watch" in state else None,
            Written(**state.get("written", {})),
        )


_PLAIN = ("columns", "calendar", "previous", "quiet", "window")


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
