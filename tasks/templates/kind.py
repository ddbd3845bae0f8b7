"""TITLE: a tag for each token of a sentence.

This is a skeleton that works: replace its data, its network and its scores by your own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.skeleton import (
    SkeletonExample,
    SkeletonPreprocessing,
    SkeletonPreprocessor,
    load_sentences,
    read_sentences,
)

from common.config import Config, text
from models.config import RecurrentConfig
from models.metric import Metric
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, Task, choices

if TYPE_CHECKING:
    import keras
    import keras_tuner

    from pipelines.splits import Splits


@dataclass(frozen=True)
class SkeletonData(Config):
    """How tagged sentences are read."""

    tokens_column: str = text("tokens", "column of the tokens, a list or text with spaces")
    tags_column: str = text("tags", "column of the tags, as many as there are tokens")


@dataclass(frozen=True, kw_only=True)
class Skeleton(Task):
    """A recurrent labeller of sequences."""

    data: SkeletonData = SkeletonData()
    preprocessing: SkeletonPreprocessing = SkeletonPreprocessing()
    model: RecurrentConfig = RecurrentConfig()

    kind = "TITLE"
    metrics = (Metric("accuracy", "max", each_epoch=False),)
    # The loss knows which tokens are padding; accuracy is measured on the answers.
    monitor = Metric("loss", "min")
    model_module = "models.skeleton"
    overfit = Overfit(0.95, epochs=40, settings={"dropout": 0.0, "learning_rate": 0.01})

    def load(self, options: DataOptions) -> Splits:
        """Tagged sentences: generated, of a file or directory, or of a DataFrame."""
        reading = self.reading(options)
        return load_sentences(
            options.source, reading.tokens_column, reading.tags_column, options.seed
        )

    def adapt(self, settings: Settings, train: Sequence[SkeletonExample]) -> SkeletonPreprocessor:
        """Words and tags of the training sentences."""
        return SkeletonPreprocessor.adapt(settings.preprocessing, train)

    def build(
        self, settings: Settings, preprocessor: SkeletonPreprocessor, counts: Any
    ) -> keras.Model:
        """The labeller, compiled."""
        from models.skeleton import labeller

        words, tags = preprocessor.words, preprocessor.tags
        return labeller(settings.model, len(words), len(tags))

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, direction, depth, size, dropout and learning rate."""
        model = choices(hp, settings.model, {
            "cell": ["gru", "lstm", "simple_rnn"],
            "bidirectional": bool,
            "layers": range(1, 4),
            "units": [32, 64, 128],
            "dropout": [0.2, 0.4, 0.6],
            "learning_rate": (3e-4, 5e-3),
        })  # fmt: skip
        return replace(settings, model=model)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """The model as it is: ``ids`` to ``probabilities``."""
        return {"model": model}

    def evaluate(
        self,
        preprocessor: SkeletonPreprocessor,
        responses: Responses,
        examples: Sequence[SkeletonExample],
    ) -> dict[str, float]:
        """Share of the tokens whose tag is right."""
        guesses = [[tag.decode("utf-8") for tag in row] for row in responses["tags"]]
        return {"accuracy": _accuracy(guesses, examples)}

    def baseline(self, preprocessor: SkeletonPreprocessor, splits: Splits) -> dict[str, Any]:
        """The most frequent tag of each word, of unknown words the most frequent of all."""
        pairs = Counter(pair for one in splits.train for pair in zip(*one, strict=True))
        usual = Counter(tag for one in splits.train for tag in one.tags).most_common(1)[0][0]
        best = {word: tag for (word, tag), _ in reversed(pairs.most_common())}

        def score(examples: Sequence[SkeletonExample]) -> dict[str, float]:
            guesses = [[best.get(word, usual) for word in one.tokens] for one in examples]
            return {"accuracy": _accuracy(guesses, examples)}

        return {"name": "most frequent tag", "validation": score(splits.validation),
                "test": score(splits.test)}  # fmt: skip

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``word/TAG word/TAG``."""
        pairs = zip(answer["tokens"], answer["tags"], strict=True)
        return " ".join(f"{' '.join(token.split())}/{tag}" for token, tag in pairs) or "(empty)"

    def parse_input(self, text: str) -> list[str]:
        """Tokens that were typed, a space between them."""
        return text.split()

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: SkeletonPreprocessor
    ) -> tuple[list[list[str]], list[str]]:
        """Sentences of a file."""
        return read_sentences(path, self.reading(options).tokens_column), []


def _accuracy(guesses: Sequence[Sequence[str]], examples: Sequence[SkeletonExample]) -> float:
    pairs = [
        pair
        for guess, one in zip(guesses, examples, strict=True)
        for pair in zip(guess, one.tags, strict=True)
    ]
    return sum(guess == tag for guess, tag in pairs) / max(1, len(pairs))
