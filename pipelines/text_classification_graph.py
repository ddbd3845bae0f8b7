"""``pipelines.text_classification`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.program_graph import GraphProgram, Tensors
from pipelines.text_graph import TextEncoderGraph


class TextClassificationGraph(GraphProgram):
    """``TextClassificationPreprocessor`` as TensorFlow ops."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self.text = TextEncoderGraph(preprocessor.encoder)
        self.labels = tf.constant(preprocessor.labels)

    def encode(self, request: Tensors) -> Tensors:
        """``text <string>[batch]`` to ``tokens <int32>[batch, time]``."""
        return {"tokens": self.text(request["text"])}

    def decode(self, outputs: Tensors) -> Tensors:
        """``probabilities <float32>[batch, classes]`` and the likeliest ``label``."""
        probabilities = outputs["probabilities"]
        label = tf.gather(self.labels, tf.argmax(probabilities, -1))
        return {"label": label, "probabilities": probabilities}
