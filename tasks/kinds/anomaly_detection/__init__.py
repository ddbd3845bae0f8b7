"""Anomaly detection: a score and a verdict for each row of a series, as it comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config import number, text
from common.errors import DataError
from models.anomaly_detection_config import AnomalyConfig
from models.metric import Metric
from pipelines.anomaly_detection import AnomalyPreprocessor, SeriesExample
from pipelines.frequency import HARMONICS
from pipelines.scaling import SeriesPreprocessing
from pipelines.series import Series
from pipelines.series_reader import read_series, read_windows
from pipelines.series_sources import Loaded, load_series
from pipelines.splits import Splits
from pipelines.synthetic_series import DEFAULT_SENSOR_ROWS, synthetic_sensor
from pipelines.windows import Table, Windows, covered_spans, parse_split, split_windows
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, choices
from tasks.kinds.series import SeriesReading, SeriesTask, synthetic_rows, with_columns

if TYPE_CHECKING:
    import keras
    import keras_tuner


@dataclass(frozen=True)
class AnomalyPreprocessing(SeriesPreprocessing):
    """How rows become model inputs, and when alarms are raised."""

    quiet: int = number(
        0, 0, 1_000_000, "rows after an alarm in which no other is raised; 0 for season / 4"
    )


@dataclass(frozen=True)
class AnomalyReading(SeriesReading):
    """How series are read, cut into windows to train on, and labelled."""

    split: str = text("0.3,0.1,0.6", "train, validation, test in order of time: shares or rows")
    window: int = number(64, 4, 10_000, "rows of a training window, and that an autoencoder sees")
    labels: str = text("", "json of the windows of anomalies by file, as NAB has them")


@dataclass(frozen=True, kw_only=True)
class AnomalyDetection(SeriesTask):
    """A recurrent detector, trained on rows that are mostly normal.

    Choices are made by ``mae``, the error of the expectation on validation: labels, where there are
    any, are read once, for test.
    """

    data: AnomalyReading = AnomalyReading()
    preprocessing: AnomalyPreprocessing = AnomalyPreprocessing()
    model: AnomalyConfig = AnomalyConfig()

    kind = "anomaly detection"
    metric = Metric("mae", "min", logged="next_mae")
    model_module = "models.anomaly_detection"
    overfit = Overfit(
        0.15, epochs=300, settings={"dropout": 0.0, "learning_rate": 0.01, "average": 0.0}
    )

    def check(self, settings: Settings, options: DataOptions) -> None:
        """The scorer can read in the directions that were asked for."""
        settings.model.check()

    def load(self, options: DataOptions) -> Splits:
        """Windows of train and validation; test is whole series, judged after validation."""
        reading = self.reading(options)
        loaded = self._loaded(options, reading)
        columns = len(loaded.series[0].columns)
        table = Table.of(loaded.series, columns, columns)
        split = loaded.split or reading.split
        windows, notes = split_windows(table, reading.window, 0, split, reading.stride)
        test = [SeriesExample(one, sum(parse_split(split, len(one))[:2])) for one in loaded.series]
        labels = [one.windows for one in loaded.series]
        return Splits(
            windows["train"],
            replace(windows["validation"], starts=windows["validation"].starts[:: reading.window]),
            test,
            name=loaded.name,
            fingerprint=table.fingerprint(split, reading.identity, labels),
            notes=[*loaded.notes, *notes],
        )

    def _loaded(self, options: DataOptions, reading: AnomalyReading) -> Loaded:
        rows = synthetic_rows(options.source, DEFAULT_SENSOR_ROWS)
        if rows is not None:
            series = with_columns(synthetic_sensor(rows, options.seed), reading)
            return Loaded([series], len(series.columns), series.name)
        loaded = load_series(options.source, reading.columns, regular=False)
        if not reading.labels:
            return loaded
        name = Path(options.source).name if isinstance(options.source, (str, Path)) else loaded.name
        labelled = [_labelled(one, reading.labels, name) for one in loaded.series]
        return replace(loaded, series=labelled)

    def adapt(self, settings: Settings, train: Windows) -> AnomalyPreprocessor:
        """Scales of the training rows."""
        previous = settings.model.scorer == "residual"
        return AnomalyPreprocessor.adapt(
            train, **settings.preprocessing.to_dict(), previous=previous
        )

    def build(
        self, settings: Settings, preprocessor: AnomalyPreprocessor, counts: Any
    ) -> keras.Model:
        """What expects, or reconstructs, without its scorer."""
        from models.anomaly_detection import compile_expectation, core_model

        pre = preprocessor
        calendar = 2 * HARMONICS * len(pre.calendar)
        model = core_model(settings.model, len(pre.columns), calendar, pre.window)
        compile_expectation(model, settings.model)
        return model

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, depth, sizes, dropout and learning rate: what moves the expectation's error."""
        model = choices(hp, settings.model, {
            "cell": ["gru", "lstm", "simple_rnn"],
            "layers": range(1, 4),
            "units": [16, 32, 64],
            "embedding_dim": [16, 32, 64],
            "dropout": [0.0, 0.1, 0.3],
            "learning_rate": (5e-4, 1e-2),
        })  # fmt: skip
        return replace(settings, model=model)

    def after_training(
        self,
        model: keras.Model,
        settings: Settings,
        preprocessor: AnomalyPreprocessor,
        splits: Splits,
    ) -> tuple[keras.Model, AnomalyPreprocessor]:
        """The model with its scorer; usual error and threshold from the rows of train."""
        from models.anomaly_detection import calibrate_scores, scoring_model

        pre, table = preprocessor, splits.train.table
        detector = scoring_model(model, settings.model, len(pre.columns), pre.window)
        rows = [{"values": table.values[span], "time": table.times[span]}
                for span in covered_spans(splits.train)]  # fmt: skip
        encoded = [pre.encode(pre.to_request([one])) for one in rows]
        calibrate_scores(detector, encoded, settings.model)
        return detector, pre

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """To ``score <float32>[batch, time]`` and ``expected``; row by row too, if it reads so."""
        import keras

        from models.anomaly_detection import expectations
        from serving.native_onnx import step_model

        first = expectations(model)[0]
        outputs = {"score": model.output["score"], "expected": model.output[first]}
        core = keras.Model(model.input, outputs, name=self.name)
        return {"model": core, **({"step": step_model(core)} if first == "next" else {})}

    def evaluate(
        self,
        preprocessor: AnomalyPreprocessor,
        responses: Responses,
        examples: Windows | Sequence[SeriesExample],
    ) -> dict[str, float]:
        """Error of the expectation; of series with labels how well their windows were found."""
        from tasks.kinds.anomaly_detection.baseline import expectation_error, label_scores

        scores = {"mae": expectation_error(preprocessor, responses["expected"], examples)}
        if isinstance(examples, Windows):
            return scores
        return {**scores, **label_scores(responses["score"], examples, preprocessor.quiet)}

    def baseline(self, preprocessor: AnomalyPreprocessor, splits: Splits) -> dict[str, Any]:
        """Z-score, moving median and seasonal residual; the one with the best AUC-PR."""
        from tasks.kinds.anomaly_detection.baseline import anomaly_baselines

        return anomaly_baselines(preprocessor, splits)

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``series: 3 of 64 rows are anomalies, the highest score at TIME: 4.2``."""
        scores, count = answer["score"], sum(answer["anomaly"])
        place = int(np.argmax(scores))
        where = answer["times"][place] if "times" in answer else f"row {place + 1}"
        name = f"{answer['series']}: " if answer.get("series") else ""
        return (
            f"{name}{count} of {len(scores)} rows are anomalies; the highest score at {where}: "
            f"{scores[place]:.3g} (1 is the threshold)"
        )

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: AnomalyPreprocessor
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Each series of a file, whole; it has the columns of training."""
        if not path.is_file():
            raise DataError(f"--file {path} is not there; name a csv or tsv file")
        columns = self.as_trained(preprocessor).reading(options).columns
        series, notes = read_series(path, columns, regular=False)
        return [SeriesExample(one, 0).raw() for one in series], notes

    def write_answers(
        self,
        preprocessor: AnomalyPreprocessor,
        raw: Sequence[Any],
        answers: Sequence[dict[str, Any]],
        path: Path,
    ) -> list[Path]:
        """One row for each series and time; and the series with its anomalies as a picture."""
        from reports.anomaly_detection import write_detections

        return write_detections(raw, answers, path)

    def pictures(
        self,
        preprocessor: AnomalyPreprocessor,
        responses: Responses,
        examples: Sequence[SeriesExample],
        directory: Path,
    ) -> list[str]:
        """Each series with its anomalies marked, and the score below."""
        from reports.anomaly_detection import draw_detections

        return draw_detections(responses, examples, directory)


def _labelled(one: Series, labels: str, name: str) -> Series:
    return replace(one, windows=read_windows(Path(labels), one, name))
