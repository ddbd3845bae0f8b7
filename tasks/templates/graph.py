"""``pipelines.skeleton`` as TensorFlow ops, for the SavedModel."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipelines.program_graph import GraphProgram, Tensors

PAD, UNKNOWN = 0, 1


class SkeletonGraph(GraphProgram):
    """``SkeletonPreprocessor``; its answers are equal."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        # The empty string keeps a table without any word valid; it is no word.
        words = ["", *preprocessor.words[UNKNOWN + 1 :]]
        numbers = [UNKNOWN, *range(UNKNOWN + 1, len(preprocessor.words))]
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant(words), tf.constant(numbers, tf.int32)
        )
        self.table = tf.lookup.StaticHashTable(initializer, UNKNOWN)
        self.tags = tf.constant(preprocessor.tags)

    def encode(self, request: Tensors) -> Tensors:
        """``ids``, one step at least; the length is handed on."""
        tokens, length = request["tokens"], request["length"]
        inside = tf.sequence_mask(length, tf.shape(tokens)[1])
        ids = tf.where(inside, self.table.lookup(tokens), PAD)
        missing = tf.maximum(1 - tf.shape(ids)[1], 0)
        return {"ids": tf.pad(ids, [[0, 0], [0, missing]]), "length": length}

    def decode(self, outputs: Tensors) -> Tensors:
        """The most probable tag of each token, and its probability."""
        probabilities, length = outputs["probabilities"], outputs["length"]
        inside = tf.sequence_mask(length, tf.shape(probabilities)[1])
        names = tf.gather(self.tags, tf.argmax(probabilities, -1))
        return {
            "tags": tf.where(inside, names, ""),
            "confidence": tf.where(inside, tf.reduce_max(probabilities, -1), 0.0),
            "length": length,
        }
