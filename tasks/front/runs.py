"""A finished training as an object."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.front.asking import answers_of
from tasks.front.bundles import ExportedBundle
from tasks.front.showing import Page, Pictures, frame_html, heading
from tasks.stages.console import load_run, load_tensorflow, tell
from tasks.stages.directories import RUN, bundle_for, required
from tasks.stages.predicting import Answerer
from tasks.stages.run_directory import Run

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from pipelines.frames import Source
    from pipelines.preprocessor import Preprocessor
    from reports.explanation import Explanation
    from tasks.kinds.contract import Settings, Task
    from tasks.stages.explaining import Explainer


class TrainedRun:
    """A run: what it was trained with, what it is worth, and its answers.

    Args:
        path: its directory.

    Attributes:
        path: its directory.
        metrics: scores by part and name, such as ``metrics["test"]["accuracy"]``.
        baseline: ``{"name", "validation": {...}, "test": {...}}``; None for a trial of a search.
        remarks: sentences to read beside the scores.

    Raises:
        DataError: the directory holds no finished training.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = required(Path(path), RUN, finished=True)
        self._run = Run(self.path)
        result = self._result = self._run.read_json("metrics.json")
        self.metrics, self.baseline = result["metrics"], result["baseline"]
        self.remarks: list[str] = result.get("remarks", [])

    @cached_property
    def _answerer(self) -> Answerer:
        return Answerer(self.path)

    @cached_property
    def _explainer(self) -> Explainer:
        from tasks.stages.explaining import Explainer

        return Explainer(self, self._answerer)

    @property
    def task(self) -> Task:
        """The task that was trained."""
        return self._answerer.trained_task

    @property
    def settings(self) -> Settings:
        """The settings that were trained with."""
        return self._run.settings()

    @property
    def scores(self) -> pd.DataFrame:
        """The model beside its baseline: a row for each part and metric."""
        import pandas as pd

        from reports.tables import score_rows

        return pd.DataFrame(score_rows(self._result)).set_index(["part", "metric"])

    @property
    def history(self) -> pd.DataFrame:
        """Losses, metrics and seconds of each epoch."""
        import pandas as pd

        return pd.read_csv(self.path / "history.csv").set_index("epoch")

    @property
    def model(self) -> keras.Model:
        """The Keras model, with the weights of its best epoch."""
        return self._answerer.model

    @property
    def preprocessor(self) -> Preprocessor:
        """What was adapted on train and travels with the model."""
        return self._answerer.preprocessor

    def pictures(self) -> Pictures:
        """The pictures that were drawn of the test part."""
        return Pictures.of(self.path / "pictures")

    def predict(
        self, inputs: Source | Sequence[Any], program: str | None = None, **flags: Any
    ) -> list[dict[str, Any]] | pd.DataFrame:
        """Answers inputs.

        Args:
            inputs: a list of raw inputs (texts; arrays or JSON; names of files of sound), or one
                text; or a DataFrame or the path of a file, whose rows are inputs.
            program: that answers, such as "generate"; the usual one if None.
            **flags: decoding settings, and how a table is read where not as for training.

        Returns:
            One dict for each input of a list; a DataFrame for a DataFrame or a file: its columns
            and those of the answers.

        Raises:
            DataError: an input cannot be read, in one sentence.
        """
        return answers_of(self._answerer, inputs, program, flags)

    def explain(self, raw: Any, target: str | int = "") -> Explanation:
        """What moved the answer to one input; it shows itself in a notebook.

        Args:
            raw: one input, as ``predict`` takes it in a list.
            target: which number of the answer, such as a label; the kind's choice if empty.
        """
        return self._explainer.explain(raw, target)

    def evaluate(self, data: Source | None = None, **reading: Any) -> pd.DataFrame:
        """Judges the model anew, on its own data or on another; see ``scores``.

        Args:
            data: see ``seqloom.train``.
            **reading: how it is read, where not as for training.
        """
        import pandas as pd

        load_tensorflow()
        from reports.tables import score_rows
        from tasks.stages.training import evaluate

        where, before = None, self._run.data()
        if data is not None:
            mixed = {**before.reading, **reading}
            where = self.task.data_options(data, before.seed, **mixed)
        found = evaluate(self._run, where, tell=tell)
        return pd.DataFrame(score_rows(found)).set_index(["part", "metric"])

    def export(
        self,
        out: str | Path | None = None,
        formats: Sequence[str] | None = None,
        precisions: Sequence[str] = ("fp32",),
        max_loss: float = 0.01,
        data: str | None = None,
    ) -> ExportedBundle:
        """Exports the model, each artefact compared with Keras before it is published.

        Args:
            out: the bundle; ``bundle`` in the run if None.
            formats: savedmodel, onnx, tensorrt, triton; the first two if None, as far as a network
                of the user's own can be written so.
            precisions: fp32, fp16, int8.
            max_loss: share of the metric that fp16 or int8 may lose.
            data: where the run's data is now, if it was moved.
        """
        from serving.export import ExportOptions

        lenient = formats is None and self._run.network() is not None
        options = ExportOptions(
            tuple(formats or ("savedmodel", "onnx")), tuple(precisions), max_loss, lenient=lenient
        )
        bundle = bundle_for(Path(out) if out else self.path / "bundle", self.task.name)
        splits = load_run(self._run, data)
        load_tensorflow()
        from tasks.stages.exporting import export

        tell("exporting, and comparing each export with Keras")
        export(self._run, bundle, options, splits)
        return ExportedBundle(bundle)

    def report(self) -> Page:
        """Writes ``report.html`` into the run, and shows it."""
        from tasks.stages.reporting import report

        return Page(report(self.path))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _repr_html_(self) -> str:
        about = f"{self.task.name}, {self._result['parameters']:,} parameters"
        notes = [f"the baseline is {self.baseline['name']}"] if self.baseline else []
        title = heading("Run", self.path, about)
        return title + frame_html(self.scores.reset_index(), [*notes, *self.remarks])
