"""What a task is. A kind implements it once; a task is a short declaration of a kind."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from common.config import Config
from common.errors import ConfigError
from models.config import RecurrentConfig
from models.metric import Metric
from models.network import Network
from tasks.kinds.own_network import own_network
from tasks.kinds.question import Explained
from tasks.kinds.settings import (  # a kind takes all that it is written with from here
    DataOptions,
    Overfit,
    Settings,
    choice,  # noqa: F401
    choices,  # noqa: F401
)

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from pipelines.answer_files import AskedFile
    from pipelines.encoded import Encoded
    from pipelines.frames import Source
    from pipelines.live import Answering, Live
    from pipelines.preprocessor import Preprocessor
    from pipelines.splits import Splits
    from reports.judged import Judged

# Response tensors of many examples; those whose rows differ in length are lists of arrays.
Responses = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task(Explained, ABC):
    """One sequence problem, from raw examples to readable answers.

    Nothing here imports TensorFlow before a method needs it, so that listing tasks is fast.

    Attributes:
        name: as in ``seqloom train NAME``.
        summary: one line for ``seqloom tasks``.
        data: how its data is read, by default.
        preprocessing: how raw examples become model tensors, by default.
        model: hyperparameters, by default.
        decoding: how model outputs become answers, by default; changeable in each request.
        judging: further ways of `seqloom evaluate` to judge a model, none by default.
        chosen_by: name of the metric that decides, one of ``metrics``; the first if "".
        network: a function of the user's own in place of the recurrent stack.
        kind: what sort of problem it is; the folder below ``tasks/kinds``.
        metrics: scores by which configurations may be chosen, the usual one first. ``evaluate``
            gives them on validation and on test, ``baseline`` too.
        monitor: what epochs are chosen by, if that is not the metric.
        headline: metrics of test that a report begins with, if they are measured.
        hub: what model hubs call the kind, such as "text-classification"; "" if they do not.
        model_module: where the layers are that a saved model holds.
        overfit: see there.
        takes_network: whether it builds its model with one.
        quick: settings of ``--quick``.
        hears: whether raw inputs are sounds, which ``--stream`` follows as they come.
        answer_formats: extensions that ``write_answers`` takes besides those of tables.
        older_reading: settings of ``data`` that runs of earlier versions had as defaults and do
            not name, where the defaults are others now.
        reads_tables: whether a file of inputs is a table, whose columns are put beside its answers.
    """

    name: str
    summary: str
    data: Config
    preprocessing: Config
    model: RecurrentConfig
    decoding: Config = Config()
    judging: Config = Config()
    chosen_by: str = ""
    network: Network | Callable[..., Any] | None = None

    kind: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    monitor: ClassVar[Metric | None] = None
    headline: ClassVar[tuple[str, ...]] = ()
    hub: ClassVar[str] = ""
    model_module: ClassVar[str]
    overfit: ClassVar[Overfit]
    takes_network: ClassVar[bool] = False
    quick: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"units": 32, "embedding_dim": 32, "epochs": 3}
    )
    hears: ClassVar[bool] = False
    answer_formats: ClassVar[tuple[str, ...]] = ()
    reads_tables: ClassVar[bool] = True
    older_reading: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __post_init__(self) -> None:
        if self.chosen_by and self.chosen_by not in (names := [one.name for one in self.metrics]):
            raise ConfigError(
                f"{self.name} has no metric {self.chosen_by!r} to choose by; there are: "
                f"{', '.join(names)}"
            )
        object.__setattr__(self, "network", own_network(self))

    # ---- settings

    @property
    def settings(self) -> Settings:
        """The defaults."""
        return Settings(self.model, self.preprocessing, self.decoding)

    @property
    def groups(self) -> dict[str, Config]:
        """All settings by group; a name is in one group only."""
        return {
            "data": self.data,
            "model": self.model,
            "preprocessor": self.preprocessing,
            "decoding": self.decoding,
            "judging": self.judging,
        }

    def names(self) -> list[str]:
        """Names of all settings that a training has."""
        groups = (self.data, self.model, self.preprocessing, self.decoding)
        return [name for group in groups for name in group.names()]

    def with_settings(self, base: Settings, changes: Mapping[str, Any]) -> Settings:
        """``base`` with other values; an unknown name or a bad value is an error that says so."""
        groups = {"model": base.model, "preprocessing": base.preprocessing,
                  "decoding": base.decoding}  # fmt: skip
        rest = dict(changes)
        for name, group in groups.items():
            mine = {key: rest.pop(key) for key in group.names() if key in rest}
            for key in set(group.paths()) & set(mine):  # found again from other directories
                if isinstance(mine[key], str) and os.path.exists(mine[key]):
                    mine[key] = os.path.abspath(mine[key])
            groups[name] = group.updated(**mine) if mine else group
        if rest:
            every = ", ".join(sorted(self.names()))
            raise ConfigError(f"unknown setting {next(iter(rest))!r}; there are: {every}")
        return Settings(**groups)

    def settings_of(self, config: Mapping[str, Any]) -> Settings:
        """What ``Settings.to_dict`` wrote; a key that is no setting is an error."""
        return Settings(
            type(self.model).from_dict(config["model"]),
            type(self.preprocessing).from_dict(config["preprocessor"]),
            type(self.decoding).from_dict(config["decoding"]),
        )

    def data_options(self, source: Source, seed: int = 0, **reading: Any) -> DataOptions:
        """Options of ``load``; an unknown name or a bad value is an error that says so."""
        self.data.updated(**reading)
        return DataOptions(source, seed, reading)

    def reading(self, options: DataOptions) -> Any:
        """The ``data`` settings of these options."""
        return self.data.updated(**options.reading)

    def check(self, settings: Settings, options: DataOptions) -> None:  # noqa: B027 a kind may
        """Refuses settings that do not go together, before anything is read or written.

        Raises:
            ConfigError: names the flags, and what would do.
        """

    def resolve(
        self, settings: Settings, options: DataOptions, splits: Splits
    ) -> tuple[Settings, DataOptions]:
        """The settings and options with what they leave to the data chosen: nothing, unless a kind
        does. Done again it changes nothing; a run's ``config.json`` has what came out."""
        return settings, options

    @property
    def metric(self) -> Metric:
        """The score that is reported first and that configurations are chosen by."""
        return next(one for one in self.metrics if self.chosen_by in ("", one.name))

    @property
    def watched(self) -> Metric:
        """What epochs are chosen by: the metric, where each epoch measures it."""
        return self.monitor or (self.metric if self.metric.each_epoch else self.metrics[0])

    def as_trained(self, preprocessor: Preprocessor) -> Task:
        """The task as it reads further data for a trained model: the same, unless a kind knows."""
        return self

    # ---- learn

    @abstractmethod
    def load(self, options: DataOptions) -> Splits:
        """Raw examples, split."""

    def overview(self, splits: Splits) -> list[str]:
        """Lines about the examples that a person has to know before a training starts."""
        return []

    @abstractmethod
    def adapt(self, settings: Settings, train: Sequence[Any]) -> Preprocessor:
        """The preprocessor, adapted on training examples only."""

    def count(self, settings: Settings, preprocessor: Preprocessor, train: Any) -> Any:
        """What ``build`` needs from counting the encoded training examples, once for a search."""
        return None

    def weighted(self, settings: Settings, train: Encoded) -> Encoded:
        """The encoded training examples with the weights of their losses: alike, unless a kind
        weighs them. Validation is never weighted."""
        return train

    @abstractmethod
    def build(self, settings: Settings, preprocessor: Preprocessor, counts: Any) -> keras.Model:
        """A compiled model."""

    @abstractmethod
    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Chooses settings by KerasTuner; each hyperparameter's default is that of ``settings``."""

    def after_epoch(
        self, model: keras.Model, preprocessor: Preprocessor, validation: tf.data.Dataset
    ) -> dict[str, float]:
        """Sets, after each epoch, what is chosen on validation and not learnt.

        Returns:
            The validation metrics that this changed, by name.
        """
        return {}

    def after_training(
        self, model: keras.Model, settings: Settings, preprocessor: Preprocessor, splits: Splits
    ) -> tuple[keras.Model, Preprocessor]:
        """The model and preprocessor to keep: sets what is counted after training, not learnt."""
        return model, preprocessor

    def sample(self, settings: Settings) -> dict[str, Any] | None:
        """What is written after each epoch, for people to see the model learn.

        Returns:
            ``text`` that is continued, and settings of the program ``generate``; None for kinds
            that do not write.
        """
        return None

    # ---- ship

    @abstractmethod
    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """The graphs that are exported, by name: models of dicts of named tensors to such dicts.

        The programs of the preprocessor say which they run; every kind has ``model``.
        """

    # ---- judge

    @abstractmethod
    def evaluate(
        self, preprocessor: Preprocessor, responses: Responses, examples: Sequence[Any]
    ) -> dict[str, float]:
        """Metrics of what ``serving_default`` answers, against the truth."""

    def judge_otherwise(
        self,
        preprocessor: Preprocessor,
        model: keras.Model,
        splits: Splits,
        judging: Config,
        tell: Callable[[str], None],
    ) -> dict[str, dict[str, Any]]:
        """Scores of test by further ways to use a trained model, which they leave as it is.

        Args:
            preprocessor: of the run.
            model: of the run.
            splits: what is free in a way is chosen on validation; test is read once.
            judging: which ways; those of ``Task.judging`` changed by flags.
            tell: takes a line about what is done.

        Returns:
            By the name of the way ``{"test": {metric: value}, "note": a line for a person}``, and
            whatever else belongs to it; ``"validation"`` like test.
        """
        return {}

    @abstractmethod
    def baseline(self, preprocessor: Preprocessor, splits: Splits) -> dict[str, Any]:
        """``{"name", "validation": {metric: value}, "test": {metric: value}}`` of a simple one.

        With ``"answers"``, its answers to test's examples, ``judged`` compares both one by one;
        they are not kept.
        """

    def judged(
        self,
        preprocessor: Preprocessor,
        responses: Responses,
        examples: Sequence[Any],
        others: Any = None,
    ) -> Judged | None:
        """How each test example was answered: what a report's intervals and mistakes are made of.

        Args:
            preprocessor: of the run.
            responses: what ``serving_default`` answered.
            examples: of test.
            others: the ``"answers"`` of ``baseline``, if it gave any.

        Returns:
            None where a kind does not tell; its report then has no intervals.
        """
        return None

    def remarks(
        self,
        preprocessor: Preprocessor,
        metrics: Mapping[str, Mapping[str, float]],
        baseline: Mapping[str, Any] | None,
    ) -> list[str]:
        """Sentences that a person has to read beside the scores.

        Args:
            preprocessor: of the run.
            metrics: of ``evaluate``, by part; none of a trial of a search.
            baseline: what ``baseline`` gave; None where none was measured.
        """
        return []

    # ---- people

    @abstractmethod
    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """One line that a person can read."""

    def format_other(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """One line of what another program than ``serving_default`` answered; JSON unless
        overridden."""
        return json.dumps(answer, ensure_ascii=False)

    def parse_input(self, text: str) -> Any:
        """A raw input that was typed: the text itself."""
        return text

    @abstractmethod
    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: Preprocessor
    ) -> tuple[list[Any], list[str]]:
        """Raw inputs of a file, for ``seqloom predict --file``, and notes about them."""

    def write_answers(
        self,
        preprocessor: Preprocessor,
        raw: Sequence[Any],
        answers: Sequence[dict[str, Any]],
        path: Path,
        asked: AskedFile | None = None,
    ) -> list[Path]:
        """Writes answers to a csv, tsv or jsonl file, and a picture if there is one to draw.

        Here a row is an input, with all its columns in ``asked`` if that file has such.
        """
        from pipelines.answer_files import beside, write_answer_rows

        plain = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in raw]
        columns = asked.beside_inputs(plain) if asked else [{}] * len(plain)
        typed = [one if isinstance(one, Mapping) else {"input": one} for one in plain]
        columns = [row or own for row, own in zip(columns, typed, strict=True)]
        write_answer_rows(path, [beside(*pair) for pair in zip(columns, answers, strict=True)])
        return [path]

    def live(self, preprocessor: Preprocessor, model: Answering, decoding: Config) -> Live | None:
        """What answers sound as it comes, see ``pipelines.live``; None where the kind does not."""
        return None

    def pictures(
        self,
        preprocessor: Preprocessor,
        responses: Responses,
        examples: Sequence[Any],
        directory: Path,
    ) -> list[str]:
        """Draws what people would rather look at; the names of the files."""
        return []
