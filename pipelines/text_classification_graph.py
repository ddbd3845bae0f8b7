"""The TensorFlow face of ``pipelines.text_classification``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from pipelines.text_graph import TextEncoderGraph

if TYPE_CHECKING:
    from pipelines.text_classification import TextClassificationPreprocessor


class TextClassificationGraph(tf.Module):
    """TensorFlow face of ``TextClassificationPreprocessor``."""

    def __init__(self, preprocessor: TextClassificationPreprocessor) -> None:
        super().__init__()
        self.text = TextEncoderGraph(preprocessor.encoder)
        self.labels = tf.constant(preprocessor.labels)

    def encode(self, wire: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """``text <string>[batch]`` to ``tokens <int32>[batch, time]``."""
        return {"tokens": self.text(wire["text"])}

    def decode(self, core: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """``probabilities <float32>[batch, classes]`` with the likeliest ``label`` beside them."""
        probabilities = core["probabilities"]
        label = tf.gather(self.labels, tf.argmax(probabilities, -1))
        return {"label": label, "probabilities": probabilities}
