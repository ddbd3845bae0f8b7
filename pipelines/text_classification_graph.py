"""``pipelines.text_classification`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.program_graph import GraphProgram, Tensors
from pipelines.text_graph import TextEncoderGraph
from pipelines.text_inputs import SEPARATOR


class TextClassificationGraph(GraphProgram):
    """``TextClassificationPreprocessor`` as TensorFlow ops."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self.text = TextEncoderGraph(preprocessor.encoder)
        self.labels = tf.constant(preprocessor.labels)
        self.inputs = preprocessor.inputs

    def encode(self, request: Tensors) -> Tensors:
        """The texts of all columns, ``<string>[batch]``, to ``tokens <int32>[batch, time]``."""
        text, *others = (request[name] for name in self.inputs)
        for other in others:
            both = (tf.strings.length(text) > 0) & (tf.strings.length(other) > 0)
            text = tf.strings.join([text, tf.where(both, SEPARATOR, ""), other])
        return {"tokens": self.text(text)}

    def decode(self, outputs: Tensors) -> Tensors:
        """``probabilities <float32>[batch, classes]`` and the likeliest ``label``."""
        probabilities = outputs["probabilities"]
        label = tf.gather(self.labels, tf.argmax(probabilities, -1))
        return {"label": label, "probabilities": probabilities}
