"""The program ``tokens`` of tagging: sentences whose tokens a client has cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipelines.program import Program
from pipelines.ragged import Arrays, padded
from pipelines.tokens import SEPARATOR

STRINGS = {"dtype": "string", "shape": [-1, -1]}


class TokensProgram(Program):
    """The same answers to tokens that a client has cut.

    Args:
        preprocessor: a ``TaggingPreprocessor``.
    """

    def __init__(self, preprocessor: Any) -> None:
        self.preprocessor = preprocessor
        # A request's tokens have no length of their own: "" stands behind the last one.
        self.fields = preprocessor.fields
        self.signature = {
            "inputs": {**preprocessor.signature["inputs"], "tokens": STRINGS},
            "outputs": preprocessor.signature["outputs"],
        }
        del self.signature["inputs"]["text"]

    def encode(self, request: Arrays) -> Arrays:
        """``tokens <string>[batch, time]``, "" where there is none, to model tensors."""
        rest = {name: array for name, array in request.items() if name != "tokens"}
        return self.preprocessor.encode({**rest, "text": joined_tokens(request["tokens"])})

    def decode(self, outputs: Arrays) -> Arrays:
        """That of the preprocessor."""
        return self.preprocessor.decode(outputs)

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """The tokens of the texts."""
        cut = [self.preprocessor.rules.cut(text) for text in request["text"]]
        rows = [np.array([one.token.encode("utf-8") for one in row], object) for row in cut]
        rest = {name: array for name, array in request.items() if name != "text"}
        yield {**rest, "tokens": padded(rows, b"")}

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines.tagging_graph import TokensGraph

        return TokensGraph(self.preprocessor.graph())


def joined_tokens(tokens: np.ndarray) -> np.ndarray:
    """``<object>[batch, time]`` of bytes as texts ``<object>[batch]`` that ``TokenRules`` cuts.

    A text of given tokens always holds the separator, one token alone too.
    """
    texts = np.empty(len(tokens), object)
    for i, row in enumerate(tokens):
        given = [one.encode("utf-8") if isinstance(one, str) else one for one in row]
        texts[i] = b"".join(one + SEPARATOR.encode() for one in given if one)
    return texts
