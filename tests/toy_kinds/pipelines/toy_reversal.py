"""Preprocessor of the toy encoder-decoder: a word in, hypotheses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from decoding.beam import beam_search
from pipelines.encoded import EncodedRows
from pipelines.preprocessor import OneProgram, save_state
from pipelines.program import Cores, as_step
from pipelines.ragged import Arrays, Field, Ragged
from pipelines.text import END, PAD, START, TextEncoder, text_request

# What a beam has in common: arrays of other sizes cannot be one batch.
WIDTHS = ("beam", "n_best")


@dataclass(frozen=True)
class ToyReversalPreprocessor(OneProgram):
    """Letters and their numbers.

    Attributes:
        encoder: of letters.
        settings: of the beam search, by default.
    """

    cores: ClassVar[tuple[str, ...]] = ("encoder", "step")
    fields: ClassVar[dict[str, Field]] = {"source": Field(PAD)}
    shared: ClassVar[tuple[str, ...]] = WIDTHS

    encoder: TextEncoder
    settings: Mapping[str, Any]

    @property
    def signature(self) -> dict[str, Any]:
        """``text`` and the settings of the search, to the best hypothesis and the others."""
        dtypes = {float: "float32", int: "int32"}
        settings = {
            name: {"dtype": dtypes[type(value)], "shape": [-1], "default": value}
            for name, value in self.settings.items()
        }
        return {
            "inputs": {"text": {"dtype": "string", "shape": [-1]}, **settings},
            "outputs": {
                "text": {"dtype": "string", "shape": [-1]},
                "hypotheses": {"dtype": "string", "shape": [-1, -1]},
                "scores": {"dtype": "float32", "shape": [-1, -1]},
            },
        }

    def encoded(self, examples: Sequence[str]) -> EncodedRows:
        """A word, its reverse so far, and the next letter."""
        source = Ragged.of(map(self.encoder.encode, examples), np.int32)
        targets = [self.encoder.encode(word[::-1]) for word in examples]
        tokens = Ragged.of((row[:-1] for row in targets), np.int32)
        following = Ragged.of((row[1:] for row in targets), np.int32)
        return EncodedRows({"source": source, "tokens": tokens}, {"log_probabilities": following})

    def raw(self, examples: Sequence[str]) -> list[str]:
        """The words."""
        return list(examples)

    def edge_inputs(self) -> list[str]:
        """Nothing, one letter, letters that no vocabulary holds."""
        return ["", "a", "\u16a0\U0001f600"]

    def to_request(self, raw: Sequence[str]) -> Arrays:
        """``text <object>[batch]``."""
        return {"text": text_request(raw)}

    def encode(self, request: Arrays) -> Arrays:
        """``source <int32>[batch, time]``, and the settings."""
        settings = {name: request[name] for name in self.settings}
        return {"source": self.encoder(list(request["text"])), **settings}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Encodes, then searches over the steps of the decoder."""
        rows = len(encoded["source"])
        memory = cores["encoder"]({"source": encoded["source"]})
        step, _ = as_step(cores["step"], rows)
        settings = {name: encoded[name] for name in self.settings}
        for name in WIDTHS:
            settings[name] = int(settings[name][0]) if rows else int(self.settings[name])
        first = np.full(rows, START, np.int32)
        states = {"source": encoded["source"], **memory}
        found = beam_search(step, first, states, end=END, **settings)
        return {"ids": found.ids, "lengths": found.lengths, "scores": found.normalised}

    def decode(self, outputs: Arrays) -> Arrays:
        """Text of each hypothesis, the best one by itself too."""
        ids, lengths = outputs["ids"], outputs["lengths"]
        texts = [
            [self.encoder.decode(one[:n]) for one, n in zip(*row, strict=True)]
            for row in zip(ids, lengths, strict=True)
        ]
        flat = text_request([text for row in texts for text in row])
        hypotheses = flat.reshape(ids.shape[:2])
        # A row with fewer sequences than asked for is filled with impossible ones.
        scores = np.maximum(outputs["scores"], np.float32(-1e9))
        return {"text": hypotheses[:, 0], "hypotheses": hypotheses, "scores": scores}

    def answers(self, response: Mapping[str, Any], raw: Sequence[str]) -> list[dict[str, Any]]:
        """``{"text", "hypotheses": [{"text", "score"}]}`` for each word."""
        return [
            {
                "text": hypotheses[0].decode("utf-8"),
                "hypotheses": [
                    {"text": text.decode("utf-8"), "score": float(score)}
                    for text, score in zip(hypotheses, scores, strict=True)
                ],
            }
            for hypotheses, scores in zip(response["hypotheses"], response["scores"], strict=True)
        ]

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.toy_reversal_graph import ToyReversalGraph

        return ToyReversalGraph(self)

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json`` and ``vocabulary.json``."""
        state = {"encoder": self.encoder.save(directory), "settings": self.settings}
        save_state(directory, "toy_reversal", state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> ToyReversalPreprocessor:
        """Reads back what ``save`` wrote."""
        return cls(TextEncoder.load(directory, state["encoder"]), state["settings"])


PREPROCESSOR = ToyReversalPreprocessor
