"""Tensors in, tensors out: the preprocessor of a model that brings none.

A raw input is one row, a dict of arrays without the batch axis by the names of the model's inputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.encoded import Encoded, EncodedRows
from pipelines.preprocessor import OneProgram, save_state
from pipelines.program import KINDS, Signature
from pipelines.ragged import Arrays, plain
from pipelines.tensor_files import read_tensor_rows, tensor_rows


@dataclass(frozen=True)
class TensorPreprocessor(OneProgram):
    """Hands the tensors of a request on as they are, and those of the model likewise.

    Attributes:
        signature: inputs and outputs of the model, by name.
    """

    signature: Signature

    def encode(self, request: Arrays) -> Arrays:
        """The request itself."""
        return dict(request)

    def decode(self, outputs: Arrays) -> Arrays:
        """The outputs of the model."""
        return {name: outputs[name] for name in self.signature["outputs"]}

    def graph(self) -> Any:
        """See ``Program.graph``."""
        from pipelines.tensors_graph import TensorGraph

        return TensorGraph(self)

    def encoded(self, examples: Sequence[Mapping[str, Any]]) -> Encoded:
        """The inputs alone: such a model is not trained here."""
        return EncodedRows(self.to_request(examples), {})

    def raw(self, examples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Examples are what a client sends."""
        return list(examples)

    def edge_inputs(self) -> list[Mapping[str, Any]]:
        """None that would suit any model."""
        return []

    def to_request(self, raw: Sequence[Mapping[str, Any]]) -> Arrays:
        """Rows, which have to be of one shape, as a batch.

        Raises:
            DataError: a row lacks an input or has another; or is of another dtype or shape.
        """
        rows = [self._row(number, row) for number, row in enumerate(raw, 1)]
        found = {}
        for name in self.signature["inputs"]:
            shapes = {row[name].shape for row in rows}
            if len(shapes) > 1:
                raise DataError(
                    f"rows of input {name!r} have the shapes {', '.join(map(str, shapes))}; "
                    "a request holds rows of one shape"
                )
            found[name] = np.stack([row[name] for row in rows])
        return found

    def rows(self, examples: Any) -> list[Arrays]:
        """Examples in memory, see ``tensor_rows``, or the path of a file of them, as raw inputs.

        Raises:
            DataError: they do not go with the inputs.
        """
        inputs = self.signature["inputs"]
        if isinstance(examples, (str, Path)):
            found = read_tensor_rows(Path(examples), inputs)
        else:
            found = tensor_rows(examples, inputs)
        return [self._row(number, row) for number, row in enumerate(found, 1)]

    def _row(self, number: int, row: Mapping[str, Any]) -> Arrays:
        inputs = self.signature["inputs"]
        if not isinstance(row, Mapping):
            row = dict.fromkeys(inputs, row) if len(inputs) == 1 else {}
        if set(row) != set(inputs):
            raise DataError(
                f"example {number} has {', '.join(row) or 'no named inputs'}; the model takes "
                f"{', '.join(inputs)}"
            )
        return {name: _array(f"example {number}", name, row[name], inputs[name]) for name in inputs}

    def save(self, directory: Path) -> None:
        """See ``Preprocessor``."""
        save_state(directory, "tensors", {"signature": self.signature})

    @classmethod
    def load(cls, directory: Path, state: Mapping[str, Any]) -> TensorPreprocessor:
        """What ``save`` wrote."""
        return cls(state["signature"])


def _array(where: str, name: str, value: Any, spec: Mapping[str, Any]) -> np.ndarray:
    """One row of an input in the dtype that the model has it in.

    Raises:
        DataError: of another kind of values or another shape.
    """
    shape = spec["shape"][1:]
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    text = spec["dtype"] == "string"
    fits = array.dtype.kind in ("SUO" if text else KINDS[np.dtype(spec["dtype"]).kind])
    same = array.ndim == len(shape) and all(
        size in (-1, given) for size, given in zip(shape, array.shape, strict=True)
    )
    if not fits or not same:
        wanted = "x".join("any" if size < 0 else str(size) for size in shape) or "one value"
        given = "x".join(map(str, array.shape)) or "one value"
        raise DataError(
            f"{where}, input {name!r}: {given} of {array.dtype}; the model takes {wanted} of "
            f"{spec['dtype']} in each row"
        )
    return np.array(plain(array), object) if text else array.astype(spec["dtype"])


def identifier(name: str) -> str:
    """A name that signatures of TensorFlow and URLs may have."""
    found = re.sub(r"\W", "_", str(name), flags=re.ASCII)
    return found if found[:1].isalpha() else f"x{found}"


PREPROCESSOR = TensorPreprocessor
