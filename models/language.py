"""A recurrent language model: each unit of a text to scores of the one that follows.

Sources: Mikolov et al. 2010; Zaremba et al. 2014 (arXiv:1409.2329); Gal and Ghahramani 2016
(arXiv:1512.05287) and Merity et al. 2018 (arXiv:1708.02182) for dropout, Press and Wolf 2017
(arXiv:1608.05859) for tied embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import ops

from models.language_config import LanguageConfig
from models.language_layers import Carry, UnitTable
from models.recurrent import recurrent_layer
from models.training import compile_model
from models.weight_dropout import DROPPED

PAD = 0
States = Mapping[str, keras.KerasTensor]


def language_model(config: LanguageConfig, size: int) -> keras.Model:
    """A compiled model of windows whose states are carried.

    Args:
        config: hyperparameters.
        size: number of units.

    Returns:
        A model from ``tokens`` and the ``following <int32>[batch, time]`` ones and ``begins
        <bool>[batch]``, whether a row has nothing before it, to ``{"log_probabilities":
        <float32>[batch, time]}`` of what follows.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    following = keras.Input((None,), dtype="int32", name="following")
    begins = keras.Input((), dtype="bool", name="begins")
    layers = _layers(config, size)
    widths = {name: layer.units for layer in _recurrent(layers) for name in _states_of(layer)}
    carry = Carry(list(widths.values()), name="carry")
    x, after = _read(layers, tokens, dict(zip(widths, carry(begins), strict=True)))
    chosen = _output(layers)([x, following], mode="choose")
    chosen = carry([chosen, *after.values()], keep=True)
    inputs = {"tokens": tokens, "following": following, "begins": begins}
    model = keras.Model(inputs, {"log_probabilities": chosen}, name="language")
    compile_model(model, config, {"log_probabilities": window_loss}, None)
    return model


def language_cores(model: keras.Model) -> dict[str, keras.Model]:
    """What is exported, with the weights of a model of ``language_model``.

    Returns:
        "model": ``tokens`` and ``following <int32>[batch, time]`` and states to the
        ``log_probabilities <float32>[batch, time]`` of what follows; "next": ``tokens`` and states
        to those of all units ``[batch, time, units]``. Both give the states after.
    """
    layers = {
        layer.name: layer.plain() if isinstance(layer, tuple(DROPPED.values())) else layer
        for layer in model.layers
    }
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    following = keras.Input((None,), dtype="int32", name="following")
    states = {
        name: keras.Input((layer.units,), name=name)
        for layer in _recurrent(layers) for name in _states_of(layer)
    }  # fmt: skip
    x, after = _read(layers, tokens, states)
    after = {f"{name}_next": state for name, state in after.items()}
    chosen = _output(layers)([x, following], mode="choose")
    logits = _output(layers)(x, mode="score")
    every = keras.layers.Activation("log_softmax", name="log_probabilities", dtype="float32")
    whole = {"tokens": tokens, "following": following, **states}
    following_unit = {"log_probabilities": every(logits)}
    return {
        "model": keras.Model(whole, {"log_probabilities": chosen, **after}, name="language"),
        "next": keras.Model({"tokens": tokens, **states}, following_unit, name="next"),
    }


def reading_model(model: keras.Model) -> keras.Model:
    """A model of ``language_model``, with what its scores are made of as a further output: ``hidden
    <float32>[batch, time, width]``. It shares the weights, and the states that are carried."""
    carried = _made_of(model.output["log_probabilities"])  # by ``Carry``, and the states after
    hidden, _ = _made_of(carried[0])
    return keras.Model(model.input, {**model.output, "hidden": hidden}, name="reading")


def _made_of(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """What the layer that gave a tensor was called on; layers are called in other models too."""
    layer, call, _ = tensor._keras_history
    return layer._inbound_nodes[call].input_tensors


def _layers(config: LanguageConfig, size: int) -> dict[str, keras.layers.Layer]:
    """All layers by name, not yet called."""

    def locked(rate: float, name: str) -> keras.layers.Layer:
        # One mask for all steps of a row, as Gal and Ghahramani have it.
        return keras.layers.SpatialDropout1D(rate, name=name)

    output = {"sampled": config.sampled_units, "smoothing": config.label_smoothing}
    found = [
        UnitTable(
            size,
            config.embedding_dim,
            config.unit_dropout,
            **output if config.tied else {},
            name="embedding",
        ),
        locked(config.input_dropout, "input_dropout"),
    ]
    for depth in range(config.layers):
        found.append(_recurrent_layer(config, f"recurrent_{depth}"))
        found.append(locked(config.dropout, f"dropout_{depth}"))
    if config.tied and config.units != config.embedding_dim:
        found.append(keras.layers.Dense(config.embedding_dim, name="projection"))
    if not config.tied:
        found.append(UnitTable(size, config.units, **output, name="output"))
    return {layer.name: layer for layer in found}


def _recurrent_layer(config: LanguageConfig, name: str) -> keras.layers.Layer:
    if not config.weight_dropout:
        return recurrent_layer(config, True, name, True)
    return DROPPED[config.cell](
        config.units, config.weight_dropout, return_sequences=True, return_state=True, name=name
    )


def _recurrent(layers: Mapping[str, keras.layers.Layer]) -> list[keras.layers.Layer]:
    return [layer for name, layer in layers.items() if name.startswith("recurrent_")]


def _states_of(layer: keras.layers.Layer) -> list[str]:
    kinds = ("h", "c") if isinstance(layer, keras.layers.LSTM) else ("h",)
    return [f"{layer.name}_{kind}" for kind in kinds]


def _output(layers: Mapping[str, keras.layers.Layer]) -> UnitTable:
    return layers.get("output", layers["embedding"])


def _read(
    layers: Mapping[str, keras.layers.Layer], tokens: keras.KerasTensor, states: States
) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
    """What the output is made of ``[batch, time, width]``, and the states after the last step."""
    x = layers["input_dropout"](layers["embedding"](tokens))  # (B, T, E)
    after: dict[str, keras.KerasTensor] = {}
    for depth, layer in enumerate(_recurrent(layers)):
        names = _states_of(layer)
        x, *found = layer(x, initial_state=[states[name] for name in names])
        after |= dict(zip(names, found, strict=True))
        x = layers[f"dropout_{depth}"](x)  # (B, T, H)
    return (layers["projection"](x) if "projection" in layers else x), after


def window_loss(following, log_probabilities):
    """Negative log-likelihood of each unit that follows, in nats, on average; ``PAD`` counts for
    nothing. Both are ``[batch, time]``."""
    known = ops.cast(following != PAD, "float32")
    return -ops.sum(log_probabilities * known) / ops.maximum(ops.sum(known), 1.0)
