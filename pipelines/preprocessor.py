"""What every preprocessor offers, and how a saved one is found again.

A preprocessor is adapted on training examples only and travels with the model to the end. It stands
between three forms of the same data:

* raw: what a person types (a string, a window of numbers, a file's samples);
* wire: the named arrays of the served signature, as TF Serving's clients send and get them;
* core: the named arrays of the Keras or ONNX model.

``encode`` (wire to core inputs) and ``decode`` (core outputs to wire) exist twice: in NumPy here,
and as TensorFlow ops in the module that ``graph()`` builds. Both faces give equal arrays.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.errors import DataError

Arrays = dict[str, np.ndarray]


class Preprocessor(Protocol):
    """The NumPy face; importing it never imports TensorFlow."""

    @property
    def signature(self) -> dict[str, dict[str, dict[str, Any]]]:
        """``{"inputs": {name: {"dtype", "shape"}}, "outputs": ...}`` of the wire form."""

    def to_wire(self, raw: Sequence[Any]) -> Arrays:
        """Raw inputs as wire arrays; the first axis is the batch."""

    def encode(self, wire: Arrays) -> Arrays:
        """Wire inputs to core inputs."""

    def decode(self, core: Arrays) -> Arrays:
        """Core outputs to wire outputs."""

    def answers(self, wire: Arrays, raw: Sequence[Any]) -> list[dict[str, Any]]:
        """Wire outputs for ``raw`` as answers that a person can read, one a row."""

    def graph(self) -> Any:
        """The TensorFlow face: a ``tf.Module`` with ``encode`` and ``decode``."""

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json`` and what it refers to.

        Its "type" is the module below ``pipelines`` whose ``PREPROCESSOR`` reads it back.
        """


def load_preprocessor(directory: str | Path) -> Preprocessor:
    """Reads the preprocessor that ``save`` wrote.

    Raises:
        DataError: the directory holds none, or one of an unknown type.
    """
    path = Path(directory) / "preprocessor.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        module = state.pop("type")
        if not module.isidentifier():
            raise ValueError(module)
        kind = import_module(f"pipelines.{module}").PREPROCESSOR
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise DataError(f"{path} cannot be read as a preprocessor ({error!r})") from error
    return kind.load(Path(directory), state)
