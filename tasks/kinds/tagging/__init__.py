"""Tagging: a tag for each token of a sentence, and the spans that tags make out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.config import Config, choice, text
from models.metric import Metric
from models.tagging_config import TaggingConfig
from pipelines.encodings import ENCODING_HELP
from pipelines.tagging import TaggingPreprocessing
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, Task, choices
from tasks.kinds.pretrained import encoder_words
from tasks.kinds.word_vectors import WordCounts, check_vectors, unless_given

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from pipelines.encoded import EncodedRows
    from pipelines.splits import Splits
    from pipelines.tagged import TaggedExample
    from pipelines.tagging import TaggingPreprocessor
    from reports.judged import Judged
    from tasks.kinds.question import Question

AUTO = "auto"


@dataclass(frozen=True)
class TaggedText(Config):
    """How tagged sentences are read."""

    tokens_column: str = text("", "column of the tokens or the text: a name, or a number from 1")
    tags_column: str = text("", "column of the tags or the spans, likewise")
    tag_scheme: str = choice(
        AUTO,
        (AUTO, "bio", "iob1", "bioes", "bilou", "bmes", "plain"),
        "how tags spell spans; plain: they are classes",
    )
    encoding: str = text("", ENCODING_HELP)


@dataclass(frozen=True, kw_only=True)
class Tagging(Task):
    """A recurrent tagger over words, characters and forms, with a CRF on top."""

    data: TaggedText = TaggedText()
    preprocessing: TaggingPreprocessing = TaggingPreprocessing()
    model: TaggingConfig = TaggingConfig()

    kind = "tagging"
    hub = "token-classification"
    metrics = (
        Metric("f1", "max"),
        Metric("accuracy", "max"),
        Metric("precision", "max", each_epoch=False),
        Metric("recall", "max", each_epoch=False),
    )
    model_module = "models.tagging"
    takes_network = True
    fits_offset: ClassVar[bool] = True
    # The network alone must be able to, without the linear model beside it.
    overfit = Overfit(0.95, epochs=40, settings=MappingProxyType({
        "dropout": 0.0, "word_dropout": 0.0, "wide": False, "learning_rate": 0.01,
    }))  # fmt: skip

    def load(self, options: DataOptions) -> Splits[TaggedExample]:
        """Tagged sentences from any source of ``docs/data.md``."""
        from pipelines.tagged_sources import load_tagged

        reading = self.reading(options).to_dict()
        scheme = reading.pop("tag_scheme")
        reading["scheme"] = "" if scheme == AUTO else scheme
        return load_tagged(
            options.source, intents="intent_column" in reading, seed=options.seed, **reading
        )

    def adapt(self, settings: Settings, train: Sequence[TaggedExample]) -> TaggingPreprocessor:
        """Token rules, words and tags of the training sentences; and what words an encoder has."""
        from pipelines.tagging import TaggingPreprocessor

        found = TaggingPreprocessor.adapt(settings.preprocessing, train)
        return self.extended(found, settings)

    def extended(self, preprocessor: Any, settings: Settings) -> Any:
        """A preprocessor that also knows the words of ``--encoder``, where there is one."""
        if not settings.model.encoder:
            return preprocessor
        words = encoder_words(settings.model.encoder)
        return replace(preprocessor, features=preprocessor.features.extended(words))

    def check(self, settings: Settings, options: DataOptions) -> None:
        """Refuses vectors that are not there."""
        check_vectors(settings.model)

    def count(
        self, settings: Settings, preprocessor: TaggingPreprocessor, train: EncodedRows
    ) -> WordCounts:
        """How often training has each word, and the vectors of the words."""
        features = preprocessor.features
        words = ("", "", *features.words)
        return WordCounts.of(
            settings.model, train.inputs["words"].values, words, features.normalise
        )

    def build(
        self, settings: Settings, preprocessor: TaggingPreprocessor, counts: WordCounts
    ) -> keras.Model:
        """The tagger, compiled."""
        from models.tagging import tagger

        features, tags = preprocessor.features, preprocessor.tags
        config = counts.sized(settings.model)
        model = tagger(
            config, features.sizes, features.forms_per_word, features.slots,
            tags.names, tags.scheme, counts.counts, counts.vectors, self.network,
        )  # fmt: skip
        return counts.begin(model, config)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, direction, depth, sizes, characters, head, dropout and learning rate."""
        model = choices(hp, settings.model, unless_given(settings.model, {
            "cell": ["lstm", "gru", "simple_rnn"],
            "bidirectional": bool,
            "layers": range(1, 4),
            "units": [64, 128, 200],
            "embedding_dim": [50, 100, 200],
            "characters": ["cnn", "rnn", "none"],
            "head": ["crf", "softmax"],
            "dropout": [0.3, 0.5, 0.6],
            "learning_rate": (3e-4, 5e-3),
        }))  # fmt: skip
        return replace(settings, model=model)

    def after_epoch(
        self, model: keras.Model, preprocessor: TaggingPreprocessor, validation: tf.data.Dataset
    ) -> dict[str, float]:
        """Measures what epochs are chosen by: no metric of Keras knows spans."""
        from tasks.kinds.tagging.validating import validated_tags

        return validated_tags(self.with_scores(model, preprocessor), model, validation)

    def with_scores(
        self, model: keras.Model, preprocessor: TaggingPreprocessor
    ) -> TaggingPreprocessor:
        """The preprocessor with the transitions that the model has learnt, if it has a CRF."""
        if all(layer.name != "crf" for layer in model.layers):
            return preprocessor
        return replace(preprocessor, scores=model.get_layer("crf").potentials())

    def after_training(
        self,
        model: keras.Model,
        settings: Settings,
        preprocessor: TaggingPreprocessor,
        splits: Splits,
    ) -> tuple[keras.Model, TaggingPreprocessor]:
        """Takes the transitions over: paths are found outside of the model. What is answered is
        then adjusted on validation."""
        from tasks.kinds.tagging.adjusting import scored, with_offset, with_temperature

        preprocessor = self.with_scores(model, preprocessor)
        batches = scored(model, preprocessor.encoded(splits.validation).batches(64))
        if self.fits_offset:
            preprocessor = with_offset(preprocessor, batches)
        return model, with_temperature(preprocessor, batches)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """Words, characters and forms to ``{"emissions": <float32>[batch, time, tags]}``."""
        import keras

        return {"model": keras.Model(model.input, {"emissions": model.output["tags"]})}

    def evaluate(
        self,
        preprocessor: TaggingPreprocessor,
        responses: Responses,
        examples: Sequence[TaggedExample],
    ) -> dict[str, float]:
        """F1 of spans (of plain tags the accuracy), accuracy, that of unknown words, and how far
        the tags' probabilities are from the truth."""
        from tasks.kinds.calibration import calibration_error
        from tasks.kinds.tagging.scoring import answered_tags

        tags = answered_tags(responses)
        right = [
            want == got
            for one, row in zip(examples, tags, strict=True)
            for want, got in zip(one.tags, row, strict=True)
        ]
        promised = np.array([p for row in responses["probabilities"] for p in row], float)
        error = calibration_error(promised, right)
        return {**self.tag_scores(preprocessor, examples, tags), "calibration_error": error}

    def tag_scores(
        self,
        preprocessor: TaggingPreprocessor,
        examples: Sequence[TaggedExample],
        guesses: Sequence[Sequence[str]],
    ) -> dict[str, float]:
        """Scores of tags against those of the examples."""
        from tasks.kinds.tagging.scoring import tag_metrics

        return tag_metrics(
            [one.tags for one in examples],
            guesses,
            [one.tokens for one in examples],
            bool(preprocessor.tags.scheme),
            preprocessor.features.knows,
        )

    def baseline(
        self, preprocessor: TaggingPreprocessor, splits: Splits[TaggedExample]
    ) -> dict[str, Any]:
        """A linear CRF over the same features, and the most frequent tag of each word."""
        from tasks.kinds.tagging.baseline import tagging_baseline

        return tagging_baseline(
            preprocessor, splits, lambda part, tags: self.tag_scores(preprocessor, part, tags)
        )

    def judged(
        self,
        preprocessor: TaggingPreprocessor,
        responses: Responses,
        examples: Sequence[TaggedExample],
        others: Sequence[Sequence[str]] | None = None,
    ) -> Judged:
        """Each sentence with its tags, and the linear CRF's."""
        from tasks.kinds.tagging.scoring import answered_tags
        from tasks.kinds.tagging.showing import judged_sentences

        return judged_sentences(
            examples,
            answered_tags(responses),
            bool(preprocessor.tags.scheme),
            responses["probabilities"],
            others,
        )

    def remarks(
        self,
        preprocessor: TaggingPreprocessor,
        metrics: Mapping[str, Mapping[str, float]],
        baseline: Mapping[str, Any] | None,
    ) -> list[str]:
        """What was set on validation."""
        lines = [
            f"Probabilities of tags were calibrated on validation (temperature "
            f"{preprocessor.tag_temperature:.2f})."
        ]
        if preprocessor.outside_offset:
            lines.append(
                f"Spans are answered where they are likely enough for the best F1 of validation: "
                f"tags outside of spans stand back by {preprocessor.outside_offset:.1f}."
            )
        return lines

    def pictures(
        self,
        preprocessor: TaggingPreprocessor,
        responses: Responses,
        examples: Sequence[TaggedExample],
        directory: Path,
    ) -> list[str]:
        """What is taken for what, transitions, scores by kind and frequency, coloured spans."""
        from reports.tagging import draw_tags
        from tasks.kinds.tagging.scoring import answered_tags

        tokens, gold = [one.tokens for one in examples], [one.tags for one in examples]
        return draw_tags(preprocessor, tokens, gold, answered_tags(responses), directory)

    def question(
        self,
        model: keras.Model,
        preprocessor: TaggingPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The log-odds of one token's tag, by all tokens."""
        from tasks.kinds.tagging.explaining import tag_question

        return tag_question(model, preprocessor, raw, answer, target)

    def vocabularies(self, preprocessor: TaggingPreprocessor) -> dict[str, Sequence[str]]:
        """The words of the embedding."""
        return {"embedding": ("(padding)", "(unknown)", *preprocessor.features.words)}

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``word/TAG word/TAG``, or of spans ``[Ann Lee PER] met [Bob PER]``."""
        from tasks.kinds.tagging.showing import marked_line

        return marked_line(answer)

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: TaggingPreprocessor
    ) -> tuple[list[Any], list[str]]:
        """Lines of text, or the tokens of a file that training could read."""
        from pipelines.tagged_sources import read_sentences

        reading = self.reading(options)
        return read_sentences(path, tokens_column=reading.tokens_column, encoding=reading.encoding)
