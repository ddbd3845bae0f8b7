"""Preprocessor of translation: a text in, the best texts that a beam search finds out.

Two programs loop over the decoder's step: ``serving_default`` searches, ``score`` follows a target
that the request gives and says how probable each of its tokens is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.config import choice, number, switch
from decoding.beam import MAX_BEAM, BeamConfig, beam_search
from pipelines.encoded import EncodedRows
from pipelines.pairs import TextPair
from pipelines.preprocessor import OneProgram, save_state
from pipelines.program import DEFAULT, Cores, Program, Signature
from pipelines.ragged import Arrays, Field, Ragged, join
from pipelines.text import END, PAD, START, text_request
from pipelines.translation_steps import (
    IMPOSSIBLE,
    MORE,
    SHARED,
    allowed,
    decoder_step,
    follow,
    tokens_of,
)
from pipelines.vocabulary import (
    SUBWORD,
    SubwordPreprocessing,
    Vocabulary,
    adapt_vocabulary,
    load_vocabulary,
    vocabulary_graph,
)

AUTO = "auto"
# Targets of fewer words on average are words, dates, numbers: written by characters.
FEW_WORDS = 1.5

TEXTS = {"dtype": "string", "shape": [-1]}
TOKENS = {"dtype": "string", "shape": [-1, -1]}
SCORES = {"dtype": "float32", "shape": [-1, -1]}
COUNTS = {"dtype": "int32", "shape": [-1]}

# Log-probabilities that one step of a search may give, those of all hypotheses of all texts.
MOST_SCORES = 2**25
# How what was found for some texts differs in length from others.
FOUND = {
    "ids": Field(PAD, ("n_best", "lengths")),
    "best": Field(PAD, "target_length"),
    "attention": Field(0.0, ("target_length", "source_length")),
}


@dataclass(frozen=True)
class TranslationPreprocessing(SubwordPreprocessing):
    """How the texts of both sides become tokens."""

    level: str = choice(
        AUTO,
        (AUTO, SUBWORD, "word", "char"),
        "what a token is; auto: a char where targets are single words, else a subword",
    )
    shared_vocabulary: bool = switch(True, "one vocabulary for both sides")


@dataclass(frozen=True)
class TranslationDecoding(BeamConfig):
    """How translations are searched for."""

    beam: int = number(5, 1, MAX_BEAM, "open hypotheses of each text")
    align: bool = switch(True, "also say where each token of the best translation looked")


@dataclass(frozen=True)
class TranslationPreprocessor(OneProgram):
    """The vocabularies of both sides.

    Attributes:
        source: of what is read.
        target: of what is written; the same object where there is one vocabulary.
        settings: of the search, by default.
        times: how many times longer than its source a target of training is at most, but for
            ``MORE`` tokens.
    """

    cores: ClassVar[tuple[str, ...]] = ("encoder", "step")
    shared: ClassVar[tuple[str, ...]] = SHARED
    fields: ClassVar[dict[str, Field]] = {
        "source": Field(PAD, unique=True),
        "source_tokens": Field(b"", "source_length"),
        "target_tokens": Field(b"", "target_length"),
        "attention": Field(0.0, ("target_length", "source_length")),
    }

    source: Vocabulary
    target: Vocabulary
    settings: Mapping[str, Any]
    times: int = 3

    @classmethod
    def adapt(
        cls,
        settings: TranslationPreprocessing,
        decoding: TranslationDecoding,
        train: Sequence[TextPair],
    ) -> TranslationPreprocessor:
        """Learns the vocabularies of the training pairs."""
        values = settings.to_dict()
        if settings.level == AUTO:
            words = sum(len(pair.target.split()) for pair in train)
            values["level"] = "char" if words < FEW_WORDS * len(train) else SUBWORD
        values.pop("shared_vocabulary")
        plain = SubwordPreprocessing(**values)
        sides = [[pair.source for pair in train], [pair.target for pair in train]]
        if settings.shared_vocabulary:
            found = [adapt_vocabulary(plain, chain(*sides))] * 2
        else:
            found = [adapt_vocabulary(plain, side) for side in sides]
        lengths = [
            np.array([len(vocabulary.encode(text)) for text in side])
            for vocabulary, side in zip(found, sides, strict=True)
        ]
        times = int(np.ceil((lengths[1] - MORE) / lengths[0]).max(initial=1))
        return cls(*found, decoding.to_dict(), times)

    @property
    def is_shared(self) -> bool:
        """Whether both sides have one vocabulary."""
        return self.source is self.target

    # ---- programs

    @property
    def programs(self) -> Mapping[str, Program]:
        """``serving_default`` translates, ``score`` judges a given translation."""
        return {DEFAULT: self, "score": ScoreProgram(self)}

    @property
    def signature(self) -> Signature:
        """``text`` and the settings of the search to the best translation and the others."""
        dtypes = {bool: "bool", float: "float32", int: "int32"}
        settings = {
            name: {"dtype": dtypes[type(value)], "shape": [-1], "default": value}
            for name, value in self.settings.items()
        }
        return {
            "inputs": {"text": TEXTS, **settings},
            "outputs": {
                "text": TEXTS,
                "hypotheses": TOKENS,
                "scores": SCORES,
                "source_tokens": TOKENS,
                "source_length": COUNTS,
                "target_tokens": TOKENS,
                "target_length": COUNTS,
                "attention": {"dtype": "float32", "shape": [-1, -1, -1]},
            },
        }

    def encode(self, request: Arrays) -> Arrays:
        """``source <int32>[batch, time]``, its lengths, and the settings."""
        source = self.source(list(request["text"]))
        length = (source != PAD).sum(1).astype(np.int32)
        settings = {name: request[name] for name in self.settings}
        return {"source": source, "source_length": length, **settings}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Translates, so many texts at once as a wide beam leaves memory for."""
        count = len(encoded["source"])
        beam = int(np.max(encoded["beam"], initial=1))
        rows = max(1, MOST_SCORES // (max(1, beam) * len(self.target.vocabulary)))
        if count <= rows:
            return self._translate(cores, encoded)
        parts = (
            {name: array[first : first + rows] for name, array in encoded.items()}
            for first in range(0, count, rows)
        )
        return join([self._translate(cores, part) for part in parts], FOUND)

    def _translate(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Encodes, searches over the steps of the decoder, and follows the best once more."""
        source, length = encoded["source"], encoded["source_length"]
        step, fixed, begin = decoder_step(cores, source)
        settings = {name: encoded[name] for name in self.settings}
        for name in SHARED:
            settings[name] = settings[name][0] if len(source) else self.settings[name]
        align = bool(settings.pop("align"))
        settings["beam"], settings["n_best"] = int(settings["beam"]), int(settings["n_best"])
        settings["max_tokens"] = np.minimum(settings["max_tokens"], self.times * length + MORE)
        found = beam_search(
            allowed(step), np.full(len(source), START, np.int32), {**fixed, **begin}, end=END,
            source_mask="source", **settings,
        )  # fmt: skip
        best, longest = found.lengths[:, 0], int(found.lengths[:, :1].max(initial=0))
        ids = found.ids[:, 0, :longest]
        attention = np.zeros((len(source), 0, 0), np.float32)
        if align:
            before = np.concatenate([np.full((len(ids), 1), START, np.int32), ids], 1)[:, :-1]
            attention = follow(step, fixed, begin, before)[1]
            inside = np.arange(longest) < best[:, None]
            attention = np.where(inside[:, :, None], attention, 0).astype(np.float32)
        return {
            "source": source,
            "source_length": length,
            "ids": found.ids,
            "lengths": found.lengths,
            "best": ids,
            "target_length": best,
            "scores": found.normalised,
            "attention": attention,
        }

    def decode(self, outputs: Arrays) -> Arrays:
        """Text of each hypothesis, the best one by itself too, and its tokens."""
        ids, lengths = outputs["ids"], outputs["lengths"]
        texts = [
            self.target.decode(one[:n]) for row, counts in zip(ids, lengths, strict=True)
            for one, n in zip(row, counts, strict=True)
        ]  # fmt: skip
        hypotheses = text_request(texts).reshape(ids.shape[:2])
        return {
            "text": hypotheses[:, 0],
            "hypotheses": hypotheses,
            # A row with fewer sequences than asked for is filled with impossible ones.
            "scores": np.maximum(outputs["scores"], IMPOSSIBLE),
            "source_tokens": tokens_of(self.source, outputs["source"], outputs["source_length"]),
            "source_length": outputs["source_length"],
            "target_tokens": tokens_of(self.target, outputs["best"], outputs["target_length"]),
            "target_length": outputs["target_length"],
            "attention": outputs["attention"],
        }

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.translation_graph import TranslationGraph

        source = vocabulary_graph(self.source)
        target = source if self.is_shared else vocabulary_graph(self.target)
        return TranslationGraph(source, target, self.settings, self.times)

    # ---- examples

    def encoded(self, examples: Sequence[TextPair]) -> EncodedRows:
        """The source, the target so far, and the token behind each."""
        source = Ragged.of((self.source.encode(pair.source) for pair in examples), np.int32)
        targets = [self.target.encode(pair.target) for pair in examples]
        tokens = Ragged.of((row[:-1] for row in targets), np.int32)
        following = Ragged.of((row[1:] for row in targets), np.int32)
        return EncodedRows({"source": source, "tokens": tokens}, {"logits": following})

    def raw(self, examples: Sequence[TextPair]) -> list[str]:
        """The sources."""
        return [pair.source for pair in examples]

    def edge_inputs(self) -> list[str]:
        """Nothing, spaces, one letter, letters that no vocabulary holds, a long text."""
        return ["", "  ", "a", "\u16a0\U0001f600 \U0001f600", "one two " * 12]

    def to_request(self, raw: Sequence[Any]) -> Arrays:
        """``text <object>[batch]``.

        Raises:
            DataError: an input is no text.
        """
        return {"text": text_request(raw)}

    def answers(self, response: Mapping[str, Any], raw: Sequence[Any]) -> list[dict[str, Any]]:
        """``{"text", "hypotheses": [{"text", "score"}]}`` for each input; where asked for, also
        ``source_tokens``, ``target_tokens`` and ``attention``, a row for each target token."""
        return [
            self._answer({name: values[i] for name, values in response.items()})
            for i in range(len(raw))
        ]

    def _answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        pairs = zip(row["hypotheses"], row["scores"], strict=True)
        hypotheses = [
            {"text": text.decode("utf-8"), "score": float(score)}
            for text, score in pairs if score > IMPOSSIBLE
        ]  # fmt: skip
        found = {"text": row["text"].decode("utf-8"), "hypotheses": hypotheses}
        weights = np.asarray(row["attention"])
        if weights.size:
            found["attention"] = [[float(x) for x in line] for line in weights]
            for name in ("source_tokens", "target_tokens"):
                found[name] = [token.decode("utf-8") for token in row[name]]
        return found

    # ---- files

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json`` and the vocabularies, in a folder for each side."""
        sides = {"source": self.source} if self.is_shared else {
            "source": self.source, "target": self.target}  # fmt: skip
        state = {}
        for name, vocabulary in sides.items():
            (Path(directory) / name).mkdir(exist_ok=True)
            state[name] = vocabulary.save(Path(directory) / name)
        state = {"vocabularies": state, "settings": self.settings, "times": self.times}
        save_state(directory, "translation", state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> TranslationPreprocessor:
        """Reads back what ``save`` wrote."""
        found = {
            name: load_vocabulary(Path(directory) / name, one)
            for name, one in state["vocabularies"].items()
        }
        target = found.get("target", found["source"])
        return cls(found["source"], target, state["settings"], state.get("times", 3))


class ScoreProgram(Program):
    """How probable the model finds a translation that the request gives.

    Args:
        preprocessor: a ``TranslationPreprocessor``.
    """

    cores = ("encoder", "step")
    signature: Signature = {
        "inputs": {"text": TEXTS, "target": TEXTS},
        "outputs": {
            "score": {"dtype": "float32", "shape": [-1]},
            "log_probabilities": SCORES,
            "target_tokens": TOKENS,
            "target_length": COUNTS,
        },
    }
    fields: ClassVar[dict[str, Field]] = {
        "source": Field(PAD, unique=True),
        "log_probabilities": Field(0.0, "target_length"),
        "target_tokens": Field(b"", "target_length"),
    }

    def __init__(self, preprocessor: TranslationPreprocessor) -> None:
        self.preprocessor = preprocessor

    def encode(self, request: Arrays) -> Arrays:
        """``source`` and ``following <int32>[batch, time]``, the target and END."""
        target = self.preprocessor.target(list(request["target"]))
        return {"source": self.preprocessor.source(list(request["text"])), "target": target}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Follows the target from step to step."""
        target = encoded["target"]
        step, fixed, begin = decoder_step(cores, encoded["source"])
        following = target[:, 1:]
        scores = follow(step, fixed, begin, target[:, :-1], following)[0]
        return {
            "log_probabilities": np.where(following != PAD, scores, 0).astype(np.float32),
            "following": following,
            "target_length": (following != PAD).sum(1).astype(np.int32),
        }

    def decode(self, outputs: Arrays) -> Arrays:
        """The log-probability of each token, END among them, and their sum."""
        scores, length = outputs["log_probabilities"], outputs["target_length"]
        return {
            "score": scores.sum(1, dtype=np.float64).astype(np.float32),
            "log_probabilities": scores,
            "target_tokens": tokens_of(self.preprocessor.target, outputs["following"], length),
            "target_length": length,
        }

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """Each text as its own translation."""
        yield {"text": request["text"], "target": request["text"]}

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.translation_graph import ScoredPairGraph

        return ScoredPairGraph(self.preprocessor.graph())


PREPROCESSOR = TranslationPreprocessor
