"""Word ids to the probabilities of tags."""

from __future__ import annotations

import keras

from models.config import RecurrentConfig
from models.recurrent import recurrent_stack
from models.training import compile_model


def labeller(config: RecurrentConfig, words: int, tags: int) -> keras.Model:
    """``ids <int32>[batch, time]`` to ``probabilities <float32>[batch, time, tags]``; id 0 pads."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(words, config.embedding_dim, mask_zero=True, name="embedding")(ids)
    x = keras.layers.Dropout(config.dropout, name="embedding_dropout")(x)
    x = recurrent_stack(x, config)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    x = keras.layers.Dense(tags, "softmax", dtype="float32", name="probabilities")(x)
    model = keras.Model({"ids": ids}, {"probabilities": x}, name="labeller")
    loss = keras.losses.SparseCategoricalCrossentropy()
    compile_model(model, config, {"probabilities": loss}, None)
    return model
