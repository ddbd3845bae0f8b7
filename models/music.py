"""A recurrent model of polyphonic music: each step of a piano roll to the notes of the next.

Sources: Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392), the data, the measure and RNN-NADE;
Chung et al. 2014 (arXiv:1412.3555), LSTM and GRU beside a plain recurrent network.
"""

from __future__ import annotations

import keras
from keras import ops

from models.music_config import MusicConfig
from models.music_layers import (
    BernoulliScore,
    FirstStates,
    NadeScore,
    NatsPerStep,
    PitchConvolution,
    RandomTransposition,
)
from models.recurrent import CELLS, recurrent_stack, stack_state_names
from models.training import compile_model

NOTES = 88
RARE = -3.0  # log-odds of a note before anything is learnt


def music_model(config: MusicConfig) -> keras.Model:
    """A compiled model.

    Args:
        config: hyperparameters.

    Returns:
        A model from ``rows`` and the ``following <float32>[batch, time, 88]`` ones, 1 where a note
        sounds, to ``{"log_probabilities": <float32>[batch, time]}`` of what follows.
    """
    inputs = {name: keras.Input((None, NOTES), name=name) for name in ("rows", "following")}
    moved = RandomTransposition(config.transpose, name="moved")
    rows, following = moved([inputs["rows"], inputs["following"]])
    names = stack_state_names(config)
    states = FirstStates([config.units] * len(names), name="first_states")(rows)
    x = keras.layers.Dropout(config.input_dropout, name="input_dropout")(rows)
    if config.embedding_dim:
        x = keras.layers.Dense(config.embedding_dim, "tanh", name="embedding")(x)
    x, _ = recurrent_stack(
        x, config, states=dict(zip(names, states, strict=True)), return_states=True
    )
    x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    if config.skip:
        x = keras.layers.Concatenate(name="skip")([x, rows])
    # Few notes sound at once, which need not be learnt.
    rare = keras.initializers.Constant(RARE)
    notes = keras.layers.Dense(NOTES, bias_initializer=rare, name="note_scores")(x)
    if config.pitch_filters:
        moves = PitchConvolution(config.pitch_filters, name="moves")(rows)
        notes = keras.layers.Add(name="note_bias")([notes, moves])
    parts = [notes]
    if config.output == "nade":
        parts.append(keras.layers.Dense(config.nade_units, name="hidden_bias")(x))
    score = NadeScore if config.output == "nade" else BernoulliScore
    output = {"log_probabilities": score(name="log_probabilities")([*parts, following])}
    model = keras.Model(inputs, output, name="music")
    compile_model(
        model,
        config,
        {"log_probabilities": step_loss},
        {"log_probabilities": [NatsPerStep()]},
    )
    return model


def music_cores(model: keras.Model) -> dict[str, keras.Model]:
    """What is exported, cut out of a model of ``music_model``, whose weights it shares.

    Returns:
        "model": ``rows`` and ``following <float32>[batch, time, 88]`` and states to the
        ``log_probabilities <float32>[batch, time]`` and the states after; "next": ``rows`` and
        states to ``note_bias [batch, time, 88]`` and, of a model with the output nade,
        ``hidden_bias [batch, time, hidden]``.
    """
    rows, following = model.get_layer("moved").output
    recurrent = [layer for layer in model.layers if isinstance(layer, tuple(CELLS.values()))]
    after = {
        f"{layer.name}_{kind}": state
        for layer in recurrent
        for kind, state in zip("hc", layer.output[1:], strict=False)
    }
    begin = keras.tree.flatten(model.get_layer("first_states").output)
    states = dict(zip(after, begin, strict=True))
    score = model.get_layer("log_probabilities")
    biases = score.input[:-1]
    outputs = dict(zip(("note_bias", "hidden_bias"), biases, strict=False))
    following_states = {f"{name}_next": state for name, state in after.items()}
    scored = {"log_probabilities": model.output["log_probabilities"], **following_states}
    return {
        "model": _cut({"rows": rows, "following": following, **states}, scored, "music"),
        "next": _cut({"rows": rows, **states}, outputs, "next"),
    }


def _cut(
    begin: dict[str, keras.KerasTensor], end: dict[str, keras.KerasTensor], name: str
) -> keras.Model:
    """The part of a model from some of its tensors to others, as a model of named inputs."""
    part = keras.Model([*begin.values()], [*end.values()])
    inputs = {
        key: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=key)
        for key, tensor in begin.items()
    }
    # Its layers are called once more, on inputs that have names; ``call`` would cast them too.
    outputs = part._run_through_graph([*inputs.values()], operation_fn=lambda layer: layer)
    return keras.Model(inputs, dict(zip(end, outputs, strict=True)), name=name)


def step_loss(places, log_probabilities):
    """Negative log-likelihood of each step, in nats, on average; both are ``[batch, time]``, and
    where ``places`` is 0 there is no step."""
    known = ops.cast(places > 0, "float32")
    return -ops.sum(log_probabilities * known) / ops.maximum(ops.sum(known), 1.0)
