"""Preprocessor of forecasting: a window in its own units in, forecasts in those units out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.config import choice, text
from common.errors import DataError
from pipelines.encoded import EncodedWindows
from pipelines.frequency import Frequency, calendar_features, calendar_names
from pipelines.messages import name_list
from pipelines.preprocessor import OneProgram, save_state
from pipelines.ragged import Arrays
from pipelines.raw_windows import check_times, stacked
from pipelines.scaling import Scaler, SeriesPreprocessing
from pipelines.series import Series, Written
from pipelines.series_columns import SeriesColumns
from pipelines.series_reader import read_series
from pipelines.target_values import TRANSFORMS, TargetValues
from pipelines.windows import Windows, covered_spans, joined


@dataclass(frozen=True)
class ForecastPreprocessing(SeriesPreprocessing):
    """How numbers of a series become model inputs, and forecasts numbers of that series."""

    transform: str = choice(
        "none", TRANSFORMS, "of targets before they are scaled; log: above 0, log1p: 0 or above"
    )
    minimum: str = text(
        "", "smallest value that a forecast may have, such as 0; several: by target, none for none"
    )


@dataclass(frozen=True)
class ForecastPreprocessor(OneProgram):
    """Scales columns as train was, and adds the calendar.

    Attributes:
        targets: columns to forecast.
        covariates: columns of which the past alone is known.
        known: columns known in advance.
        lookback: steps of the past.
        horizon: steps of the future.
        frequency: of the rows.
        calendar: cycles whose phase is a model input.
        levels: of the quantiles, rising.
        scaler: of targets, transformed, and of covariates.
        known_scaler: of the known columns.
        seasonal_error: mean absolute difference of each target from the season before, on train;
            what MASE is measured in.
        validated: what validation said of the forecasts, as plain values: with which baseline they
            are blended, and what their intervals rest on. Empty before, and in older bundles.
        written: how the data of training wrote numbers and dates.
        values: how targets are transformed, and what forecasts may not fall below.
        unit_scale: of each target, in its own units on train; empty where the scaler's is that.
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
    validated: dict[str, Any] = field(default_factory=dict)
    written: Written = Written()
    values: TargetValues = TargetValues()
    unit_scale: tuple[float, ...] = ()

    @classmethod
    def adapt(
        cls,
        windows: Windows,
        *,
        scaler: str,
        calendar: bool,
        levels: tuple[float, ...],
        transform: str = "none",
        minimum: str = "",
    ) -> ForecastPreprocessor:
        """Learns the scales from the rows that the training windows cover.

        Raises:
            DataError: a target has a value that ``transform`` or ``minimum`` does not allow.
        """
        table, spans = windows.table, covered_spans(windows)
        rows, longest = joined(table, spans), max(span.stop - span.start for span in spans)
        targets, unit_scale = rows[:, : table.targets], ()
        values = TargetValues.adapt(transform, minimum, table, targets)
        if transform != "none":
            unit_scale = tuple(Scaler.adapt(scaler, targets).scale.tolist())
            rows = np.concatenate([values.forward(targets), rows[:, table.targets :]], 1)
        columns = table.columns
        # Steps over pauses (nights, weekends, holidays) are of no one length: the future's phases
        # are not known.
        calendar = calendar and not table.frequency.pauses
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
            written=table.written,
            values=values,
            unit_scale=unit_scale,
        )

    @property
    def target_scale(self) -> np.ndarray:
        """Scale of each target on train, in the data's units: ``<float32>[targets]``."""
        if self.unit_scale:
            return np.array(self.unit_scale, np.float32)
        return self.scaler.scale[: len(self.targets)]

    def to_scaled(self, targets: np.ndarray) -> np.ndarray:
        """Targets ``<float32>[..., targets]`` in the data's units as the model sees them."""
        return self.scaler.first(len(self.targets)).apply(self.values.forward(targets))

    def to_units(self, scaled: np.ndarray) -> np.ndarray:
        """The way back: ``<float32>[..., targets]``, nothing below the minimum."""
        return self.values.inverse(self.scaler.first(len(self.targets)).invert(scaled))

    def validate(self, examples: Windows) -> None:
        """See ``Preprocessor``: targets have the logarithms, and the bounds, of training."""
        self.values.check(examples.table)

    @property
    def roles(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Targets, and the columns beside them, as series are read."""
        return self.targets, (*self.covariates, *self.known)

    @property
    def known_width(self) -> int:
        """Features of each step of past and future that are known in advance, calendar included."""
        return len(self.known) + 2 * len(self.calendar)

    @property
    def steps(self) -> np.ndarray:
        """Places of past and future relative to the last row of the past."""
        return np.arange(1 - self.lookback, self.horizon + 1)

    @property
    def signature(self) -> dict[str, dict[str, dict[str, Any]]]:
        """``values``, with ``known`` and ``time`` where used, to mean and quantiles."""
        columns = len(self.targets) + len(self.covariates)
        inputs = {"values": {"dtype": "float32", "shape": [-1, self.lookback, columns]}}
        if self.known:
            shape = [-1, self.lookback + self.horizon, len(self.known)]
            inputs["known"] = {"dtype": "float32", "shape": shape}
        if self.calendar:
            inputs["time"] = {"dtype": "int64", "shape": [-1]}
        mean = [-1, self.horizon, len(self.targets)]
        return {
            "inputs": inputs,
            "outputs": {
                "mean": {"dtype": "float32", "shape": mean},
                "quantiles": {"dtype": "float32", "shape": [*mean, len(self.levels)]},
            },
        }

    def encoded(self, examples: Windows) -> EncodedWindows:
        """Gathered and scaled batch by batch."""
        return EncodedWindows(examples, self)

    def raw(self, examples: Windows) -> list[dict[str, Any]]:
        """The windows in their own units, as views of the series."""
        return [examples[i] for i in range(len(examples))]

    def edge_inputs(self) -> list[dict[str, Any]]:
        """A window of zeros and one that never changes, at the beginning of time and in 2100."""
        found = []
        for level, time in ((0.0, 0), (1.0, 4_102_444_800)):
            shapes = {n: s["shape"][1:] for n, s in self.signature["inputs"].items()}
            window = {n: np.full(s, level, np.float32) for n, s in shapes.items() if n != "time"}
            columns = len(self.targets)
            window["values"] *= self.scaler.center
            if self.values.transform != "none":  # of which 0 itself may have no logarithm
                window["values"][:, :columns] = self.to_units(window["values"][:, :columns] * 0)
            found.append({"series": "edge", **window, "time": time})
        return found

    def to_request(self, raw: Sequence[dict[str, Any]]) -> Arrays:
        """Windows as arrays; one of another shape, or with gaps, is a DataError."""
        check_times(raw)
        request = stacked(raw, self.signature["inputs"])
        self.values.check_windows(request["values"], self.targets)
        return request

    def encode(self, request: Arrays) -> Arrays:
        """``values`` scaled; ``known <float32>[batch, lookback + horizon, features]``."""
        encoded = {"values": self.scaler.apply(self._transformed(request["values"]))}
        parts = [self.known_scaler.apply(request["known"])] if self.known else []
        if self.calendar:
            times = request["time"][:, None] + self.steps * self.frequency.seconds
            parts.append(calendar_features(times, self.calendar))
        if parts:
            encoded["known"] = np.concatenate(parts, -1)
        return encoded

    def _transformed(self, values: np.ndarray) -> np.ndarray:
        """Windows whose targets are transformed."""
        if self.values.transform == "none":
            return values
        columns = len(self.targets)
        targets = self.values.forward(values[..., :columns])
        return np.concatenate([targets, values[..., columns:]], -1)

    def decode(self, outputs: Arrays) -> Arrays:
        """``mean`` and ``quantiles`` in the data's units, none below the minimum.

        Quantiles are sorted again: calibration may have moved one across another. An interval that
        does not hold the forecast is widened to it: trained on squared errors it is a mean, which
        may lie beyond a quantile.
        """
        if "forecast" in outputs:  # a bundle of the version before has both on one axis
            y = outputs["forecast"]
            outputs = {"mean": y[..., 0], "quantiles": y[..., 1:]}
        mean, scaled = self.to_units(outputs["mean"]), outputs["quantiles"]
        levels = [self.to_units(scaled[..., k]) for k in range(scaled.shape[-1])]
        quantiles = np.sort(np.stack(levels, -1), -1)
        half = len(levels) // 2
        low = np.minimum(quantiles[..., :half], mean[..., None])
        high = np.maximum(quantiles[..., half + 1 :], mean[..., None])
        quantiles = np.concatenate([low, quantiles[..., half : half + 1], high], -1)
        return {"mean": mean, "quantiles": quantiles}

    def answers(self, response: Arrays, raw: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """``{"series", "times": [...], column: {"mean": [...], "0.1": [...]}}`` for each window."""
        found = []
        for window, mean, quantiles in zip(
            raw, response["mean"], response["quantiles"], strict=True
        ):
            answer: dict[str, Any] = {"series": window.get("series", "")}
            if "time" in window:
                steps = np.arange(1, self.horizon + 1)
                answer["times"] = self.frequency.label(
                    self.frequency.after(np.int64(window["time"]), steps)
                )
            for i, column in enumerate(self.targets):
                levels = {
                    f"{level:g}": quantiles[:, i, k].tolist() for k, level in enumerate(self.levels)
                }
                answer[column] = {"mean": mean[:, i].tolist(), **levels}
            found.append(answer)
        return found

    @property
    def waits(self) -> int:
        """See ``Streaming``: as many rows as it looks back over."""
        return self.lookback

    @property
    def remembers(self) -> int:
        """See ``Streaming``."""
        return self.lookback

    def raw_window(self, rows: Sequence[Any], known: Any = None) -> dict[str, Any]:
        """See ``Streaming``."""
        values = np.stack([row for row, _ in rows])
        return {"values": values, "time": rows[-1][1], "known": known}

    def row_answer(self, response: Arrays, raw: Any, notes: dict[str, Any]) -> dict[str, Any]:
        """See ``Streaming``: the forecast from here."""
        return self.answers({name: array[None] for name, array in response.items()}, [raw])[0]

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.forecasting_graph import ForecastGraph

        return ForecastGraph(self)

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        scalers = {"scaler": self.scaler.to_json(), "known_scaler": self.known_scaler.to_json()}
        about = {"frequency": vars(self.frequency), "written": vars(self.written)}
        about |= {"values": self.values.to_json(), "unit_scale": list(self.unit_scale)}
        state = {**plain, **about, **scalers}
        if self.validated:
            state["validated"] = self.validated
        save_state(directory, "forecasting", state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> ForecastPreprocessor:
        """Reads back what ``save`` wrote."""
        plain = {
            name: tuple(state[name]) if isinstance(state[name], list) else state[name]
            for name in _PLAIN
        }
        return cls(
            **plain,
            frequency=Frequency.from_json(state["frequency"]),
            written=Written(**state.get("written", {})),
            scaler=Scaler.from_json(state["scaler"]),
            known_scaler=Scaler.from_json(state["known_scaler"]),
            validated=state.get("validated", {}),
            values=TargetValues.from_json(state["values"]) if "values" in state else TargetValues(),
            unit_scale=tuple(state.get("unit_scale", ())),
        )


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


def last_windows(
    path: Path, columns: SeriesColumns, pre: ForecastPreprocessor
) -> tuple[list[dict[str, Any]], list[str]]:
    """The last window of each series of a file, to be forecast from where it ends, and notes.

    Where columns are known in advance, the rows of the future must be there, with these columns
    filled and the targets empty.

    Raises:
        DataError: the file cannot be read, or is too short.
    """
    if not path.is_file():
        raise DataError(f"--file {path} is not there; name a csv or tsv file")
    series, notes = read_series(path, columns, open_end=bool(pre.known))
    found, refused = [], {}
    for one in series:
        try:
            found.append(_last_window(one, path, pre))
        except DataError as error:
            refused[one.name] = error
    if not found:
        raise next(iter(refused.values()))
    if refused:
        names = name_list([repr(name) for name in refused], 5)
        first = next(iter(refused.values()))
        notes.append(
            f"{len(refused)} of {len(series)} series were left out: {names}. The first: {first}"
        )
    return found, notes


def _last_window(one: Series, path: Path, pre: ForecastPreprocessor) -> dict[str, Any]:
    targets, inputs = len(pre.targets), len(pre.targets) + len(pre.covariates)
    now = len(one) - int(np.isnan(one.values[:, :targets]).all(1)[::-1].argmin())
    first, end = now - pre.lookback, now + pre.horizon if pre.known else now
    if first < 0:
        raise DataError(
            f"{path}: {one.name} has {now} rows; this model looks back over {pre.lookback}; "
            "give at least so many"
        )
    if end > len(one):
        raise DataError(
            f"{path}: {one.name} has {len(one) - now} rows after the last {one.columns[0]}; "
            f"{', '.join(pre.known)} must be given for all {pre.horizon} steps of the future, "
            "in rows with empty targets"
        )
    return {
        "series": one.name,
        "values": one.values[first:now, :inputs],
        "time": int(one.times[now - 1]),
        "known": one.values[first:end, inputs:],
        "times": one.times[first:now],
        "lines": one.lines,
    }
