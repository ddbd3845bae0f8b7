"""Text classification: one text, one label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from models.config import ConfigError, RecurrentConfig
from pipelines.text import TextEncoder
from tasks.kinds.contract import DataOptions, Settings, Task

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from models.wide import WideTables
    from pipelines.batching import ShuffledEpochs
    from pipelines.sources import Splits, TextExample
    from pipelines.text_classification import TextClassificationPreprocessor


@dataclass(frozen=True)
class TextClassification(Task):
    """A recurrent classifier over words, characters or bytes.

    Attributes:
        name: of the task.
        summary: one line about it.
        model: default hyperparameters.
        encoder: default preprocessing.
        metric: "accuracy".
    """

    name: str
    summary: str
    model: RecurrentConfig = RecurrentConfig()
    encoder: TextEncoder = TextEncoder()
    metric: str = "accuracy"
    mode: str = "max"
    kind: str = "text classification"

    @property
    def settings(self) -> Settings:
        """The declared defaults."""
        encoder = asdict(self.encoder)
        del encoder["vocabulary"]
        return Settings(self.model, encoder)

    def with_settings(self, base: Settings, changes: Mapping[str, Any]) -> Settings:
        """Sorts the changes into network and preprocessor."""
        encoder_names = set(base.preprocessor)
        encoder = {**base.preprocessor, **{k: v for k, v in changes.items() if k in encoder_names}}
        for name, value in encoder.items():
            if type(value) is not type(base.preprocessor[name]):
                kind = type(base.preprocessor[name]).__name__
                raise ConfigError(f"{name} is {value!r}; it must be of type {kind}")
        TextEncoder(**encoder)
        network = {k: v for k, v in changes.items() if k not in encoder_names}
        known = {item.name for item in fields(RecurrentConfig)}
        unknown = sorted(set(network) - known)
        if unknown:
            every = ", ".join([*sorted(known), *sorted(encoder_names)])
            raise ConfigError(f"unknown setting {unknown[0]!r}; there are: {every}")
        return Settings(base.model.updated(**network), encoder)

    def load(self, options: DataOptions) -> Splits:
        """Labelled texts from any source of ``docs/data.md``."""
        from pipelines.sources import load_labelled_text

        return load_labelled_text(
            options.source,
            text_column=options.text_column,
            label_column=options.label_column,
            seed=options.seed,
        )

    def adapt(
        self, settings: Settings, train: Sequence[TextExample]
    ) -> TextClassificationPreprocessor:
        """Vocabulary and labels of the training examples."""
        from pipelines.text_classification import TextClassificationPreprocessor

        encoder = TextEncoder(**settings.preprocessor)
        return TextClassificationPreprocessor.adapt(encoder, *_columns(train))

    def rows(
        self, preprocessor: TextClassificationPreprocessor, examples: Sequence[TextExample]
    ) -> tf.data.Dataset:
        """Unbatched ``({"tokens": <int32>[time]}, <int32>[])``."""
        import tensorflow as tf

        texts, labels = _columns(examples)
        encode = preprocessor.graph().text.ragged
        rows = tf.data.Dataset.from_tensor_slices(
            (preprocessor.to_wire(texts)["text"].tolist(), preprocessor.label_ids(labels))
        )
        rows = rows.batch(512).map(
            lambda text, label: ({"tokens": encode(text)}, label), tf.data.AUTOTUNE
        )
        # A row of a ragged batch is typed as ragged until a map has seen it; then it is dense.
        return rows.unbatch().map(lambda inputs, label: (inputs, label))

    def batches(
        self,
        preprocessor: TextClassificationPreprocessor,
        examples: Sequence[TextExample],
        batch_size: int,
    ) -> tf.data.Dataset:
        """``({"tokens": <int32>[batch, time]}, <int32>[batch])``, bucketed by length."""
        from pipelines.batching import bucketed_batches

        rows = self.rows(preprocessor, examples)
        return bucketed_batches(rows, length_key="tokens", batch_size=batch_size)

    def training_batches(
        self,
        preprocessor: TextClassificationPreprocessor,
        examples: Sequence[TextExample],
        batch_size: int,
        seed: int,
    ) -> ShuffledEpochs:
        """The same, shuffled."""
        from pipelines.batching import shuffled_epochs

        rows = self.rows(preprocessor, examples)
        return shuffled_epochs(rows, length_key="tokens", batch_size=batch_size, seed=seed)

    def statistics(
        self,
        settings: Settings,
        preprocessor: TextClassificationPreprocessor,
        train: Sequence[TextExample],
    ) -> WideTables | None:
        """The n-grams of the training texts."""
        from models.wide import count_wide_tables

        if settings.model.wide == "none":
            return None
        texts, labels = _columns(train)
        return count_wide_tables(
            [np.array(preprocessor.encoder.encode(text)) for text in texts],
            preprocessor.label_ids(labels),
            preprocessor.encoder.vocabulary,
            len(preprocessor.labels),
        )

    def build(
        self,
        settings: Settings,
        preprocessor: TextClassificationPreprocessor,
        statistics: WideTables | None,
    ) -> keras.Model:
        """The classifier, compiled with a cross-entropy for each of its paths."""
        from models.text_classifier import AnswerAccuracy, PathsLoss, text_classifier
        from models.training import compile_model

        model = text_classifier(
            settings.model,
            len(preprocessor.encoder.vocabulary),
            len(preprocessor.labels),
            None if settings.model.wide == "none" else statistics,
        )
        compile_model(model, settings.model, PathsLoss(), [AnswerAccuracy(name=self.metric)])
        return model

    def calibrate(self, model: keras.Model, validation: tf.data.Dataset) -> dict[str, float]:
        """Weighs the recurrent against the linear path."""
        from models.text_classifier import choose_share

        return {self.metric: choose_share(model, validation)}

    def inference_model(self, model: keras.Model) -> keras.Model:
        """Sums the paths: ``tokens`` to ``{"probabilities": <float32>[batch, classes]}``."""
        import keras

        from models.text_classifier import AnswerSoftmax

        probabilities = AnswerSoftmax(name="probabilities")(model.output)
        return keras.Model(model.input, {"probabilities": probabilities}, name=self.name)

    def raw_inputs(self, examples: Sequence[TextExample]) -> list[str]:
        """The texts."""
        return [example.text for example in examples]

    def edge_inputs(self) -> list[str]:
        """No text, one letter, letters that no vocabulary holds."""
        return ["", "a", "\u16a0\u16a1 \U0001f600"]

    def evaluate(
        self, answers: Sequence[dict[str, Any]], examples: Sequence[TextExample]
    ) -> dict[str, float]:
        """Accuracy and the macro-averaged F1 of the predicted labels."""
        from sklearn.metrics import accuracy_score, f1_score

        truth = [example.label for example in examples]
        guess = [answer["label"] for answer in answers]
        return {
            "accuracy": float(accuracy_score(truth, guess)),
            "macro_f1": float(f1_score(truth, guess, average="macro")),
        }

    def baseline(self, splits: Splits) -> dict[str, Any]:
        """Bag of words and logistic regression."""
        from models.baselines import bag_of_words

        return bag_of_words(
            _columns(splits.train), _columns(splits.validation), _columns(splits.test)
        )

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, direction, depth, sizes, pooling, dropout and learning rate."""
        at = settings.model
        model = replace(
            at,
            cell=hp.Choice("cell", _with(at.cell, "lstm", "gru", "simple_rnn"), default=at.cell),
            bidirectional=hp.Boolean("bidirectional", default=at.bidirectional),
            layers=hp.Int("layers", 1, 3, default=at.layers),
            units=hp.Choice("units", _with(at.units, 32, 64, 128), default=at.units),
            embedding_dim=hp.Choice(
                "embedding_dim", _with(at.embedding_dim, 32, 64, 128), default=at.embedding_dim
            ),
            pooling=hp.Choice(
                "pooling", _with(at.pooling, "max", "mean", "attention", "last"), default=at.pooling
            ),
            dropout=hp.Choice("dropout", _with(at.dropout, 0.2, 0.4, 0.6), default=at.dropout),
            learning_rate=hp.Float(
                "learning_rate", 3e-4, 5e-3, sampling="log", default=at.learning_rate
            ),
        )
        return Settings(model, settings.preprocessor)

    def readable(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``label 97%: the text``."""
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        text = " ".join(text.split())
        short = text if len(text) <= 100 else f"{text[:97]}..."
        return f"{answer['label']} {answer['probability']:.0%}: {short}"


def _columns(examples: Sequence[TextExample]) -> tuple[list[str], list[str]]:
    return [example.text for example in examples], [example.label for example in examples]


def _with(value: Any, *others: Any) -> list[Any]:
    """The choices and the default, in the order that a person expects."""
    values = {value, *others}
    return sorted(values) if not isinstance(value, str) else list(dict.fromkeys([value, *others]))
