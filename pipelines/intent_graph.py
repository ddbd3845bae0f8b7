"""``pipelines.intent`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.program_graph import Tensors
from pipelines.tagging_graph import TaggingGraph

OUT_OF_RANGE = "reject_below must be from 0 to 1"


class IntentGraph(TaggingGraph):
    """``IntentPreprocessor`` as TensorFlow ops."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__(preprocessor)
        self.intents = tf.constant(preprocessor.intents)
        self.temperature = preprocessor.temperature

    def encode(self, request: Tensors) -> Tensors:
        """``text`` to model tensors; ``reject_below`` is handed on."""
        threshold = request["reject_below"]
        right = tf.reduce_all((threshold >= 0) & (threshold <= 1))
        with tf.control_dependencies([tf.debugging.Assert(right, [OUT_OF_RANGE])]):
            return {**super().encode(request), "reject_below": tf.identity(threshold)}

    def decode(self, outputs: Tensors) -> Tensors:
        """Also ``intent_logits <float32>[batch, intents]`` to the likeliest intent, "" for none."""
        logits = tf.cast(outputs["intent_logits"], tf.float64) / self.temperature
        shares = tf.cast(tf.nn.softmax(logits), tf.float32)
        name = tf.gather(self.intents, tf.argmax(shares, -1))
        sure = tf.reduce_max(shares, -1) >= outputs["reject_below"]
        found = {"intent": tf.where(sure, name, ""), "intent_probabilities": shares}
        return {**found, **super().decode(outputs)}
