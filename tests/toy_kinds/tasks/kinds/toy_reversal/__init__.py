"""An encoder-decoder with attention that writes a word backwards: two cores and a beam search."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.config import Config
from common.errors import DataError
from decoding.beam import BeamConfig
from models.config import RecurrentConfig
from models.metric import Metric
from pipelines.splits import Splits
from pipelines.text import TextPreprocessing
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, Task, choices

CHARACTERS = TextPreprocessing(level="char", lowercase=False, strip_markup=False, max_length=30)
RECURRENT = RecurrentConfig(bidirectional=False, dropout=0.0, batch_size=32)


@dataclass(frozen=True, kw_only=True)
class ToyReversal(Task):
    """Exact matches are reported, the loss is what epochs are chosen by."""

    data: Config = Config()
    preprocessing: TextPreprocessing = CHARACTERS
    model: RecurrentConfig = RECURRENT
    decoding: BeamConfig = BeamConfig(beam=3, n_best=2, max_tokens=12)

    kind = "toy reversal"
    metric = Metric("exact", "max")
    monitor = Metric("loss", "min")
    model_module = "models.toy_reversal"
    overfit = Overfit(0.9, epochs=150, settings={"learning_rate": 0.01, "units": 48})

    def load(self, options: DataOptions) -> Splits:
        """Words of two to eight letters out of five, generated."""
        kind, _, count = options.source.partition(":")
        if kind != "synthetic":
            raise DataError(f"--data {options.source}: this kind has synthetic data only")
        draw, size = random.Random(options.seed), int(count or 400)
        words = ["".join(draw.choices("abcde", k=draw.randint(2, 8))) for _ in range(size)]
        tenth = size // 10
        parts = words[2 * tenth :], words[:tenth], words[tenth : 2 * tenth]
        return Splits(*parts, name="toy", fingerprint=f"{options.seed}-{size}", notes=[])

    def adapt(self, settings: Settings, train: Sequence[str]) -> Any:
        """The letters of the training words."""
        from pipelines.toy_reversal import ToyReversalPreprocessor

        from pipelines.text import TextEncoder

        encoder = TextEncoder(**settings.preprocessing.to_dict()).adapt(train)
        return ToyReversalPreprocessor(encoder, settings.decoding.to_dict())

    def build(self, settings: Settings, preprocessor: Any, counts: Any) -> Any:
        """Source and target so far to log-probabilities of the next letter."""
        from models.toy_reversal import reversal_model

        return reversal_model(settings.model, len(preprocessor.encoder.vocabulary))

    def search_space(self, hp: Any, settings: Settings) -> Settings:
        """Cell, depth and size."""
        options = {"cell": ["gru", "lstm"], "layers": range(1, 3), "units": [16, 32]}
        return replace(settings, model=choices(hp, settings.model, options))

    def cores(self, model: Any) -> dict[str, Any]:
        """The encoder, and one step of the decoder over its memory."""
        from serving.native_onnx import step_model

        decoder = model.get_layer("decoder")
        step = step_model(decoder, constant=("source", "memory"))
        return {"encoder": model.get_layer("encoder"), "step": step}

    def evaluate(
        self, preprocessor: Any, responses: Responses, examples: Sequence[str]
    ) -> dict[str, float]:
        """Share of words that come out backwards."""
        found = [text.decode("utf-8") for text in responses["text"]]
        right = [mine == word[::-1] for mine, word in zip(found, examples, strict=True)]
        return {"exact": sum(right) / len(right)}

    def baseline(self, preprocessor: Any, splits: Splits) -> dict[str, Any]:
        """The word as it is."""

        def exact(words: Sequence[str]) -> dict[str, float]:
            return {"exact": sum(word == word[::-1] for word in words) / len(words)}

        return {"name": "copy", "validation": exact(splits.validation), "test": exact(splits.test)}

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``abc -> cba``."""
        return f"{raw} -> {answer['text']}"

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: Any
    ) -> tuple[list[str], list[str]]:
        """One word in each line."""
        return path.read_text(encoding="utf-8").splitlines(), []
