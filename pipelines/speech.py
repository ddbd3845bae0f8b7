"""Preprocessor of speech recognition: a sound in, its text out, with a time for each character.

``serving_default`` takes whole sounds, ``wav`` files. Models that read forwards alone have ``step``
too: a piece of sound of any length in, what is newly written out, the states going with it. The
pieces' text is that of greedy search over the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.config import Config, number, switch
from common.errors import DataError
from decoding.ctc import BLANK, align, greedy, log_likelihood
from decoding.ctc_beam import beam_search
from pipelines.audio_examples import SoundExample, usual_rate
from pipelines.audio_features import AudioFeatures, AudioPreprocessing
from pipelines.audio_program import (
    FIELDS,
    SoundProgram,
    Wav,
    audio_inputs,
    audio_request,
    checked_sounds,
    edge_sounds,
    encoded_sounds,
)
from pipelines.encoded import EncodedRows
from pipelines.preprocessor import save_state
from pipelines.program import DEFAULT, Cores, Program, run_core
from pipelines.ragged import Arrays, Field, Ragged
from pipelines.speech_step import TranscribeStep
from pipelines.speech_text import MOST_SECONDS, OUTPUT, normalised, steps_needed, words_of


@dataclass(frozen=True)
class SpeechPreprocessing(AudioPreprocessing):
    """How sound becomes frames, and what is said symbols."""

    stack: int = number(4, 1, 32, "frames that a step of the model sees side by side")
    stride: int = number(3, 1, 32, "frames from step to step")
    lowercase: bool = switch(True, "write small letters alone")
    punctuation: bool = switch(False, "keep punctuation; apostrophes are always kept")


@dataclass(frozen=True)
class SpeechDecoding(Config):
    """How texts are found."""

    beam: int = number(8, 1, 1024, "hypotheses of the search; 1: the likeliest symbol of each step")


@dataclass(frozen=True)
class SpeechPreprocessor:
    """Frames of sound, and symbols by number.

    Attributes:
        features: samples to frames.
        symbols: characters; that of number n + 1 is ``symbols[n]``, 0 is the blank.
        lowercase, punctuation: see ``SpeechPreprocessing``.
        streaming: whether the model reads forwards alone, so that there is a program ``step``.
        beam: of the search, unless a request says otherwise.
    """

    TYPE: ClassVar[str] = "speech"

    features: AudioFeatures
    symbols: tuple[str, ...]
    lowercase: bool
    punctuation: bool
    streaming: bool
    beam: int

    @classmethod
    def adapt(
        cls,
        config: SpeechPreprocessing,
        examples: Sequence[SoundExample],
        streaming: bool,
        beam: int,
    ) -> SpeechPreprocessor:
        """Rate, mean and scale of frames, and characters, of the training sounds."""
        values = config.to_dict()
        style = {name: values.pop(name) for name in ("lowercase", "punctuation")}
        values["sample_rate"] = values["sample_rate"] or usual_rate(examples)
        features = AudioFeatures(AudioPreprocessing(**values))
        features = features.adapted(one.at(features.rate) for one in examples)
        symbols = sorted({c for one in examples for c in normalised(one.target, **style)})
        return cls(features, tuple(symbols), **style, streaming=streaming, beam=beam)

    @property
    def programs(self) -> Mapping[str, Program]:
        """By signature."""
        whole = Transcribe(self)
        found: dict[str, Program] = {DEFAULT: whole, "wav": Wav(whole)}
        return (
            {**found, "step": TranscribeStep(self.features, self.symbols)}
            if self.streaming
            else found
        )

    # ---- examples

    def said(self, example: SoundExample) -> str:
        """The words of an example as they are learnt."""
        return normalised(example.target, self.lowercase, self.punctuation)

    def numbers(self, text: str) -> np.ndarray:
        """Symbols of a text; a DataError where one was not in training."""
        ids = {symbol: i for i, symbol in enumerate(self.symbols, 1)}
        unknown = sorted(set(text) - set(ids))
        if unknown:
            raise DataError(f"the character {unknown[0]!r} is not in the training part")
        return np.array([ids[c] for c in text], np.int32)

    def encoded(self, examples: Sequence[SoundExample]) -> EncodedRows:
        """Frames, and the symbols of what is said.

        Raises:
            DataError: a text is empty, has unknown characters, or is too long for its sound.
        """
        rows, sounds = [], []
        for one in examples:
            numbers = self._checked(one)
            samples = one.at(self.features.rate)
            steps, needed = int(self.features.steps(len(samples))), steps_needed(numbers)
            if needed > steps:
                raise DataError(
                    f"{one.where}: its {len(numbers)} characters need {needed} steps, and "
                    f"{len(samples) / self.features.rate:.2f} seconds of sound have {steps}; check "
                    "that they belong together, or take a smaller --stride or --hop-ms"
                )
            rows.append(numbers)
            sounds.append(samples)
        targets = {OUTPUT: Ragged.of(rows, np.int32)}
        fields = {OUTPUT: Field(BLANK)}
        return encoded_sounds(self.features, sounds, targets, fields=fields)

    def _checked(self, example: SoundExample) -> np.ndarray:
        text = self.said(example)
        if not text:
            raise DataError(
                f"{example.where}: of {example.target!r} nothing is left to learn; write what is "
                "said, keep --punctuation, or leave the sound out"
            )
        try:
            return self.numbers(text)
        except DataError as error:
            raise DataError(
                f"{example.where}: {error}; correct the transcript, or add such to train"
            ) from error

    def raw(self, examples: Sequence[SoundExample]) -> list[dict[str, Any]]:
        """``{"audio", "rate"}`` of each."""
        sounds = [one.sound() for one in examples]
        return [{"audio": sound.samples, "rate": sound.rate} for sound in sounds]

    def edge_inputs(self) -> list[dict[str, Any]]:
        """See ``edge_sounds``."""
        return edge_sounds(self.features.rate)

    def validate(self, examples: Sequence[SoundExample]) -> None:
        """Refuses texts that no model of these symbols could ever answer."""
        for one in examples:
            self._checked(one)

    # ---- requests and answers

    def to_request(self, raw: Sequence[Any]) -> Arrays:
        """``audio``, ``length`` and ``rate``; see ``Sound.of`` for what may be raw."""
        return audio_request(raw, self.features.rate)

    def answers(self, response: Arrays, raw: Sequence[Any]) -> list[dict[str, Any]]:
        """``{"text", "log_probability", "words": [{"word", "start", "end"}], "characters":
        [...]}`` for each row, in seconds."""
        columns = ("text", "log_probability", "characters", "starts", "ends", "count")
        found = []
        for text, score, *each in zip(*(response[name] for name in columns), strict=True):
            *arrays, count = each
            spelled, starts, ends = (array[:count] for array in arrays)
            characters = [
                {"character": c.decode("utf-8"), "start": float(a), "end": float(b)}
                for c, a, b in zip(spelled, starts, ends, strict=True)
            ]
            found.append({
                "text": text.decode("utf-8"), "log_probability": float(score),
                "words": words_of(characters), "characters": characters,
            })  # fmt: skip
        return found

    def text(self, numbers: Sequence[int]) -> str:
        """What symbols spell."""
        return "".join(self.symbols[n - 1] for n in numbers)

    # ---- files

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``."""
        names = ("symbols", "lowercase", "punctuation", "streaming", "beam")
        state = {"features": self.features.state(), **{n: getattr(self, n) for n in names}}
        save_state(directory, self.TYPE, state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> SpeechPreprocessor:
        """Reads back what ``save`` wrote."""
        features = AudioFeatures.of(state["features"])
        return cls(**{**state, "features": features, "symbols": tuple(state["symbols"])})


class Transcribe(SoundProgram):
    """A whole sound to its text."""

    shared = ("beam",)
    fields = {
        **FIELDS,
        OUTPUT: Field(0.0, "steps"),
        "characters": Field(b"", "count"),
        "starts": Field(0.0, "count"),
        "ends": Field(0.0, "count"),
    }

    def __init__(self, preprocessor: SpeechPreprocessor) -> None:
        self.preprocessor, self.features = preprocessor, preprocessor.features

    @property
    def signature(self) -> dict[str, Any]:
        """Text, its log-probability, and its characters with their times in seconds."""
        beam = {"dtype": "int32", "shape": [-1], "default": self.preprocessor.beam}
        times = {"dtype": "float32", "shape": [-1, -1]}
        return {
            "inputs": {**audio_inputs(self.features.rate), "beam": beam},
            "outputs": {
                "text": {"dtype": "string", "shape": [-1]},
                "log_probability": {"dtype": "float32", "shape": [-1]},
                "characters": {"dtype": "string", "shape": [-1, -1]},
                "starts": times,
                "ends": times,
                "count": {"dtype": "int32", "shape": [-1]},
            },
        }

    def encode(self, request: Arrays) -> Arrays:
        """Frames, and the width of the beam."""
        sounds, beam = checked_sounds(request), request["beam"]
        if any(len(samples) > MOST_SECONDS * rate for samples, rate in sounds):
            raise ValueError(
                f"length must be at most that of {MOST_SECONDS} seconds of sound; send pieces"
            )
        if len(beam) and not 1 <= beam.min() <= beam.max() <= 1024:
            raise ValueError("beam must be from 1 to 1024")
        return {**super().encode(request), "beam": beam}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """The core, from states of zeros where it has any."""
        core, rows = cores["model"], len(encoded["steps"])
        zeros = {n: np.zeros((rows, *shape), np.float32) for n, shape in core.states.items()}
        return run_core(core, {**encoded, **zeros})

    def decode(self, outputs: Arrays) -> Arrays:
        """Searches, and aligns what is found."""
        scores, steps = outputs[OUTPUT], outputs["steps"]
        beam = int(outputs["beam"][0]) if len(steps) else 1
        found = greedy(scores, steps) if beam == 1 else beam_search(scores, steps, beam)
        return self.answered(scores, steps, found.symbols, found.length)

    def answered(
        self, scores: np.ndarray, steps: np.ndarray, symbols: np.ndarray, count: np.ndarray
    ) -> Arrays:
        """Texts that were found, as response tensors.

        Args:
            scores: ``<float32>[batch, steps, symbols]``.
            steps: ``<int>[batch]``, of each row.
            symbols: ``<int>[batch, longest]``.
            count: ``<int>[batch]``, of each text.
        """
        first, last = align(scores, steps, symbols, count)
        names = np.array([b"", *(one.encode("utf-8") for one in self.preprocessor.symbols)], object)
        texts = np.empty(len(steps), object)
        texts[:] = [b"".join(names[row[:n]]) for row, n in zip(symbols, count, strict=True)]
        inside = np.arange(symbols.shape[1]) < count[:, None]
        a_step = np.float32(self.features.seconds_a_step)
        return {
            "text": texts,
            "log_probability": log_likelihood(scores, steps, symbols, count),
            "characters": names[symbols],
            "starts": np.where(inside, first.astype(np.float32) * a_step, np.float32(0)),
            "ends": np.where(inside, (last + 1).astype(np.float32) * a_step, np.float32(0)),
            "count": count,
        }

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.speech_graph import TranscribeGraph

        return TranscribeGraph(self)


PREPROCESSOR = SpeechPreprocessor
