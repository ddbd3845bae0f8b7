"""Layers of ``models.language``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("seqloom")
class UnitTable(keras.layers.Layer):
    """Vectors of units: embeddings, the weights of the output, or both (Press and Wolf 2017, Inan
    et al. 2017).

    Called on numbers ``<int32>[...]`` it gives their vectors ``<float>[..., width]``. With
    ``mode="score"`` vectors become scores of all units ``[..., size]``; with ``mode="choose"`` a
    pair of vectors and numbers becomes the log-probabilities of these ``<float32>[...]``.

    Args:
        size: number of units.
        width: of a vector.
        hidden: share of the units whose embeddings are hidden from a batch in training, wherever
            they stand, the others being scaled (Gal and Ghahramani 2016).
        sampled: units beside which those chosen are scored in training, drawn by their rank
            (Jean et al. 2015); 0 for all. Units must be ordered by frequency then.
        smoothing: share of the target that is given to all units alike, in training.
    """

    def __init__(
        self,
        size: int,
        width: int,
        hidden: float = 0.0,
        sampled: int = 0,
        smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size, self.width, self.hidden = size, width, hidden
        self.sampled, self.smoothing = sampled, smoothing
        self.seeds = keras.random.SeedGenerator()

    def build(self, input_shape) -> None:
        """Makes the table, in the range that suits an output too."""
        spread = keras.initializers.RandomUniform(-0.1, 0.1)
        self.embeddings = self.add_weight((self.size, self.width), spread, name="embeddings")
        self.bias = self.add_weight((self.size,), "zeros", name="bias")

    def call(self, inputs, mode: str = "embed", training: bool = False):
        """See the class."""
        if mode == "score":
            return self._scores(inputs)
        if mode == "choose":
            return self._chosen(*inputs, training)
        found = ops.take(self._table(), inputs, axis=0)
        if training and self.hidden:
            kept = keras.random.uniform((self.size, 1), seed=self.seeds) >= self.hidden
            scale = ops.cast(kept, found.dtype) / (1 - self.hidden)
            found = found * ops.take(scale, inputs, axis=0)
        return found

    def _table(self):
        return ops.cast(self.embeddings, self.compute_dtype)

    def _scores(self, x):
        table, flat = self._table(), ops.reshape(x, (-1, self.width))
        scores = ops.matmul(flat, ops.transpose(table)) + ops.cast(self.bias, table.dtype)
        return ops.reshape(scores, (*ops.shape(x)[:-1], self.size))

    def _chosen(self, x, numbers, training: bool):
        if training and 0 < self.sampled < self.size:
            nats = tf.nn.sampled_softmax_loss(
                tf.convert_to_tensor(self.embeddings), tf.convert_to_tensor(self.bias),
                tf.reshape(numbers, (-1, 1)),
                tf.cast(tf.reshape(x, (-1, self.width)), tf.float32),
                self.sampled, self.size,
            )  # fmt: skip
            return -tf.reshape(nats, tf.shape(numbers))
        scores = ops.cast(self._scores(x), "float32")
        # Not by log_softmax: this needs no second array as large as the scores.
        nats = ops.sparse_categorical_crossentropy(numbers, scores, from_logits=True)
        if training and self.smoothing:
            every = ops.logsumexp(scores, -1) - ops.mean(scores, -1)
            nats = (1 - self.smoothing) * nats + self.smoothing * every
        return -nats

    def compute_output_spec(self, inputs, mode: str = "embed", training: bool = False):
        """See the class."""
        if mode == "choose":
            return keras.KerasTensor(inputs[1].shape, "float32")
        shape = (*inputs.shape[:-1], self.size) if mode == "score" else (*inputs.shape, self.width)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """For ``model.keras``."""
        names = ("size", "width", "hidden", "sampled", "smoothing")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


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
