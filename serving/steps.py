"""A model of one time step, run by ONNX Runtime: for streams, and for decoding token by token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime

from pipelines.preprocessor import Arrays
from serving.errors import ServingError

NEXT = "_next"


class StepModel:
    """``step.onnx``: (inputs of one step, states) to (outputs, next states), batch first.

    Args:
        path: of the file.
        threads: of ONNX Runtime; its own choice unless told.

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
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            path, options, providers=onnxruntime.get_available_providers()
        )
        self._outputs = [output.name for output in self.session.get_outputs()]
        nexts = {name for name in self._outputs if name.endswith(NEXT)}
        self.states = {
            given.name: tuple(given.shape[1:])
            for given in self.session.get_inputs() if f"{given.name}{NEXT}" in nexts
        }  # fmt: skip

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
        got = self.session.run(self._outputs, {**inputs, **states})
        outputs = dict(zip(self._outputs, got, strict=True))
        return outputs, {name: outputs.pop(f"{name}{NEXT}") for name in states}

    def run(self, inputs: Arrays) -> Iterator[Arrays]:
        """The outputs after each step of ``[batch, time, ...]``, beginning with zero states."""
        first = next(iter(inputs.values()))
        states = self.initial(len(first))
        for t in range(first.shape[1]):
            outputs, states = self.step({name: x[:, t] for name, x in inputs.items()}, states)
            yield outputs
