"""Preprocessor of forecasting: a window in its own units in, forecasts in those units out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.frequency import Frequency, calendar_features, calendar_names, iso
from pipelines.preprocessor import Arrays
from pipelines.raw_windows import check_times, stacked
from pipelines.scaling import Scaler
from pipelines.windows import Windows, covered_spans, joined


@dataclass(frozen=True)
class ForecastPreprocessor:
    """Scales columns as train was, and adds the calendar.

    Attributes:
        targets: columns to forecast.
        covariates: columns of which the past alone is known.
        known: columns known in advance.
        lookback: steps of the past.
        horizon: steps of the future.
        frequency: of the rows.
        calendar: cycles whose phase the model is told.
        levels: of the quantiles, rising.
        scaler: of targets and covariates.
        known_scaler: of the known columns.
        seasonal_error: mean absolute difference of each target from the season before, on train;
            what MASE is measured in.
    """

    targets: tuple[str, ...]
    covariates: tuple[str, ...]
    known: tuple[str, ...]
    lookback: int
    horizon: int
    frequency: Frequency
    calendar: tuple[str, ...]
    levels: tuple[float, ...]
    scaler: Scaler
    known_scaler: Scaler
    seasonal_error: tuple[float, ...]

    @classmethod
    def adapt(
        cls, windows: Windows, *, scaler: str, calendar: bool, levels: tuple[float, ...]
    ) -> ForecastPreprocessor:
        """Learns the scales from the rows that the training windows cover."""
        table, spans = windows.table, covered_spans(windows)
        rows, longest = joined(table, spans), max(span.stop - span.start for span in spans)
        columns = table.columns
        return cls(
            columns[: table.targets],
            columns[table.targets : table.inputs],
            columns[table.inputs :],
            windows.lookback,
            windows.horizon,
            table.frequency,
            calendar_names(table.frequency, longest) if calendar else (),
            levels,
            Scaler.adapt(scaler, rows[:, : table.inputs]),
            Scaler.adapt("standard", rows[:, table.inputs :]),
            _seasonal_error(
                [table.values[span, : table.targets] for span in spans], table.frequency.season
            ),
        )

    @property
    def uses_known(self) -> bool:
        """Whether the model is told anything of the future."""
        return bool(self.known or self.calendar)

    @property
    def known_width(self) -> int:
        """Features of each step of past and future."""
        return len(self.known) + 2 * len(self.calendar)

    @property
    def steps(self) -> np.ndarray:
        """Places of past and future relative to the last row of the past."""
        return np.arange(1 - self.lookback, self.horizon + 1)

    @property
    def signature(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Wire form: ``values``, with ``known`` and ``time`` where used, to mean and quantiles."""
        inputs = len(self.targets) + len(self.covariates)
        wire = {"values": {"dtype": "float32", "shape": [-1, self.lookback, inputs]}}
        if self.known:
            shape = [-1, self.lookback + self.horizon, len(self.known)]
            wire["known"] = {"dtype": "float32", "shape": shape}
        if self.calendar:
            wire["time"] = {"dtype": "int64", "shape": [-1]}
        mean = [-1, self.horizon, len(self.targets)]
        return {
            "inputs": wire,
            "outputs": {
                "mean": {"dtype": "float32", "shape": mean},
                "quantiles": {"dtype": "float32", "shape": [*mean, len(self.levels)]},
            },
        }

    def to_wire(self, raw: Sequence[dict[str, Any]]) -> Arrays:
        """Windows as arrays; one of another shape, or with gaps, is a DataError."""
        check_times(raw)
        return stacked(raw, self.signature["inputs"])

    def encode(self, wire: Arrays) -> Arrays:
        """``values`` scaled; ``known <float32>[batch, lookback + horizon, features]``."""
        core = {"values": self.scaler.apply(wire["values"])}
        parts = [self.known_scaler.apply(wire["known"])] if self.known else []
        if self.calendar:
            times = wire["time"][:, None] + self.steps * self.frequency.seconds
            parts.append(calendar_features(times, self.calendar))
        if parts:
            core["known"] = np.concatenate(parts, -1)
        return core

    def decode(self, core: Arrays) -> Arrays:
        """``forecast <float32>[batch, horizon, targets, 1 + quantiles]`` in the data's units.

        Quantiles come sorted, but for what calibration moved across another.
        """
        y, scaler = core["forecast"], self.scaler.first(len(self.targets))
        center, scale = scaler.center[:, None], scaler.scale[:, None]
        return {
            "mean": scaler.invert(y[..., 0]),
            "quantiles": np.sort(y[..., 1:], -1) * scale + center,
        }

    def answers(self, wire: Arrays, raw: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """``{"series", "times": [...], column: {"mean": [...], "0.1": [...]}}`` a window."""
        found = []
        for window, mean, quantiles in zip(raw, wire["mean"], wire["quantiles"], strict=True):
            answer: dict[str, Any] = {"series": window.get("series", "")}
            if "time" in window:
                steps = np.arange(1, self.horizon + 1)
                answer["times"] = iso(self.frequency.after(np.int64(window["time"]), steps))
            for i, column in enumerate(self.targets):
                levels = {
                    f"{level:g}": quantiles[:, i, k].tolist() for k, level in enumerate(self.levels)
                }
                answer[column] = {"mean": mean[:, i].tolist(), **levels}
            found.append(answer)
        return found

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.forecasting_graph import ForecastGraph

        return ForecastGraph(self)

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``."""
        state = {
            "type": "forecasting",
            **{name: getattr(self, name) for name in _PLAIN},
            "frequency": vars(self.frequency),
            "scaler": self.scaler.to_json(),
            "known_scaler": self.known_scaler.to_json(),
        }
        text = json.dumps(state, ensure_ascii=False, indent=2)
        (directory / "preprocessor.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> ForecastPreprocessor:
        """Reads back what ``save`` wrote."""
        try:
            plain = {
                name: tuple(state[name]) if isinstance(state[name], list) else state[name]
                for name in _PLAIN
            }
            return cls(
                **plain,
                frequency=Frequency(**state["frequency"]),
                scaler=Scaler.from_json(state["scaler"]),
                known_scaler=Scaler.from_json(state["known_scaler"]),
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"{directory / 'preprocessor.json'} is incomplete: {error}") from error


_PLAIN = (
    "targets", "covariates", "known", "lookback", "horizon", "calendar", "levels", "seasonal_error",
)  # fmt: skip
PREPROCESSOR = ForecastPreprocessor


def _seasonal_error(series: list[np.ndarray], season: int) -> tuple[float, ...]:
    season = season if max(map(len, series)) > season else 1
    differences = [np.abs(rows[season:] - rows[:-season]) for rows in series if len(rows) > season]
    errors = np.concatenate(differences).mean(0, dtype=np.float64)
    # A series that repeats itself exactly has no error to measure in.
    return tuple(float(error) or 1.0 for error in errors)
