"""What recurrent networks are compared with: temporal convolutions and a small Transformer.

Both take and give ``<float32>[batch, time, width]``, for whole sequences or, with ``states``, for
one step of a stream: convolutions keep the inputs that they still have to look at, attention keeps
the keys and values of all steps so far. Step after step they give what the whole sequence gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from common.config import Config, choice, number, switch
from common.errors import ConfigError
from models.masking import keep_mask

States = dict[str, keras.KerasTensor]
POSITION = "position"  # the state that counts the steps so far


@dataclass(frozen=True)
class PeerConfig(Config):
    """Hyperparameters of a network that is not recurrent."""

    architecture: str = choice("transformer", ("tcn", "transformer"), "kind of network")
    width: int = number(64, 2, 4096, "numbers for each step, in every block")
    blocks: int = number(2, 1, 16, "blocks, each with two convolutions or an attention")
    kernel_size: int = number(3, 2, 64, "steps that a convolution looks at")
    heads: int = number(4, 1, 64, "heads of the attention; they divide the width")
    causal: bool = switch(True, "look at earlier steps only")
    dropout: float = number(0.0, 0.0, 0.95, "of what each block adds")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture == "transformer" and self.width % (2 * self.heads):
            raise ConfigError(
                f"width {self.width} is no multiple of {2 * self.heads}, twice the number of heads"
            )


def receptive_field(blocks: int, kernel_size: int = 3) -> int:
    """Steps that the output of a stack of causal convolutions depends on.

    Block ``i`` has two convolutions with dilation ``2 ** i`` (Bai, Kolter and Koltun 2018).

    >>> [receptive_field(blocks) for blocks in (1, 2, 9)]
    [5, 13, 2045]
    """
    return 1 + 2 * (kernel_size - 1) * (2**blocks - 1)


def blocks_for(length: int, kernel_size: int = 3) -> int:
    """The fewest blocks of convolutions that see ``length`` steps.

    >>> [blocks_for(length) for length in (5, 6, 2048)]
    [1, 2, 10]
    """
    return next(n for n in range(1, 64) if receptive_field(n, kernel_size) >= length)


def peer_stack(
    x: keras.KerasTensor,
    config: PeerConfig,
    states: Mapping[str, keras.KerasTensor] | None = None,
) -> Any:
    """The network, in place of ``models.recurrent.recurrent_stack``.

    A linear map to ``width`` and its normalisation come first; each block then adds to what it was
    given, of which it sees the normalised form (Xiong et al. 2020).

    Args:
        x: ``<float32>[batch, time, features]`` with its Keras mask if it has one; with ``states``
            one step, ``[batch, 1, features]``.
        config: the whole of it.
        states: those of ``initial_states``, or what the step before gave.

    Returns:
        ``<float32>[batch, time, width]`` with the mask of ``x``; with ``states`` a pair of it,
        ``[batch, 1, width]``, and the states after the step.

    Raises:
        ConfigError: states are given to a network that is not causal.
    """
    if states is not None and not config.causal:
        raise ConfigError("a network that looks ahead has no steps; set causal to true")
    given, following = x, {}
    x = layers.Dense(config.width, name="project")(x)
    x = layers.LayerNormalization(name="project_norm")(x)
    if config.architecture == "transformer":
        start = states[POSITION] if states is not None else None
        x = AddPositions(config.width, name="positions")(x if start is None else [x, start])
        if start is not None:
            following[POSITION] = start + 1
    block = _convolutions if config.architecture == "tcn" else _attention_block
    for i in range(config.blocks):
        x = block(keep_mask(x, given), config, i, states, following)
    x = keep_mask(layers.LayerNormalization(name="final_norm")(x), given)
    return x if states is None else (x, following)


def initial_states(config: PeerConfig, batch: int = 1) -> dict[str, np.ndarray]:
    """States before the first step.

    Convolutions begin with the zeros that whole sequences are padded with, attention with no keys.
    """
    if config.architecture == "tcn":
        return {
            name: np.zeros((batch, (config.kernel_size - 1) * 2**i, config.width), np.float32)
            for i in range(config.blocks)
            for name in (f"conv_{i}_0_past", f"conv_{i}_1_past")
        }
    shape = (batch, 0, config.heads, config.width // config.heads)
    kept = [f"attention_{i}_{what}" for i in range(config.blocks) for what in ("keys", "values")]
    return {
        POSITION: np.zeros(batch, np.int32),
        **{name: np.zeros(shape, np.float32) for name in kept},
    }


def peer_step(model: keras.Model, config: PeerConfig) -> keras.Model:
    """The network of one step, with the weights of a model of whole sequences.

    Args:
        model: from an input ``x <float32>[batch, time, features]`` through ``peer_stack`` and
            ``Dense`` layers behind one another to its one output ``[batch, time, n]``.
        config: of its stack.

    Returns:
        A model from ``{"x": [batch, features], **states}`` to ``{"y": [batch, n], **next}``, where
        ``next`` has the names of the states with "_next" behind them.
    """
    x = keras.Input((model.input_shape[-1],), name="x")
    inputs = {}
    for name, array in initial_states(config).items():
        shape = tuple(size or None for size in array.shape[1:])
        inputs[name] = keras.Input(shape, dtype=array.dtype.name, name=name)
    y, following = peer_stack(ops.expand_dims(x, 1), config, states=inputs)
    place = next(i for i, layer in enumerate(model.layers) if layer.name == "final_norm")
    for layer in model.layers[place + 1 :]:
        y = type(layer).from_config(layer.get_config())(y)
    outputs = {"y": ops.squeeze(y, 1)} | {f"{name}_next": t for name, t in following.items()}
    step = keras.Model({"x": x, **inputs}, outputs, name=f"{model.name}_step")
    for layer in step.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return step


def _convolutions(x, config: PeerConfig, i: int, states, following: States):
    """Two dilated convolutions; normalised by layer where Bai et al. normalise weights."""
    y = layers.LayerNormalization(name=f"block_{i}_norm")(x)
    for j in range(2):
        name = f"conv_{i}_{j}"
        if (mask := getattr(x, "_keras_mask", None)) is not None:
            y = y * ops.expand_dims(ops.cast(mask, y.dtype), -1)  # else padding is looked at
        padding = "causal" if config.causal else "same"
        if states is not None:
            past = f"{name}_past"
            y = layers.Concatenate(axis=1, name=f"{name}_inputs")([states[past], y])
            following[past] = y[:, 1:]
            padding = "valid"
        y = layers.Conv1D(
            config.width, config.kernel_size, dilation_rate=2**i, padding=padding,
            activation="relu", kernel_initializer="he_normal", name=name,
        )(y)  # fmt: skip
        y = layers.Dropout(config.dropout, name=f"{name}_dropout")(y)
    return layers.Add(name=f"block_{i}")([x, y])


def _attention_block(x, config: PeerConfig, i: int, states, following: States):
    """Attention and a layer of its own for each step (Vaswani et al. 2017)."""
    name, width = f"attention_{i}", config.width
    y = layers.LayerNormalization(name=f"{name}_norm")(x)
    attention = layers.MultiHeadAttention(config.heads, width // config.heads, name=name)
    if states is None:
        y = attention(y, y, use_causal_mask=config.causal)
    else:
        keys, values = f"{name}_keys", f"{name}_values"
        y, following[keys], following[values] = CachedAttention(attention)(
            y, states[keys], states[values]
        )
    y = layers.Dropout(config.dropout, name=f"{name}_dropout")(y)
    x = layers.Add(name=f"{name}_add")([x, y])
    y = layers.LayerNormalization(name=f"inner_{i}_norm")(x)
    y = layers.Dense(4 * width, activation="relu", name=f"inner_{i}")(y)
    y = layers.Dense(width, name=f"outer_{i}")(y)
    y = layers.Dropout(config.dropout, name=f"outer_{i}_dropout")(y)
    return layers.Add(name=f"block_{i}")([x, y])


def wave_numbers(width: int) -> np.ndarray:
    """Angle of one step for each pair of sine and cosine: ``<float32>[width / 2]``."""
    return (10_000.0 ** (-np.arange(width // 2) * 2 / width)).astype(np.float32)


@keras.saving.register_keras_serializable("seqloom")
class AddPositions(layers.Layer):
    """Adds sines and cosines of the place of each step (Vaswani et al. 2017, section 3.5).

    Takes ``<float32>[batch, time, width]``, or a list of it and the place of its first step,
    ``<int32>[batch]``; gives the former's shape.

    Args:
        width: of the steps, even.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.waves = width, wave_numbers(width)
        self.supports_masking = True

    def call(self, inputs):
        """Sines first, then cosines."""
        x, start = inputs if isinstance(inputs, list) else (inputs, None)
        places = ops.cast(ops.arange(ops.shape(x)[1]), "float32")[None]  # (1, T)
        if start is not None:
            places = places + ops.cast(start, "float32")[:, None]  # (B, T)
        angles = places[..., None] * self.waves
        return x + ops.cast(ops.concatenate([ops.sin(angles), ops.cos(angles)], -1), x.dtype)

    def compute_mask(self, inputs, mask=None):
        """That of the steps."""
        return mask[0] if isinstance(inputs, list) and mask is not None else mask

    def compute_output_shape(self, input_shape):
        """That of the steps."""
        return input_shape[0] if isinstance(input_shape, list) else input_shape

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("seqloom")
class CachedAttention(layers.Layer):
    """Self-attention of one step over itself and all before it, whose keys and values are given.

    Args:
        layer: a ``MultiHeadAttention`` whose weights it owns and whose name it takes.
    """

    def __init__(self, layer: layers.MultiHeadAttention, **kwargs: Any) -> None:
        super().__init__(**{"name": layer.name, "dtype": "float32", **kwargs})
        self.layer = layer

    def build(self, x_shape, keys_shape, values_shape) -> None:
        """Makes the inner layer's weights."""
        if not self.layer.built:
            self.layer.build(x_shape, x_shape)

    def call(self, x, keys, values):
        """One step.

        Args:
            x: ``<float32>[batch, 1, width]``.
            keys: ``<float32>[batch, steps before, heads, width / heads]``.
            values: the same.

        Returns:
            ``(y, keys, values)``, the latter with this step's at the end.
        """
        inner = self.layer
        keys = ops.concatenate([keys, inner._key_dense(x)], 1)
        values = ops.concatenate([values, inner._value_dense(x)], 1)
        query = inner._query_dense(x) * inner._inverse_sqrt_key_dim  # (B, 1, N, H)
        scores = ops.einsum("bqnh,btnh->bnqt", query, keys)
        # Not ops.softmax, which warns of the first step, whose sum has one term.
        weights = ops.exp(scores - ops.logsumexp(scores, -1, keepdims=True))
        seen = ops.einsum("bnqt,btnh->bqnh", weights, values)
        return inner._output_dense(seen), keys, values

    def compute_output_shape(self, x_shape, keys_shape, values_shape):
        """One step more is kept; how many, a graph does not know."""
        grown = (keys_shape[0], None, *keys_shape[2:])
        return x_shape, grown, grown

    def get_config(self):
        """For ``model.keras``."""
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        """The opposite of ``get_config``."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})
