"""Anomaly detection: a score and a verdict for each row of a series, as it comes in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config import number, text
from common.errors import DataError
from models.anomaly_detection_config import AnomalyConfig
from pipelines.anomaly_detection import AnomalyPreprocessor, Watched
from pipelines.frequency import HARMONICS
from pipelines.series import Series
from pipelines.series_reader import read_series, read_windows
from pipelines.series_sources import Loaded, load_series
from pipelines.splits import Splits
from pipelines.synthetic_series import DEFAULT_SENSOR_ROWS, synthetic_sensor
from pipelines.windows import Table, Windows, covered_spans, parse_split, split_windows
from tasks.kinds.contract import DataOptions, Settings, drawn
from tasks.kinds.series import SeriesReading, SeriesTask, synthetic_rows, with_columns
from tasks.stages.console import tell

if TYPE_CHECKING:
    import keras
    import keras_tuner

    from pipelines.preprocessor import Arrays


@dataclass(frozen=True)
class AnomalyReading(SeriesReading):
    """How series are read, cut into windows to train on, and labelled."""

    split: str = text("0.3,0.1,0.6", "train, validation, test in order of time: shares or rows")
    window: int = number(64, 4, 10_000, "rows of a training window, and that an autoencoder sees")
    labels: str = text("", "json of the windows of anomalies by file, as NAB has them")


@dataclass(frozen=True)
class AnomalyDetection(SeriesTask):
    """A recurrent detector, trained on rows that are mostly normal.

    Choices are made by ``mae``, the error of the expectation on validation: labels, where there are
    any, are read once, for test.

    Attributes:
        name: of the task.
        summary: one line about it.
        model: default hyperparameters.
        reading: default columns, window and split.
    """

    name: str
    summary: str
    model: AnomalyConfig = AnomalyConfig()
    reading: AnomalyReading = AnomalyReading()
    metric: str = "mae"
    mode: str = "min"
    kind: str = "anomaly detection"
    model_module: str = "models.anomaly_detection"

    def preprocessing(self) -> dict[str, Any]:
        """Scaler, whether the model is told the time, and rows without a second alarm."""
        return {"scaler": "standard", "calendar": True, "quiet": 0}

    def check_preprocessing(self, values: Mapping[str, Any]) -> None:
        """Quiet must not be negative."""
        super().check_preprocessing(values)
        if values["quiet"] < 0:
            raise DataError(f"quiet is {values['quiet']}; give rows, or 0 for season / 4")

    def load(self, options: DataOptions) -> Splits:
        """Windows of train and validation; test is whole series, judged after validation."""
        reading = self.reader(options)
        loaded = self._loaded(options, reading)
        columns = len(loaded.series[0].columns)
        table = Table.of(loaded.series, columns, columns)
        split = loaded.split or reading.split
        windows, notes = split_windows(table, reading.window, 0, split, reading.stride)
        test = [Watched(one, sum(parse_split(split, len(one))[:2])) for one in loaded.series]
        labels = [one.windows for one in loaded.series]
        return Splits(
            windows["train"],
            replace(windows["validation"], starts=windows["validation"].starts[:: reading.window]),
            test,
            name=loaded.name,
            fingerprint=table.fingerprint(split, reading.to_dict(), labels),
            notes=[*loaded.notes, *notes],
            labels=[],
        )

    def _loaded(self, options: DataOptions, reading: AnomalyReading) -> Loaded:
        rows = synthetic_rows(options.source, DEFAULT_SENSOR_ROWS)
        if rows is not None:
            series = with_columns(synthetic_sensor(rows, options.seed), reading)
            return Loaded([series], len(series.columns), series.name)
        loaded = load_series(options.source, reading.columns, regular=False)
        if not reading.labels:
            return loaded
        name = Path(options.source).name
        labelled = [_labelled(one, reading.labels, name) for one in loaded.series]
        return replace(loaded, series=labelled)

    def adapt(self, settings: Settings, train: Windows) -> AnomalyPreprocessor:
        """Scales of the training rows."""
        previous = settings.model.scorer == "residual"
        return AnomalyPreprocessor.adapt(train, **settings.preprocessor, previous=previous)

    def build(
        self, settings: Settings, preprocessor: AnomalyPreprocessor, statistics: Any
    ) -> keras.Model:
        """What expects, or reconstructs, without its scorer."""
        from models.anomaly_detection import ErrorOfExpectation, ExpectationLoss, core_model
        from models.training import compile_model

        config = settings.model
        model = core_model(
            config,
            len(preprocessor.columns),
            2 * HARMONICS * len(preprocessor.calendar),
            preprocessor.window,
        )
        compile_model(model, config, ExpectationLoss(), [ErrorOfExpectation()])
        return model

    def finish(
        self,
        model: keras.Model,
        settings: Settings,
        preprocessor: AnomalyPreprocessor,
        splits: Splits,
    ) -> keras.Model:
        """The model with its scorer; usual error and threshold from the rows of train."""
        from models.anomaly_detection import calibrate_scores, scoring_model

        detector = scoring_model(
            model, settings.model, len(preprocessor.columns), preprocessor.window
        )
        rows = _training_rows(splits.train)
        core = [preprocessor.encode(preprocessor.to_wire([one])) for one in rows]
        calibrate_scores(detector, core, settings.model)
        return detector

    def inference_model(self, model: keras.Model) -> keras.Model:
        """To ``{"score" <float32>[batch, time], "expected" [batch, time, columns]}``."""
        import keras

        outputs = {name: model.output[name] for name in ("score", "expected")}
        return keras.Model(model.input, outputs, name=self.name)

    def raw_inputs(self, examples: Windows | Sequence[Watched]) -> list[dict[str, Any]]:
        """Windows, or whole series, in their own units."""
        if not isinstance(examples, Windows):
            return [one.raw() for one in examples]
        table, size = examples.table, examples.lookback
        return [
            {
                "values": table.values[start : start + size],
                "time": table.times[start : start + size],
            }
            for start in examples.starts
        ]

    def edge_inputs(self, preprocessor: AnomalyPreprocessor) -> list[dict[str, Any]]:
        """Rows of noughts, and rows that never change, at the beginning of time and in 2100."""
        found = []
        for level, time in ((0.0, 0), (1.0, 4_102_444_800)):
            shape = (preprocessor.window, len(preprocessor.columns))
            values = np.full(shape, level, np.float32) * preprocessor.scaler.center
            steps = np.arange(preprocessor.window) * preprocessor.frequency.seconds
            found.append({"values": values, "time": time + steps})
        return found

    def outputs(
        self,
        model: keras.Model,
        preprocessor: AnomalyPreprocessor,
        examples: Windows | Sequence[Watched],
    ) -> Arrays:
        """Of windows as arrays; of whole series, which differ in length, as lists of arrays."""
        if isinstance(examples, Windows):
            return super().outputs(model, preprocessor, examples)
        each = [super(AnomalyDetection, self).outputs(model, preprocessor, [e]) for e in examples]
        return {name: [found[name][0] for found in each] for name in each[0]}

    def evaluate(
        self,
        preprocessor: AnomalyPreprocessor,
        outputs: Arrays,
        examples: Windows | Sequence[Watched],
    ) -> dict[str, float]:
        """Error of the expectation; of series with labels how well their windows were found."""
        from tasks.kinds.anomaly_detection.baseline import expectation_error, label_scores

        scores = {"mae": expectation_error(preprocessor, outputs["expected"], examples)}
        if isinstance(examples, Windows):
            return scores
        return {**scores, **label_scores(outputs["score"], examples, preprocessor.quiet)}

    def baseline(self, preprocessor: AnomalyPreprocessor, splits: Splits) -> dict[str, Any]:
        """Z-score, moving median and seasonal residual; the one with the best AUC-PR stands."""
        from tasks.kinds.anomaly_detection.baseline import anomaly_baselines

        return anomaly_baselines(preprocessor, splits)

    def pictures(
        self,
        preprocessor: AnomalyPreprocessor,
        outputs: Arrays,
        examples: Sequence[Watched],
        directory: Path,
    ) -> list[str]:
        """Each series with its anomalies marked, and the score below."""
        from tasks.kinds.anomaly_detection.pictures import draw_detections

        return draw_detections(outputs, examples, directory)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, depth, sizes, dropout and learning rate: what moves the expectation's error."""
        at = settings.model
        model = replace(
            at,
            cell=drawn(hp, "cell", at.cell, "gru", "lstm", "simple_rnn"),
            layers=hp.Int("layers", 1, 3, default=at.layers),
            units=drawn(hp, "units", at.units, 16, 32, 64),
            embedding_dim=drawn(hp, "embedding_dim", at.embedding_dim, 16, 32, 64),
            dropout=drawn(hp, "dropout", at.dropout, 0.0, 0.1, 0.3),
            learning_rate=hp.Float(
                "learning_rate", 5e-4, 1e-2, sampling="log", default=at.learning_rate
            ),
        )
        return Settings(model, settings.preprocessor)

    def readable(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``series: 3 of 64 rows are anomalies, the strangest ... at TIME, score 4.2``."""
        scores, count = answer["score"], sum(answer["anomaly"])
        place = int(np.argmax(scores))
        where = answer["times"][place] if "times" in answer else f"row {place + 1}"
        name = f"{answer['series']}: " if answer.get("series") else ""
        return (
            f"{name}{count} of {len(scores)} rows are anomalies; the strangest at {where}, "
            f"score {scores[place]:.3g} (1 is the threshold)"
        )

    def parse_input(self, text: str) -> dict[str, Any]:
        """JSON of rows: ``{"values": [[...], ...], "time": ["2018-01-01T00:00:00", ...]}``."""
        try:
            rows = json.loads(text)
            if "time" in rows and isinstance(rows["time"][0], str):
                rows["time"] = np.array(rows["time"], "datetime64[s]").astype(np.int64)
        except (ValueError, TypeError, LookupError) as error:
            raise DataError(
                f"{text[:60]!r} is no series ({error}); give JSON with values and time, "
                "or a csv with --file"
            ) from error
        return rows

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: AnomalyPreprocessor
    ) -> list[dict[str, Any]]:
        """Each series of a file, whole; it has the columns of training."""
        if not path.is_file():
            raise DataError(f"--file {path} is not there; name a csv or tsv file")
        columns = self.reader(options).columns_like(preprocessor.columns)
        series, notes = read_series(path, columns, regular=False)
        for note in notes:
            tell(f"note: {note}")
        return [Watched(one, 0).raw() for one in series]

    def write_answers(
        self, raw: Sequence[Any], answers: Sequence[dict[str, Any]], path: Path
    ) -> list[Path]:
        """One row a series and time; and the series with its anomalies as a picture."""
        from tasks.kinds.anomaly_detection.pictures import write_detections

        return write_detections(raw, answers, path)


def _labelled(one: Series, labels: str, name: str) -> Series:
    return replace(one, windows=read_windows(Path(labels), one, name))


def _training_rows(train: Windows) -> list[dict[str, Any]]:
    """The rows of each series that training windows cover."""
    table = train.table
    return [
        {"values": table.values[span], "time": table.times[span]} for span in covered_spans(train)
    ]
