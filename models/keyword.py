"""Frames of sound to logits of classes."""

from __future__ import annotations

import keras

from models.audio import Frames, heard, levelled, sound_inputs
from models.keyword_config import KeywordConfig
from models.network import Network
from models.pooling import pooled_stack
from models.training import compile_model


def keyword_model(
    config: KeywordConfig, classes: int, frames: Frames, network: Network | None = None
) -> keras.Model:
    """A first layer, the recurrent stack, pooling and logits; compiled.

    Args:
        config: hyperparameters.
        classes: number of labels.
        frames: what it is given.
        network: in place of the recurrent stack.

    Returns:
        A model from ``frames`` and ``inside`` to ``{"label": <float32>[batch, classes]}``.
    """
    inputs = sound_inputs(frames)
    x = heard(inputs, config, frames, levelled(config.floor_db, config.centre, frames))
    x = pooled_stack(x, config, network)  # (B, W)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    logits = keras.layers.Dense(classes, dtype="float32", name="label")(x)
    model = keras.Model(inputs, {"label": logits}, name="keyword")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    compile_model(model, config, {"label": loss}, {"label": [accuracy]})
    return model
