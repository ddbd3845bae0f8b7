"""What a task is. A kind implements it once; a task is a short declaration of a kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from models.config import RecurrentConfig

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from pipelines.batching import ShuffledEpochs
    from pipelines.preprocessor import Preprocessor
    from pipelines.sources import Splits


@dataclass(frozen=True)
class DataOptions:
    """Where the examples come from and how they are read.

    Attributes:
        source: what ``--data`` takes.
        text_column: column of the text, None to find it by its name.
        label_column: column of the label, None to find it by its name.
        seed: of the splits that are made here.
    """

    source: str = "synthetic"
    text_column: str | None = None
    label_column: str | None = None
    seed: int = 0


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
        quick: settings of ``--quick``.
        mode: whether more ("max") or less ("min") of it is better.
    """

    name: str
    kind: str
    summary: str
    metric: str
    mode: str = "max"
    quick: Mapping[str, Any] = MappingProxyType({"units": 32, "embedding_dim": 32, "epochs": 3})

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The defaults."""

    @abstractmethod
    def with_settings(self, base: Settings, changes: Mapping[str, Any]) -> Settings:
        """``base`` with other values; an unknown name or a bad value is an error that says so."""

    @abstractmethod
    def load(self, options: DataOptions) -> Splits:
        """Raw examples, split."""

    @abstractmethod
    def adapt(self, settings: Settings, train: Sequence[Any]) -> Preprocessor:
        """The preprocessor, adapted on training examples only."""

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

    @abstractmethod
    def inference_model(self, model: keras.Model) -> keras.Model:
        """The model as it is exported: core inputs to the named core outputs that decode takes."""

    @abstractmethod
    def raw_inputs(self, examples: Sequence[Any]) -> list[Any]:
        """What a client would send for these examples."""

    @abstractmethod
    def edge_inputs(self) -> list[Any]:
        """Raw inputs at the edge of what is allowed: nothing, the shortest, the unknown."""

    @abstractmethod
    def evaluate(
        self, answers: Sequence[dict[str, Any]], examples: Sequence[Any]
    ) -> dict[str, float]:
        """Metrics of answers (one an example) against the truth."""

    @abstractmethod
    def baseline(self, splits: Splits) -> dict[str, Any]:
        """``{"name", "validation": {metric: value}, "test": {metric: value}}`` of a sceptic."""

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
