"""The recurrent stack: SimpleRNN, LSTM or GRU, one or both directions, one to four layers deep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from common.errors import ConfigError
from models.config import RecurrentConfig

CELLS = {
    "simple_rnn": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
}


def recurrent_stack(
    x: keras.KerasTensor,
    config: RecurrentConfig,
    *,
    return_sequences: bool = True,
    states: Mapping[str, keras.KerasTensor] | None = None,
    return_states: bool = False,
    prefix: str = "",
    layers: Mapping[str, keras.layers.Layer] | None = None,
) -> Any:
    """Stacks ``config.layers`` recurrent layers on ``x``.

    From the second layer on, where input and output are equally wide, each layer adds its input to
    its output and normalises the sum (He et al. 2016; Ba et al. 2016), so that depth does not cost
    trainability. Dropout stands between the layers, never inside the recurrence: recurrent dropout
    would rule out cuDNN's kernels.

    Args:
        x: ``<float32>[batch, time, features]``, right-padded, with its Keras mask if it has one.
        config: cell, layers, units, bidirectional and dropout are read.
        return_sequences: False returns the last state (of both directions) only.
        states: states to begin with, ``<float32>[batch, units]`` each, by the names that
            ``return_states`` gives; zeros if None.
        return_states: also return the states after the last valid step.
        prefix: put before the names of the layers, such as "decoder_".
        layers: those of another model by name, which are called again in place of new ones.

    Returns:
        ``<float32>[batch, time, width]``, or ``[batch, width]``; width is ``units``, twice that
        when bidirectional. With ``return_states`` a pair of it and the states by name:
        ``<cell>_<depth>_h``, and ``_c`` of an LSTM, without the prefix; of the backward direction
        ``<cell>_<depth>_backward_h`` and so on. A decoder of the same configuration takes its
        encoder's states as they are; a decoder that reads one way takes those of an encoder that
        reads both ways through layers that the caller adds, such as Dense.

    Raises:
        ConfigError: the names of ``states`` are not those of ``stack_state_names(config)``.
    """
    _check_states(config, states)

    def layer_named(name: str, new: Callable[[str], keras.layers.Layer]) -> keras.layers.Layer:
        return layers[prefix + name] if layers else new(prefix + name)

    found: dict[str, keras.KerasTensor] = {}
    for depth in range(config.layers):
        last = depth == config.layers - 1
        sequences, name = return_sequences or not last, f"{config.cell}_{depth}"
        if depth > 0 and config.dropout:
            x = layer_named(
                f"dropout_{depth}", lambda name: keras.layers.Dropout(config.dropout, name=name)
            )(x)
        layer = layer_named(
            name,
            lambda name: recurrent_layer(config, sequences, name, return_states),  # noqa: B023
        )
        keys = state_names(config, name)
        begins = [states[key] for key in keys] if states else None
        y = layer(x, initial_state=begins) if begins else layer(x)
        if return_states:
            y, *after = y
            found |= dict(zip(keys, after, strict=True))
        if depth > 0 and sequences:
            x = layer_named(f"residual_{depth}", lambda name: keras.layers.Add(name=name))([x, y])
            normalise = layer_named(
                f"normalise_{depth}", lambda name: keras.layers.LayerNormalization(name=name)
            )
            x = normalise(x)
        else:
            x = y
    return (x, found) if return_states else x


def _check_states(config: RecurrentConfig, states: Mapping[str, Any] | None) -> None:
    wanted = stack_state_names(config)
    if states is not None and set(states) != set(wanted):
        raise ConfigError(
            f"this recurrent stack has the states {', '.join(wanted)}; given were "
            f"{', '.join(states) or 'none'}"
        )


def state_names(config: RecurrentConfig, name: str) -> list[str]:
    """Names of the states of one layer of ``recurrent_stack``, in the order of Keras."""
    kinds = ("h", "c") if config.cell == "lstm" else ("h",)
    directions = ("", "_backward") if config.bidirectional else ("",)
    return [f"{name}{direction}_{kind}" for direction in directions for kind in kinds]


def stack_state_names(config: RecurrentConfig) -> list[str]:
    """Names of all states of a ``recurrent_stack``."""
    layers = range(config.layers)
    return [key for depth in layers for key in state_names(config, f"{config.cell}_{depth}")]


def recurrent_layer(
    config: RecurrentConfig, return_sequences: bool, name: str, return_state: bool = False
) -> keras.layers.Layer:
    """One layer of ``config.cell``, wrapped in Bidirectional where asked.

    Keras's own initialisation is kept: Glorot uniform for the input kernel, orthogonal for the
    recurrent one, one for the LSTM's forget bias. ``zero_output_for_mask`` makes CPU and cuDNN
    agree past the end of a row; with a last state only, it would zero that state (keras 17596).
    """
    layer = CELLS[config.cell](
        config.units,
        return_sequences=return_sequences,
        return_state=return_state,
        zero_output_for_mask=return_sequences,
        name=name,
    )
    return keras.layers.Bidirectional(layer, name=name) if config.bidirectional else layer


def rebuilt_without_cudnn(model: keras.Model) -> keras.Model:
    """A float32 copy of a model whose recurrent layers never choose a cuDNN kernel.

    Keras picks cuDNN while it traces, so a graph exported on a GPU machine would hold nodes that no
    CPU and no ONNX runtime can execute. ``use_cudnn`` is not part of a layer's config, hence the
    walk over the copy.
    """

    copy = keras.models.clone_model(model, clone_function=cloned_without_cudnn, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def cloned_without_cudnn(layer: keras.layers.Layer) -> keras.layers.Layer:
    """One layer of ``rebuilt_without_cudnn``; its weights are new."""
    kind = type(layer)
    if kind is keras.layers.TimeDistributed and type(layer.layer) is keras.layers.Dense:
        kind = DenseOnEachStep
    copy = kind.from_config(_in_float32(layer.get_config()))
    inner = [copy.forward_layer, copy.backward_layer] if _is_bidirectional(copy) else [copy]
    for recurrent in inner:
        if hasattr(recurrent, "use_cudnn"):
            recurrent.use_cudnn = False
    return copy


class DenseOnEachStep(keras.layers.TimeDistributed):
    """A Dense on all steps at once, which gives the same as one step after the other.

    Keras's wrapper (3.15) answers with the length of an earlier call, where time is open.
    """

    def call(self, inputs, training=None, mask=None):
        """See ``TimeDistributed``."""
        return self.layer(inputs)


def _in_float32(config: Any) -> Any:
    """A layer's config, wrapped layers included, without mixed precision."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return "float32"
        return {key: _in_float32(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(map(_in_float32, config))
    return config


def _is_bidirectional(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.Bidirectional)
