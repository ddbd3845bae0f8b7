"""A model of one time step, run by ONNX Runtime: for streams, and for decoding token by token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from pipelines.preprocessor import Arrays
from serving.errors import RequestError, ServingError

# As serving.native_onnx.step_models writes it.
NEXT = "_next"
# Those that Keras models have, by ONNX Runtime's names.
_DTYPES = {
    "tensor(bool)": "bool", "tensor(double)": "float64", "tensor(float)": "float32",
    "tensor(float16)": "float16", "tensor(int32)": "int32", "tensor(int64)": "int64",
    "tensor(int8)": "int8", "tensor(uint8)": "uint8",
}  # fmt: skip


class StepModel:
    """``step.onnx``: (inputs of one step, states) to (outputs, next states), batch first.

    Args:
        path: the file.
        threads: number of threads of ONNX Runtime, which chooses by default.

    Attributes:
        states: shape of each state without the batch, by name.

    Raises:
        ServingError: there is no such file.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        if not Path(path).is_file():
            raise ServingError(
                f"{path} is not there: models that read both ways or pool over time have no steps"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            path, options, providers=onnxruntime.get_available_providers()
        )
        self._inputs = {given.name: tuple(given.shape) for given in self.session.get_inputs()}
        self._outputs = [output.name for output in self.session.get_outputs()]
        nexts = {name for name in self._outputs if name.endswith(NEXT)}
        self.states = {
            name: shape[1:] for name, shape in self._inputs.items() if f"{name}{NEXT}" in nexts
        }

    def initial(self, batch: int) -> Arrays:
        """The states before the first step: zeros."""
        return {name: np.zeros((batch, *shape), np.float32) for name, shape in self.states.items()}

    def step(self, inputs: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        """One step.

        Args:
            inputs: ``[batch, ...]`` without a time dimension, and the constant ones whole. Those
                that the model does not take are ignored. No rows have an empty answer.
            states: from ``initial`` or from the step before.

        Returns:
            Outputs without a time dimension, and the states for the next step.

        Raises:
            RequestError: an input or state is missing or has an impossible shape.
        """
        feeds = {**inputs, **states}
        sizes = self._sizes(feeds)
        if sizes["batch"]:
            feeds = {name: feeds[name] for name in self._inputs}
            got = self.session.run(self._outputs, feeds)
        else:  # ONNX Runtime's LSTM and GRU end the process when they divide rows among threads
            got = [_empty(output, sizes) for output in self.session.get_outputs()]
        outputs = dict(zip(self._outputs, got, strict=True))
        return outputs, {name: outputs.pop(f"{name}{NEXT}") for name in self.states}

    def run(self, inputs: Arrays) -> Iterator[Arrays]:
        """The outputs after each step of ``[batch, time, ...]``, beginning with zero states.

        Inputs that the model takes whole, such as an encoder's memory, are given at each step.
        """
        given = {name: x for name, x in inputs.items() if name in self._inputs}
        stepped = [name for name, x in given.items() if x.ndim == len(self._inputs[name]) + 1]
        if not stepped:
            raise RequestError(
                f"none of the inputs {', '.join(inputs)} has a time axis to step along"
            )
        states = self.initial(len(given[stepped[0]]))
        for t in range(given[stepped[0]].shape[1]):
            row = {name: x[:, t] if name in stepped else x for name, x in given.items()}
            outputs, states = self.step(row, states)
            yield outputs

    def _sizes(self, feeds: Arrays) -> dict[str, int]:
        """Size of the batch, and of the other dimensions that the file leaves open, by name.

        Two inputs may have open dimensions of one name and different size: the last one counts.
        """
        sizes: dict[str, int] = {}
        for name, shape in self._inputs.items():
            if name not in feeds:
                raise RequestError(f"the step model needs input {name!r} {_text(shape)}")
            given = np.shape(feeds[name])
            fits = len(given) == len(shape) and all(
                size == wanted if isinstance(wanted, int) else size or axis == 0
                for axis, (size, wanted) in enumerate(zip(given, shape, strict=True))
            )
            if not fits or given[0] != sizes.setdefault("batch", given[0]):
                rows = f" of {sizes['batch']} rows" if "batch" in sizes else ""
                raise RequestError(
                    f"input {name!r} has shape {list(given)}; the step model takes "
                    f"{_text(shape)}{rows}"
                )
            sizes.update(
                {
                    dim: n
                    for dim, n in zip(shape[1:], given[1:], strict=True)
                    if isinstance(dim, str)
                }
            )
        return sizes


def _text(shape: tuple) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _empty(output: Any, sizes: dict[str, int]) -> np.ndarray:
    """No rows, in the dtype and shape of an output; an open dimension has the inputs' size."""
    dtype = np.dtype(_DTYPES[output.type])
    shape = [dim if isinstance(dim, int) else sizes.get(dim, 0) for dim in output.shape[1:]]
    return np.zeros((0, *shape), dtype)
