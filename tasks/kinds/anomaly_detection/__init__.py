"""Anomaly detection: a score and a verdict for each row of a series, as it comes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config import number, path, text
from common.errors import DataError
from models.anomaly_detection_config import AnomalyConfig
from models.metric import Metric
from pipelines.anomaly_detection import AnomalyPreprocessor, SeriesExample
from pipelines.anomaly_watch import Watch
from pipelines.frequency import HARMONICS, iso
from pipelines.scaling import SeriesPreprocessing
from pipelines.series import Series
from pipelines.series_reader import read_series, read_windows
from pipelines.series_sources import Loaded, load_series
from pipelines.splits import Splits
from pipelines.synthetic_series import DEFAULT_SENSOR_ROWS, synthetic_sensor
from pipelines.windows import (
    Table,
    Windows,
    covered_spans,
    parse_split,
    spans_by_series,
    split_windows,
)
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, choices
from tasks.kinds.series import SeriesReading, SeriesTask, synthetic_rows, with_columns

if TYPE_CHECKING:
    import keras
    import keras_tuner

    from pipelines.answer_files import AskedFile
    from reports.judged import Judged
    from tasks.kinds.question import Question


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
    labels: str = path("", "json of the windows of anomalies by file, as NAB has them")


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
    # Labels are those of test alone.
    metrics = (Metric("mae", "min", logged="next_mae"),)
    headline = ("alarms", "recall", "f1")
    model_module = "models.anomaly_detection"
    takes_network = True
    overfit = Overfit(
        0.15, epochs=120, settings={"dropout": 0.0, "learning_rate": 0.01, "average": 0.0}
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
        notes += _notes_on_labels(test, windows["train"])
        return Splits(
            windows["train"],
            replace(windows["validation"], starts=windows["validation"].starts[:: reading.window]),
            test,
            name=loaded.name,
            fingerprint=table.fingerprint(split, reading.deciding(), labels),
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
        model = core_model(settings.model, len(pre.columns), calendar, pre.window, self.network)
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
        """The model with its scorer and its watch; all thresholds are from the rows of train.

        Rows of train that are labelled as anomalies do not count.
        """
        from models.anomaly_detection import calibrate_scores, scoring_model
        from tasks.kinds.anomaly_detection.watching import calibrated_watch

        pre, table, config = preprocessor, splits.train.table, settings.model
        detector = scoring_model(model, config, len(pre.columns), pre.window)
        spans = covered_spans(splits.train)
        rows = [{"values": table.values[span], "time": table.times[span]} for span in spans]
        encoded = [pre.encode(pre.to_request([one])) for one in rows]
        normal = _normal_rows(splits, spans)
        if not pre.previous:
            calibrate_scores(detector, encoded, config, normal)
            return detector, replace(pre, watch=Watch(1, pre.quiet, columns=len(pre.columns)))
        count = Watch(2, pre.quiet, (1.0,)).witnesses
        calibrate_scores(detector, encoded, config, normal, count)
        scores = [detector.predict_on_batch(one)["score"][0] for one in encoded]
        values = [one["values"][0] for one in encoded]
        return detector, replace(
            pre, watch=calibrated_watch(scores, values, normal, config, pre.quiet)
        )

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """To the ``score`` by each expectation and ``expected``; row by row too, if it reads so."""
        import keras

        from models.anomaly_detection import expectations
        from serving.native_onnx import step_model

        first = expectations(model)[0]
        outputs = {"score": model.output["score"], "expected": model.output[first]}
        if "parts" in model.output:  # which models of earlier versions do not have
            outputs["parts"] = model.output["parts"]
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
        raised = [preprocessor.raised(responses, i) for i in range(len(examples))]
        return {
            **scores, **label_scores(responses["score"], examples, preprocessor.quiet, raised)
        }  # fmt: skip

    def baseline(self, preprocessor: AnomalyPreprocessor, splits: Splits) -> dict[str, Any]:
        """Z-score, moving median and seasonal residual; the one with the best AUC-PR."""
        from tasks.kinds.anomaly_detection.baseline import anomaly_baselines

        return anomaly_baselines(preprocessor, splits)

    def judged(
        self,
        preprocessor: AnomalyPreprocessor,
        responses: Responses,
        examples: Sequence[SeriesExample],
        others: Mapping[str, Sequence[np.ndarray]] | None = None,
    ) -> Judged:
        """Stretches of the series, with their alarms and errors, and the baseline's."""
        from tasks.kinds.anomaly_detection.judged_stretches import judged_stretches_of

        raised = [preprocessor.raised(responses, i) for i in range(len(examples))]
        return judged_stretches_of(preprocessor, responses["expected"], raised, examples, others)

    def question(
        self,
        model: keras.Model,
        preprocessor: AnomalyPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The score of a row, by the columns of it and of the rows before."""
        from tasks.kinds.anomaly_detection.explaining import anomaly_question

        return anomaly_question(model, preprocessor, raw, answer, target)

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``series: 3 of 64 rows are anomalies; the highest score at TIME: 4.2; 1 alarm: 1 for b``.

        The columns are those that are first to blame, where it is known.
        """
        scores, count = answer["score"], sum(answer["anomaly"])
        place = int(np.argmax(scores))
        where = answer["times"][place] if "times" in answer else f"row {place + 1}"
        name = f"{answer['series']}: " if answer.get("series") else ""
        return (
            f"{name}{count} of {len(scores)} rows are anomalies; the highest score at {where}: "
            f"{scores[place]:.3g} (1 is the threshold){_blamed(answer)}"
        )

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: AnomalyPreprocessor
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Each series of a file, whole; it has the columns of training."""
        if not path.is_file():
            raise DataError(f"--file {path} is not there; name a csv or tsv file")
        columns = self.as_trained(preprocessor).reading(options).columns
        series, notes = read_series(path, columns, regular=False)
        return [{**SeriesExample(one, 0).raw(), "lines": one.lines} for one in series], notes

    def write_answers(
        self,
        preprocessor: AnomalyPreprocessor,
        raw: Sequence[Any],
        answers: Sequence[dict[str, Any]],
        path: Path,
        asked: AskedFile | None = None,
    ) -> list[Path]:
        """The rows of the file, else one for each series and time; and a picture of anomalies."""
        from reports.anomaly_detection import write_detections

        return write_detections(raw, answers, path, asked)

    def pictures(
        self,
        preprocessor: AnomalyPreprocessor,
        responses: Responses,
        examples: Sequence[SeriesExample],
        directory: Path,
    ) -> list[str]:
        """Every column of a series with the anomalies that it is to blame for, and the score."""
        from reports.anomaly_detection import draw_detections

        raised = [preprocessor.raised(responses, i) for i in range(len(examples))]
        return draw_detections(responses, examples, raised, directory)


def _blamed(answer: Mapping[str, Any]) -> str:
    """How many alarms there are, and the columns that are first to blame."""
    if "causes" not in answer:
        return ""
    first = Counter(next(iter(blamed), "") for blamed in answer["causes"])
    names = ", ".join(f"{count} for {name}" for name, count in first.most_common() if name)
    more = f": {names}" if names and len(answer["expected"]) > 1 else ""
    alarms = len(answer["causes"])
    return f"; {alarms} {'alarm' if alarms == 1 else 'alarms'}{more}"


def _labelled(one: Series, labels: str, name: str) -> Series:
    return replace(one, windows=read_windows(Path(labels), one, name))


def _normal_rows(splits: Splits, spans: Sequence[slice]) -> list[np.ndarray]:
    """Which rows of each span of the training table lie in no labelled anomaly."""
    table, found = splits.train.table, []
    labelled = np.zeros(len(table.times), bool)
    for one, offset in zip(splits.test, table.offsets[:-1], strict=True):
        for first, last in one.series.windows:
            labelled[offset + first : offset + last + 1] = True
    for span in spans:
        normal = ~labelled[span]
        # A part that is all one anomaly is no worse a measure than none.
        found.append(normal if normal.any() else np.ones_like(normal))
    return found


def _notes_on_labels(test: Sequence[SeriesExample], train: Windows) -> list[str]:
    """One for each series with labelled anomalies among the rows of train."""
    notes = []
    for place, span in spans_by_series(train).items():
        one, rows = test[place], span.stop - int(train.table.offsets[place])
        inside = [window for window in one.series.windows if window[0] < rows]
        if inside:
            first = iso(one.series.times[[inside[0][0]]])[0]
            notes.append(
                f"{one.series.name}: {len(inside)} of {len(one.series.windows)} labelled anomalies "
                f"(the first at {first}) begin in the train part; their rows are learnt from, but "
                "thresholds leave them out. If you can, choose a quiet part with --split."
            )
    return notes
