"""An encoder, and a decoder that attends to its memory."""

from __future__ import annotations

import keras

from models.config import RecurrentConfig
from models.recurrent import recurrent_stack, stack_state_names
from models.training import compile_model


def reversal_model(config: RecurrentConfig, vocabulary: int) -> keras.Model:
    """``source`` and ``tokens <int32>[batch, time]`` to ``log_probabilities``."""
    encoder, decoder = encoder_model(config, vocabulary), decoder_model(config, vocabulary)
    source = keras.Input((None,), dtype="int32", name="source")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    encoded = encoder({"source": source})
    written = decoder({"source": source, "tokens": tokens, **encoded})
    inputs = {"source": source, "tokens": tokens}
    model = keras.Model(inputs, written, name="reversal")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compile_model(model, config, {"log_probabilities": loss}, None)
    return model


def encoder_model(config: RecurrentConfig, vocabulary: int) -> keras.Model:
    """``source`` to ``memory <float32>[batch, source, units]`` and the states after it."""
    source = keras.Input((None,), dtype="int32", name="source")
    x = keras.layers.Embedding(vocabulary, config.embedding_dim, mask_zero=True)(source)
    memory, states = recurrent_stack(x, config, return_states=True)
    return keras.Model({"source": source}, {"memory": memory, **states}, name="encoder")


def decoder_model(config: RecurrentConfig, vocabulary: int) -> keras.Model:
    """``tokens``, ``source``, ``memory`` and states to ``log_probabilities``."""
    source = keras.Input((None,), dtype="int32", name="source")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    memory = keras.Input((None, config.units), name="memory")
    states = {n: keras.Input((config.units,), name=n) for n in stack_state_names(config)}
    x = keras.layers.Embedding(vocabulary, config.embedding_dim, mask_zero=True)(tokens)
    x = recurrent_stack(x, config, states=states, prefix="decoder_")
    found = keras.layers.Attention(name="attention")([x, memory], mask=[None, source != 0])
    x = keras.layers.Concatenate(name="read")([x, found])
    x = keras.layers.Dense(config.units, "tanh", name="hidden")(x)
    x = keras.layers.Dense(vocabulary, name="logits")(x)
    x = keras.layers.Activation("log_softmax", name="log_probabilities")(x)
    inputs = {"source": source, "tokens": tokens, "memory": memory, **states}
    return keras.Model(inputs, {"log_probabilities": x}, name="decoder")
