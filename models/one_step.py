"""One time step of a recurrent layer, with its states as inputs and outputs."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("seqloom")
class OneStep(keras.layers.Layer):
    """Calls the cell of a recurrent layer once: no loop, no cuDNN kernel, at inference only.

    Args:
        layer: SimpleRNN, LSTM or GRU, whose weights it owns and whose name it takes. Only its cell
            and ``return_sequences`` count; states are always returned.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**{"name": layer.name, "dtype": "float32", **kwargs})
        self.layer = layer
        self.supports_masking = True

    def build(self, x_shape: Any, states_shape: Any) -> None:
        """Makes the weights of the inner layer unless it has them already."""
        if not self.layer.built:
            self.layer.build(x_shape)

    def call(self, x, states):
        """One step.

        Args:
            x: ``<float32>[batch, 1, features]``.
            states: list of ``<float32>[batch, units]``: h, or h and c of an LSTM.

        Returns:
            ``(y, *next states)``; y is ``[batch, 1, units]``, or ``[batch, units]`` where the layer
            returns its last output only.
        """
        y, following = self.layer.cell(x[:, 0], list(states), training=False)
        y = y[:, None] if self.layer.return_sequences else y
        return (y, *following)

    def compute_mask(self, inputs, mask=None):
        """One step has no padding."""
        return

    def compute_output_shape(self, x_shape, states_shape):
        """See ``call``."""
        batch, units = x_shape[0], self.layer.units
        y = (batch, 1, units) if self.layer.return_sequences else (batch, units)
        return (y, *((batch, units) for _ in states_shape))

    def get_config(self):
        """For ``model.keras``."""
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        """The opposite of ``get_config``."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})
