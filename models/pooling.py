"""From a sequence of states to one vector; padding never counts."""

from __future__ import annotations

import keras
from keras import ops

from models.network import EITHER, Network, read_sequence
from models.recurrent import recurrent_stack
from models.text_classification_config import TextConfig


@keras.saving.register_keras_serializable("seqloom")
class MaskedPooling(keras.layers.Layer):
    """Mean, max or attention over the valid steps of ``<float32>[batch, time, width]``.

    Keras's own GlobalMaxPooling1D looks at padded steps too, and its GlobalAveragePooling1D answers
    NaN for a row without a valid step; here such a row gives zeros.

    Args:
        kind: "mean", "max", or "attention" (softmax over ``v . tanh(W x + b)`` with a learnt
            query ``v``, Yang et al. 2016).
    """

    def __init__(self, kind: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.supports_masking = True

    def build(self, input_shape) -> None:
        """Makes the attention weights where they are needed."""
        if self.kind == "attention":
            width = input_shape[-1]
            self.projection = self.add_weight((width, width), name="projection")
            self.bias = self.add_weight((width,), "zeros", name="bias")
            self.query = self.add_weight((width, 1), name="query")

    def call(self, x, mask=None):
        """``[batch, time, width]`` and ``<bool>[batch, time]`` to ``[batch, width]``."""
        valid = ops.ones_like(x[..., :1])  # (B, T, 1)
        if mask is not None:
            valid = ops.cast(ops.expand_dims(mask, -1), x.dtype)
        if self.kind == "mean":
            return ops.sum(x * valid, 1) / ops.maximum(ops.sum(valid, 1), 1)
        # Far below any activation, yet within float16.
        absent = (1 - valid) * -3e4
        if self.kind == "max":
            return ops.max(x * valid + absent, 1) * ops.max(valid, 1)
        scores = ops.tanh(x @ self.projection + self.bias) @ self.query  # (B, T, 1)
        weights = ops.softmax(scores * valid + absent, axis=1) * valid
        return ops.sum(weights * x, 1)

    def compute_mask(self, inputs, mask=None):
        """One vector has no steps left to mask."""
        return

    def compute_output_shape(self, input_shape):
        """``(batch, width)``."""
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "kind": self.kind}


def pooled_stack(
    x: keras.KerasTensor, config: TextConfig, network: Network | None = None
) -> keras.KerasTensor:
    """The recurrent stack and its pooling: ``[batch, time, features]`` to ``[batch, width]``.

    A network of the user's own gives the vector, or a sequence that is pooled.
    """
    if config.pooling == "last":
        return read_sequence(x, config, network, return_sequences=False)
    y = recurrent_stack(x, config) if network is None else network(x, config, EITHER)
    return y if len(y.shape) == 2 else MaskedPooling(config.pooling, name="pooling")(y)
