"""Characters to log-probabilities of the next ones."""

from __future__ import annotations

import keras

from models.config import RecurrentConfig
from models.recurrent import recurrent_stack
from models.training import compile_model


def language_model(config: RecurrentConfig, vocabulary: int) -> keras.Model:
    """``tokens <int32>[batch, time]`` to ``log_probabilities [batch, time, vocabulary]``."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(vocabulary, config.embedding_dim, mask_zero=True, name="embedding")(
        tokens
    )
    x = recurrent_stack(x, config)
    x = keras.layers.Dense(vocabulary, name="logits")(x)
    x = keras.layers.Activation("log_softmax", name="log_probabilities")(x)
    model = keras.Model({"tokens": tokens}, {"log_probabilities": x}, name="language_model")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compile_model(model, config, {"log_probabilities": loss}, None)
    return model
