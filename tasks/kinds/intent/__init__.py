"""Intent: what a sentence asks for, and the slots that it fills, by one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from common.config import text
from models.intent_config import IntentConfig
from models.metric import Metric
from pipelines.intent import IntentDecoding
from pipelines.tagging import TaggingPreprocessing
from tasks.kinds.class_weights import with_class_weights
from tasks.kinds.contract import Responses, Settings, choices
from tasks.kinds.label_overview import label_overview
from tasks.kinds.tagging import TaggedText, Tagging

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from pipelines.encoded import EncodedRows
    from pipelines.intent import IntentPreprocessor
    from pipelines.splits import Splits
    from pipelines.tagged import TaggedExample
    from reports.judged import Judged
    from tasks.kinds.question import Question
    from tasks.kinds.word_vectors import WordCounts


@dataclass(frozen=True)
class CommandText(TaggedText):
    """How sentences with intents and slots are read."""

    intent_column: str = text("", "column of the intent: a name, or a number from 1")


@dataclass(frozen=True, kw_only=True)
class Intent(Tagging):
    """A recurrent model of intents and slots over one encoder."""

    data: CommandText = CommandText()
    # Slots are of many kinds, and mostly of one word: four tags for each would be too many.
    preprocessing: TaggingPreprocessing = TaggingPreprocessing(scheme="bio")
    model: IntentConfig = IntentConfig()
    decoding: IntentDecoding = IntentDecoding()

    kind = "intent"
    hub = "text-classification"
    metrics = (
        Metric("frame_accuracy", "max", proportion=True),
        Metric("intent_accuracy", "max", proportion=True),
        Metric("slot_f1", "max"),
        Metric("slot_precision", "max", each_epoch=False),
        Metric("slot_recall", "max", each_epoch=False),
    )
    model_module = "models.intent"
    takes_network = True
    # A slot more is a frame less: frames are best with the likeliest tags.
    fits_offset = False

    def overview(self, splits: Splits[TaggedExample]) -> list[str]:
        """The intents with their counts, and what validation can tell."""
        train, validation = ([x.intent for x in part] for part in (splits.train, splits.validation))
        return label_overview(train, validation)

    def adapt(self, settings: Settings, train: Sequence[TaggedExample]) -> IntentPreprocessor:
        """Token rules, words, tags and intents of the training sentences."""
        from pipelines.intent import IntentPreprocessor

        found = IntentPreprocessor.adapt(settings.preprocessing, train, settings.decoding)
        return self.extended(found, settings)

    def weighted(self, settings: Settings, train: EncodedRows) -> EncodedRows:
        """Each intent counts alike in its loss, with ``--class-weight balanced``."""
        return with_class_weights(train, settings.model, ("intents",))

    def build(
        self, settings: Settings, preprocessor: IntentPreprocessor, counts: WordCounts
    ) -> keras.Model:
        """The model, compiled with a loss for each of its answers."""
        from models.intent import intent_model

        features, tags = preprocessor.features, preprocessor.tags
        config = counts.sized(settings.model)
        model = intent_model(
            config, features.sizes, features.forms_per_word, features.slots,
            tags.names, tags.scheme, counts.counts, len(preprocessor.intents), counts.vectors,
            self.network,
        )  # fmt: skip
        return counts.begin(model, config)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """That of tagging, and the pooling."""
        settings = super().search_space(hp, settings)
        model = choices(hp, settings.model, {"pooling": ["max", "mean", "attention"]})
        return replace(settings, model=model)

    def after_epoch(
        self, model: keras.Model, preprocessor: IntentPreprocessor, validation: tf.data.Dataset
    ) -> dict[str, float]:
        """Measures what epochs are chosen by."""
        from tasks.kinds.intent.judging import validated_frames

        return validated_frames(self.with_scores(model, preprocessor), model, validation)

    def after_training(
        self,
        model: keras.Model,
        settings: Settings,
        preprocessor: IntentPreprocessor,
        splits: Splits,
    ) -> tuple[keras.Model, IntentPreprocessor]:
        """That of tagging; makes the intents' probabilities true on validation too."""
        from tasks.kinds.calibration import fitted_temperature

        model, preprocessor = super().after_training(model, settings, preprocessor, splits)
        batches = preprocessor.encoded(splits.validation).batches(64)
        temperature = fitted_temperature(model, batches, "intents")
        return model, replace(preprocessor, temperature=temperature)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """``{"emissions", "intent_logits": <float32>[batch, intents]}``."""
        import keras

        found = {"emissions": model.output["tags"], "intent_logits": model.output["intents"]}
        return {"model": keras.Model(model.input, found)}

    def evaluate(
        self,
        preprocessor: IntentPreprocessor,
        responses: Responses,
        examples: Sequence[TaggedExample],
    ) -> dict[str, float]:
        """Share of frames, that is intent and all slots, that are right; each by itself; how far
        the intents' probabilities are from the truth."""
        from tasks.kinds.calibration import calibration_error
        from tasks.kinds.intent.judging import frame_scores
        from tasks.kinds.tagging.scoring import answered_tags

        intents = [preprocessor.intents[i] for i in responses["intent_probabilities"].argmax(1)]
        found = frame_scores(examples, intents, answered_tags(responses))
        right = [one.intent == intent for one, intent in zip(examples, intents, strict=True)]
        error = calibration_error(responses["intent_probabilities"].max(1), right)
        return {**found, "intent_calibration_error": error}

    def baseline(
        self, preprocessor: IntentPreprocessor, splits: Splits[TaggedExample]
    ) -> dict[str, Any]:
        """A linear classifier of intents and a linear CRF of slots."""
        from tasks.kinds.intent.judging import frame_baseline

        return frame_baseline(preprocessor, splits)

    def judged(
        self,
        preprocessor: IntentPreprocessor,
        responses: Responses,
        examples: Sequence[TaggedExample],
        others: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None,
    ) -> Judged:
        """Each sentence with its intent and slots, and the baseline's."""
        from tasks.kinds.intent.judging import judged_frames
        from tasks.kinds.tagging.scoring import answered_tags

        probabilities = responses["intent_probabilities"]
        intents = [preprocessor.intents[i] for i in probabilities.argmax(1)]
        answers = intents, answered_tags(responses)
        return judged_frames(examples, answers, probabilities.max(1), others)

    def remarks(
        self,
        preprocessor: IntentPreprocessor,
        metrics: Mapping[str, Mapping[str, float]],
        baseline: Mapping[str, Any] | None,
    ) -> list[str]:
        """How probabilities were calibrated."""
        return [
            *super().remarks(preprocessor, metrics, baseline),
            f"Probabilities of intents were calibrated on validation (temperature "
            f"{preprocessor.temperature:.2f}); --reject-below P answers no intent below P.",
        ]

    def question(
        self,
        model: keras.Model,
        preprocessor: IntentPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The log-odds of the intent, or of a token's tag, by all tokens."""
        from tasks.kinds.intent.explaining import intent_question

        return intent_question(model, preprocessor, raw, answer, target)

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``intent 97%: book a table for [two party_size]``."""
        name = answer["intent"] or "(no intent)"
        return f"{name} {answer['intent_probability']:.0%}: {super().format_answer(raw, answer)}"
