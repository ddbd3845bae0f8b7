"""Recurrent layers some of whose recurrent weights are left out of each batch (Wan et al. 2013;
Merity et al. 2018, arXiv:1708.02182).

The same weights are left out at all steps, so that any kernel runs as it would with a matrix of its
own, cuDNN's too. Exports take ``plain``: layers of Keras's own classes with the same weights.
"""

from __future__ import annotations

from typing import Any

import keras


class _WeightDropout:
    """What is added to Keras's recurrent layers; ``rate``: share of the weights left out."""

    def __init__(self, units: int, rate: float = 0.0, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.rate = rate
        self.seeds = keras.random.SeedGenerator()

    def call(self, sequences, initial_state=None, mask=None, training=False):
        """See Keras."""
        kept = self.cell.recurrent_kernel
        if training and self.rate:
            dropped = keras.random.dropout(kept, self.rate, seed=self.seeds)
            # Past Keras's own setter, which would take the tensor for a change of the layer.
            object.__setattr__(self.cell, "recurrent_kernel", dropped)
        try:
            return super().call(
                sequences, initial_state=initial_state, mask=mask, training=training
            )
        finally:
            object.__setattr__(self.cell, "recurrent_kernel", kept)

    def get_config(self) -> dict[str, Any]:
        """For ``model.keras``."""
        return {**super().get_config(), "rate": self.rate}

    def plain(self) -> keras.layers.Layer:
        """Keras's own layer with the same weights."""
        config = super().get_config()
        layer = next(one for one in PLAIN if isinstance(self, one)).from_config(config)
        layer.build((None, None, self.cell.kernel.shape[0]))
        layer.set_weights(self.cell.get_weights())
        return layer


@keras.saving.register_keras_serializable("seqloom")
class WeightDroppedLSTM(_WeightDropout, keras.layers.LSTM):
    """``keras.layers.LSTM``; see ``_WeightDropout``."""


@keras.saving.register_keras_serializable("seqloom")
class WeightDroppedGRU(_WeightDropout, keras.layers.GRU):
    """``keras.layers.GRU``; see ``_WeightDropout``."""


@keras.saving.register_keras_serializable("seqloom")
class WeightDroppedSimpleRNN(_WeightDropout, keras.layers.SimpleRNN):
    """``keras.layers.SimpleRNN``; see ``_WeightDropout``."""


PLAIN = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
DROPPED = {
    "lstm": WeightDroppedLSTM,
    "gru": WeightDroppedGRU,
    "simple_rnn": WeightDroppedSimpleRNN,
}
