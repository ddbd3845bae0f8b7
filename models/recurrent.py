"""The recurrent stack: SimpleRNN, LSTM or GRU, one or both directions, one to four layers deep."""

from __future__ import annotations

from typing import Any

import keras

from models.config import RecurrentConfig

CELLS = {
    "simple_rnn": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
}


def recurrent_stack(
    x: keras.KerasTensor, config: RecurrentConfig, *, return_sequences: bool = True
) -> keras.KerasTensor:
    """Stacks ``config.layers`` recurrent layers on ``x``.

    From the second layer on, where input and output are equally wide, each layer adds its input to
    its output and normalises the sum (He et al. 2016; Ba et al. 2016), so that depth does not cost
    trainability. Dropout stands between the layers, never inside the recurrence: recurrent dropout
    would rule out cuDNN's kernels.

    Args:
        x: ``<float32>[batch, time, features]``, right-padded, with its Keras mask if it has one.
        config: cell, layers, units, bidirectional and dropout are read.
        return_sequences: False returns the last state (of both directions) only.

    Returns:
        ``<float32>[batch, time, width]``, or ``[batch, width]``; width is ``units``, twice that
        when bidirectional.
    """
    for depth in range(config.layers):
        last = depth == config.layers - 1
        sequences = return_sequences or not last
        if depth > 0 and config.dropout:
            x = keras.layers.Dropout(config.dropout, name=f"dropout_{depth}")(x)
        y = recurrent_layer(config, sequences, name=f"{config.cell}_{depth}")(x)
        if depth > 0 and sequences:
            x = keras.layers.Add(name=f"residual_{depth}")([x, y])
            x = keras.layers.LayerNormalization(name=f"normalise_{depth}")(x)
        else:
            x = y
    return x


def recurrent_layer(
    config: RecurrentConfig, return_sequences: bool, name: str
) -> keras.layers.Layer:
    """One layer of ``config.cell``, wrapped in Bidirectional where asked.

    Keras's own initialisation is kept: Glorot uniform for the input kernel, orthogonal for the
    recurrent one, one for the LSTM's forget bias. ``zero_output_for_mask`` makes CPU and cuDNN
    agree past the end of a row; with a last state only, it would zero that state (keras 17596).
    """
    layer = CELLS[config.cell](
        config.units,
        return_sequences=return_sequences,
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
    copy = type(layer).from_config(_in_float32(layer.get_config()))
    inner = [copy.forward_layer, copy.backward_layer] if _is_bidirectional(copy) else [copy]
    for recurrent in inner:
        if hasattr(recurrent, "use_cudnn"):
            recurrent.use_cudnn = False
    return copy


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
