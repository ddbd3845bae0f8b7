"""``pipelines.keyword`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.audio_program_graph import SoundGraph
from pipelines.program_graph import Tensors


class ClassifyGraph(SoundGraph):
    """``Classify``."""

    def __init__(self, program: Any) -> None:
        super().__init__(program.features)
        self.labels = tf.constant(program.preprocessor.labels)

    def decode(self, outputs: Tensors) -> Tensors:
        """``probabilities`` and the likeliest ``label``."""
        probabilities = outputs["probabilities"]
        return {
            "label": tf.gather(self.labels, tf.argmax(probabilities, -1)),
            "probabilities": probabilities,
        }
