"""A model of one time step, run by ONNX Runtime: for streams, and for decoding token by token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipelines.program import NEXT
from pipelines.ragged import Arrays
from serving.errors import RequestError, ServingError
from serving.onnx_core import OnnxCore


class StepModel(OnnxCore):
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
        super().__init__(path, threads)

    def initial(self, batch: int) -> Arrays:
        """The states before the first step: zeros."""
        return {name: np.zeros((batch, *shape), np.float32) for name, shape in self.states.items()}

    def step(self, inputs: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        """One step.

        Args:
            inputs: ``[batch, ...]``, without a time dimension.
            states: of ``initial`` or of the step before.

        Returns:
            Outputs without a time dimension, and the states for the next step.

        Raises:
            RequestError: an input or state is missing or has an impossible shape.
        """
        outputs = self({**inputs, **states})
        return outputs, {name: outputs.pop(f"{name}{NEXT}") for name in self.states}

    def run(self, inputs: Arrays) -> Iterator[Arrays]:
        """The outputs after each step of ``[batch, time, ...]``, beginning with zero states.

        Inputs that the model takes whole, such as an encoder's memory, are given at each step.
        """
        given = {name: x for name, x in inputs.items() if name in self.inputs}
        stepped = [name for name, x in given.items() if x.ndim == len(self._shapes[name]) + 1]
        if not stepped:
            raise RequestError(
                f"none of the inputs {', '.join(inputs)} has a time axis to step along"
            )
        lengths = {name: given[name].shape[1] for name in stepped}
        if len(set(lengths.values())) > 1:
            each = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise RequestError(f"the inputs differ in their number of steps: {each}")
        states = self.initial(len(given[stepped[0]]))
        for t in range(given[stepped[0]].shape[1]):
            row = {name: x[:, t] if name in stepped else x for name, x in given.items()}
            outputs, states = self.step(row, states)
            yield outputs
