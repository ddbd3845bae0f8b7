"""What a task is. A kind implements it once; a task is a short declaration of a kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from common.config import Config
from common.errors import ConfigError, DataError
from models.config import RecurrentConfig

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from pipelines.batching import ShuffledEpochs
    from pipelines.preprocessor import Arrays, Preprocessor
    from pipelines.sources import Splits


@dataclass(frozen=True)
class DataOptions:
    """Where the examples come from and how they are read.

    Attributes:
        source: what ``--data`` takes.
        seed: of the splits that are made here.
        reading: settings of the task's ``reading`` that are not its defaults.
    """

    source: str = "synthetic"
    seed: int = 0
    reading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """Every choice that makes a model: its network's and its preprocessor's."""

    model: RecurrentConfig
    preprocessor: Mapping[str, Any] = field(default_factory=dict)


class Task(ABC):
    """One sequence problem, from raw examples to readable answers.

    Nothing here imports TensorFlow before a method needs it, so that listing tasks is quick.

    Attributes:
        name: as in ``seqloom train NAME``.
        kind: what sort of problem it is.
        summary: one line for ``seqloom tasks``.
        metric: the score that choices are made by, a key of ``evaluate``.
        model: default hyperparameters.
        reading: how its data is read, by default.
        model_module: where the layers are that a saved model holds.
        quick: settings of ``--quick``.
        mode: whether more ("max") or less ("min") of it is better.
    """

    name: str
    kind: str
    summary: str
    metric: str
    model: RecurrentConfig
    reading: Config
    model_module: str
    mode: str = "max"
    quick: Mapping[str, Any] = MappingProxyType({"units": 32, "embedding_dim": 32, "epochs": 3})

    @property
    def settings(self) -> Settings:
        """The defaults."""
        return Settings(self.model, self.preprocessing())

    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """Settings of the preprocessor, by default."""

    def check_preprocessing(self, values: Mapping[str, Any]) -> None:
        """Raises where values of the right types do not do."""
        return

    def names(self) -> list[str]:
        """Of all settings: how data is read, the network's, the preprocessor's."""
        return [*self.reading.names(), *self.model.names(), *self.preprocessing()]

    def with_settings(self, base: Settings, changes: Mapping[str, Any]) -> Settings:
        """``base`` with other values; an unknown name or a bad value is an error that says so."""
        known = base.preprocessor
        unknown = [name for name in changes if name not in [*base.model.names(), *known]]
        if unknown:
            every = ", ".join(sorted(self.names()))
            raise ConfigError(f"unknown setting {unknown[0]!r}; there are: {every}")
        values = {**known, **{k: v for k, v in changes.items() if k in known}}
        for name, value in values.items():
            if type(value) is not type(known[name]):
                kind = type(known[name]).__name__
                raise ConfigError(f"{name} is {value!r}; it must be of type {kind}")
        self.check_preprocessing(values)
        network = {name: value for name, value in changes.items() if name not in known}
        return Settings(base.model.updated(**network), values)

    def data_options(self, source: str, seed: int = 0, **reading: Any) -> DataOptions:
        """Options of ``load``; an unknown name or a bad value is an error that says so."""
        self.reading.updated(**reading)
        return DataOptions(source, seed, reading)

    def reader(self, options: DataOptions) -> Any:
        """The ``reading`` of these options."""
        return self.reading.updated(**options.reading)

    @abstractmethod
    def load(self, options: DataOptions) -> Splits:
        """Raw examples, split."""

    @abstractmethod
    def adapt(self, settings: Settings, train: Sequence[Any]) -> Preprocessor:
        """The preprocessor, adapted on training examples only."""

    def encoded(self, preprocessor: Preprocessor, examples: Sequence[Any]) -> Sequence[Any]:
        """Examples with the work done that every batch of them would need.

        ``statistics``, ``batches`` and ``training_batches`` take either; a search does it once.
        """
        return examples

    @abstractmethod
    def batches(
        self, preprocessor: Preprocessor, examples: Sequence[Any], batch_size: int
    ) -> tf.data.Dataset:
        """Batches of ``(inputs, target)``, in one order."""

    @abstractmethod
    def training_batches(
        self, preprocessor: Preprocessor, examples: Sequence[Any], batch_size: int, seed: int
    ) -> ShuffledEpochs:
        """Batches of ``(inputs, target)`` in another order each epoch."""

    def statistics(
        self, settings: Settings, preprocessor: Preprocessor, train: Sequence[Any]
    ) -> Any:
        """What ``build`` needs from counting the training examples, made once for a search."""
        return None

    @abstractmethod
    def build(self, settings: Settings, preprocessor: Preprocessor, statistics: Any) -> keras.Model:
        """A compiled model."""

    def calibrate(self, model: keras.Model, validation: tf.data.Dataset) -> dict[str, float]:
        """Sets, after each epoch, what is chosen on validation and not learnt.

        Returns:
            The validation metrics that this changed.
        """
        return {}

    def finish(
        self, model: keras.Model, settings: Settings, preprocessor: Preprocessor, splits: Splits
    ) -> keras.Model:
        """The model to keep: sets, after training, what is counted and not learnt."""
        return model

    @abstractmethod
    def inference_model(self, model: keras.Model) -> keras.Model:
        """The model as it is exported: core inputs to the named core outputs that decode takes."""

    @abstractmethod
    def raw_inputs(self, examples: Sequence[Any]) -> list[Any]:
        """What a client would send for these examples."""

    @abstractmethod
    def edge_inputs(self, preprocessor: Preprocessor) -> list[Any]:
        """Raw inputs at the edge of what is allowed: nothing, the shortest, the unknown."""

    def check(self, preprocessor: Preprocessor, examples: Sequence[Any]) -> None:
        """Raises where examples hold what the model could never answer."""
        return

    def outputs(
        self, model: keras.Model, preprocessor: Preprocessor, examples: Sequence[Any]
    ) -> Arrays:
        """Wire outputs of the inference model, what ``evaluate`` takes."""
        from tasks.stages.predicting import keras_outputs

        return keras_outputs(model, preprocessor, self.raw_inputs(examples))

    @abstractmethod
    def evaluate(
        self, preprocessor: Preprocessor, outputs: Arrays, examples: Sequence[Any]
    ) -> dict[str, float]:
        """Metrics of wire outputs (a row an example) against the truth."""

    @abstractmethod
    def baseline(self, preprocessor: Preprocessor, splits: Splits) -> dict[str, Any]:
        """``{"name", "validation": {metric: value}, "test": {metric: value}}`` of a sceptic."""

    def pictures(
        self,
        preprocessor: Preprocessor,
        outputs: Arrays,
        examples: Sequence[Any],
        directory: Path,
    ) -> list[str]:
        """Draws what people would rather look at; the names of the files."""
        return []

    def parse_input(self, text: str) -> Any:
        """A raw input that was typed: the text itself."""
        return text

    @abstractmethod
    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: Preprocessor
    ) -> list[Any]:
        """Raw inputs of a file, for ``seqloom predict --file``."""

    def write_answers(
        self, raw: Sequence[Any], answers: Sequence[dict[str, Any]], path: Path
    ) -> list[Path]:
        """Writes answers as a csv, and a picture beside it where there is one to draw."""
        raise DataError(f"--out: {self.kind} has no file of answers; redirect --json instead")

    @abstractmethod
    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Draws settings from KerasTuner; each hyperparameter's default is that of ``settings``."""

    @abstractmethod
    def readable(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """One line that a person can read."""

    @property
    def monitor(self) -> str:
        """Name under which Keras reports the metric on validation batches."""
        return f"val_{self.metric}"


def drawn(hp: keras_tuner.HyperParameters, name: str, default: Any, *others: Any) -> Any:
    """One of some values and the default, which need not be among them."""
    values = dict.fromkeys([default, *others])
    return hp.Choice(
        name, list(values) if isinstance(default, str) else sorted(values), default=default
    )
