"""Text classification: one text, one label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config import Config, text
from models.text_classification_config import TextConfig
from pipelines.text import TextEncoder
from tasks.kinds.contract import DataOptions, Settings, Task, drawn

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from models.wide import WideTables
    from pipelines.batching import ShuffledEpochs
    from pipelines.preprocessor import Arrays
    from pipelines.sources import Splits, TextExample
    from pipelines.text_classification import TextClassificationPreprocessor


@dataclass(frozen=True)
class TextReading(Config):
    """How labelled text is read."""

    text_column: str = text("", "column of the text; found by its name if absent")
    label_column: str = text("", "column of the label; likewise")


@dataclass(frozen=True)
class TextClassification(Task):
    """A recurrent classifier over words, characters or bytes.

    Attributes:
        name: of the task.
        summary: one line about it.
        model: default hyperparameters.
        encoder: default preprocessing.
        reading: default columns.
        metric: "accuracy".
    """

    name: str
    summary: str
    model: TextConfig = TextConfig()
    encoder: TextEncoder = TextEncoder()
    reading: TextReading = TextReading()
    metric: str = "accuracy"
    mode: str = "max"
    kind: str = "text classification"
    model_module: str = "models.text_classification"

    def preprocessing(self) -> dict[str, Any]:
        """The text encoder's."""
        encoder = asdict(self.encoder)
        del encoder["vocabulary"]
        return encoder

    def check_preprocessing(self, values: Mapping[str, Any]) -> None:
        """By making an encoder of them."""
        TextEncoder(**values)

    def load(self, options: DataOptions) -> Splits:
        """Labelled texts from any source of ``docs/data.md``."""
        from pipelines.sources import load_labelled_text

        reading = self.reader(options)
        return load_labelled_text(
            options.source,
            text_column=reading.text_column or None,
            label_column=reading.label_column or None,
            seed=options.seed,
        )

    def adapt(
        self, settings: Settings, train: Sequence[TextExample]
    ) -> TextClassificationPreprocessor:
        """Vocabulary and labels of the training examples."""
        from pipelines.text_classification import TextClassificationPreprocessor

        encoder = TextEncoder(**settings.preprocessor)
        return TextClassificationPreprocessor.adapt(encoder, *_columns(train))

    def encoded(
        self,
        preprocessor: TextClassificationPreprocessor,
        examples: Sequence[TextExample] | EncodedTexts,
    ) -> EncodedTexts:
        """The tokens of each text and the numbers of the labels."""
        if isinstance(examples, EncodedTexts):
            return examples
        texts, labels = _columns(examples)
        return EncodedTexts.of(map(preprocessor.encoder.encode, texts), preprocessor, labels)

    def rows(
        self,
        preprocessor: TextClassificationPreprocessor,
        examples: Sequence[TextExample] | EncodedTexts,
    ) -> tf.data.Dataset:
        """Unbatched ``({"tokens": <int32>[time]}, <int32>[])``."""
        import tensorflow as tf

        found = self.encoded(preprocessor, examples)
        tokens = tf.RaggedTensor.from_row_splits(found.tokens, found.ends, validate=False)
        rows = tf.data.Dataset.from_tensor_slices(({"tokens": tokens}, found.labels))
        # A row of a ragged tensor is typed as ragged until a map has seen it; then it is dense.
        as_is = tf.autograph.experimental.do_not_convert(lambda inputs, label: (inputs, label))
        return rows.map(as_is)

    def batches(
        self,
        preprocessor: TextClassificationPreprocessor,
        examples: Sequence[TextExample],
        batch_size: int,
    ) -> tf.data.Dataset:
        """``({"tokens": <int32>[batch, time]}, <int32>[batch])``, bucketed by length."""
        from pipelines.batching import bucketed_batches

        examples = self.encoded(preprocessor, examples)
        return bucketed_batches(
            self.rows(preprocessor, examples),
            length_key="tokens", batch_size=batch_size, lengths=examples.lengths,
        )  # fmt: skip

    def training_batches(
        self,
        preprocessor: TextClassificationPreprocessor,
        examples: Sequence[TextExample],
        batch_size: int,
        seed: int,
    ) -> ShuffledEpochs:
        """The same, shuffled."""
        from pipelines.batching import shuffled_epochs

        examples = self.encoded(preprocessor, examples)
        return shuffled_epochs(
            self.rows(preprocessor, examples),
            length_key="tokens", batch_size=batch_size, seed=seed, lengths=examples.lengths,
        )  # fmt: skip

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
        found = self.encoded(preprocessor, train)
        return count_wide_tables(
            np.split(found.tokens, found.ends[1:-1]),
            found.labels,
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
        from models.text_classification import AnswerAccuracy, PathsLoss, text_classifier
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
        from models.text_classification import choose_share

        return {self.metric: choose_share(model, validation)}

    def inference_model(self, model: keras.Model) -> keras.Model:
        """Sums the paths: ``tokens`` to ``{"probabilities": <float32>[batch, classes]}``."""
        import keras

        from models.text_classification import AnswerSoftmax

        probabilities = AnswerSoftmax(name="probabilities")(model.output)
        return keras.Model(model.input, {"probabilities": probabilities}, name=self.name)

    def check(
        self, preprocessor: TextClassificationPreprocessor, examples: Sequence[TextExample]
    ) -> None:
        """Refuses labels that training did not have."""
        preprocessor.label_ids(_columns(examples)[1])

    def raw_inputs(self, examples: Sequence[TextExample]) -> list[str]:
        """The texts."""
        return [example.text for example in examples]

    def edge_inputs(self, preprocessor: TextClassificationPreprocessor) -> list[str]:
        """No text, one letter, letters that no vocabulary holds."""
        return ["", "a", "\u16a0\u16a1 \U0001f600"]

    def evaluate(
        self,
        preprocessor: TextClassificationPreprocessor,
        outputs: Arrays,
        examples: Sequence[TextExample],
    ) -> dict[str, float]:
        """Accuracy and the macro-averaged F1 of the predicted labels."""
        from sklearn.metrics import accuracy_score, f1_score

        truth = [example.label for example in examples]
        guess = [label.decode("utf-8") for label in outputs["label"]]
        return {
            "accuracy": float(accuracy_score(truth, guess)),
            "macro_f1": float(f1_score(truth, guess, average="macro")),
        }

    def baseline(
        self, preprocessor: TextClassificationPreprocessor, splits: Splits
    ) -> dict[str, Any]:
        """Bag of words and logistic regression."""
        from models.baselines import bag_of_words

        return bag_of_words(
            _columns(splits.train), _columns(splits.validation), _columns(splits.test)
        )

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: TextClassificationPreprocessor
    ) -> list[str]:
        """Texts of a file: each line of a .txt, one column of a csv, tsv, jsonl or json; .gz too.

        Raises:
            DataError: the file cannot be read, or its text column is not clear.
        """
        from pipelines.labelled import read_texts

        return read_texts(path, self.reader(options).text_column)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, direction, depth, sizes, pooling, dropout and learning rate."""
        at = settings.model
        model = replace(
            at,
            cell=drawn(hp, "cell", at.cell, "lstm", "gru", "simple_rnn"),
            bidirectional=hp.Boolean("bidirectional", default=at.bidirectional),
            layers=hp.Int("layers", 1, 3, default=at.layers),
            units=drawn(hp, "units", at.units, 32, 64, 128),
            embedding_dim=drawn(hp, "embedding_dim", at.embedding_dim, 32, 64, 128),
            pooling=drawn(hp, "pooling", at.pooling, "max", "mean", "attention", "last"),
            dropout=drawn(hp, "dropout", at.dropout, 0.2, 0.4, 0.6),
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


@dataclass(frozen=True)
class EncodedTexts:
    """Texts as the batches take them.

    Attributes:
        tokens: <int32>[all tokens], one text after the other.
        ends: <int64>[texts + 1], where each begins, and where the last ends.
        labels: <int32>[texts].
    """

    tokens: np.ndarray
    ends: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(
        cls,
        rows: Iterable[Sequence[int]],
        preprocessor: TextClassificationPreprocessor,
        labels: Sequence[str],
    ) -> EncodedTexts:
        """Of the token ids of each text."""
        parts = [np.array(row, np.int32) for row in rows]
        ends = np.cumsum([0, *map(len, parts)])
        tokens = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        return cls(tokens, ends, preprocessor.label_ids(labels))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.diff(self.ends)


def _columns(examples: Sequence[TextExample]) -> tuple[list[str], list[str]]:
    return [example.text for example in examples], [example.label for example in examples]
