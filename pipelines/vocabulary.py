"""Vocabularies: text to token ids and back, by subwords, words, characters or bytes.

Every vocabulary is used alike, whatever its tokens are (see ``Vocabulary``), so that a kind that
reads or writes text has one setting for it::

    vocabulary = adapt_vocabulary(SubwordPreprocessing(level="subword"), texts)
    vocabulary.encode("A dog runs.")          # [START, ..., END]
    vocabulary.decode([57, 12, 9])            # special ids are left out
    graph = vocabulary_graph(vocabulary)      # the same as TensorFlow ops
    state = vocabulary.save(directory)        # and load_vocabulary(directory, state)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.config import Config, choice, number, switch
from pipelines.subwords import SubwordEncoder
from pipelines.text import TextEncoder

SUBWORD = "subword"


class Vocabulary(Protocol):
    """Text to ids and back in NumPy; ids 0 to 3 are padding, unknown, start and end.

    Attributes:
        vocabulary: the token of each id.
        level: what a token is, as of ``SubwordPreprocessing``.
    """

    vocabulary: tuple[str, ...]
    level: str

    def normalise(self, raw: str | bytes) -> str:
        """The text as it is cut into tokens, its case folded where that is asked for."""

    def encode(self, raw: str | bytes) -> list[int]:
        """Ids of one text between START and END."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special ones left out."""

    def __call__(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """Texts to ``<int32>[batch, time]``, padded with 0."""

    def save(self, directory: Path) -> dict[str, Any]:
        """Writes the vocabulary's file and returns all else, for JSON."""


@dataclass(frozen=True)
class SubwordPreprocessing(Config):
    """How text becomes tokens where text is written too."""

    level: str = choice(
        SUBWORD, (SUBWORD, "word", "char", "byte"), "what a token is; subword: a piece of a word"
    )
    vocabulary_size: int = number(
        8000, 5, 10_000_000, "largest number of distinct tokens, the four special ones included"
    )
    min_count: int = number(
        1, 1, 1_000_000, "words or characters seen fewer times in training are unknown"
    )
    lowercase: bool = switch(False, "fold case first")
    max_length: int = number(256, 1, 1_000_000, "tokens kept of a text, from its beginning")


def adapt_vocabulary(settings: SubwordPreprocessing, texts: Iterable[str | bytes]) -> Vocabulary:
    """The vocabulary of training texts.

    Raises:
        DataError: a subword vocabulary cannot be trained on them.
    """
    if settings.level == SUBWORD:
        return SubwordEncoder(
            lowercase=settings.lowercase, max_length=settings.max_length
        ).adapt(texts, settings.vocabulary_size)  # fmt: skip
    encoder = TextEncoder(
        **settings.to_dict(), strip_markup=False, stem_unknown=False, truncate="head"
    )
    return encoder.adapt(texts)


def vocabulary_graph(vocabulary: Vocabulary) -> Any:
    """A vocabulary as TensorFlow ops: see ``pipelines.vocabulary_graph.VocabularyGraph``."""
    from pipelines.vocabulary_graph import VocabularyGraph

    return VocabularyGraph(vocabulary)


def load_vocabulary(directory: Path, state: dict[str, Any]) -> Vocabulary:
    """Reads back what ``Vocabulary.save`` wrote.

    Args:
        directory: that of ``save``.
        state: what ``save`` returned.

    Raises:
        DataError: the file is missing or damaged.
    """
    kind = SubwordEncoder if state.get("level") == SUBWORD else TextEncoder
    return kind.load(directory, state)
