"""Keyword spotting: one sound, one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from common.config import Config, number
from models.keyword_config import KeywordConfig
from models.metric import Metric
from pipelines.keyword_watch import KeywordDecoding
from tasks.kinds.audio import Hearing, RecordedSounds, named
from tasks.kinds.class_weights import with_class_weights
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, choices
from tasks.kinds.label_overview import label_overview

if TYPE_CHECKING:
    import keras
    import keras_tuner

    from pipelines.audio_examples import SoundExample
    from pipelines.encoded import EncodedRows
    from pipelines.keyword import KeywordPreprocessor
    from pipelines.keyword_watch import KeywordWatch
    from pipelines.live import Answering
    from pipelines.splits import Splits
    from reports.judged import Judged
    from tasks.kinds.question import Question

DECISIONS = 16  # that are made together in a file
UNCHANGED = MappingProxyType({
    "dropout": 0.0, "gain_db": 0.0, "noise_db": 200.0, "warp": 0.0, "shift": 0, "time_masks": 0,
    "band_masks": 0, "average": 0.0, "learning_rate": 0.01,
})  # fmt: skip


@dataclass(frozen=True)
class RecordedKeywords(RecordedSounds):
    """How keywords are found, and what is added to them."""

    background: float = number(
        0.0, 0.0, 10.0, "for endless sound: share of made sounds that are no keyword, and of others"
    )


@dataclass(frozen=True, kw_only=True)
class Keyword(Hearing):
    """A recurrent classifier over frames of sound."""

    data: RecordedKeywords = RecordedKeywords()
    model: KeywordConfig = KeywordConfig()
    decoding: KeywordDecoding = KeywordDecoding()

    kind = "keyword"
    hub = "audio-classification"
    classes: ClassVar[bool] = True
    metrics = (Metric("accuracy", "max", proportion=True), Metric("macro_f1", "max"))
    # Accuracy on a small validation part is 1 long before a model has learnt what it can.
    monitor = Metric("loss", "min")
    model_module = "models.keyword"
    takes_network = True
    quick = MappingProxyType({**Hearing.quick, "layers": 1})
    overfit = Overfit(0.95, epochs=30, settings=UNCHANGED)

    def load(self, options: DataOptions) -> Splits[SoundExample]:
        """Sounds with a class, from any source of ``docs/sound.md``."""
        from pipelines.audio_background import with_background
        from pipelines.audio_sources import load_sounds
        from pipelines.synthetic_keyword import synthetic_keys

        splits = load_sounds(options.source, self.found_by(options), synthetic_keys, options.seed)
        share = self.reading(options).background
        return with_background(splits, share, options.seed) if share else splits

    def overview(self, splits: Splits[SoundExample]) -> list[str]:
        """The classes with their counts, and what validation can tell."""
        train, validation = ([x.target for x in part] for part in (splits.train, splits.validation))
        return label_overview(train, validation)

    def adapt(self, settings: Settings, train: Sequence[SoundExample]) -> KeywordPreprocessor:
        """Frames and classes of the training sounds."""
        from pipelines.keyword import KeywordPreprocessor

        return KeywordPreprocessor.adapt(settings.preprocessing, train)

    def weighted(self, settings: Settings, train: EncodedRows) -> EncodedRows:
        """Each class counts alike in the loss, with ``--class-weight balanced``."""
        return with_class_weights(train, settings.model, ("label",))

    def build(
        self, settings: Settings, preprocessor: KeywordPreprocessor, counts: None
    ) -> keras.Model:
        """The classifier, compiled."""
        from models.keyword import keyword_model

        classes = len(preprocessor.labels)
        return keyword_model(settings.model, classes, self.frames(preprocessor), self.network)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, direction, depth, sizes, pooling, convolution, augmentation and learning rate."""
        model = choices(hp, settings.model, {
            "cell": ["lstm", "gru", "simple_rnn"],
            "bidirectional": bool,
            "layers": range(1, 4),
            "units": [32, 64, 128],
            "embedding_dim": [32, 64, 128],
            "pooling": ["max", "mean", "attention", "last"],
            "dropout": [0.1, 0.3, 0.5],
            "warp": [0.0, 0.1, 0.2],
            "filters": [0, 24],
            "learning_rate": (5e-4, 1e-2),
        })  # fmt: skip
        return replace(settings, model=model)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """``frames`` and ``inside`` to ``{"probabilities": <float32>[batch, classes]}``."""
        import keras

        probabilities = keras.layers.Softmax(name="probabilities")(model.output["label"])
        return {"model": keras.Model(model.input, {"probabilities": probabilities})}

    def evaluate(
        self,
        preprocessor: KeywordPreprocessor,
        responses: Responses,
        examples: Sequence[SoundExample],
    ) -> dict[str, float]:
        """Accuracy and the macro-averaged F1 of the predicted classes."""
        from models.label_metrics import label_scores

        truth = [one.target for one in examples]
        return label_scores(truth, [label.decode("utf-8") for label in responses["label"]])

    def baseline(
        self, preprocessor: KeywordPreprocessor, splits: Splits[SoundExample]
    ) -> dict[str, Any]:
        """Logistic regression over what frames are like on the whole."""
        from models.audio_baselines import frame_statistics, linear_sound_baseline

        def part(examples: Sequence[SoundExample]) -> tuple[Any, Any]:
            rows = preprocessor.encoded(examples).inputs["frames"].rows()
            return frame_statistics(rows), preprocessor.label_ids(examples)

        parts = map(part, (splits.train, splits.validation, splits.test))
        found = linear_sound_baseline(*parts, metric=self.metric.name)
        return {**found, "answers": [preprocessor.labels[i] for i in found["answers"]]}

    def judged(
        self,
        preprocessor: KeywordPreprocessor,
        responses: Responses,
        examples: Sequence[SoundExample],
        others: Sequence[str] | None = None,
    ) -> Judged:
        """Each sound by its name, with its class, and the baseline's class."""
        from reports.judged import judged_labels

        return judged_labels(
            [named(one, i) for i, one in enumerate(examples, 1)],
            [one.target for one in examples],
            [label.decode("utf-8") for label in responses["label"]],
            responses["probabilities"].max(1),
            [round(one.sound().seconds, 2) for one in examples],
            "seconds",
            others,
        )

    def pictures(
        self,
        preprocessor: KeywordPreprocessor,
        responses: Responses,
        examples: Sequence[SoundExample],
        directory: Path,
    ) -> list[str]:
        """What is taken for what, and the spectrograms of those that were not known."""
        from reports.keyword import draw_keywords

        guesses = [label.decode("utf-8") for label in responses["label"]]
        return draw_keywords(preprocessor, examples, guesses, directory)

    def live(
        self, preprocessor: KeywordPreprocessor, model: Answering, decoding: Config
    ) -> KeywordWatch:
        """The keywords of endless sound."""
        from pipelines.keyword_watch import KeywordWatch

        return KeywordWatch(preprocessor, model.run, decoding, batch=DECISIONS)

    def question(
        self,
        model: keras.Model,
        preprocessor: KeywordPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The log-odds of a class, by bands and frames."""
        from tasks.kinds.keyword.explaining import keyword_question

        return keyword_question(model, preprocessor, raw, answer, target)

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``label 97%: the file``."""
        name = getattr(raw, "name", "") or "sound"
        return f"{answer['label']} {answer['probability']:.0%}: {name}"
