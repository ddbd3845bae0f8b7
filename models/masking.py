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
