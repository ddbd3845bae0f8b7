"""A character language model over a toy grammar: scoring, generation, steps."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.config import Config
from common.errors import DataError
from decoding.sampling import SamplingConfig
from models.config import RecurrentConfig
from models.metric import Metric
from pipelines.splits import Splits
from pipelines.text import TextPreprocessing
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, Task, choices

NOUNS, VERBS = ("ann", "bob", "a cat", "the dog"), ("sees", "likes", "hears")
CHARACTERS = TextPreprocessing(level="char", lowercase=False, strip_markup=False, max_length=60)
RECURRENT = RecurrentConfig(bidirectional=False, dropout=0.0, batch_size=16)


def sentences(count: int, seed: int) -> list[str]:
    """Noun, verb, noun and a full stop, at random."""
    draw = random.Random(seed)
    return [
        f"{draw.choice(NOUNS)} {draw.choice(VERBS)} {draw.choice(NOUNS)}." for _ in range(count)
    ]


@dataclass(frozen=True, kw_only=True)
class ToyLanguage(Task):
    """Next character; perplexity is reported, the loss is what epochs are chosen by."""

    data: Config = Config()
    preprocessing: TextPreprocessing = CHARACTERS
    model: RecurrentConfig = RECURRENT
    decoding: SamplingConfig = SamplingConfig(max_tokens=40)

    kind = "toy language"
    metric = Metric("perplexity", "min")
    monitor = Metric("loss", "min")
    model_module = "models.toy_language"
    # Three choices in a sentence of about sixteen characters.
    overfit = Overfit(1.6, epochs=150, settings={"learning_rate": 0.01, "units": 48})

    def load(self, options: DataOptions) -> Splits:
        """Generated sentences, a tenth of them for validation and for test each."""
        kind, _, count = options.source.partition(":")
        if kind != "synthetic":
            raise DataError(f"--data {options.source}: this kind has synthetic data only")
        rows = sentences(int(count or 400), options.seed)
        tenth = len(rows) // 10
        parts = rows[2 * tenth :], rows[:tenth], rows[tenth : 2 * tenth]
        return Splits(*parts, name="toy", fingerprint=f"{options.seed}-{len(rows)}", notes=[])

    def adapt(self, settings: Settings, train: Sequence[str]) -> Any:
        """The characters of the training sentences."""
        from pipelines.toy_language import ToyLanguagePreprocessor

        from pipelines.text import TextEncoder

        encoder = TextEncoder(**settings.preprocessing.to_dict()).adapt(train)
        return ToyLanguagePreprocessor(encoder, settings.decoding.to_dict())

    def build(self, settings: Settings, preprocessor: Any, counts: Any) -> Any:
        """Characters to log-probabilities of the next ones."""
        from models.toy_language import language_model

        return language_model(settings.model, len(preprocessor.encoder.vocabulary))

    def search_space(self, hp: Any, settings: Settings) -> Settings:
        """Cell, depth and size."""
        options = {"cell": ["gru", "lstm"], "layers": range(1, 3), "units": [16, 32]}
        return replace(settings, model=choices(hp, settings.model, options))

    def cores(self, model: Any) -> dict[str, Any]:
        """The whole model, and its steps."""
        from serving.native_onnx import step_model

        return {"model": model, "step": step_model(model)}

    def evaluate(
        self, preprocessor: Any, responses: Responses, examples: Sequence[str]
    ) -> dict[str, float]:
        """Perplexity of each character, the end counted."""
        total = sum(float(row.sum()) for row in responses["log_probabilities"])
        return {"perplexity": float(np.exp(-total / sum(responses["length"])))}

    def baseline(self, preprocessor: Any, splits: Splits) -> dict[str, Any]:
        """Frequencies of single characters."""
        counts = np.ones(len(preprocessor.encoder.vocabulary))
        for text in splits.train:
            np.add.at(counts, preprocessor.encoder.encode(text)[1:], 1)
        shares = np.log(counts / counts.sum())

        def perplexity(texts: Sequence[str]) -> dict[str, float]:
            ids = np.concatenate([preprocessor.encoder.encode(text)[1:] for text in texts])
            return {"perplexity": float(np.exp(-shares[ids].mean()))}

        return {"name": "unigram", "validation": perplexity(splits.validation),
                "test": perplexity(splits.test)}  # fmt: skip

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``-12.3: the text``."""
        return f"{answer['log_probability']:.1f}: {raw}"

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: Any
    ) -> tuple[list[str], list[str]]:
        """One text in each line."""
        return path.read_text(encoding="utf-8").splitlines(), []
