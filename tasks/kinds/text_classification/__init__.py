"""Text classification: one text, one label."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from common.config import Config, switch, text
from common.errors import ConfigError
from models.metric import Metric
from models.text_classification_config import TextConfig
from pipelines.encodings import ENCODING_HELP
from pipelines.synthetic import synthetic_reviews
from pipelines.text import END, SPECIAL_TOKENS, START, TextEncoder, TextPreprocessing, is_unspaced
from pipelines.text_examples import TextExample
from pipelines.text_inputs import as_one_text
from tasks.kinds.class_weights import with_class_weights
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, Task, choices
from tasks.kinds.label_overview import label_overview
from tasks.kinds.pretrained import encoder_words
from tasks.kinds.word_vectors import WordCounts, check_vectors, unless_given

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from pipelines.encoded import EncodedRows
    from pipelines.splits import Splits
    from pipelines.text_classification import TextClassificationPreprocessor
    from reports.judged import Judged
    from tasks.kinds.question import Question


@dataclass(frozen=True)
class LabelledText(Config):
    """How labelled text is read."""

    text_column: str = text(
        "", "column of the text, or several: subject,body; found by its name if absent"
    )
    label_column: str = text("", "column of the label; found by its name if absent")
    encoding: str = text("", ENCODING_HELP)
    drop_unlabelled: bool = switch(False, "leave rows out whose label is missing")


@dataclass(frozen=True, kw_only=True)
class TextClassification(Task):
    """A recurrent classifier over words, characters or bytes.

    Attributes:
        synthetic: makes the task's embedded examples from a size and a seed.
    """

    synthetic: Callable[[int, int], list[TextExample]] = synthetic_reviews
    data: LabelledText = LabelledText()
    preprocessing: TextPreprocessing = TextPreprocessing()
    model: TextConfig = TextConfig()

    kind = "text classification"
    hub = "text-classification"
    metrics = (
        Metric("accuracy", "max", logged="answer_accuracy", proportion=True),
        Metric("macro_f1", "max"),
    )
    model_module = "models.text_classification"
    takes_network = True
    # The network alone must be able to, without the linear path next to it.
    overfit = Overfit(0.95, settings=MappingProxyType({
        "dropout": 0.0, "token_dropout": 0.0, "wide": "none", "learning_rate": 0.01,
    }))  # fmt: skip

    def load(self, options: DataOptions) -> Splits:
        """Labelled texts from any source of ``docs/data.md``."""
        from pipelines.sources import load_labelled_text

        reading = self.reading(options)
        return load_labelled_text(
            options.source,
            text_column=reading.text_column or None,
            label_column=reading.label_column or None,
            encoding=reading.encoding,
            drop_unlabelled=reading.drop_unlabelled,
            synthetic=self.synthetic,
            seed=options.seed,
        )

    def overview(self, splits: Splits) -> list[str]:
        """The labels with their counts, and what validation can tell."""
        train, validation = ([x.label for x in part] for part in (splits.train, splits.validation))
        return label_overview(train, validation)

    def adapt(self, settings: Settings, train: Sequence[Any]) -> TextClassificationPreprocessor:
        """Vocabulary and labels of the training examples; and what words an encoder has."""
        from pipelines.text_classification import TextClassificationPreprocessor

        encoder = TextEncoder(**settings.preprocessing.to_dict())
        preprocessor = TextClassificationPreprocessor.adapt(encoder, train)
        if not settings.model.encoder:
            return preprocessor
        words = encoder_words(settings.model.encoder)
        return replace(preprocessor, encoder=preprocessor.encoder.extended(words))

    def check(self, settings: Settings, options: DataOptions) -> None:
        """Refuses vectors that cannot be read, or are of words where tokens are bytes."""
        model, level = settings.model, settings.preprocessing.level
        if (model.vectors and level == "byte") or (model.encoder and level != "word"):
            flag = "vectors" if model.vectors else "encoder"
            raise ConfigError(f"--{flag} has vectors of words; use --level word, or leave it out")
        check_vectors(settings.model)

    def count(
        self, settings: Settings, preprocessor: TextClassificationPreprocessor, train: EncodedRows
    ) -> WordCounts:
        """The n-grams of the training texts, and the vectors of their words."""
        from models.wide_tables import count_wide_tables

        encoder, tables = preprocessor.encoder, None
        tokens, labels = train.inputs["tokens"], train.targets["answer"]
        if settings.model.wide != "none" or settings.model.pairs:
            classes = len(preprocessor.labels)
            tables = count_wide_tables(
                tokens.rows(), labels, encoder.vocabulary, classes, letters=is_unspaced
            )
        special = len(SPECIAL_TOKENS)
        words = ("",) * special + encoder.vocabulary[special:]
        inside = tokens.values[(tokens.values != START) & (tokens.values != END)]
        found = WordCounts.of(settings.model, inside, words, encoder.normalise, tables)
        full = int((tokens.lengths - 2 >= encoder.max_length).sum())
        if not full:
            return found
        kept = {"head": "beginning", "tail": "end"}.get(encoder.truncate, "beginning and end")
        note = (
            f"{full:,} of {len(tokens):,} training texts fill --max-length {encoder.max_length}; "
            f"of longer ones the {kept} is read (--truncate {encoder.truncate})"
        )
        return replace(found, notes=(*found.notes, note))

    def weighted(self, settings: Settings, train: EncodedRows) -> EncodedRows:
        """Each label counts alike in the losses of both paths, with ``--class-weight balanced``."""
        return with_class_weights(train, settings.model, ("answer", "deep", "wide"))

    def build(
        self,
        settings: Settings,
        preprocessor: TextClassificationPreprocessor,
        counts: WordCounts,
    ) -> keras.Model:
        """The classifier, compiled with a cross-entropy for each of its paths."""
        from models.text_classification import compile_classifier, text_classifier

        vocabulary, classes = len(preprocessor.encoder.vocabulary), len(preprocessor.labels)
        config = counts.sized(settings.model)
        model = text_classifier(
            config, vocabulary, classes, counts.tables, counts.vectors, self.network
        )
        compile_classifier(model, config)
        return counts.begin(model, config)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, direction, depth, sizes, pooling, dropout and learning rate."""
        model = choices(hp, settings.model, unless_given(settings.model, {
            "cell": ["lstm", "gru", "simple_rnn"],
            "bidirectional": bool,
            "layers": range(1, 4),
            "units": [32, 64, 128],
            "embedding_dim": [32, 64, 128],
            "pooling": ["max", "mean", "attention", "last"],
            "dropout": [0.2, 0.4, 0.6],
            "learning_rate": (3e-4, 5e-3),
        }))  # fmt: skip
        return replace(settings, model=model)

    def after_epoch(
        self,
        model: keras.Model,
        preprocessor: TextClassificationPreprocessor,
        validation: tf.data.Dataset,
    ) -> dict[str, float]:
        """Weighs the recurrent against the linear path."""
        from models.text_classification import choose_share

        return choose_share(model, validation, self.metric.name)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """``tokens`` to ``{"probabilities": <float32>[batch, classes]}``."""
        import keras

        probabilities = keras.layers.Softmax(name="probabilities")(model.output["answer"])
        return {"model": keras.Model(model.input, {"probabilities": probabilities})}

    def evaluate(
        self,
        preprocessor: TextClassificationPreprocessor,
        responses: Responses,
        examples: Sequence[Any],
    ) -> dict[str, float]:
        """Accuracy and the macro-averaged F1 of the predicted labels."""
        from models.label_metrics import label_scores

        truth = [example.label for example in examples]
        return label_scores(truth, [label.decode("utf-8") for label in responses["label"]])

    def baseline(
        self, preprocessor: TextClassificationPreprocessor, splits: Splits
    ) -> dict[str, Any]:
        """A linear classifier over n-grams of words or characters, chosen by the same metric."""
        from models.baselines import linear_text_baseline

        parts = (splits.train, splits.validation, splits.test)
        return linear_text_baseline(*(
            ([example.text for example in part], [example.label for example in part])
            for part in parts
        ), metric=self.metric.name)  # fmt: skip

    def question(
        self,
        model: keras.Model,
        preprocessor: TextClassificationPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The log-odds of a label, by its tokens."""
        from tasks.kinds.text_classification.explaining import label_question

        return label_question(model, preprocessor, raw, answer, target)

    def judged(
        self,
        preprocessor: TextClassificationPreprocessor,
        responses: Responses,
        examples: Sequence[Any],
        others: Sequence[str] | None = None,
    ) -> Judged:
        """Each text with its label, how sure the model was, and the baseline's label."""
        from reports.judged import judged_labels

        return judged_labels(
            [example.text for example in examples],
            [example.label for example in examples],
            [label.decode("utf-8") for label in responses["label"]],
            responses["probabilities"].max(1),
            [preprocessor.encoder.count(example.text) for example in examples],
            "tokens",
            others,
        )

    def vocabularies(
        self, preprocessor: TextClassificationPreprocessor
    ) -> dict[str, Sequence[str]]:
        """The words of the embedding."""
        return {"embedding": preprocessor.encoder.vocabulary}

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``label 97%: the text``."""
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else as_one_text(raw)
        text = " ".join(text.split())
        short = text if len(text) <= 100 else f"{text[:97]}..."
        return f"{answer['label']} {answer['probability']:.0%}: {short}"

    def as_trained(self, preprocessor: TextClassificationPreprocessor) -> TextClassification:
        """With the text columns of the training data, where there are several."""
        if len(preprocessor.columns) == 1:
            return self
        return replace(self, data=self.data.updated(text_column=",".join(preprocessor.columns)))

    def parse_input(self, text: str) -> str | dict[str, str]:
        """A text that was typed; of a model of several columns, a JSON object of them too."""
        if "," not in self.data.text_column or not text.lstrip().startswith("{"):
            return text
        try:
            found = json.loads(text)
        except ValueError:
            return text
        return found if isinstance(found, dict) else text

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: TextClassificationPreprocessor
    ) -> tuple[list[str | dict[str, str]], list[str]]:
        """Texts of whatever training reads as one part: a file, or a directory of classes.

        Raises:
            DataError: the file cannot be read, or its text column is not clear.
        """
        from pipelines.unlabelled import read_texts

        reading = self.reading(options)
        return read_texts(path, reading.text_column, reading.encoding, preprocessor.labels)
