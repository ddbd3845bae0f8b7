"""Layers of ``models.music``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("seqloom")
class FirstStates(keras.layers.Layer):
    """Zeros, as the states to begin with, for a sequence ``[batch, time, n]``.

    An exported graph has inputs in its place.

    Args:
        widths: of each state.
    """

    def __init__(self, widths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.widths = list(widths)

    def call(self, x):
        """A list of ``<float>[batch, width]``."""
        return [ops.zeros((ops.shape(x)[0], n), x.dtype) for n in self.widths]

    def compute_output_spec(self, x):
        """See ``call``."""
        return [keras.KerasTensor((x.shape[0], n), x.dtype) for n in self.widths]

    def get_config(self) -> dict[str, Any]:
        """For ``model.keras``."""
        return {**super().get_config(), "widths": self.widths}


@keras.saving.register_keras_serializable("seqloom")
class RandomTransposition(keras.layers.Layer):
    """In training, moves each piece by some semitones: what it reads and what follows alike.

    Notes that would leave the piano are lost, which music for voices is far from.

    Args:
        semitones: up and down, at most.
    """

    def __init__(self, semitones: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.semitones = semitones
        self.seeds = keras.random.SeedGenerator()

    def call(self, inputs, training: bool = False):
        """A list of ``<float32>[batch, time, notes]``, each moved by the same in a row."""
        if not training or not self.semitones:
            return list(inputs)
        rows, notes = ops.shape(inputs[0])[0], inputs[0].shape[-1]
        by = keras.random.randint((rows, 1), -self.semitones, self.semitones + 1, seed=self.seeds)
        source = ops.arange(notes)[None] - ops.cast(by, "int32")  # (B, N)
        known = ops.cast((source >= 0) & (source < notes), inputs[0].dtype)[:, None]
        source = ops.clip(source, 0, notes - 1)[:, None]
        return [
            ops.take_along_axis(x, ops.broadcast_to(source, ops.shape(x)), 2) * known
            for x in inputs
        ]

    def compute_output_spec(self, inputs, training: bool = False):
        """See ``call``."""
        return [keras.KerasTensor(x.shape, x.dtype) for x in inputs]

    def get_config(self) -> dict[str, Any]:
        """For ``model.keras``."""
        return {**super().get_config(), "semitones": self.semitones}


@keras.saving.register_keras_serializable("seqloom")
class PitchConvolution(keras.layers.Layer):
    """What the notes of a step say about the notes around them, alike in all keys: a convolution
    over pitch, not over time.

    A voice moves by a second wherever it is; with a weight for each pair of notes that is learnt
    once for each note.

    Args:
        filters: of the first of two convolutions.
        reach: semitones that each of them sees to both sides.
    """

    def __init__(self, filters: int, reach: int = 12, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.reach = filters, reach
        width = 2 * reach + 1
        self.first = keras.layers.Conv1D(filters, width, padding="same", activation="relu")
        self.second = keras.layers.Conv1D(1, width, padding="same", use_bias=False)

    def build(self, input_shape) -> None:
        """Builds both convolutions."""
        self.first.build((None, input_shape[-1], 1))
        self.second.build((None, input_shape[-1], self.filters))

    def call(self, rows):
        """``<float>[batch, time, notes]`` to the same shape."""
        flat = ops.reshape(rows, (-1, rows.shape[-1], 1))  # (B * T, N, 1)
        return ops.reshape(self.second(self.first(flat)), ops.shape(rows))

    def compute_output_spec(self, rows):
        """See ``call``."""
        return keras.KerasTensor(rows.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """For ``model.keras``."""
        return {**super().get_config(), "filters": self.filters, "reach": self.reach}


@keras.saving.register_keras_serializable("seqloom")
class BernoulliScore(keras.layers.Layer):
    """Log-probability of binary units that are independent of each other."""

    def call(self, inputs):
        """Log-odds and units, 0 or 1, ``<float>[batch, time, units]``, to ``<float32>[batch,
        time]``."""
        scores, units = (ops.cast(x, "float32") for x in inputs)
        return ops.sum(units * scores - ops.softplus(scores), -1)

    def compute_output_spec(self, inputs):
        """See ``call``."""
        return keras.KerasTensor(inputs[0].shape[:-1], "float32")


@keras.saving.register_keras_serializable("seqloom")
class NadeScore(keras.layers.Layer):
    """Log-probability of binary units each of which depends on those before it.

    A neural autoregressive distribution estimator (Larochelle and Murray 2011) whose biases come
    from a recurrent network (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392); see
    ``decoding.nade``.

    Few units are on at once, and the hidden ones change with those only: they are computed for each
    number of units that are on so far, not before each unit.
    """

    def build(self, input_shape) -> None:
        """Makes both tables, as small as the paper has them."""
        bias, hidden, _ = input_shape
        spread, shape = keras.initializers.RandomNormal(stddev=0.01), (bias[-1], hidden[-1])
        self.reading = self.add_weight(shape, spread, name="reading")
        self.writing = self.add_weight(shape, spread, name="writing")

    def call(self, inputs):
        """The biases of units ``[batch, time, units]`` and hidden ones ``[batch, time, hidden]``,
        and the units, 0 or 1; to ``<float32>[batch, time]``."""
        bias, hidden, units = (ops.cast(x, "float32") for x in inputs)
        rank = ops.cumsum(units, -1)  # (B, T, N): units that are on, up to each
        most = ops.maximum(ops.max(rank), 0.0)  # of no rows it is negative
        counts = ops.expand_dims(ops.arange(0.0, most + 1.0, dtype="float32"), -1)  # (K, 1)
        rank, units_of = ops.expand_dims(rank, 2), ops.expand_dims(units, 2)
        first = units_of * ops.cast(rank <= counts, "float32")  # (B, T, K, N)
        inner = ops.sigmoid(ops.expand_dims(hidden, 2) + ops.matmul(first, self.reading))
        every = ops.matmul(inner, ops.transpose(self.writing))  # (B, T, K, N)
        mine = ops.cast(rank - units_of == counts, "float32")
        scores = bias + ops.sum(every * mine, 2)
        return ops.sum(units * scores - ops.softplus(scores), -1)

    def compute_output_spec(self, inputs):
        """See ``call``."""
        return keras.KerasTensor(inputs[0].shape[:-1], "float32")


@keras.saving.register_keras_serializable("seqloom")
class NatsPerStep(keras.metrics.Metric):
    """Negative log-likelihood a step, in nats, of all steps but the first of each piece.

    That is how the papers count: a step is foretold by those before it, of which the first has
    none. Targets are places in the piece from 1 ``[batch, time]``, 0 behind its end.
    """

    def __init__(self, name: str = "nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.nats = self.add_weight((), "zeros", name="nats")
        self.steps = self.add_weight((), "zeros", name="steps")

    def update_state(self, places, log_probabilities, sample_weight=None) -> None:
        """Adds a batch."""
        counted = ops.cast(places > 1, "float32")
        self.nats.assign_add(-ops.sum(counted * log_probabilities))
        self.steps.assign_add(ops.sum(counted))

    def result(self):
        """Of all batches since the last reset."""
        return self.nats / ops.maximum(self.steps, 1.0)
