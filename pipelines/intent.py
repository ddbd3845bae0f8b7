"""Preprocessor of intent: a sentence in, what it asks for and the slots that it fills out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from common.config import Config, number
from pipelines.encoded import EncodedRows
from pipelines.program import Signature
from pipelines.ragged import Arrays, Field
from pipelines.tag_table import NO_TAG
from pipelines.tagged import TaggedExample
from pipelines.tagging import TaggingPreprocessing, TaggingPreprocessor


@dataclass(frozen=True)
class IntentDecoding(Config):
    """How answers are made."""

    reject_below: float = number(
        0.0, 0.0, 1.0, "answer no intent where the likeliest is less probable than this"
    )


@dataclass(frozen=True)
class IntentPreprocessor(TaggingPreprocessor):
    """What tagging has, and intents.

    Attributes:
        intents: in the order of the model's outputs.
        temperature: by which logits are divided, so that probabilities are true on validation (Guo
            et al. 2017).
        reject_below: default of the request's input of that name.
    """

    TYPE: ClassVar[str] = "intent"

    intents: tuple[str, ...] = ()
    temperature: float = 1.0
    reject_below: float = 0.0

    @classmethod
    def adapt(
        cls,
        settings: TaggingPreprocessing,
        train: Sequence[TaggedExample],
        decoding: IntentDecoding | None = None,
    ) -> IntentPreprocessor:
        """Learns rules, words, tags and intents of the training sentences."""
        parts = TaggingPreprocessor.adapt(settings, train)
        return cls(
            parts.rules,
            parts.features,
            parts.tags,
            parts.max_length,
            intents=tuple(sorted({example.intent for example in train})),
            reject_below=(decoding or IntentDecoding()).reject_below,
        )

    @property
    def signature(self) -> Signature:
        """That of tagging, with ``reject_below`` in, ``intent`` and probabilities out."""
        threshold = {"dtype": "float32", "shape": [-1], "default": self.reject_below}
        return {
            "inputs": {**super().signature["inputs"], "reject_below": threshold},
            "outputs": self.outputs,
        }

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Response tensors."""
        return {
            "intent": {"dtype": "string", "shape": [-1]},
            "intent_probabilities": {"dtype": "float32", "shape": [-1, len(self.intents)]},
            **super().outputs,
        }

    def encode(self, request: Arrays) -> Arrays:
        """``text`` to model tensors; ``reject_below`` is handed on.

        Raises:
            ValueError: it is no probability.
        """
        threshold = request["reject_below"]
        if not np.all((threshold >= 0) & (threshold <= 1)):
            raise ValueError(f"reject_below must be from 0 to 1, not {threshold.tolist()}")
        return {**super().encode(request), "reject_below": threshold}

    def decode(self, outputs: Arrays) -> Arrays:
        """Also ``intent_logits <float32>[batch, intents]`` to the likeliest intent, "" for none."""
        logits = outputs["intent_logits"].astype(np.float64) / self.temperature
        shares = np.exp(logits - logits.max(-1, keepdims=True, initial=-np.inf))
        shares = (shares / shares.sum(-1, keepdims=True)).astype(np.float32)
        names = np.array([one.encode("utf-8") for one in self.intents], object)
        sure = shares.max(-1, initial=0) >= outputs["reject_below"]
        found = {
            "intent": np.where(sure, names[shares.argmax(-1)], b""),
            "intent_probabilities": shares,
        }
        return {**found, **super().decode(outputs)}

    @property
    def labels_of(self) -> dict[str, tuple[str, ...]]:
        """The intent of each probability."""
        return {"intent_probabilities": self.intents}

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.intent_graph import IntentGraph

        return IntentGraph(self)

    def encoded(self, examples: Sequence[TaggedExample]) -> EncodedRows:
        """What tagging has, and the number of the intent; each piece of a sentence has it."""
        pieces = [piece for one in examples for piece in self.pieces(one)]
        inputs, targets = self.encoded_tokens(pieces)
        numbers = {name: i for i, name in enumerate(self.intents)}
        ids = np.array([numbers.get(one.intent, NO_TAG) for one in pieces], np.int32)
        fields = {"tags": Field(NO_TAG)}
        return EncodedRows(inputs, {**targets, "intents": ids}, fields=fields)

    def answer(self, row: Mapping[str, Any], raw: Any) -> dict[str, Any]:
        """That of tagging, with ``intent`` (None for none), ``intent_probability`` and all."""
        shares = row["intent_probabilities"]
        return {
            "intent": row["intent"].decode("utf-8") or None,
            "intent_probability": float(shares.max()),
            "intents": {n: float(p) for n, p in zip(self.intents, shares, strict=True)},
            **super().answer(row, raw),
        }

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        more = {name: getattr(self, name) for name in ("intents", "temperature", "reject_below")}
        return {**super().state(), **more}

    @classmethod
    def load(cls, directory: Any, state: dict[str, Any]) -> IntentPreprocessor:
        """Reads back what ``save`` wrote."""
        return super().load(directory, {**state, "intents": tuple(state["intents"])})


PREPROCESSOR = IntentPreprocessor
