"""Masks that a model is given outright, where Keras's own way would lose them."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable("seqloom")
class MaskedBy(keras.layers.Layer):
    """Its first input, with the mask of tokens that are there: ids other than 0 in the second.

    Behind a ``Concatenate`` of a masked and an unmasked input Keras takes every step for valid, so
    that an answer would depend on the padding of its batch.
    """

    def call(self, inputs):
        """``<float>[batch, time, n]`` and ``<int32>[batch, time]`` to the first."""
        return inputs[0]

    def compute_mask(self, inputs, mask=None):
        """``<bool>[batch, time]``."""
        return ops.not_equal(inputs[1], 0)

    def compute_output_shape(self, input_shape):
        """The first input's."""
        return input_shape[0]


def keep_mask(y: keras.KerasTensor, x: keras.KerasTensor) -> keras.KerasTensor:
    """``y <float>[batch, time, n]`` with the mask of ``x``, and zeros at its padded steps.

    For what a layer gives that passes no mask on, such as a convolution:
    ``keep_mask(keras.layers.Conv1D(64, 3, padding="same")(x), x)``. Without a mask ``y`` itself.
    """
    return y if getattr(x, "_keras_mask", None) is None else KeepMask()([y, x])


@keras.saving.register_keras_serializable("seqloom")
class KeepMask(keras.layers.Layer):
    """Its first input with the mask of its second, and zeros at the padded steps."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        """``<float>[batch, time, n]`` and a masked tensor of as many steps to the first."""
        if mask is None or mask[1] is None:
            return inputs[0]
        return inputs[0] * ops.cast(mask[1], inputs[0].dtype)[..., None]

    def compute_mask(self, inputs, mask=None):
        """``<bool>[batch, time]``."""
        return None if mask is None else mask[1]

    def compute_output_shape(self, input_shape):
        """The first input's."""
        return input_shape[0]
