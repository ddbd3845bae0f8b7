"""Keras's own recurrent layers with quicker loops, for training on a CPU.

    accelerate(model)

The layers stay ``keras.layers.LSTM``, ``GRU`` and ``SimpleRNN`` with their weights and settings, so
that a saved model loads wherever Keras is; what changes is how this process computes them
(`models.fast_loops`). Outputs, states and gradients equal Keras's to float rounding. Where Keras
would choose cuDNN's kernels, and for options that the loops do not have, Keras's own code runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from models.fast_loops import run_loop
from models.fast_steps import (
    ACTIVATIONS,
    GatedSteps,
    LongShortSteps,
    ResetBeforeSteps,
    SimpleSteps,
)

KINDS = (
    (keras.layers.LSTM, keras.layers.LSTMCell),
    (keras.layers.GRU, keras.layers.GRUCell),
    (keras.layers.SimpleRNN, keras.layers.SimpleRNNCell),
)


def accelerate(model: keras.Model) -> keras.Model:
    """Gives every recurrent layer of a model the quicker loop, where it has one.

    Layers inside of wrappers and of other models are found. It lasts as long as the objects do:
    configs, saved files and copies made from them know nothing of it.

    Args:
        model: any Keras model, built or not.

    Returns:
        The same model.
    """
    for layer in model._flatten_layers():
        if is_known(layer):
            # Past Keras's own setter, which would take it for a change of the layer.
            object.__setattr__(layer, "inner_loop", partial(_inner_loop, layer))
    return model


def is_known(layer: Any) -> bool:
    """Whether a layer computes what the loops here do, so that its own may be replaced.

    A subclass that changes the layer's call alone is known, one that changes its loop or cell not.
    """
    return any(
        isinstance(layer, kind)
        and type(layer).inner_loop is kind.inner_loop
        and type(layer.cell) is cell
        for kind, cell in KINDS
    ) and not (layer.unroll or layer.stateful or layer.recurrent_dropout)


def steps_of(layer: Any) -> Any:
    """The steps of a known layer, or None where its activations are not among them."""
    cell = layer.cell
    if isinstance(layer, keras.layers.SimpleRNN):
        name = next(
            (one for one in ACTIVATIONS if cell.activation is getattr(keras.activations, one)), None
        )
        return SimpleSteps(cell.units, name) if name else None
    usual = (keras.activations.tanh, keras.activations.sigmoid)
    if (cell.activation, cell.recurrent_activation) != usual:
        return None
    if isinstance(layer, keras.layers.LSTM):
        return LongShortSteps(cell.units)
    return (GatedSteps if cell.reset_after else ResetBeforeSteps)(cell.units)


def _inner_loop(
    layer: Any, sequences: tf.Tensor, initial_state: Sequence, mask: Any, training: bool = False
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """In place of Keras's ``inner_loop``: last output, outputs and states, batch-major."""
    steps = None if _left_to_keras(layer, sequences, training) else steps_of(layer)
    if steps is None:
        return type(layer).inner_loop(layer, sequences, initial_state, mask, training=training)
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    if training and layer.dropout:
        sequences *= layer.cell.get_dropout_mask(sequences[:, 0])[:, None]
    x = tf.transpose(sequences, [1, 0, 2])
    if mask is not None:
        mask = tf.transpose(tf.cast(tf.reshape(mask, tf.shape(sequences)[:2]), tf.bool))
    if layer.go_backwards:
        x, mask = tf.reverse(x, [0]), mask if mask is None else tf.reverse(mask, [0])
    weights = steps.prepared(*_weights(layer.cell, steps))
    states = [tf.convert_to_tensor(one) for one in initial_state]
    ys, states = run_loop(steps, x, mask, weights, states, _refusal(layer))
    last = states[0]
    if mask is not None:
        # Keras has no output before the first valid step, whatever the state.
        shown = mask if layer.zero_output_for_mask else tf.cumsum(tf.cast(mask, tf.int32)) > 0
        if layer.return_sequences:
            ys = tf.where(shown[:, :, None], ys, 0.0)
        last = tf.where(_last(shown)[:, None], last, 0.0)
    outputs = tf.transpose(ys, [1, 0, 2]) if layer.return_sequences else last[:, None]
    rows, time = sequences.shape[:2]
    outputs = tf.ensure_shape(outputs, [rows, time if layer.return_sequences else 1, steps.units])
    last, *states = (tf.ensure_shape(one, [rows, steps.units]) for one in (last, *states))
    return last, outputs, states


def _last(shown: tf.Tensor) -> tf.Tensor:
    """Of the last step; False where there is none."""
    return tf.reduce_any(shown[-1:], 0)


def _left_to_keras(layer: Any, sequences: tf.Tensor, training: bool) -> bool:
    """What is seen only when the layer is called.

    Inference is Keras's, so that whatever is exported holds no code compiled for this machine.
    Outside of a graph Python would step through the loop; a GPU has kernels of its own.
    """
    return (
        not training
        or tf.executing_eagerly()
        or sequences.dtype != tf.float32
        or layer.dtype_policy.name != "float32"
        # A mask for each gate; SimpleRNN has one, and no such option.
        or (layer.dropout and getattr(layer.cell, "implementation", 2) == 1)
        or bool(tf.config.list_logical_devices("GPU"))
    )


def _weights(cell: Any, steps: Any) -> list[tf.Tensor]:
    kernel, recurrent = (tf.convert_to_tensor(one) for one in (cell.kernel, cell.recurrent_kernel))
    if cell.use_bias:
        return [kernel, recurrent, tf.convert_to_tensor(cell.bias)]
    width = kernel.shape[1]
    return [kernel, recurrent, tf.zeros([2, width] if isinstance(steps, GatedSteps) else [width])]


def _refusal(layer: Any) -> str:
    return (
        f"the layer {layer.name!r} has no second derivative in the quick loop that it is trained "
        "with; train it with fast_loops=False, or with a model that models.accelerate was not "
        "called on"
    )
