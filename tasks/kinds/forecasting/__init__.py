"""Forecasting: a window of the past, many steps of the future with their intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config import number, text
from common.errors import DataError
from models.forecasting_config import ForecastConfig
from pipelines.forecasting import ForecastPreprocessor
from pipelines.series_sources import Loaded, columns_of, load_series
from pipelines.splits import Splits
from pipelines.synthetic_series import DEFAULT_DEMAND_ROWS, synthetic_demand
from pipelines.windows import Table, Windows, split_windows
from tasks.kinds.contract import DataOptions, Settings, drawn
from tasks.kinds.series import SeriesReading, SeriesTask, synthetic_rows, with_columns

if TYPE_CHECKING:
    import keras
    import keras_tuner

    from pipelines.preprocessor import Arrays

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
# Intervals that are reported: their share, and the places of their ends among LEVELS.
INTERVALS = {"80": (1, 3), "95": (0, 4)}


@dataclass(frozen=True)
class ForecastReading(SeriesReading):
    """How series are read and cut into windows."""

    covariates: str = text("", "columns of which only the past is known")
    known: str = text("", "columns known in advance, such as holidays")
    lookback: int = number(168, 2, 100_000, "rows of the past that are seen")
    horizon: int = number(24, 1, 10_000, "rows of the future that are forecast")

    @property
    def others(self) -> tuple[str, ...]:
        """Covariates, then what is known in advance."""
        return (*columns_of(self.covariates), *columns_of(self.known))


@dataclass(frozen=True)
class Forecasting(SeriesTask):
    """A recurrent forecaster of one or many columns.

    Attributes:
        name: of the task.
        summary: one line about it.
        model: default hyperparameters.
        reading: default columns, windows and split.
    """

    name: str
    summary: str
    model: ForecastConfig = ForecastConfig()
    reading: ForecastReading = ForecastReading()
    metric: str = "mse"
    mode: str = "min"
    kind: str = "forecasting"
    model_module: str = "models.forecasting"

    def preprocessing(self) -> dict[str, Any]:
        """Scaler, and whether the model is told the time of the day, week and year."""
        return {"scaler": "standard", "calendar": True}

    def load(self, options: DataOptions) -> Splits:
        """Windows of train, validation and test, in order of time."""
        reading = self.reader(options)
        loaded = self._loaded(options, reading)
        known = len(columns_of(reading.known))
        columns = len(loaded.series[0].columns)
        if options.source.startswith("synthetic") and not reading.target:
            known = columns - loaded.targets
        table = Table.of(loaded.series, loaded.targets, columns - known)
        split = loaded.split or reading.split
        windows, notes = split_windows(
            table, reading.lookback, reading.horizon, split, reading.stride
        )
        return Splits(
            **windows,
            name=loaded.name,
            fingerprint=table.fingerprint(split, reading.to_dict()),
            notes=[*loaded.notes, *notes],
            labels=[],
        )

    def _loaded(self, options: DataOptions, reading: ForecastReading) -> Loaded:
        rows = synthetic_rows(options.source, DEFAULT_DEMAND_ROWS)
        if rows is None:
            return load_series(options.source, reading.columns)
        series = with_columns(synthetic_demand(rows, options.seed), reading)
        return Loaded([series], len(columns_of(reading.target)) or 2, series.name)

    def adapt(self, settings: Settings, train: Windows) -> ForecastPreprocessor:
        """Scales of the training rows."""
        return ForecastPreprocessor.adapt(train, **settings.preprocessor, levels=LEVELS)

    def build(
        self, settings: Settings, preprocessor: ForecastPreprocessor, statistics: Any
    ) -> keras.Model:
        """The forecaster, compiled with the errors of its mean and of its quantiles."""
        from models.forecasting import ErrorOfMean, MeanAndQuantiles, WindowShape, forecaster
        from models.training import compile_model

        shape = WindowShape(
            preprocessor.lookback,
            preprocessor.horizon,
            len(preprocessor.targets) + len(preprocessor.covariates),
            len(preprocessor.targets),
            preprocessor.known_width,
            preprocessor.levels,
        )
        model = forecaster(settings.model, shape)
        loss = MeanAndQuantiles(preprocessor.levels, settings.model.loss)
        compile_model(model, settings.model, loss, [ErrorOfMean()])
        return model

    def finish(
        self,
        model: keras.Model,
        settings: Settings,
        preprocessor: ForecastPreprocessor,
        splits: Splits,
    ) -> keras.Model:
        """Widens the intervals until they cover on validation what they promise."""
        from models.conformal import calibrate_intervals, recency_weights

        windows = splits.validation
        weights = recency_weights(windows.table.times[windows.starts])
        validation = self.batches(preprocessor, windows, 256)
        calibrate_intervals(model, validation, preprocessor.levels, weights)
        return model

    def inference_model(self, model: keras.Model) -> keras.Model:
        """To ``{"forecast": <float32>[batch, horizon, targets, 1 + quantiles]}``."""
        import keras

        return keras.Model(model.input, {"forecast": model.output}, name=self.name)

    def raw_inputs(self, examples: Windows) -> list[dict[str, Any]]:
        """The windows in their own units, as views of the series."""
        return [examples[i] for i in range(len(examples))]

    def edge_inputs(self, preprocessor: ForecastPreprocessor) -> list[dict[str, Any]]:
        """A window of noughts and one that never changes, at the beginning of time and in 2100."""
        found = []
        for level, time in ((0.0, 0), (1.0, 4_102_444_800)):
            shapes = {n: s["shape"][1:] for n, s in preprocessor.signature["inputs"].items()}
            window = {n: np.full(s, level, np.float32) for n, s in shapes.items() if n != "time"}
            window["values"] *= preprocessor.scaler.center
            found.append({"series": "edge", **window, "time": time})
        return found

    def evaluate(
        self, preprocessor: ForecastPreprocessor, outputs: Arrays, examples: Windows
    ) -> dict[str, float]:
        """Errors on standardised values, MASE, pinball loss and coverage of the intervals."""
        truth, scaler = examples.future(), preprocessor.scaler.first(len(preprocessor.targets))
        error = truth - outputs["mean"]
        scores = {
            "mse": _mean((error / scaler.scale) ** 2),
            "mae": _mean(np.abs(error / scaler.scale)),
            "mase": _mean(np.abs(error) / np.array(preprocessor.seasonal_error)),
        }
        quantiles = outputs["quantiles"]
        away = (truth[..., None] - quantiles) / scaler.scale[:, None]
        levels = np.array(preprocessor.levels, np.float32)
        scores["quantile_loss"] = _mean(np.maximum(levels * away, (levels - 1) * away))
        for share, (low, high) in INTERVALS.items():
            inside = (truth >= quantiles[..., low]) & (truth <= quantiles[..., high])
            scores[f"coverage_{share}"] = _mean(inside)
        return scores

    def baseline(self, preprocessor: ForecastPreprocessor, splits: Splits) -> dict[str, Any]:
        """Seasonal naive, ridge, exponential smoothing: the best on validation stands for all."""
        from tasks.kinds.forecasting.baseline import forecast_baselines

        return forecast_baselines(preprocessor, splits)

    def pictures(
        self,
        preprocessor: ForecastPreprocessor,
        outputs: Arrays,
        examples: Windows,
        directory: Path,
    ) -> list[str]:
        """Fans against the truth, error by horizon, residuals."""
        from tasks.kinds.forecasting.pictures import draw_forecasts

        return draw_forecasts(preprocessor, outputs, examples, directory)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, depth, sizes, segment, normalisation, dropout and learning rate."""
        at = settings.model
        model = replace(
            at,
            cell=drawn(hp, "cell", at.cell, "gru", "lstm", "simple_rnn"),
            layers=hp.Int("layers", 1, 3, default=at.layers),
            units=drawn(hp, "units", at.units, 64, 128, 256),
            embedding_dim=drawn(hp, "embedding_dim", at.embedding_dim, 64, 128, 256),
            normalise=drawn(hp, "normalise", at.normalise, "last", "mean_std"),
            linear=hp.Boolean("linear", default=at.linear),
            dropout=drawn(hp, "dropout", at.dropout, 0.1, 0.3, 0.5),
            learning_rate=hp.Float(
                "learning_rate", 2e-4, 3e-3, sampling="log", default=at.learning_rate
            ),
        )
        return Settings(model, settings.preprocessor)

    def readable(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``series from TIME: column 3.1 [2.0, 4.2], ... after 24 steps 2.9 [...]``."""
        parts = []
        for column, value in answer.items():
            if column in ("series", "times"):
                continue
            first, last = (
                f"{value['mean'][i]:.4g} [{value['0.1'][i]:.4g}, {value['0.9'][i]:.4g}]"
                for i in (0, -1)
            )
            parts.append(f"{column} {first} ... {last}")
        times = answer.get("times", ["step 1", f"step {len(value['mean'])}"])
        name = f"{answer['series']} " if answer["series"] else ""
        return f"{name}{times[0]} to {times[-1]}, mean [80%]: {'; '.join(parts)}"

    def parse_input(self, text: str) -> dict[str, Any]:
        """JSON of a window: ``{"values": [[...], ...], "time": "2018-01-01T00:00:00"}``."""
        try:
            window = json.loads(text)
            if isinstance(window.get("time"), str):
                stamp = np.datetime64(window["time"], "s")
                window["time"] = int(stamp.astype(np.int64))
        except (ValueError, AttributeError) as error:
            raise DataError(
                f"{text[:60]!r} is no window ({error}); give JSON with values and time, "
                "or a csv with --file"
            ) from error
        return window

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: ForecastPreprocessor
    ) -> list[dict[str, Any]]:
        """The last window of each series of a file, which has the columns of training."""
        from tasks.kinds.forecasting.files import last_windows

        others = (*preprocessor.covariates, *preprocessor.known)
        columns = self.reader(options).columns_like(preprocessor.targets, others)
        return last_windows(path, columns, preprocessor)

    def write_answers(
        self, raw: Sequence[Any], answers: Sequence[dict[str, Any]], path: Path
    ) -> list[Path]:
        """One row a series, time and column; and the fans as a picture."""
        from tasks.kinds.forecasting.files import write_forecasts

        return write_forecasts(raw, answers, path)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64))
