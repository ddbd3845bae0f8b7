"""What every preprocessor offers, and how a saved one is found again.

A preprocessor is adapted on training examples only and travels with the model to the end. It stands
between three forms of the same data:

* raw: what a person types (a string, a window of numbers, a file's samples);
* request and response tensors: the named arrays of a served signature, as clients of TF Serving
  send and get them;
* model tensors: the named arrays of the Keras or ONNX model.

Its *programs* (``pipelines.program``) go from request to model tensors and back, in NumPy and as
TensorFlow ops with equal results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from common.errors import DataError
from common.files import write_json
from pipelines.encoded import Encoded
from pipelines.program import DEFAULT, Program
from pipelines.ragged import Arrays

# Types that bundles of earlier versions name otherwise.
RENAMED = {"anomalies": "anomaly_detection"}


class Preprocessor(Protocol):
    """The NumPy implementation; importing it never imports TensorFlow."""

    @property
    def programs(self) -> Mapping[str, Program]:
        """By signature name; ``serving_default`` is what ``to_request`` and ``answers`` are for."""

    def encoded(self, examples: Sequence[Any]) -> Encoded:
        """Examples with the work done that every batch of them would need."""

    def raw(self, examples: Sequence[Any]) -> list[Any]:
        """What a client would send for these examples."""

    def edge_inputs(self) -> list[Any]:
        """Raw edge cases: nothing, the shortest, the unknown."""

    def validate(self, examples: Sequence[Any]) -> None:
        """Raises a DataError where examples hold what the model could never answer."""

    def to_request(self, raw: Sequence[Any]) -> Arrays:
        """Raw inputs as request tensors; the first axis is the batch."""

    def answers(self, response: Arrays, raw: Sequence[Any]) -> list[dict[str, Any]]:
        """Response tensors for ``raw`` as answers that a person can read, one for each row."""

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json`` and what it refers to.

        Its "type" is the module below ``pipelines`` whose ``PREPROCESSOR`` reads it back.
        """


class Streaming(Protocol):
    """What a preprocessor has besides where rows of a series may be answered as they come in.

    Attributes:
        waits: rows that must have come before there is an answer.
        remembers: rows of the past that an answer takes, where the model has no steps; None for all
            of them.
    """

    waits: int
    remembers: int | None

    def raw_window(self, rows: Sequence[Any], known: Any = None) -> Any:
        """Remembered rows, ``(values, time)`` each, as one raw input."""

    def row_answer(self, response: Arrays, raw: Any, notes: dict[str, Any]) -> dict[str, Any]:
        """The answer for the last row.

        Args:
            response: of one row, or of the window that ends with it; no batch axis.
            raw: of the window; None where the model went one step.
            notes: what the kind wrote there when it answered the rows before; empty at first.
        """


class OneProgram(Program):
    """A preprocessor that is its own, only program."""

    @property
    def programs(self) -> Mapping[str, Program]:
        """Itself as ``serving_default``."""
        return {DEFAULT: self}

    def validate(self, examples: Sequence[Any]) -> None:
        """See ``Preprocessor``; everything can be answered."""


def load_preprocessor(directory: str | Path) -> Preprocessor:
    """Reads the preprocessor that ``save`` wrote.

    Raises:
        DataError: the directory holds none, or one of an unknown type.
    """
    path = Path(directory) / "preprocessor.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        module = state.pop("type")
        module = RENAMED.get(module, module)
        if not module.isidentifier():
            raise ValueError(module)
        kind = import_module(f"pipelines.{module}").PREPROCESSOR
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise DataError(f"{path} cannot be read as a preprocessor ({error!r})") from error
    try:
        return kind.load(Path(directory), state)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is incomplete or of another version: {error}") from error


def save_state(directory: Path, kind: str, state: Mapping[str, Any]) -> None:
    """Writes ``preprocessor.json`` of a type."""
    write_json(Path(directory) / "preprocessor.json", {"type": kind, **state})
