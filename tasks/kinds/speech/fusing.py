"""Speech recognition with a language model or a list of words in the search, reported apart."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config import Config, path
from common.errors import ConfigError, DataError
from decoding.ctc_beam import beam_search
from decoding.ctc_scorers import BothScorers, LanguageScorer, WordScorer

if TYPE_CHECKING:
    import keras

    from decoding.ctc import Scorer
    from pipelines.audio_examples import SoundExample
    from pipelines.speech import SpeechPreprocessor
    from pipelines.splits import Splits

WEIGHTS = (0.2, 0.4, 0.7)
REWARDS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class SpeechJudging(Config):
    """Further ways to judge a model of speech."""

    language: str = path(
        "",
        "run of `seqloom train language` on characters, which the search weighs in",
    )
    lexicon: str = path("", "file of words, one a line: the search writes no others")


def fused_scores(
    preprocessor: SpeechPreprocessor,
    model: keras.Model,
    splits: Splits[SoundExample],
    judging: SpeechJudging,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Error rates of test with both in the search; how much the language model weighs is chosen on
    validation.

    Raises:
        ConfigError: the language model or the list of words cannot be used.
    """
    from tasks.kinds.speech.scoring import error_rates

    scores = {
        part: scored(model, preprocessor, getattr(splits, part)) for part in ("validation", "test")
    }
    said = {
        part: [preprocessor.said(one) for one in getattr(splits, part)] for part in scores
    }  # fmt: skip
    words = words_of(judging.lexicon, preprocessor) if judging.lexicon else None
    language = language_of(judging.language, preprocessor) if judging.language else None

    def judged(part: str, weight: float, reward: float) -> dict[str, float]:
        scorer = together(words, language and language(weight, reward))
        heard = [heard_by(one, preprocessor, scorer) for one in scores[part]]
        return error_rates(said[part], heard)

    choices = [(w, r) for w in WEIGHTS for r in REWARDS] if language else [(0.0, 0.0)]
    found = {}
    for weight, reward in choices:
        found[weight, reward] = judged("validation", weight, reward)
        if language:
            cer = found[weight, reward]["cer"]
            tell(f"language model weighed {weight:g}, reward {reward:g}: cer {cer:.4f}")
    best = min(found, key=lambda one: found[one]["cer"])
    note = "with the list of words in the search" if words else "with"
    if language:
        joined = "the list of words and " if words else ""
        note = f"with {joined}a language model in the search, weighed {best[0]:g}, a reward of "
        note += f"{best[1]:g} for each character, as validation likes it"
    return {"validation": found[best], "test": judged("test", *best), "note": note}


def together(*scorers: Scorer | None) -> Scorer | None:
    """Those that there are, as one."""
    there = [one for one in scorers if one]
    return BothScorers(*there) if len(there) == 2 else (there[0] if there else None)


def scored(
    model: keras.Model, preprocessor: SpeechPreprocessor, examples: Sequence[SoundExample]
) -> list[np.ndarray]:
    """Log-probabilities ``<float32>[steps, symbols]`` of each example."""
    found: list[np.ndarray] = []
    for one in examples:
        frames = preprocessor.features(one.at(preprocessor.features.rate))
        inside = np.ones((1, max(1, len(frames))), np.int32)
        frames = frames if len(frames) else np.zeros((1, frames.shape[1]), np.float32)
        inputs = {"frames": frames[None], "inside": inside}
        found.append(model.predict_on_batch(inputs)["log_probabilities"][0])
    return found


def heard_by(scores: np.ndarray, preprocessor: SpeechPreprocessor, scorer: Scorer | None) -> str:
    """The text that a search with a scorer finds."""
    found = beam_search(scores[None], [len(scores)], max(2, preprocessor.beam), scorer)
    return preprocessor.text(found.symbols[0, : found.length[0]])


def words_of(file: str, preprocessor: SpeechPreprocessor) -> WordScorer:
    """The words of a file, as the model spells them.

    Raises:
        DataError: there is no such file, or none of its words can be spelled.
    """
    from pipelines.speech_text import normalised
    from pipelines.textfile import read_document

    text = normalised(read_document(file), preprocessor.lowercase, preprocessor.punctuation)
    try:
        return WordScorer(text.split(), preprocessor.symbols)
    except ValueError as error:
        raise DataError(f"--lexicon {file}: {error}") from error


def language_of(
    directory: str, preprocessor: SpeechPreprocessor
) -> Callable[[float, float], LanguageScorer]:
    """The language model of a run, which then takes a weight and a reward.

    Raises:
        ConfigError: it is no finished run of a language model of characters that reads forwards.
    """
    from models.language import language_cores
    from pipelines.program import as_step
    from pipelines.units import END, START, UNKNOWN
    from serving.native_onnx import step_model
    from serving.native_onnx.writer import export_onnx
    from serving.onnx_core import OnnxCore
    from tasks.stages.run_directory import Run

    run = Run(Path(directory))
    if not run.finished or run.config()["task"] != "language":
        raise ConfigError(f"--language {directory} holds no finished run of a language model")
    reader = run.preprocessor()
    if reader.units.level != "char" or reader.backward:
        raise ConfigError(
            f"--language {directory} is of {reader.units.level}s"
            f"{', backward' if reader.backward else ''}; it must foretell characters, forwards"
        )
    numbers = {name: i for i, name in enumerate(reader.units.names)}
    units = [numbers.get(symbol, UNKNOWN) for symbol in preprocessor.symbols]
    model = step_model(language_cores(run.model())["next"])
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "step.onnx"
        export_onnx(model, place)
        core = OnnxCore(place, threads=1)
    step, _ = as_step(core, 0)

    def zeros(rows: int) -> dict[str, np.ndarray]:
        return as_step(core, rows)[1]

    end = END if reader.ends else None
    return lambda weight, reward: LanguageScorer(step, zeros, units, START, end, weight, reward)
