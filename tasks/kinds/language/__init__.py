"""Language models: how likely each unit of a text is, and how a text goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from common.config import Config, choice, text
from common.errors import ConfigError
from decoding.sampling import WritingConfig
from models.language_config import LanguageConfig
from models.metric import Metric
from pipelines.corpus import AUTO, DOCUMENTS
from pipelines.encodings import ENCODING_HELP
from pipelines.language import LanguagePreprocessing
from pipelines.text import as_text
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, Task, choices
from tasks.kinds.language.adapting import LanguageJudging
from tasks.kinds.language.beginning import begin, check_beginning, sized, units_of

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import numpy as np

    from pipelines.language import LanguagePreprocessor
    from pipelines.splits import Splits
    from reports.judged import Judged
    from tasks.kinds.question import Question


MOST_SHOWN, MOST_UNITS = 12, 600  # of the page of surprises


@dataclass(frozen=True)
class Corpus(Config):
    """How text is read."""

    documents: str = choice(AUTO, DOCUMENTS, "what is read as a whole, in text files; auto: files")
    text_column: str = text("", "column of the text in tables")
    encoding: str = text("", ENCODING_HELP)


@dataclass(frozen=True, kw_only=True)
class Language(Task):
    """A recurrent model of the next unit."""

    data: Corpus = Corpus()
    preprocessing: LanguagePreprocessing = LanguagePreprocessing()
    model: LanguageConfig = LanguageConfig()
    decoding: WritingConfig = WritingConfig(temperature=0.8, max_tokens=300)
    judging: LanguageJudging = LanguageJudging()

    kind = "language"
    hub = "text-generation"
    metrics = (
        Metric("perplexity", "min", exponential_of="loss"),
        Metric("bits_per_char", "min", each_epoch=False),
    )
    monitor = Metric("loss", "min")
    model_module = "models.language"
    overfit = Overfit(1.5, epochs=80, examples=2, settings=MappingProxyType({
        "dropout": 0.0, "input_dropout": 0.0, "learning_rate": 0.01, "units": 64, "layers": 1,
    }))  # fmt: skip

    def check(self, settings: Settings, options: DataOptions) -> None:
        """Refuses a model that would see what it is to foretell."""
        if settings.model.bidirectional:
            raise ConfigError("a language model reads in one direction: leave --bidirectional away")
        check_beginning(settings.model)

    def load(self, options: DataOptions) -> Splits[str]:
        """Documents from any source of ``docs/language.md``."""
        from pipelines.corpus import load_corpus

        return load_corpus(options.source, seed=options.seed, **self.reading(options).to_dict())

    def adapt(self, settings: Settings, train: Sequence[str]) -> LanguagePreprocessor:
        """The units of training documents."""
        from pipelines.language import LanguagePreprocessor
        from pipelines.units import Units

        wanted = settings.preprocessing
        units = Units.adapt(train, wanted.level, wanted.vocabulary_size, wanted.min_count)
        if settings.model.encoder:
            units = units.extended(units_of(settings.model.encoder, wanted))
        return LanguagePreprocessor(
            units,
            len(train) > 1,
            settings.model.window,
            settings.decoding.to_dict(),
            wanted.backward,
        )

    def build(
        self, settings: Settings, preprocessor: LanguagePreprocessor, counts: Any
    ) -> keras.Model:
        """The model, compiled."""
        from models.language import language_model

        model = language_model(sized(settings.model), len(preprocessor.units))
        if settings.model.encoder:
            begin(model, settings.model.encoder, preprocessor.units)
        return model

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, depth and sizes, unless another model gives them; dropout and learning rate."""
        sizes = {} if settings.model.encoder else {
            "cell": ["lstm", "gru", "simple_rnn"],
            "layers": range(1, 4),
            "units": [128, 256, 512],
            "embedding_dim": [128, 256, 512],
        }  # fmt: skip
        model = choices(hp, settings.model, {
            **sizes,
            "dropout": [0.1, 0.3, 0.5],
            "input_dropout": [0.1, 0.2, 0.4],
            "learning_rate": (3e-4, 1e-2),
        })  # fmt: skip
        return replace(settings, model=model)

    def sample(self, settings: Settings) -> dict[str, Any] | None:
        """The same beginning with the same seed each time; nothing of a model that reads back."""
        model = settings.model
        if not model.sample_units or settings.preprocessing.backward:
            return None
        return {"text": model.sample_prompt, "max_tokens": model.sample_units, "form": ""}

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """The model that scores what follows, and its steps."""
        from models.language import language_cores
        from serving.native_onnx import step_model

        found = language_cores(model)
        return {"model": found["model"], "step": step_model(found["next"])}

    def evaluate(
        self,
        preprocessor: LanguagePreprocessor,
        responses: Responses,
        examples: Sequence[str],
    ) -> dict[str, float]:
        """Perplexity of units, each counted once with all that stands before it in its document;
        bits a character."""
        from tasks.kinds.language.scoring import scores

        nats = -sum(float(row.sum(dtype="float64")) for row in responses["log_probabilities"])
        return scores(preprocessor, nats, examples)

    def judge_otherwise(
        self,
        preprocessor: LanguagePreprocessor,
        model: keras.Model,
        splits: Splits[str],
        judging: LanguageJudging,
        tell: Callable[[str], None],
    ) -> dict[str, dict[str, Any]]:
        """Dynamic evaluation, and a neural cache."""
        from tasks.kinds.language.adapting import cache_scores, dynamic_scores

        ways = {"dynamic": dynamic_scores, "cache": cache_scores}
        return {
            name: judge(preprocessor, model, splits, judging, tell)
            for name, judge in ways.items() if getattr(judging, name)
        }  # fmt: skip

    def baseline(self, preprocessor: LanguagePreprocessor, splits: Splits[str]) -> dict[str, Any]:
        """N-grams with modified Kneser-Ney smoothing."""
        from tasks.kinds.language.scoring import ngram_scores

        return ngram_scores(preprocessor, splits)

    def judged(
        self,
        preprocessor: LanguagePreprocessor,
        responses: Responses,
        examples: Sequence[str],
        others: Sequence[np.ndarray] | None = None,
    ) -> Judged:
        """Stretches of the documents, with what their units cost the model and the n-grams."""
        from tasks.kinds.language.scoring import judged_stretches

        rows = [[unit.decode("utf-8", "replace") for unit in row] for row in responses["tokens"]]
        spaced = preprocessor.units.spaced
        return judged_stretches(rows, responses["log_probabilities"], spaced, others)

    def remarks(
        self,
        preprocessor: LanguagePreprocessor,
        metrics: Mapping[str, Mapping[str, float]],
        baseline: Mapping[str, Any] | None,
    ) -> list[str]:
        """How much of the text the model has no unit for."""
        # A trial of a search has no scores yet.
        share = metrics.get("test", {}).get("unknown_share", 0)
        if not share:
            return []
        return [
            f"{share:.2%} of test's units are unknown to training, or written <unk> in the text: "
            "they count as one unit, which is easier to foretell than what they stand for."
        ]

    def pictures(
        self,
        preprocessor: LanguagePreprocessor,
        responses: Responses,
        examples: Sequence[str],
        directory: Path,
    ) -> list[str]:
        """The loss by place in a document, and texts shaded by surprise."""
        from reports.language import draw_language

        rows = responses["tokens"][:MOST_SHOWN]
        tokens = [[one.decode("utf-8", "replace") for one in row[:MOST_UNITS]] for row in rows]
        nats = responses["log_probabilities"]
        return draw_language(tokens, nats, preprocessor.units.spaced, directory)

    def question(
        self,
        model: keras.Model,
        preprocessor: LanguagePreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The log-probability of the unit that follows, by all units before."""
        from tasks.kinds.language.explaining import unit_question

        return unit_question(model, preprocessor, raw, answer, target)

    def vocabularies(self, preprocessor: LanguagePreprocessor) -> dict[str, Sequence[str]]:
        """The words of the embedding."""
        return {"embedding": preprocessor.units.names}

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``perplexity 3.21: the text``, its lines behind one another."""
        shown = as_text(raw).replace("\n", "\\n")
        return f"perplexity {answer['perplexity']:.4g}: {' '.join(shown.split())}"

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: LanguagePreprocessor
    ) -> tuple[list[str], list[str]]:
        """A text in each line."""
        from pipelines.corpus import read_prompts

        return read_prompts(path, self.reading(options).encoding)
