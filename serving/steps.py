"""A model of one time step, run by ONNX Runtime: for streams, and for decoding token by token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipelines.program import NEXT
from pipelines.ragged import Arrays
from serving.errors import ServingError
from serving.onnx_core import OnnxCore


class StepModel(OnnxCore):
    """``step.onnx``: (inputs of one step, states) to (outputs, next states), batch first.

    Args:
        path: of the file.
        threads: of ONNX Runtime; it chooses itself if None.

    Attributes:
        states: shape after the batch of each state, by name.

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
        """
        outputs = self({**inputs, **states})
        return outputs, {name: outputs.pop(f"{name}{NEXT}") for name in states}

    def run(self, inputs: Arrays) -> Iterator[Arrays]:
        """The outputs after each step of ``[batch, time, ...]``, beginning with zero states."""
        first = next(iter(inputs.values()))
        states = self.initial(len(first))
        for t in range(first.shape[1]):
            outputs, states = self.step({name: x[:, t] for name, x in inputs.items()}, states)
            yield outputs
