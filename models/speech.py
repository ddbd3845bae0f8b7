"""Frames of sound to log-probabilities of symbols, for CTC (Graves et al. 2006)."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from decoding.ctc import BLANK
from models.audio import Frames, heard, heard_again, sound_inputs
from models.recurrent import recurrent_stack, stack_state_names
from models.speech_config import SpeechConfig
from models.training import compile_model

OUTPUT = "log_probabilities"
# Within float16, and no probability in float32.
NEVER = -1e4


@keras.saving.register_keras_serializable("seqloom")
class CertainBlank(keras.layers.Layer):
    """Makes the steps behind the end of a row blanks with certainty.

    They then spell nothing and cost nothing, so that the likelihood of a padded row is that of its
    own length, and no length has to reach the loss.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.supports_masking = True

    def build(self, scores_shape, inside_shape) -> None:
        """Takes the number of symbols."""
        self.symbols = scores_shape[-1]

    def call(self, scores, inside):
        """``<float32>[batch, steps, symbols]``, ``<int32>[batch, steps]`` to the first."""
        certain = ops.where(ops.arange(self.symbols) == BLANK, 0.0, NEVER)
        return ops.where(ops.expand_dims(inside != 0, -1), scores, certain)

    def compute_output_shape(self, scores_shape, inside_shape):
        """That of the scores."""
        return scores_shape


def speech_model(config: SpeechConfig, symbols: int, frames: Frames) -> keras.Model:
    """A first layer, the recurrent stack and log-probabilities; compiled.

    Args:
        config: hyperparameters.
        symbols: their number, without the blank.
        frames: what it is given.

    Returns:
        A model from ``frames`` and ``inside`` to ``{"log_probabilities": <float32>[batch, steps,
        1 + symbols]}``.
    """
    inputs = sound_inputs(frames)
    x = heard(inputs, config, frames)
    x, _ = recurrent_stack(x, config, return_states=True)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    x = keras.layers.Dense(1 + symbols, name="symbols")(x)
    x = keras.layers.Activation("log_softmax", dtype="float32", name="log_softmax")(x)
    x = CertainBlank(name=OUTPUT)(x, inputs["inside"])
    model = keras.Model(inputs, {OUTPUT: x}, name="speech")
    compile_model(model, config, {OUTPUT: ctc_loss}, None)
    return model


def ctc_loss(symbols, log_probabilities):
    """Negative log-likelihood of the texts, on average over the rows.

    Args:
        symbols: ``<int32>[batch, longest]``, padded with ``BLANK``.
        log_probabilities: ``<float32>[batch, steps, 1 + symbols]``, of blanks with certainty behind
            the end of a row.
    """
    steps = tf.shape(log_probabilities)[1]
    there = tf.where(symbols != BLANK)
    labels = tf.SparseTensor(
        there, tf.cast(tf.gather_nd(symbols, there), tf.int32), tf.shape(symbols, tf.int64)
    )
    # Sparse labels are what TensorFlow's compiled kernel takes.
    losses = tf.nn.ctc_loss(
        labels, log_probabilities, label_length=None,
        logit_length=tf.fill([tf.shape(symbols)[0]], steps), logits_time_major=False,
        blank_index=BLANK,
    )  # fmt: skip
    return tf.reduce_mean(losses)


def streaming_core(model: keras.Model, config: SpeechConfig) -> keras.Model:
    """A model of ``speech_model`` that reads forwards, with its states as inputs and outputs.

    Args:
        model: with the weights.
        config: its hyperparameters.
    """
    layers = {layer.name: layer for layer in model.layers}
    frames, inside = model.input["frames"], model.input["inside"]
    inputs = {
        "frames": keras.Input(frames.shape[1:], name="frames"),
        "inside": keras.Input(inside.shape[1:], dtype="int32", name="inside"),
    }
    states = {name: keras.Input((config.units,), name=name) for name in stack_state_names(config)}
    x = heard_again(inputs, layers)
    x, after = recurrent_stack(x, config, states=states, return_states=True, layers=layers)
    x = layers[OUTPUT](layers["log_softmax"](layers["symbols"](x)), inputs["inside"])
    following = {f"{name}_next": state for name, state in after.items()}
    return keras.Model({**inputs, **states}, {OUTPUT: x, **following}, name="speech")
