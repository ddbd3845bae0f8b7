"""Programs of the toy language model: score (the default), generate, step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.detokenizing import Detokenizer
from pipelines.encoded import EncodedRows
from pipelines.preprocessor import save_state
from pipelines.program import DEFAULT, Cores, Program, run_core
from pipelines.ragged import Arrays, Field, Ragged, padded
from pipelines.text import END, PAD, TextEncoder, text_request
from pipelines.writing import WritingProgram

LENGTH = {"dtype": "int32", "shape": [-1]}


@dataclass(frozen=True)
class ToyLanguagePreprocessor:
    """Characters and their numbers.

    Attributes:
        encoder: of characters.
        decoding: default settings of ``generate``.
    """

    encoder: TextEncoder
    decoding: Mapping[str, Any]

    @property
    def programs(self) -> dict[str, Program]:
        """By signature."""
        return {DEFAULT: Score(self), "generate": Generate(self), "step": Step(self)}

    def encoded(self, examples: Sequence[str]) -> EncodedRows:
        """Each character, and the next one."""
        rows = [self.encoder.encode(text) for text in examples]
        tokens = Ragged.of((row[:-1] for row in rows), np.int32)
        following = Ragged.of((row[1:] for row in rows), np.int32)
        return EncodedRows({"tokens": tokens}, {"log_probabilities": following})

    def raw(self, examples: Sequence[str]) -> list[str]:
        """The sentences."""
        return list(examples)

    def edge_inputs(self) -> list[str]:
        """Nothing, one character, characters that no vocabulary holds."""
        return ["", "a", "\u16a0\U0001f600"]

    def validate(self, examples: Sequence[str]) -> None:
        """Any text has a probability."""

    def to_request(self, raw: Sequence[str]) -> Arrays:
        """``text <object>[batch]``."""
        return {"text": text_request(raw)}

    def answers(self, response: Mapping[str, Any], raw: Sequence[str]) -> list[dict[str, Any]]:
        """``{"log_probability", "characters", "log_probabilities"}`` for each text."""
        return [
            {
                "log_probability": float(total),
                "characters": [character.decode("utf-8") for character in characters],
                "log_probabilities": each.tolist(),
            }
            for total, characters, each in zip(
                response["log_probability"], response["characters"],
                response["log_probabilities"], strict=True,
            )
        ]  # fmt: skip

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json`` and ``vocabulary.json``."""
        state = {"encoder": self.encoder.save(directory), "decoding": self.decoding}
        save_state(directory, "toy_language", state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> ToyLanguagePreprocessor:
        """Reads back what ``save`` wrote."""
        return cls(TextEncoder.load(directory, state["encoder"]), state["decoding"])


class _OfLanguage(Program):
    def __init__(self, preprocessor: ToyLanguagePreprocessor) -> None:
        self.preprocessor, self.encoder = preprocessor, preprocessor.encoder

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines import toy_language_graph

        return getattr(toy_language_graph, f"{type(self).__name__}Graph")(self)


class Score(_OfLanguage):
    """Text to the log-probability of each of its characters, and of its end."""

    signature = {
        "inputs": {"text": {"dtype": "string", "shape": [-1]}},
        "outputs": {
            "log_probability": {"dtype": "float32", "shape": [-1]},
            "characters": {"dtype": "string", "shape": [-1, -1]},
            "log_probabilities": {"dtype": "float32", "shape": [-1, -1]},
            "length": LENGTH,
        },
    }
    fields = {
        "tokens": Field(PAD, "length"),
        "following": Field(PAD, "length"),
        "characters": Field(b"", "length"),
        "log_probabilities": Field(0.0, "length"),
    }

    def encode(self, request: Arrays) -> Arrays:
        """``tokens``, the ``following`` ones, and their ``length``."""
        rows = [np.array(self.encoder.encode(text), np.int32) for text in request["text"]]
        ids = padded(rows, PAD) if rows else np.zeros((0, 2), np.int32)
        length = np.array([len(row) - 1 for row in rows], np.int32)
        tokens = np.where(np.arange(ids.shape[1] - 1) < length[:, None], ids[:, :-1], PAD)
        return {"tokens": tokens, "following": ids[:, 1:], "length": length}

    def decode(self, outputs: Arrays) -> Arrays:
        """The log-probabilities of the following characters."""
        following, length = outputs["following"], outputs["length"]
        each = np.take_along_axis(outputs["log_probabilities"], following[..., None], 2)[..., 0]
        each = np.where(np.arange(each.shape[1]) < length[:, None], each, np.float32(0))
        names = np.array([name.encode("utf-8") for name in self.encoder.vocabulary], object)
        return {
            "log_probability": each.sum(1),
            "characters": np.where(following == PAD, b"", names[following]),
            "log_probabilities": each,
            "length": length,
        }


class Generate(_OfLanguage, WritingProgram):
    """A beginning to its continuation."""

    end = END

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of the preprocessor."""
        return self.preprocessor.decoding

    def prompts(self, request: Arrays) -> list[np.ndarray]:
        """The text without its end."""
        return [np.array(self.encoder.encode(text)[:-1], np.int32) for text in request["text"]]

    def detokenizer(self) -> Detokenizer:
        """Of characters."""
        return Detokenizer.of_encoder(self.encoder)


class Step(_OfLanguage):
    """One character to the log-probabilities of the next; the states go with it."""

    cores = ("step",)
    stateful = True

    @property
    def signature(self) -> dict[str, Any]:
        """``tokens`` to ``log_probabilities``."""
        size = len(self.encoder.vocabulary)
        return {
            "inputs": {"tokens": {"dtype": "int32", "shape": [-1]}},
            "outputs": {"log_probabilities": {"dtype": "float32", "shape": [-1, size]}},
        }

    def encode(self, request: Arrays) -> Arrays:
        """Ids that the model has."""
        tokens, size = request["tokens"], len(self.encoder.vocabulary)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < size:
            raise ValueError(f"tokens must be from 0 to {size - 1}")
        return {"tokens": tokens}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """One step."""
        return run_core(cores["step"], encoded)

    def decode(self, outputs: Arrays) -> Arrays:
        """As they are."""
        return {"log_probabilities": outputs["log_probabilities"]}

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """The characters of a text, one after the other."""
        encoded = Score(self.preprocessor).encode(request)
        for t in range(encoded["tokens"].shape[1]):
            yield {"tokens": encoded["tokens"][:, t]}


PREPROCESSOR = ToyLanguagePreprocessor
