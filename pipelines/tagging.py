"""Preprocessor of tagging: a sentence in, a tag for each of its tokens and the spans they make out.

A request is a raw text, which is cut into tokens by the rules that training's tokens follow, or a
text whose tokens are given, with U+001F between them; the program ``tokens`` takes them as an
array. Model outputs are scores of the tags; the best path through them and the probabilities of its
tags are found here, by the transition scores that training left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.config import Config, choice, number, switch
from common.errors import DataError
from decoding.crf import CrfScores, viterbi
from decoding.crf_sums import marginals
from pipelines.encoded import EncodedRows
from pipelines.preprocessor import OneProgram, save_state
from pipelines.program import DEFAULT, Program, Signature
from pipelines.ragged import Arrays, Field, Ragged, padded
from pipelines.tag_table import NO_TAG, OUTSIDE, TagTable
from pipelines.tagged import TaggedExample
from pipelines.text import as_text
from pipelines.tokens import SEPARATOR, TokenRules
from pipelines.tokens_program import TokensProgram
from pipelines.word_features import PAD, WordFeatures

SENTENCE_ENDS = frozenset(".!?。！？…")
STRINGS = {"dtype": "string", "shape": [-1, -1]}
NUMBERS = {"dtype": "int32", "shape": [-1, -1]}
SHARES = {"dtype": "float32", "shape": [-1, -1]}
COUNTS = {"dtype": "int32", "shape": [-1]}


@dataclass(frozen=True)
class TaggingPreprocessing(Config):
    """How sentences become model inputs."""

    lowercase: bool = switch(True, "look words up in lower case; case is a feature of its own")
    digits: bool = switch(True, "look every digit up as 0")
    vocabulary_size: int = number(50_000, 5, 10_000_000, "largest number of distinct words")
    min_count: int = number(1, 1, 1_000_000, "words seen fewer times in training are unknown")
    word_length: int = number(16, 4, 1000, "characters kept of a word, from both its ends")
    scheme: str = choice("bioes", ("bio", "bioes"), "how spans are spelled inside the model")
    max_length: int = number(
        200, 1, 1_000_000, "tokens of a piece in training; longer sentences are cut"
    )


@dataclass(frozen=True)
class TaggingPreprocessor(OneProgram):
    """Token rules, word features and tags.

    Attributes:
        rules: by which raw text is cut into tokens.
        features: numbers of words, characters and forms.
        tags: in the order of the model's outputs.
        max_length: see ``TaggingPreprocessing``.
        scores: of transitions between tags; None where each tag is chosen by itself, and before
            training has found them.
        outside_offset: taken from the score of tags outside of spans before tags are chosen, so
            that the F1 of validation's spans is best. Probabilities do not see it.
        tag_temperature: by which scores are divided for probabilities, so that those of answered
            tags are true on validation (Guo et al. 2017).
    """

    TYPE: ClassVar[str] = "tagging"
    # All are as long as the sentence, or as the number of its spans.
    fields: ClassVar[dict[str, Field]] = {
        "words": Field(PAD, unique=True),
        "characters": Field(PAD),
        "forms": Field(PAD),
        "tokens": Field(b"", "length"),
        "emissions": Field(0.0, "length"),
        "tags": Field(b"", "length"),
        "probabilities": Field(0.0, "length"),
        "starts": Field(0, "length"),
        "ends": Field(0, "length"),
        "span_labels": Field(b"", "spans"),
        "span_starts": Field(0, "spans"),
        "span_ends": Field(0, "spans"),
        "span_probabilities": Field(0.0, "spans"),
    }

    rules: TokenRules
    features: WordFeatures
    tags: TagTable
    max_length: int
    scores: CrfScores | None = None
    outside_offset: float = 0.0
    tag_temperature: float = 1.0

    @classmethod
    def adapt(cls, settings: TaggingPreprocessing, train: Sequence[TaggedExample]) -> Any:
        """Learns rules, words and tags of the training sentences."""
        tokens = [example.tokens for example in train]
        features = WordFeatures.adapt(
            tokens,
            vocabulary_size=settings.vocabulary_size,
            min_count=settings.min_count,
            slots=settings.word_length,
            lowercase=settings.lowercase,
            digits=settings.digits,
        )
        tags = TagTable.of((example.tags for example in train), settings.scheme)
        return cls(TokenRules.adapt(tokens), features, tags, settings.max_length)

    # ---- programs

    @property
    def programs(self) -> Mapping[str, Program]:
        """``serving_default`` takes text, ``tokens`` tokens."""
        return {DEFAULT: self, "tokens": TokensProgram(self)}

    @property
    def signature(self) -> Signature:
        """``text <string>[batch]`` to tokens, tags and spans; offsets are code points."""
        return {"inputs": {"text": {"dtype": "string", "shape": [-1]}}, "outputs": self.outputs}

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Response tensors, of both programs."""
        spans = {
            "spans": COUNTS,
            "span_labels": STRINGS,
            "span_starts": NUMBERS,
            "span_ends": NUMBERS,
            "span_probabilities": SHARES,
        }
        return {
            "length": COUNTS,
            "tokens": STRINGS,
            "starts": NUMBERS,
            "ends": NUMBERS,
            "tags": STRINGS,
            "probabilities": SHARES,
            **(spans if self.tags.scheme else {}),
        }

    def encode(self, request: Arrays) -> Arrays:
        """``text`` to ``words``, ``characters``, ``forms``, and what is known of the tokens."""
        return self.encode_cut([self.rules.cut(text) for text in request["text"]])

    def encode_cut(self, sentences: Sequence[Sequence[Any]]) -> Arrays:
        """Tokens with their offsets to model tensors."""
        arrays = self.features([[one.token for one in sentence] for sentence in sentences])
        shape = arrays["words"].shape
        tokens = np.full(shape, b"", object)
        starts, ends = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for i, sentence in enumerate(sentences):
            tokens[i, : len(sentence)] = [one.token.encode("utf-8") for one in sentence]
            starts[i, : len(sentence)] = [one.start for one in sentence]
            ends[i, : len(sentence)] = [one.end for one in sentence]
        length = np.array([len(sentence) for sentence in sentences], np.int32)
        return {**arrays, "tokens": tokens, "starts": starts, "ends": ends, "length": length}

    def decode(self, outputs: Arrays) -> Arrays:
        """``emissions <float32>[batch, time, tags]`` to the best tags and their spans."""
        length = outputs["length"]
        ids = self.best_tags(outputs["emissions"], length)
        shares = self.tag_shares(outputs["emissions"], length)
        mine = np.take_along_axis(shares, ids[..., None].astype(np.int64), 2)[..., 0]
        inside = np.arange(ids.shape[1]) < length[:, None]
        found = {
            "length": length,
            "tokens": outputs["tokens"],
            "starts": outputs["starts"],
            "ends": outputs["ends"],
            "tags": np.where(inside, self.tags.shown[ids], b""),
            "probabilities": np.where(inside, mine, 0).astype(np.float32),
        }
        return {**found, **self._spans(ids, inside, found)} if self.tags.scheme else found

    def best_tags(self, emissions: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Numbers of the best tags: ``<int>[batch, time]`` of ``<float32>[batch, time, tags]``."""
        scores = emissions - self.offsets
        return scores.argmax(-1) if self.scores is None else viterbi(scores, length, self.scores)

    def tag_shares(self, emissions: np.ndarray, length: np.ndarray) -> np.ndarray:
        """The probability of each tag: ``<float32>[batch, time, tags]``, of the same."""
        scores = emissions / np.float32(self.tag_temperature)
        if self.scores is not None:
            return marginals(scores, length, self.scores.divided(self.tag_temperature))
        shares = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
        return shares / shares.sum(-1, keepdims=True)

    @property
    def offsets(self) -> np.ndarray:
        """What is taken from the score of each tag: ``<float32>[tags]``."""
        free = (self.tags.roles == OUTSIDE) & bool(self.tags.scheme)
        return free.astype(np.float32) * np.float32(self.outside_offset)

    def _spans(self, ids: np.ndarray, inside: np.ndarray, found: Arrays) -> Arrays:
        first, last = self.tags.borders(ids, inside)
        rows = []
        for i in range(len(ids)):
            begins, ends = np.flatnonzero(first[i]), np.flatnonzero(last[i])
            shares = [
                found["probabilities"][i, a : b + 1].min()
                for a, b in zip(begins, ends, strict=True)
            ]
            rows.append({
                "span_labels": self.tags.types[ids[i, begins]],
                "span_starts": found["starts"][i, begins],
                "span_ends": found["ends"][i, ends],
                "span_probabilities": np.array(shares, np.float32),
            })  # fmt: skip
        counts = np.array([len(row["span_labels"]) for row in rows], np.int32)
        if not rows:
            empty = {"span_labels": object, "span_starts": np.int32, "span_ends": np.int32,
                     "span_probabilities": np.float32}  # fmt: skip
            return {"spans": counts, **{n: np.zeros((0, 0), dtype) for n, dtype in empty.items()}}
        joined = {n: padded([row[n] for row in rows], self.fields[n].padding) for n in rows[0]}
        return {"spans": counts, **joined}

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.tagging_graph import TaggingGraph

        return TaggingGraph(self)

    # ---- examples

    def encoded(self, examples: Sequence[TaggedExample]) -> EncodedRows:
        """Numbers of words, characters, forms and tags; sentences past ``max_length`` in pieces."""
        pieces = [piece for one in examples for piece in self.pieces(one)]
        inputs, targets = self.encoded_tokens(pieces)
        return EncodedRows(inputs, targets, fields={"tags": Field(NO_TAG)})

    def encoded_tokens(self, pieces: Sequence[TaggedExample]) -> tuple[dict, dict]:
        """Inputs and targets of the model."""
        numbers = [[self.features.of(token) for token in one.tokens] for one in pieces]
        inputs = {
            "words": Ragged.of(([x.word for x in row] for row in numbers), np.int32),
            "forms": Ragged.of(
                ([x.forms for x in row] for row in numbers),
                np.int32,
                (self.features.forms_per_word,),
            ),
        }
        if self.features.slots:
            rows = ([x.characters for x in row] for row in numbers)
            inputs["characters"] = Ragged.of(rows, np.int32, (self.features.slots,))
        tags = Ragged.of((self.tags.ids(one.tags) for one in pieces), np.int32)
        return inputs, {"tags": tags}

    def pieces(self, example: TaggedExample) -> Iterator[TaggedExample]:
        """A sentence cut for training: behind the end of a sentence, else between tokens, and
        nowhere inside a span unless it is as long as a piece."""
        tokens, tags, first = example.tokens, example.tags, 0
        while len(tokens) - first > self.max_length:
            last = self._cut(tokens, tags, first)
            yield replace(example, tokens=tokens[first:last], tags=tags[first:last], starts=())
            first = last
        yield replace(example, tokens=tokens[first:], tags=tags[first:]) if first else example

    def _cut(self, tokens: Sequence[str], tags: Sequence[str], first: int) -> int:
        limit, half = first + self.max_length, first + self.max_length // 2
        free = [i for i in range(first + 1, limit + 1) if not tags[i].startswith("I-")]
        ends = [i for i in free if tokens[i - 1][-1] in SENTENCE_ENDS and i > half]
        return max(ends or free or [limit])

    def raw(self, examples: Sequence[TaggedExample]) -> list[list[str]]:
        """The tokens as they are given, so that tags can be compared one by one."""
        return [list(example.tokens) for example in examples]

    def edge_inputs(self) -> list[Any]:
        """Nothing, a raw text, no token, letters that no vocabulary holds, and a long sentence."""
        return ["", "An e-mail from Ann, to Bob!", [], ["\u16a0\u16a1", "\U0001f600"], ["?"] * 40]

    def to_request(self, raw: Sequence[Any]) -> Arrays:
        """Texts, or lists of tokens, as ``{"text": <object>[batch]}``.

        Raises:
            DataError: an input is neither, or a token is empty or holds U+001F.
        """
        texts = [_request_text(i, one) for i, one in enumerate(raw)]
        return {"text": np.array(texts, object)}

    def answers(self, response: Mapping[str, Any], raw: Sequence[Any]) -> list[dict[str, Any]]:
        """``{"tokens", "tags", "probabilities", "starts", "ends"[, "spans"]}`` for each input."""
        return [
            self.answer({name: values[i] for name, values in response.items()}, one)
            for i, one in enumerate(raw)
        ]

    def answer(self, row: Mapping[str, Any], raw: Any) -> dict[str, Any]:
        """The answer to one input."""
        text, count = text_of(raw), int(row["length"])
        found = {
            "tokens": [token.decode("utf-8") for token in row["tokens"][:count]],
            "tags": [tag.decode("utf-8") for tag in row["tags"][:count]],
            "probabilities": [float(x) for x in row["probabilities"][:count]],
            "starts": [int(x) for x in row["starts"][:count]],
            "ends": [int(x) for x in row["ends"][:count]],
        }
        if self.tags.scheme:
            names = ("span_labels", "span_starts", "span_ends", "span_probabilities")
            spans = zip(*(row[name][: int(row["spans"])] for name in names), strict=True)
            found["spans"] = [
                {
                    "label": label.decode("utf-8"),
                    "text": text[start:end],
                    "start": int(start),
                    "end": int(end),
                    "probability": float(share),
                }
                for label, start, end, share in spans
            ]
        return found

    # ---- files

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "rules": self.rules.to_dict(),
            "features": self.features.to_dict(),
            "tags": self.tags.to_dict(),
            "max_length": self.max_length,
            "scores": self.scores.to_dict() if self.scores else None,
            "outside_offset": self.outside_offset,
            "tag_temperature": self.tag_temperature,
        }

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``."""
        save_state(directory, self.TYPE, self.state())

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> Any:
        """Reads back what ``save`` wrote."""
        scores = state.pop("scores")
        return cls(
            **{
                **state,
                "rules": TokenRules.from_dict(state["rules"]),
                "features": WordFeatures.from_dict(state["features"]),
                "tags": TagTable.from_dict(state["tags"]),
                "scores": CrfScores.from_dict(scores) if scores else None,
            }
        )


def text_of(raw: Any) -> str:
    """The text that offsets count in: of given tokens, with a space between them."""
    text = as_text(raw) if isinstance(raw, (str, bytes)) else " ".join(map(as_text, raw))
    return text.replace(SEPARATOR, " ")


def _request_text(i: int, raw: Any) -> bytes:
    if isinstance(raw, bytes):
        return raw
    if isinstance(raw, str):
        return raw.encode("utf-8", "replace")
    if not isinstance(raw, (list, tuple)) or not all(isinstance(x, (str, bytes)) for x in raw):
        raise DataError(f"input {i} is a {type(raw).__name__}; give a text, or a list of tokens")
    tokens = [as_text(token) for token in raw]
    wrong = [token for token in tokens if not token or SEPARATOR in token]
    if wrong:
        what = "an empty token" if not wrong[0] else f"the token {wrong[0]!r}, with U+001F in it"
        raise DataError(f"input {i} has {what}; leave it out")
    return "".join(token + SEPARATOR for token in tokens).encode("utf-8")


PREPROCESSOR = TaggingPreprocessor
