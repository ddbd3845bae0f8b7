"""Subwords: text to the pieces of a unigram vocabulary, by the sentencepiece library.

A vocabulary is trained on the texts of training (Kudo 2018, "Subword regularization", arXiv:
1804.10959) and cuts a text into the pieces whose probabilities have the greatest product.
``pipelines.subwords_graph`` is the same search in TensorFlow ops, with equal ids for any text.

Text is not normalised but for spaces (U+0020), as sentencepiece treats them: runs are one, those at
the ends are dropped, each is written as U+2581, and one more stands before the first word.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.errors import DataError
from pipelines.text import END, PAD, SPECIAL_TOKENS, START, UNKNOWN, as_text, fold_case

FILE = "subwords.model"
SPACE = "\u2581"
UNKNOWN_PENALTY = 10.0  # kUnkPenalty of sentencepiece: taken from the least score of all pieces
MAX_PIECE = 16  # characters
MAX_SENTENCE = 65_536  # bytes; longer texts are left out by sentencepiece's trainer
SEED = 1


@dataclass(frozen=True)
class SubwordEncoder:
    """Cuts text into pieces of words and numbers them; ``[START] pieces [END]``.

    Attributes:
        model: sentencepiece's file; empty before ``adapt``.
        lowercase: whether case is folded first.
        max_length: pieces kept of a text, from its beginning.
    """

    model: bytes = field(default=b"", repr=False)
    lowercase: bool = False
    max_length: int = 256
    level: ClassVar[str] = "subword"

    def adapt(self, texts: Iterable[str | bytes], vocabulary_size: int) -> SubwordEncoder:
        """The same encoder with a vocabulary trained on ``texts``; the same texts give the same.

        Args:
            texts: training text only.
            vocabulary_size: largest number of pieces, the four special ones included; a small
                text has fewer.

        Raises:
            DataError: there is too little text, or the size is less than its characters need.
        """
        library = _library()
        kept = (self.normalise(text) for text in texts)
        sentences = [one for one in kept if one.strip() and len(one.encode()) <= MAX_SENTENCE]
        if not sentences:
            raise DataError("no text to make a subword vocabulary of; give more, or --level char.")
        library.set_random_generator_seed(SEED)
        written = io.BytesIO()
        try:
            library.SentencePieceTrainer.train(
                sentence_iterator=iter(sentences), model_writer=written, model_type="unigram",
                vocab_size=vocabulary_size, hard_vocab_limit=False, character_coverage=1.0,
                normalization_rule_name="identity", max_sentencepiece_length=MAX_PIECE,
                max_sentence_length=MAX_SENTENCE, shuffle_input_sentence=False, num_threads=1,
                pad_id=PAD, unk_id=UNKNOWN, bos_id=START, eos_id=END, minloglevel=2,
            )  # fmt: skip
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"no subword vocabulary of {vocabulary_size} pieces can be made of "
                f"{len(sentences)} texts: they have more characters than that, or too few words; "
                "change --vocabulary-size, or take --level char."
            ) from error
        return SubwordEncoder(written.getvalue(), self.lowercase, self.max_length)

    @cached_property
    def _processor(self) -> Any:
        processor = _library().SentencePieceProcessor()
        processor.LoadFromSerializedProto(self.model)
        return processor

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The piece of each id; U+2581 in it stands for a space."""
        processor = self._processor
        first, size = len(SPECIAL_TOKENS), processor.get_piece_size()
        return (*SPECIAL_TOKENS, *(processor.id_to_piece(i) for i in range(first, size)))

    @cached_property
    def scores(self) -> np.ndarray:
        """``<float32>[vocabulary]``: log-probability of each piece, of special ones nothing."""
        size = len(self.vocabulary)
        return np.array([self._processor.get_score(i) for i in range(size)], np.float32)

    @property
    def unknown_score(self) -> np.float32:
        """Score of a character that no piece holds."""
        return self.scores[len(SPECIAL_TOKENS) :].min() - np.float32(UNKNOWN_PENALTY)

    def normalise(self, raw: str | bytes) -> str:
        """The text as it is cut: case folded where asked."""
        text = as_text(raw)
        return fold_case(text) if self.lowercase else text

    def encode(self, raw: str | bytes) -> list[int]:
        """Ids of one text, START and END included."""
        ids = self._processor.encode(self.normalise(raw), out_type=int)
        return [START, *ids[: self.max_length], END]

    def __call__(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """Texts to right-padded ids: ``<int32>[batch, time]``."""
        rows = [self.encode(text) for text in texts]
        ids = np.zeros((len(rows), max(map(len, rows), default=0)), np.int32)
        for row, values in zip(ids, rows, strict=True):
            row[: len(values)] = values
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special ones left out; the space before the first word is dropped."""
        pieces = self.vocabulary
        joined = "".join(pieces[i] for i in ids if i >= len(SPECIAL_TOKENS))
        return joined.replace(SPACE, " ").removeprefix(" ")

    def save(self, directory: Path) -> dict[str, Any]:
        """Writes ``subwords.model`` and returns the settings, for JSON."""
        (Path(directory) / FILE).write_bytes(self.model)
        return {"level": self.level, "lowercase": self.lowercase, "max_length": self.max_length}

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> SubwordEncoder:
        """Reads back what ``save`` wrote.

        Raises:
            DataError: the file is missing or damaged.
        """
        path = Path(directory) / FILE
        try:
            encoder = cls(path.read_bytes(), state["lowercase"], state["max_length"])
            _ = encoder.vocabulary
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path} cannot be used as a vocabulary ({error})") from error
        return encoder


def _library() -> Any:
    """The library, imported where it is needed: servers of other kinds do without."""
    try:
        import sentencepiece
    except ImportError as error:
        raise DataError("subwords need a library: pip install sentencepiece") from error
    return sentencepiece
