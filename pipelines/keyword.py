"""Preprocessor of keyword spotting: a sound in, its class and the probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.errors import DataError
from pipelines.audio_background import usual_seconds
from pipelines.audio_examples import SoundExample, usual_rate
from pipelines.audio_features import AudioFeatures, AudioPreprocessing
from pipelines.audio_program import (
    SoundProgram,
    Wav,
    audio_inputs,
    audio_request,
    edge_sounds,
    encoded_sounds,
)
from pipelines.encoded import EncodedRows
from pipelines.preprocessor import save_state
from pipelines.program import DEFAULT, Program
from pipelines.ragged import Arrays


@dataclass(frozen=True)
class KeywordPreprocessor:
    """Frames of sound, and the classes in the order of the model's outputs.

    Attributes:
        features: samples to frames.
        labels: the classes.
        window: seconds that hold most training sounds; endless sound is heard so much at a time.
    """

    TYPE: ClassVar[str] = "keyword"

    features: AudioFeatures
    labels: tuple[str, ...]
    window: float

    @classmethod
    def adapt(
        cls, config: AudioPreprocessing, examples: Sequence[SoundExample]
    ) -> KeywordPreprocessor:
        """Rate, mean and scale of frames, and classes, of the training sounds."""
        rate = config.sample_rate or usual_rate(examples)
        features = AudioFeatures(config.updated(sample_rate=rate))
        features = features.adapted(one.at(rate) for one in examples)
        labels = tuple(sorted({one.target for one in examples}))
        return cls(features, labels, usual_seconds(examples))

    @property
    def programs(self) -> Mapping[str, Program]:
        """By signature."""
        whole = Classify(self)
        return {DEFAULT: whole, "wav": Wav(whole)}

    def encoded(self, examples: Sequence[SoundExample]) -> EncodedRows:
        """Frames, and the number of the class."""
        sounds = [one.at(self.features.rate) for one in examples]
        return encoded_sounds(self.features, sounds, {"label": self.label_ids(examples)})

    def label_ids(self, examples: Sequence[SoundExample]) -> np.ndarray:
        """Classes as ``<int32>[examples]``.

        Raises:
            DataError: a class that training did not have.
        """
        ids = {label: i for i, label in enumerate(self.labels)}
        for one in examples:
            if one.target not in ids:
                raise DataError(
                    f"{one.where}: the class {one.target!r} is none of training "
                    f"({', '.join(self.labels)}); correct it, or train with such sounds too"
                )
        return np.array([ids[one.target] for one in examples], np.int32)

    def raw(self, examples: Sequence[SoundExample]) -> list[dict[str, Any]]:
        """``{"audio", "rate"}`` of each."""
        sounds = [one.sound() for one in examples]
        return [{"audio": sound.samples, "rate": sound.rate} for sound in sounds]

    def edge_inputs(self) -> list[dict[str, Any]]:
        """See ``edge_sounds``."""
        return edge_sounds(self.features.rate)

    def validate(self, examples: Sequence[SoundExample]) -> None:
        """Refuses classes that training did not have."""
        self.label_ids(examples)

    def to_request(self, raw: Sequence[Any]) -> Arrays:
        """``audio``, ``length`` and ``rate``; see ``Sound.of`` for what may be raw."""
        return audio_request(raw, self.features.rate)

    def answers(self, response: Arrays, raw: Sequence[Any]) -> list[dict[str, Any]]:
        """``{"label", "probability", "probabilities": {label: p}}`` for each row."""
        return [
            {
                "label": label.decode("utf-8"),
                "probability": float(row.max()),
                "probabilities": {name: float(p) for name, p in zip(self.labels, row, strict=True)},
            }
            for label, row in zip(response["label"], response["probabilities"], strict=True)
        ]

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``."""
        state = {"features": self.features.state(), "labels": self.labels, "window": self.window}
        save_state(directory, self.TYPE, state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> KeywordPreprocessor:
        """Reads back what ``save`` wrote."""
        return cls(AudioFeatures.of(state["features"]), tuple(state["labels"]), state["window"])


class Classify(SoundProgram):
    """A sound to its class."""

    def __init__(self, preprocessor: KeywordPreprocessor) -> None:
        self.preprocessor, self.features = preprocessor, preprocessor.features

    @property
    def signature(self) -> dict[str, Any]:
        """``label`` and ``probabilities``."""
        return {
            "inputs": audio_inputs(self.features.rate),
            "outputs": {
                "label": {"dtype": "string", "shape": [-1]},
                "probabilities": {
                    "dtype": "float32", "shape": [-1, len(self.preprocessor.labels)],
                },
            },
        }  # fmt: skip

    @property
    def labels_of(self) -> dict[str, tuple[str, ...]]:
        """The class of each probability."""
        return {"probabilities": tuple(self.preprocessor.labels)}

    def decode(self, outputs: Arrays) -> Arrays:
        """``probabilities <float32>[batch, classes]`` and the likeliest ``label``."""
        names = np.array([label.encode("utf-8") for label in self.preprocessor.labels], object)
        probabilities = outputs["probabilities"]
        return {"label": names[probabilities.argmax(-1)], "probabilities": probabilities}

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.keyword_graph import ClassifyGraph

        return ClassifyGraph(self)


PREPROCESSOR = KeywordPreprocessor
