"""Preprocessor of language models: text in, how likely each of its units is, or how it goes on.

Three programs: ``serving_default`` scores a text, ``generate`` continues one, ``step`` gives the
log-probabilities of whatever may follow one unit, the states going with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.config import Config, choice, number, switch
from pipelines.detokenizing import Detokenizer
from pipelines.lanes import LaneRows
from pipelines.preprocessor import save_state
from pipelines.program import DEFAULT, NEXT, Core, Cores, Program, run_core
from pipelines.ragged import Arrays, Field, Ragged, padded
from pipelines.text import text_request
from pipelines.units import END, LEVELS, PAD, START, Units
from pipelines.writing import WritingProgram

# Units that one call of the core scores: the scores of all units at each would fill the memory.
CHUNK = 256
PROMPT, WRITTEN = 10, 20  # units by which exports are compared
LENGTH = {"dtype": "int32", "shape": [-1]}
TEXT = {"dtype": "string", "shape": [-1]}


@dataclass(frozen=True)
class LanguagePreprocessing(Config):
    """How text becomes units."""

    level: str = choice(
        "char", LEVELS,
        "what a unit is; word: what stands between spaces, token: in lower case, punctuation apart",
    )  # fmt: skip
    backward: bool = switch(False, "read from the end to the beginning, for --encoder-backward")
    vocabulary_size: int = number(
        50_000, 5, 10_000_000, "largest number of distinct units, the four special ones included"
    )
    min_count: int = number(1, 1, 1_000_000, "units seen fewer times in training are unknown")


@dataclass(frozen=True)
class LanguagePreprocessor:
    """Units by number.

    Attributes:
        units: see there.
        ends: whether documents have an end that is foretold too; a text that is one document goes
            on for ever.
        window: units of a window in training.
        decoding: default settings of ``generate``.
        backward: whether units are read from the last to the first; nothing is written then.
    """

    TYPE: ClassVar[str] = "language"

    units: Units
    ends: bool
    window: int
    decoding: Mapping[str, Any]
    backward: bool = False

    @property
    def programs(self) -> dict[str, Program]:
        """By signature."""
        writing = {} if self.backward else {"generate": Generate(self)}
        return {DEFAULT: Score(self), **writing, "step": Step(self)}

    # ---- examples

    def numbers(self, text: str | bytes) -> np.ndarray:
        """A document with its start, and its end where documents have one: ``<int32>[units]``."""
        units = self.units.encode(text)
        units = units[::-1] if self.backward else units
        return np.array([START, *units, *[END] * self.ends], np.int32)

    def encoded(self, examples: Sequence[str]) -> LaneRows:
        """Documents, read side by side in windows."""
        return LaneRows(Ragged.of(map(self.numbers, examples), np.int32), self.window)

    def raw(self, examples: Sequence[str]) -> list[str]:
        """The documents."""
        return list(examples)

    def edge_inputs(self) -> list[str]:
        """Nothing, one unit, spaces alone, units that no vocabulary holds, a text of two chunks."""
        return ["", "a", " \n ", "\u16a0\U0001f600", "so on \n" * (CHUNK // 4)]

    def validate(self, examples: Sequence[str]) -> None:
        """Any text has a probability."""

    def to_request(self, raw: Sequence[str]) -> Arrays:
        """``text <object>[batch]``."""
        return {"text": text_request(raw)}

    def answers(self, response: Mapping[str, Any], raw: Sequence[str]) -> list[dict[str, Any]]:
        """``{"log_probability", "perplexity", "tokens", "log_probabilities"}`` for each text."""
        columns = ("log_probability", "tokens", "log_probabilities", "length")
        rows = zip(*(response[name] for name in columns), strict=True)
        return [
            {
                "log_probability": float(total),
                "perplexity": float(np.exp(-total / max(1, length))),
                "tokens": [token.decode("utf-8", "replace") for token in tokens[:length]],
                "log_probabilities": [float(one) for one in each[:length]],
            }
            for total, tokens, each, length in rows
        ]

    # ---- files

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json`` and the vocabulary."""
        self.units.save(directory)
        state = {"ends": self.ends, "window": self.window, "decoding": dict(self.decoding),
                 "backward": self.backward}  # fmt: skip
        save_state(directory, self.TYPE, state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> LanguagePreprocessor:
        """Reads back what ``save`` wrote."""
        return cls(Units.load(directory), **state)


class _OfLanguage(Program):
    def __init__(self, preprocessor: LanguagePreprocessor) -> None:
        self.preprocessor, self.units = preprocessor, preprocessor.units

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines import language_graph

        return getattr(language_graph, f"{type(self).__name__}Graph")(self)


class Score(_OfLanguage):
    """Text to the log-probability of each of its units."""

    chunk = CHUNK
    signature = {
        "inputs": {"text": TEXT},
        "outputs": {
            "log_probability": {"dtype": "float32", "shape": [-1]},
            "tokens": {"dtype": "string", "shape": [-1, -1]},
            "log_probabilities": {"dtype": "float32", "shape": [-1, -1]},
            "length": LENGTH,
        },
    }
    # Lengths from the arrays: what is behind the end of a row is neither scored nor answered.
    fields = {
        "tokens": Field(PAD, "length"),
        "following": Field(PAD, "length"),
        "log_probabilities": Field(0.0, "length"),
    }

    def encode(self, request: Arrays) -> Arrays:
        """``tokens``, the ``following`` ones, and their ``length``."""
        rows = [self.preprocessor.numbers(text) for text in request["text"]]
        numbers = padded(rows, PAD) if rows else np.zeros((0, 1), np.int32)
        length = np.array([len(row) - 1 for row in rows], np.int32)
        inside = np.arange(numbers.shape[1] - 1) < length[:, None]
        tokens, following = (np.where(inside, x, PAD) for x in (numbers[:, :-1], numbers[:, 1:]))
        return {"tokens": tokens, "following": following, "length": length}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Chunk after chunk, the states carried."""
        core, tokens, following = cores["model"], encoded["tokens"], encoded["following"]
        states = {n: np.zeros((len(tokens), *s), np.float32) for n, s in core.states.items()}
        found = [np.zeros((len(tokens), 0), np.float32)]
        for start in range(0, tokens.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            outputs = core({"tokens": tokens[:, part], "following": following[:, part], **states})
            found.append(outputs["log_probabilities"])
            states = {name: outputs[f"{name}{NEXT}"] for name in states}
        return {**encoded, "log_probabilities": np.concatenate(found, 1)}

    def decode(self, outputs: Arrays) -> Arrays:
        """The names of the units too, and the sum."""
        length, each = outputs["length"], outputs["log_probabilities"]
        inside = np.arange(each.shape[1]) < length[:, None]
        each = np.where(inside, each, np.float32(0))
        return {
            "log_probability": each.sum(1, dtype=np.float64).astype(np.float32),
            "tokens": np.where(inside, self.units.shown[outputs["following"]], b""),
            "log_probabilities": each,
            "length": length,
        }


class Generate(_OfLanguage, WritingProgram):
    """A beginning to its continuation."""

    reader = "model"

    @property
    def end(self) -> int | None:
        """Of texts that have one."""
        return END if self.preprocessor.ends else None

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of the preprocessor."""
        return self.preprocessor.decoding

    def prompts(self, request: Arrays) -> list[np.ndarray]:
        """A start and the units of each text."""
        return [np.array([START, *self.units.encode(text)], np.int32) for text in request["text"]]

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """The first units of the texts, or of none where a form says how texts begin."""
        shown = 0 if self.settings["form"] else PROMPT
        texts = [self.units.decode(self.units.encode(text)[:shown]) for text in request["text"]]
        yield {"text": text_request(texts), "max_tokens": np.full(len(texts), WRITTEN)}

    def read(self, core: Core, ids: np.ndarray, states: Arrays) -> Arrays:
        """By the core that scores texts, which wants to know what follows."""
        found = core({"tokens": ids, "following": ids, **states})
        return {name: found[f"{name}{NEXT}"] for name in states}

    def detokenizer(self) -> Detokenizer:
        """What each unit adds."""
        return Detokenizer(self.units.written, spaced=self.units.spaced)


class Step(_OfLanguage):
    """One unit to the log-probabilities of the next; the states go with it."""

    cores = ("step",)
    stateful = True

    @property
    def signature(self) -> dict[str, Any]:
        """``tokens`` to ``log_probabilities``."""
        return {
            "inputs": {"tokens": {"dtype": "int32", "shape": [-1]}},
            "outputs": {"log_probabilities": {"dtype": "float32", "shape": [-1, len(self.units)]}},
        }

    def encode(self, request: Arrays) -> Arrays:
        """Numbers that the model has."""
        tokens, size = request["tokens"], len(self.units)
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
        """The units of a text, one after the other."""
        tokens = Score(self.preprocessor).encode(request)["tokens"]
        for t in range(min(tokens.shape[1], CHUNK)):
            yield {"tokens": tokens[:, t]}


PREPROCESSOR = LanguagePreprocessor
