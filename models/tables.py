"""Layers that own constant tables."""

from __future__ import annotations

import keras
import numpy as np


class WithTables(keras.layers.Layer):
    """A layer that owns constant tables: given as arrays, remembered in its config as shapes."""

    def table(self, value, name: str, dtype: str):
        """A weight that is not trained, of an array or of a shape that a saved model fills."""
        given = isinstance(value, np.ndarray)
        shape = value.shape if given else tuple(value)
        weight = self.add_weight(shape, "zeros", dtype=dtype, trainable=False, name=name)
        if given:
            weight.assign(value)
        return weight
