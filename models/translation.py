"""An encoder that reads a text both ways, and a decoder with attention that writes another.

Bahdanau, Cho, Bengio 2015 (arXiv:1409.0473) and Luong, Pham, Manning 2015 (arXiv:1508.04025): at
each step the decoder looks at all that the encoder has read, weighted by a score of its own state
and each position. Training writes the whole target at once, each token given the true ones before
it (teacher forcing); answers are written step by step, by the models that ``translation_cores``
gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from common.errors import ConfigError
from models.embedding import begin_with
from models.language_layers import UnitTable
from models.masking import MaskedBy
from models.one_step import OneStep
from models.recurrent import CELLS, recurrent_stack, stack_state_names
from models.training import compile_model
from models.translation_config import TranslationConfig
from models.translation_layers import AttentionDecoder, SmoothedCrossEntropy, Unmasked

FEED = "feed"  # the state that holds the attentional vector of the step before


def translation_model(
    config: TranslationConfig,
    source_tokens: int,
    target_tokens: int,
    shared: bool,
    vectors: tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    """The model that is trained, compiled.

    Args:
        config: see there.
        source_tokens: size of the source's vocabulary.
        target_tokens: size of the target's vocabulary.
        shared: whether the two are one.
        vectors: of the source's tokens, see ``models.embedding.word_embedding``.

    Returns:
        ``source <int32>[batch, source]`` and ``tokens <int32>[batch, target]``, which begin with
        START, to ``logits <float32>[batch, target, target_tokens]`` of the token behind each.

    Raises:
        ConfigError: one table is asked for, but the vocabularies are two.
    """
    if config.share_embeddings and not shared:
        raise ConfigError(
            "share_embeddings needs one vocabulary of both sides: --shared-vocabulary, or "
            "--no-share-embeddings"
        )
    source = keras.Input((None,), dtype="int32", name="source")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    table = UnitTable(target_tokens, config.embedding_dim, name="target_table")
    source_table = table if config.share_embeddings else UnitTable(
        source_tokens, config.embedding_dim, name="source_table")  # fmt: skip
    if vectors is not None:
        begin_with(source_table, vectors)
    encoded = encode(config, source_table, source)
    x = keras.layers.Dropout(config.dropout, name="target_dropout")(table(tokens))
    decoder = AttentionDecoder(
        config.cell, config.layers, config.units, config.embedding_dim, config.attention,
        config.input_feeding, config.dropout, name="decoder",
    )  # fmt: skip
    states = [encoded[name] for name in decoder_states(config)]
    x = decoder(x, encoded["memory"], encoded["keys"], source, states)
    x = keras.layers.Dropout(config.dropout, name="output_dropout")(x)
    output = table if config.tie_output else UnitTable(
        target_tokens, config.embedding_dim, name="output_table")  # fmt: skip
    logits = output(x, mode="score")
    # In float32 whatever the policy: small probabilities count.
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(logits)
    model = keras.Model(
        {"source": source, "tokens": tokens}, {"logits": logits}, name="translation"
    )
    loss = {"logits": SmoothedCrossEntropy(config.label_smoothing)}
    compile_model(model, config, loss, None)
    return model


def decoder_states(config: TranslationConfig) -> list[str]:
    """Names of the decoder's states, in the order of its cells."""
    kinds = ("h", "c") if config.cell == "lstm" else ("h",)
    return [f"decoder_{depth}_{kind}" for depth in range(config.layers) for kind in kinds]


def encode(
    config: TranslationConfig, table: UnitTable, source: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """What the decoder needs of the source.

    Returns:
        ``memory <float32>[batch, source, width]``, what attention takes in; ``keys <float32>[batch,
        source, units]``, what its scores are made with; and the decoder's first states, each from
        the encoder's last ones of the same layer.
    """
    x = MaskedBy(name="source_embedded")([table(source), source])
    x = keras.layers.Dropout(config.dropout, name="source_dropout")(x)
    memory, states = recurrent_stack(x, config, return_states=True, prefix="encoder_")
    if config.attention == "dot" and memory.shape[-1] != config.units:
        # A plain product needs vectors of the decoder's size.
        memory = keras.layers.Dense(config.units, use_bias=False, name="memory")(memory)
    keys = memory
    if config.attention != "dot":
        bias = config.attention == "additive"
        keys = keras.layers.Dense(config.units, use_bias=bias, name="keys")(memory)
    found = {"memory": Unmasked(name="read")(memory), "keys": Unmasked(name="compared")(keys)}
    for name in decoder_states(config):
        _, depth, kind = name.split("_")
        mine = [
            states[key] for key in stack_state_names(config)
            if key.startswith(f"{config.cell}_{depth}_") and key.endswith(f"_{kind}")
        ]  # fmt: skip
        both = keras.layers.Concatenate(name=f"{name}_read")(mine) if len(mine) > 1 else mine[0]
        found[name] = keras.layers.Dense(config.units, "tanh", name=name)(both)
    return found


def translation_cores(model: keras.Model) -> dict[str, keras.Model]:
    """The encoder, and one step of the decoder, with the weights of a trained model.

    Returns:
        ``encoder``: ``source`` to what ``encode`` gives. ``step``: ``tokens <int32>[batch]``, the
        last token of each row, with ``source``, ``memory``, ``keys`` and the states, to
        ``log_probabilities <float32>[batch, target_tokens]``, ``attention <float32>[batch,
        source]`` and ``<state>_next``. With input feeding ``feed`` is a state, zeros at first.
    """
    decoder = model.get_layer("decoder")
    source = model.input["source"]
    node = decoder._inbound_nodes[0].arguments
    _, memory, keys, _, states = node.args
    names = _state_names(decoder)
    encoded = {"memory": memory, "keys": keys, **dict(zip(names, states, strict=True))}
    encoder = keras.Model({"source": source}, encoded, name="encoder")
    return {"encoder": encoder, "step": step_model(model, encoded)}


def _state_names(decoder: AttentionDecoder) -> list[str]:
    return decoder_states(TranslationConfig(cell=decoder.cell, layers=decoder.layers))


def step_model(model: keras.Model, encoded: Mapping[str, keras.KerasTensor]) -> keras.Model:
    """One step of the decoder: see ``translation_cores``."""
    decoder = model.get_layer("decoder")
    tables = {layer.name: layer for layer in model.layers if isinstance(layer, UnitTable)}
    table = tables["target_table"]
    names = _state_names(decoder)
    inputs = {
        "tokens": keras.Input((), dtype="int32", name="tokens"),
        "source": keras.Input((None,), dtype="int32", name="source"),
        "memory": keras.Input((None, encoded["memory"].shape[-1]), name="memory"),
        "keys": keras.Input((None, decoder.units), name="keys"),
        **{name: keras.Input((decoder.units,), name=name) for name in names},
    }
    x = table(inputs["tokens"])
    if decoder.input_feeding:
        inputs[FEED] = keras.Input((decoder.width,), name=FEED)
        x = keras.layers.Concatenate(name="fed")([x, inputs[FEED]])
    y, following = _cells(decoder, x, [inputs[name] for name in names])
    context, weights = _attention(decoder)(
        [_query(decoder, y), inputs["memory"], inputs["keys"]],
        mask=[None, ops.not_equal(inputs["source"], 0)],
        return_attention_scores=True,
    )
    x = keras.layers.Concatenate(name="looked")([y, context])
    x = _copy(decoder.combine, x)[:, 0]
    logits = tables.get("output_table", table)(x, mode="score")
    outputs = {
        "log_probabilities": keras.layers.Activation("log_softmax", name="scores")(logits),
        "attention": weights[:, 0],
        **{f"{name}_next": state for name, state in zip(names, following, strict=True)},
        **({f"{FEED}_next": x} if decoder.input_feeding else {}),
    }
    return keras.Model(inputs, outputs, name="step")


def _cells(decoder: AttentionDecoder, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """``[batch, 1, units]`` of the last layer, and the next states of all."""
    each = 2 if decoder.cell == "lstm" else 1
    x, y, following = ops.expand_dims(x, 1), None, []
    for depth, cell in enumerate(decoder.cells):
        layer = CELLS[decoder.cell](decoder.units, return_sequences=True, name=cell.name)
        one = OneStep(layer)
        found, *after = one(x if y is None else y, states[each * depth : each * (depth + 1)])
        layer.cell.set_weights(cell.get_weights())
        y = found if y is None else keras.layers.Add(name=f"residual_{depth}")([found, y])
        following += after
    return y, following


def _attention(decoder: AttentionDecoder) -> keras.layers.Layer:
    if decoder.query is None:
        return keras.layers.Attention(name="attention")
    layer = keras.layers.AdditiveAttention(name="attention")
    layer.build([(None, None, decoder.units)] * 3)
    layer.set_weights([decoder.scale])
    return layer


def _query(decoder: AttentionDecoder, y: Any) -> Any:
    return y if decoder.query is None else _copy(decoder.query, y)


def _copy(layer: keras.layers.Layer, x: Any) -> Any:
    """The output of a layer like this, with a copy of its weights."""
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    found = copy(x)
    copy.set_weights(layer.get_weights())
    return found
