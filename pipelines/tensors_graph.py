"""``pipelines.tensors`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

from pipelines.program_graph import GraphProgram, Tensors


class TensorGraph(GraphProgram):
    """``TensorPreprocessor``."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self._outputs = tuple(preprocessor.signature["outputs"])

    def encode(self, request: Tensors) -> Tensors:
        """The request itself."""
        return dict(request)

    def decode(self, outputs: Tensors) -> Tensors:
        """The outputs of the model."""
        return {name: outputs[name] for name in self._outputs}
