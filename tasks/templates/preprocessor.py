"""Sentences and their tags: how they are read, and the preprocessor."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from common.config import Config, number
from common.errors import DataError
from pipelines.encoded import EncodedRows
from pipelines.frames import located
from pipelines.preprocessor import OneProgram, save_state
from pipelines.ragged import Arrays, Field, Ragged, padded
from pipelines.readers import Row, read_rows
from pipelines.records import Records
from pipelines.splits import Splits, content, make_splits

PAD, UNKNOWN = 0, 1


class SkeletonExample(NamedTuple):
    """One sentence: its tokens, and a tag for each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class SkeletonPreprocessing(Config):
    """How sentences become model inputs."""

    min_count: int = number(1, 1, 1_000_000, "words seen fewer times in training are unknown")


def load_sentences(source: Any, tokens: str, tags: str, seed: int) -> Splits[SkeletonExample]:
    """Reads tagged sentences.

    Args:
        source: ``synthetic`` or ``synthetic:SIZE``; a path, a DataFrame or a dict of parts.
        tokens: column of the tokens, a list or text with spaces.
        tags: column of the tags.
        seed: decides what is generated, and what is split off.

    Raises:
        DataError: with file and line, for what is no tagged sentence.
    """
    kind, _, size = source.partition(":") if isinstance(source, str) else ("", "", "")
    if kind == "synthetic":
        if size and not size.isdecimal():
            raise DataError(f"--data {source}: write the size as a number, as synthetic:500")
        parts, name = {"train": synthetic_sentences(int(size or 2000), seed)}, source
    else:
        layout = located(source)
        name = layout.name
        parts = {
            part: [_example(row, tokens, tags) for one in members for row in _rows(one)]
            for part, members in layout.parts.items()
        }
    return make_splits(parts, key=lambda one: content(*one), name=name, seed=seed)


def read_sentences(path: Path, tokens: str) -> list[list[str]]:
    """Tokens of each row of a file."""
    return [_words(row, tokens) for row in read_rows(path)]


def _rows(member: Any) -> Any:
    return member.rows() if isinstance(member, Records) else read_rows(member.path)


def _words(row: Row, column: str) -> list[str]:
    value = row.values.get(column)
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(
            f"{row.where}: column {column!r} has no list of words; there are: "
            f"{', '.join(row.values)}"
        )
    return words


def _example(row: Row, tokens: str, tags: str) -> SkeletonExample:
    words, marks = _words(row, tokens), _words(row, tags)
    if len(words) != len(marks):
        raise DataError(f"{row.where}: {len(words)} tokens, but {len(marks)} tags")
    return SkeletonExample(tuple(words), tuple(marks))


def synthetic_sentences(count: int, seed: int) -> list[SkeletonExample]:
    """Sentences in which the word before decides what a word is: "the saw" and "they saw"."""
    draw, found = random.Random(seed), []
    for _ in range(count):
        pairs: list[tuple[str, str]] = []
        for _ in range(draw.randint(1, 4)):
            word = draw.choice(("saw", "run", "cut", "play"))
            if draw.random() < 0.5:
                pairs += [("the", "DET"), (word, "NOUN")]
            else:
                pairs += [(draw.choice(("they", "we")), "PRON"), (word, "VERB")]
        found.append(SkeletonExample(*map(tuple, zip(*pairs, strict=True))))
    return found


@dataclass(frozen=True)
class SkeletonPreprocessor(OneProgram):
    """Words and tags in the order of their numbers; words 0 and 1 are padding and unknown."""

    # All are as long as the sentence; `length` says how long that is.
    fields: ClassVar[dict[str, Field]] = {
        "tokens": Field(b"", "length"),
        "ids": Field(PAD, "length"),
        "probabilities": Field(0.0, "length"),
        "tags": Field(b"", "length"),
        "confidence": Field(0.0, "length"),
    }

    words: tuple[str, ...]
    tags: tuple[str, ...]

    @classmethod
    def adapt(
        cls, settings: SkeletonPreprocessing, train: Sequence[SkeletonExample]
    ) -> SkeletonPreprocessor:
        """Learns words and tags of the training sentences."""
        counts = Counter(word for one in train for word in one.tokens)
        words = sorted(word for word, count in counts.items() if count >= settings.min_count)
        return cls(("", "", *words), tuple(sorted({tag for one in train for tag in one.tags})))

    @property
    def signature(self) -> dict[str, Any]:
        """``tokens <string>[batch, time]`` and their ``length`` to ``tags``."""
        rows = {"dtype": "string", "shape": [-1, -1]}
        length = {"dtype": "int32", "shape": [-1]}
        return {
            "inputs": {"tokens": rows, "length": length},
            "outputs": {
                "tags": rows,
                "confidence": {"dtype": "float32", "shape": [-1, -1]},
                "length": length,
            },
        }

    def encoded(self, examples: Sequence[SkeletonExample]) -> EncodedRows:
        """Numbers of words and tags."""
        ids = Ragged.of((self._ids(one.tokens) for one in examples), np.int32)
        numbers = {tag: i for i, tag in enumerate(self.tags)}
        tags = Ragged.of(([numbers[tag] for tag in one.tags] for one in examples), np.int32)
        return EncodedRows({"ids": ids}, {"probabilities": tags})

    def _ids(self, tokens: Sequence[str]) -> list[int]:
        return [self._numbers.get(token, UNKNOWN) for token in tokens]

    @property
    def _numbers(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words) if i > UNKNOWN}

    def raw(self, examples: Sequence[SkeletonExample]) -> list[list[str]]:
        """The tokens."""
        return [list(one.tokens) for one in examples]

    def edge_inputs(self) -> list[list[str]]:
        """No token, an unknown one, and a long sentence of them."""
        return [[], ["\u16a0"], ["?"] * 40]

    def validate(self, examples: Sequence[SkeletonExample]) -> None:
        """Refuses tags that training did not have."""
        unknown = {tag for one in examples for tag in one.tags} - set(self.tags)
        if unknown:
            raise DataError(f"tag {min(unknown)!r} is not among those of training: {self.tags}")

    def to_request(self, raw: Sequence[Sequence[str]]) -> Arrays:
        """Token lists as ``tokens`` and ``length``."""
        rows = []
        for i, tokens in enumerate(raw):
            if not all(isinstance(token, str) for token in tokens):
                raise DataError(f"input {i} is no list of words")
            rows.append(np.array([t.encode("utf-8", "replace") for t in tokens], object))
        lengths = np.array([len(row) for row in rows], np.int32)
        return {
            "tokens": padded(rows, b"") if rows else np.zeros((0, 0), object),
            "length": lengths,
        }

    def encode(self, request: Arrays) -> Arrays:
        """``ids <int32>[batch, time]``, one step at least; the length is handed on."""
        tokens, length = request["tokens"], request["length"]
        if len(length) and not 0 <= length.min() <= length.max() <= tokens.shape[1]:
            raise ValueError(f"length must be from 0 to {tokens.shape[1]}, the number of tokens")
        numbers = {word.encode("utf-8"): i for word, i in self._numbers.items()}
        ids = np.full((len(tokens), max(1, tokens.shape[1])), PAD, np.int32)
        for row, words, count in zip(ids, tokens, length, strict=True):
            row[:count] = [numbers.get(word, UNKNOWN) for word in words[:count]]
        return {"ids": ids, "length": length}

    def decode(self, outputs: Arrays) -> Arrays:
        """The most probable tag of each token, and its probability."""
        names = np.array([tag.encode("utf-8") for tag in self.tags], object)
        probabilities, length = outputs["probabilities"], outputs["length"]
        inside = np.arange(probabilities.shape[1]) < length[:, None]
        return {
            "tags": np.where(inside, names[probabilities.argmax(-1)], b""),
            "confidence": np.where(inside, probabilities.max(-1, initial=0), np.float32(0)),
            "length": length,
        }

    def answers(
        self, response: Mapping[str, Any], raw: Sequence[Sequence[str]]
    ) -> list[dict[str, Any]]:
        """``{"tokens", "tags", "confidence"}`` for each sentence."""
        found = zip(raw, response["tags"], response["confidence"], response["length"], strict=True)
        return [
            {
                "tokens": list(tokens),
                "tags": [tag.decode("utf-8") for tag in tags[:length]],
                "confidence": [float(x) for x in confidence[:length]],
            }
            for tokens, tags, confidence, length in found
        ]

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.skeleton_graph import SkeletonGraph

        return SkeletonGraph(self)

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``."""
        save_state(directory, "skeleton", {"words": self.words, "tags": self.tags})

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> SkeletonPreprocessor:
        """Reads back what ``save`` wrote."""
        return cls(tuple(state["words"]), tuple(state["tags"]))


PREPROCESSOR = SkeletonPreprocessor
