"""Preprocessor of text classification: one text, or texts of several columns, in; one label and its
probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.errors import DataError
from pipelines.encoded import EncodedRows
from pipelines.messages import name_list
from pipelines.preprocessor import OneProgram, save_state
from pipelines.ragged import Arrays, Field, Ragged
from pipelines.text import PAD, TextEncoder
from pipelines.text_inputs import USUAL, column_requests, input_names, joined_bytes

# Labels of which an answer has all probabilities; of more it has so many, and a server's response
# still has them all.
MOST_LABELS, LIKELIEST = 100, 10


@dataclass(frozen=True)
class TextClassificationPreprocessor(OneProgram):
    """A text encoder and the labels in the order of the model's outputs.

    Attributes:
        encoder: text to tokens.
        labels: in the order of the model's outputs.
        columns: whose texts are joined to one input, see ``pipelines.text_inputs``.
    """

    fields: ClassVar[dict[str, Field]] = {"tokens": Field(PAD, unique=True)}

    encoder: TextEncoder
    labels: tuple[str, ...]
    columns: tuple[str, ...] = USUAL

    @classmethod
    def adapt(cls, encoder: TextEncoder, examples: Sequence[Any]) -> TextClassificationPreprocessor:
        """Learns the vocabulary and the labels from training examples, and takes down from which
        columns their texts are."""
        labels = sorted({example.label for example in examples})
        columns = tuple(examples[0].parts) if examples else ()
        encoder = encoder.adapt([example.text for example in examples])
        return cls(encoder, tuple(labels), columns or USUAL)

    @property
    def signature(self) -> dict[str, dict[str, dict[str, Any]]]:
        """``text <string>[batch]``, or each of several columns, to ``label`` and
        ``probabilities``."""
        return {
            "inputs": {name: {"dtype": "string", "shape": [-1]} for name in self.inputs},
            "outputs": {
                "label": {"dtype": "string", "shape": [-1]},
                "probabilities": {"dtype": "float32", "shape": [-1, len(self.labels)]},
            },
        }

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the request tensors."""
        return input_names(self.columns)

    @property
    def labels_of(self) -> dict[str, tuple[str, ...]]:
        """The label of each probability."""
        return {"probabilities": self.labels}

    def encoded(self, examples: Sequence[Any]) -> EncodedRows:
        """``tokens``, and the number of the label for each output of the model."""
        tokens = Ragged.of((self.encoder.encode(example.text) for example in examples), np.int32)
        labels = self.label_ids([example.label for example in examples])
        return EncodedRows({"tokens": tokens}, dict.fromkeys(("deep", "wide", "answer"), labels))

    def raw(self, examples: Sequence[Any]) -> list[str | dict[str, str]]:
        """The texts; of several columns dicts of them."""
        several = len(self.columns) > 1
        return [
            dict(example.parts) if several and set(example.parts) == set(self.columns)
            else example.text
            for example in examples
        ]  # fmt: skip

    def edge_inputs(self) -> list[str | dict[str, str]]:
        """No text, one letter, letters that no vocabulary holds; one column alone."""
        alone = [{name: "a"} for name in self.columns[1:]]
        return ["", "a", "\u16a0\u16a1 \U0001f600", *alone]

    def validate(self, examples: Sequence[Any]) -> None:
        """Refuses labels that training did not have."""
        self.label_ids([example.label for example in examples])

    def label_ids(self, labels: Sequence[str]) -> np.ndarray:
        """Labels as ``<int32>[batch]``; a label unseen in training is a DataError."""
        ids = {label: i for i, label in enumerate(self.labels)}
        unknown = sorted(set(labels) - set(ids))
        if unknown:
            raise DataError(
                f"label {unknown[0]!r} is not among the labels of training "
                f"({name_list(self.labels)}); correct the row or add such examples to train"
            )
        return np.array([ids[label] for label in labels], np.int32)

    def to_request(self, raw: Sequence[Any]) -> Arrays:
        """Texts, or dicts of the texts of several columns, as ``<object>[batch]`` by input;
        anything else is a DataError."""
        return column_requests(raw, self.columns)

    def encode(self, request: Arrays) -> Arrays:
        """The texts of all columns to ``tokens <int32>[batch, time]``."""
        return {"tokens": self.encoder(joined_bytes([request[name] for name in self.inputs]))}

    def decode(self, outputs: Arrays) -> Arrays:
        """``probabilities <float32>[batch, classes]`` and the likeliest ``label``."""
        probabilities = outputs["probabilities"]
        return {"label": self._names[probabilities.argmax(-1)], "probabilities": probabilities}

    @cached_property
    def _names(self) -> np.ndarray:
        """The labels as response tensors have them."""
        return np.array([label.encode("utf-8") for label in self.labels], object)

    def answers(self, response: Arrays, raw: Sequence[str]) -> list[dict[str, Any]]:
        """``{"label", "probability", "probabilities": {label: p}}`` for each row; of more than
        ``MOST_LABELS`` labels only the probabilities of the ``LIKELIEST``, in falling order."""
        return [
            {
                "label": label.decode("utf-8"),
                "probability": float(row.max()),
                "probabilities": {self.labels[i]: float(row[i]) for i in self._told(row)},
            }
            for label, row in zip(response["label"], response["probabilities"], strict=True)
        ]

    def _told(self, row: np.ndarray) -> Sequence[int]:
        """The labels whose probabilities an answer has."""
        if len(self.labels) <= MOST_LABELS:
            return range(len(self.labels))
        return np.argsort(-row, kind="stable")[:LIKELIEST].tolist()

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.text_classification_graph import TextClassificationGraph

        return TextClassificationGraph(self)

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json`` and ``vocabulary.json``."""
        encoder = self.encoder.save(directory)
        state = {"encoder": encoder, "labels": self.labels, "columns": self.columns}
        save_state(directory, "text_classification", state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> TextClassificationPreprocessor:
        """Reads back what ``save`` wrote."""
        encoder = TextEncoder.load(directory, state["encoder"])
        return cls(encoder, tuple(state["labels"]), tuple(state.get("columns", USUAL)))


PREPROCESSOR = TextClassificationPreprocessor
