"""Forecasting: a window of the past, many steps of the future with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from common.config import number, text
from common.errors import ConfigError
from models.forecasting_config import ForecastConfig
from models.metric import Metric
from pipelines.forecasting import ForecastPreprocessing, ForecastPreprocessor, last_windows
from pipelines.named_columns import named_columns
from pipelines.series_sources import Loaded, load_series
from pipelines.splits import Splits
from pipelines.synthetic_series import DEFAULT_DEMAND_ROWS, synthetic_demand
from pipelines.windows import (
    Table,
    Windows,
    split_windows,
    spread_follows_level,
    thinned,
    usual_lookback,
)
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, choices
from tasks.kinds.series import SeriesReading, SeriesTask, synthetic_rows, with_columns

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import numpy as np

    from pipelines.answer_files import AskedFile
    from reports.judged import Judged
    from tasks.kinds.question import Question

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
# Intervals that are reported: their share, and the places of their ends among LEVELS.
INTERVALS = {"80": (1, 3), "95": (0, 4)}


@dataclass(frozen=True)
class ForecastReading(SeriesReading):
    """How series are read and cut into windows."""

    covariates: str = text("", "columns of which only the past is known")
    known: str = text("", "columns known in advance, such as holidays")
    lookback: int = number(0, 0, 100_000, "rows of the past that are seen, 2 or more; 0: by data")
    horizon: int = number(24, 1, 10_000, "rows of the future that are forecast")

    @property
    def others(self) -> tuple[str, ...]:
        """Covariates, then what is known in advance."""
        covariates = named_columns(self.covariates, "--covariates")
        return (*covariates, *named_columns(self.known, "--known"))


@dataclass(frozen=True, kw_only=True)
class Forecasting(SeriesTask):
    """A recurrent forecaster of one or many columns."""

    data: ForecastReading = ForecastReading()
    preprocessing: ForecastPreprocessing = ForecastPreprocessing()
    model: ForecastConfig = ForecastConfig()

    kind = "forecasting"
    hub = "time-series-forecasting"
    metrics = (
        Metric("mse", "min", logged="mean_mse"),
        *(Metric(name, "min", each_epoch=False) for name in ("mae", "mase", "quantile_loss")),
    )
    model_module = "models.forecasting"
    older_reading = MappingProxyType({"lookback": 168})
    takes_network = True
    # The network alone must be able to, without a linear path or a baseline next to it.
    overfit = Overfit(0.05, epochs=100, settings={
        "dropout": 0.0, "linear": False, "learning_rate": 0.01, "average": 0.0, "blend": False,
    })  # fmt: skip

    def check(self, settings: Settings, options: DataOptions) -> None:
        """The segment fits the window, and the head and the channels what they read."""
        reading = self.reading(options)
        if reading.lookback == 1:
            raise ConfigError("--lookback 1: give 2 rows or more, or 0 to have it chosen")
        settings.model.check(reading.lookback, bool(reading.covariates.strip()))

    def load(self, options: DataOptions) -> Splits:
        """Windows of train, validation and test, in order of time."""
        reading = self.reading(options)
        loaded = self._loaded(options, reading)
        known = len(named_columns(reading.known, "--known"))
        columns = len(loaded.series[0].columns)
        if synthetic_rows(options.source, 1) is not None and not reading.target:
            known = columns - loaded.targets
        table = Table.of(loaded.series, loaded.targets, columns - known)
        split = loaded.split or reading.split
        if not reading.lookback:
            reading = replace(reading, lookback=usual_lookback(table, reading.horizon, split))
        windows, notes = split_windows(
            table, reading.lookback, reading.horizon, split, reading.stride
        )
        windows, more = thinned(windows)
        return Splits(
            **windows,
            name=loaded.name,
            fingerprint=table.fingerprint(split, reading.deciding()),
            notes=[*loaded.notes, *notes, *more],
        )

    def resolve(
        self, settings: Settings, options: DataOptions, splits: Splits
    ) -> tuple[Settings, DataOptions]:
        """The lookback of the windows, and sizes of the model for so many of them."""
        train = splits.train
        season = train.table.frequency.season
        proportional = settings.model.normalise == "auto" and spread_follows_level(train)
        sizes = (len(train), train.lookback, train.horizon, season)
        chosen = settings.model.for_windows(*sizes, proportional)
        options = replace(options, reading={**options.reading, "lookback": train.lookback})
        settings = replace(settings, model=chosen)
        self.check(settings, options)
        return settings, options

    def _loaded(self, options: DataOptions, reading: ForecastReading) -> Loaded:
        rows = synthetic_rows(options.source, DEFAULT_DEMAND_ROWS)
        if rows is None:
            return load_series(options.source, reading.columns)
        series = with_columns(synthetic_demand(rows, options.seed), reading)
        return Loaded([series], len(named_columns(reading.target, "--target")) or 2, series.name)

    def adapt(self, settings: Settings, train: Windows) -> ForecastPreprocessor:
        """Scales of the training rows."""
        return ForecastPreprocessor.adapt(train, **settings.preprocessing.to_dict(), levels=LEVELS)

    def build(
        self, settings: Settings, preprocessor: ForecastPreprocessor, counts: Any
    ) -> keras.Model:
        """The forecaster, compiled with the errors of its mean and of its quantiles."""
        from models.forecasting import WindowShape, compile_forecaster, forecaster

        pre, targets = preprocessor, len(preprocessor.targets)
        columns = targets + len(pre.covariates)
        shape = WindowShape(
            pre.lookback, pre.horizon, columns, targets, pre.known_width, pre.levels
        )
        model = forecaster(settings.model, shape, self.network)
        compile_forecaster(model, settings.model, pre.levels)
        return model

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, depth, sizes, segment, normalisation, dropout and learning rate."""
        model = choices(hp, settings.model, {
            "cell": ["gru", "lstm", "simple_rnn"],
            "layers": range(1, 4),
            "units": [64, 128, 256],
            "embedding_dim": [64, 128, 256],
            "normalise": ["last", "mean_std"],
            "linear": ["yes", "no"],
            "dropout": [0.1, 0.3, 0.5],
            "learning_rate": (2e-4, 3e-3),
        })  # fmt: skip
        return replace(settings, model=model)

    def after_training(
        self,
        model: keras.Model,
        settings: Settings,
        preprocessor: ForecastPreprocessor,
        splits: Splits,
    ) -> tuple[keras.Model, ForecastPreprocessor]:
        """Blends with the best baseline as validation says, and sets the intervals."""
        from tasks.kinds.forecasting.finishing import finish

        return finish(model, preprocessor, splits, settings.model)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """To ``mean <float32>[batch, horizon, targets]`` and its ``quantiles``."""
        return {"model": model}

    def evaluate(
        self, preprocessor: ForecastPreprocessor, responses: Responses, examples: Windows
    ) -> dict[str, float]:
        """Errors on standardised values, MASE, skill, pinball loss and coverage of intervals."""
        from tasks.kinds.forecasting.judging import scores_of

        return scores_of(preprocessor, responses, examples, INTERVALS)

    def remarks(
        self,
        preprocessor: ForecastPreprocessor,
        metrics: Mapping[str, Mapping[str, float]],
        baseline: Mapping[str, Any] | None,
    ) -> list[str]:
        """With what the network is blended, what skill there is, and what intervals will cover."""
        from tasks.kinds.forecasting.judging import remarks_on

        return remarks_on(preprocessor, metrics, baseline, INTERVALS)

    def baseline(self, preprocessor: ForecastPreprocessor, splits: Splits) -> dict[str, Any]:
        """Naive ones, ridge, exponential smoothing: the one that is best on validation."""
        from tasks.kinds.forecasting.baseline import forecast_baselines

        return forecast_baselines(preprocessor, splits, INTERVALS, self.metric.name)

    def judged(
        self,
        preprocessor: ForecastPreprocessor,
        responses: Responses,
        examples: Windows,
        others: np.ndarray | None = None,
    ) -> Judged:
        """Each window with its forecast, and the baseline's errors."""
        from tasks.kinds.forecasting.judged_windows import judged_windows

        return judged_windows(preprocessor, responses["mean"], examples, others)

    def question(
        self,
        model: keras.Model,
        preprocessor: ForecastPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The mean forecast of a column, by all columns and times."""
        from tasks.kinds.forecasting.explaining import forecast_question

        return forecast_question(model, preprocessor, raw, answer, target)

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
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
        return f"{name}{times[0]} to {times[-1]}, forecast [80%]: {'; '.join(parts)}"

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: ForecastPreprocessor
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The last window of each series of a file, which has the columns of training."""
        columns = self.as_trained(preprocessor).reading(options).columns
        return last_windows(path, columns, preprocessor)

    def write_answers(
        self,
        preprocessor: ForecastPreprocessor,
        raw: Sequence[Any],
        answers: Sequence[dict[str, Any]],
        path: Path,
        asked: AskedFile | None = None,
    ) -> list[Path]:
        """One row for each series, time and column; and the fans as a picture."""
        from reports.forecasting import write_forecasts

        return write_forecasts(raw, answers, path, asked)

    def pictures(
        self,
        preprocessor: ForecastPreprocessor,
        responses: Responses,
        examples: Windows,
        directory: Path,
    ) -> list[str]:
        """Fans against the truth, error by horizon, residuals."""
        from reports.forecasting import draw_forecasts

        return draw_forecasts(preprocessor, responses, examples, directory)
