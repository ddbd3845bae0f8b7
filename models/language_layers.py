"""Layers of ``models.language``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("seqloom")
class TiedEmbedding(keras.layers.Layer):
    """Embeddings that are also the weights of the output (Press and Wolf 2017, Inan et al. 2017).

    Args:
        size: number of units.
        width: of an embedding.
        hidden: share of the units that are hidden from a batch in training, wherever they stand,
            the others being scaled (Gal and Ghahramani 2016).
    """

    def __init__(self, size: int, width: int, hidden: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.width, self.hidden = size, width, hidden
        self.seeds = keras.random.SeedGenerator()

    def build(self, input_shape) -> None:
        """Makes the table, in the range that suits an output too."""
        spread = keras.initializers.RandomUniform(-0.1, 0.1)
        self.embeddings = self.add_weight((self.size, self.width), spread, name="embeddings")
        self.bias = self.add_weight((self.size,), "zeros", name="bias")

    def call(self, inputs, reverse: bool = False, training: bool = False):
        """``<int32>[...]`` to ``<float>[..., width]``; reverse: that to scores ``[..., size]``."""
        table = ops.cast(self.embeddings, self.compute_dtype)
        if reverse:
            flat = ops.reshape(inputs, (-1, self.width))
            scores = ops.matmul(flat, ops.transpose(table)) + ops.cast(self.bias, table.dtype)
            return ops.reshape(scores, (*ops.shape(inputs)[:-1], self.size))
        found = ops.take(table, inputs, axis=0)
        if training and self.hidden:
            kept = keras.random.uniform((self.size, 1), seed=self.seeds) >= self.hidden
            scale = ops.cast(kept, found.dtype) / (1 - self.hidden)
            found = found * ops.take(scale, inputs, axis=0)
        return found

    def compute_output_spec(self, inputs, reverse: bool = False, training: bool = False):
        """See ``call``."""
        shape = (*inputs.shape[:-1], self.size) if reverse else (*inputs.shape, self.width)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """For ``model.keras``."""
        return {**super().get_config(), "size": self.size, "width": self.width,
                "hidden": self.hidden}  # fmt: skip


@keras.saving.register_keras_serializable("seqloom")
class Carry(keras.layers.Layer):
    """Keeps the states of recurrent layers from one batch to the next; a batch's rows go on in the
    same rows of the next one.

    ``carry(begins)`` gives the states to begin with, zeros in rows that begin; ``carry([x,
    *states], keep=True)`` keeps those after the batch, and gives ``x``.

    Args:
        widths: of each state.
    """

    def __init__(self, widths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.widths = list(widths)

    def build(self, input_shape) -> None:
        """Makes the variables; their number of rows is that of the batch."""
        with tf.init_scope():
            self._kept = [
                tf.Variable(tf.zeros([1, n]), shape=[None, n], trainable=False) for n in self.widths
            ]

    def call(self, inputs, keep: bool = False):
        """See the class."""
        if keep:
            x, *states = inputs
            done = [
                kept.assign(tf.stop_gradient(tf.cast(state, tf.float32)))
                for kept, state in zip(self._kept, states, strict=True)
            ]
            with tf.control_dependencies(done):
                return tf.identity(x)
        rows = tf.shape(inputs)[0]

        def begin(kept: tf.Variable, width: int) -> tf.Tensor:
            nothing = tf.zeros([rows, width])
            # Other rows than the last batch's are no continuation of it.
            return tf.cond(
                tf.reduce_all(inputs) | (tf.shape(kept)[0] != rows),
                lambda: nothing,
                lambda: tf.where(inputs[:, None], nothing, tf.ensure_shape(kept, [None, width])),
            )

        found = [begin(*pair) for pair in zip(self._kept, self.widths, strict=True)]
        return [ops.cast(one, self.compute_dtype) for one in found]

    def compute_output_spec(self, inputs, keep: bool = False):
        """See the class."""
        if keep:
            return keras.KerasTensor(inputs[0].shape, inputs[0].dtype)
        return [keras.KerasTensor((inputs.shape[0], n), self.compute_dtype) for n in self.widths]

    def get_config(self) -> dict[str, Any]:
        """For ``model.keras``."""
        return {**super().get_config(), "widths": self.widths}


@keras.saving.register_keras_serializable("seqloom")
class ChosenLogProbabilities(keras.layers.Layer):
    """Scores ``<float>[..., units]`` and numbers ``<int32>[...]`` to the log-probabilities of those
    numbers ``<float32>[...]``."""

    def call(self, inputs):
        """See the class."""
        scores, numbers = inputs
        each = ops.log_softmax(ops.cast(scores, "float32"))
        return ops.take_along_axis(each, numbers[..., None], -1)[..., 0]

    def compute_output_spec(self, inputs):
        """See the class."""
        return keras.KerasTensor(inputs[1].shape, "float32")
