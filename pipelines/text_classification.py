"""Preprocessor of text classification: one text in, one label and its probabilities out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.errors import DataError
from pipelines.preprocessor import Arrays
from pipelines.text import PAD, TextEncoder


@dataclass(frozen=True)
class TextClassificationPreprocessor:
    """A text encoder and the labels in the order of the model's outputs.

    Attributes:
        padding: what models mask, so that a server may join texts of different lengths.
    """

    padding: ClassVar[dict[str, int]] = {"tokens": PAD}

    encoder: TextEncoder
    labels: tuple[str, ...]

    @classmethod
    def adapt(
        cls, encoder: TextEncoder, texts: Sequence[str], labels: Sequence[str]
    ) -> TextClassificationPreprocessor:
        """Learns the vocabulary and the labels from training examples."""
        return cls(encoder.adapt(texts), tuple(sorted(set(labels))))

    @property
    def signature(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Wire form: ``text <string>[batch]`` to ``label`` and ``probabilities``."""
        return {
            "inputs": {"text": {"dtype": "string", "shape": [-1]}},
            "outputs": {
                "label": {"dtype": "string", "shape": [-1]},
                "probabilities": {"dtype": "float32", "shape": [-1, len(self.labels)]},
            },
        }

    def label_ids(self, labels: Sequence[str]) -> np.ndarray:
        """Labels as ``<int32>[batch]``; a label unseen in training is a DataError."""
        ids = {label: i for i, label in enumerate(self.labels)}
        unknown = sorted(set(labels) - set(ids))
        if unknown:
            raise DataError(
                f"label {unknown[0]!r} is not among the labels of training "
                f"({', '.join(self.labels)}); correct the row or add such examples to train"
            )
        return np.array([ids[label] for label in labels], np.int32)

    def to_wire(self, raw: Sequence[str]) -> Arrays:
        """Texts as ``{"text": <object>[batch]}``; anything that is not text is a DataError."""
        for i, text in enumerate(raw):
            if not isinstance(text, (str, bytes)):
                raise DataError(f"input {i} is a {type(text).__name__}; give one text an input")
        encoded = [t if isinstance(t, bytes) else t.encode("utf-8", "replace") for t in raw]
        return {"text": np.array(encoded, object)}

    def encode(self, wire: Arrays) -> Arrays:
        """``text`` to ``tokens <int32>[batch, time]``."""
        return {"tokens": self.encoder(list(wire["text"]))}

    def decode(self, core: Arrays) -> Arrays:
        """``probabilities <float32>[batch, classes]`` with the likeliest ``label`` beside them."""
        names = np.array([label.encode("utf-8") for label in self.labels], object)
        probabilities = core["probabilities"]
        return {"label": names[probabilities.argmax(-1)], "probabilities": probabilities}

    def answers(self, wire: Arrays, raw: Sequence[str]) -> list[dict[str, Any]]:
        """``{"label", "probability", "probabilities": {label: p}}`` a row."""
        return [
            {
                "label": label.decode("utf-8"),
                "probability": float(row.max()),
                "probabilities": {name: float(p) for name, p in zip(self.labels, row, strict=True)},
            }
            for label, row in zip(wire["label"], wire["probabilities"], strict=True)
        ]

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.text_classification_graph import TextClassificationGraph

        return TextClassificationGraph(self)

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json`` and ``vocabulary.json``."""
        state = {
            "type": "text_classification",
            "encoder": self.encoder.save(directory),
            "labels": self.labels,
        }
        text = json.dumps(state, ensure_ascii=False, indent=2)
        (directory / "preprocessor.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> TextClassificationPreprocessor:
        """Reads back what ``save`` wrote."""
        try:
            return cls(TextEncoder.load(directory, state["encoder"]), tuple(state["labels"]))
        except KeyError as error:
            raise DataError(f"{directory / 'preprocessor.json'} has no {error}") from error


PREPROCESSOR = TextClassificationPreprocessor
