"""How far a recurrent layer remembers: gradients across time, silent units, and small trainings.

    weights = CellWeights.of(layer)
    reach = gradient_reach(weights, x)          # how much of h[T - d] a gradient at h[T] still sees
    network = memory_network("lstm", validation, keras.optimizers.Adam(0.01, global_clipnorm=1))
    learn(network, lambda: adding_problem(32, 200, draw), validation, solved=0.01, seconds=60)

The gradient of a loss at step T by the state at step T - d is the gradient at T times the product
of the d Jacobians between them (Bengio et al. 1994; Pascanu et al. 2013): whether these products
shrink or grow decides what can be learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from common.errors import ConfigError
from models.cells import CellWeights, states, step_derivative

Batch = tuple[np.ndarray, np.ndarray]
# Names of layers as the literature has them, and what they are in Keras.
LAYERS: dict[str, dict] = {
    "tanh": {"class": keras.layers.SimpleRNN},
    "relu": {
        "class": keras.layers.SimpleRNN,
        "activation": "relu",
        # Le et al. (2015): small inputs, and a state that stays as it is where there are none. As
        # a config, since an initializer draws its seed where it is made.
        "recurrent_initializer": "identity",
        "kernel_initializer": {"class_name": "RandomNormal", "config": {"stddev": 0.03}},
    },
    "lstm": {"class": keras.layers.LSTM},
    "gru": {"class": keras.layers.GRU},
}


def memory_layer(cell: str, units: int, **changes) -> keras.layers.Layer:
    """A recurrent layer by its name: tanh, relu (as Le et al. 2015 begin it), lstm or gru.

    Args:
        cell: one of ``LAYERS``.
        units: width of h.
        changes: arguments of the Keras layer.

    Raises:
        ConfigError: there is no such cell.
    """
    if cell not in LAYERS:
        raise ConfigError(f"there is no cell {cell!r}; there are: {', '.join(LAYERS)}")
    settings = LAYERS[cell] | changes
    return settings.pop("class")(units, **settings)


def new_weights(cell: str, units: int, features: int, **changes) -> CellWeights:
    """Weights that a layer begins with, by Keras's random seed.

    Args:
        cell: one of ``LAYERS``.
        units: width of h.
        features: width of the input.
        changes: arguments of the Keras layer.
    """
    layer = memory_layer(cell, units, **changes)
    layer.build((None, None, features))
    return CellWeights.of(layer)


def normal_recurrence(radius: float, units: int) -> dict:
    """An initializer: independent normal weights whose spectral radius comes near ``radius`` as
    units grow (the circular law, Girko 1984)."""
    return {"class_name": "RandomNormal", "config": {"stddev": radius / units**0.5}}


@dataclass(frozen=True)
class Reach:
    """Norms of the derivative of the last state by the state ``d`` steps before it.

    All are ``<float64>[furthest + 1]``, index ``d``, medians over the sequences of the batch.

    Attributes:
        hidden: the largest singular value of dh[T] / dh[T - d].
        state: the largest singular value for the whole state: h and c of an LSTM, else as before.
        typical: what a gradient of random direction keeps of its length: the root mean square of
            the singular values for the whole state.
    """

    hidden: np.ndarray
    state: np.ndarray
    typical: np.ndarray


def gradient_reach(weights: CellWeights, x: np.ndarray, back: int | None = None) -> Reach:
    """Measures how gradients shrink or grow on their way back from the last step.

    Computed in float64 as the product of the Jacobians of the single steps, so that 1e-300 is not
    taken for zero.

    Args:
        weights: of the layer.
        x: ``<float>[batch, time, features]``.
        back: how many steps back at most; None: to the first.
    """
    x = np.asarray(x, np.float64)
    every = states(weights, x)
    units, length = weights.units, x.shape[1]
    furthest = length if back is None else min(back, length)
    product = np.broadcast_to(np.eye(weights.width), (len(x), weights.width, weights.width))
    norms = []
    for distance in range(furthest + 1):
        if distance:
            now = length - distance
            product = product @ step_derivative(weights, x[:, now], every[now])
        whole = np.linalg.norm(product, 2, axis=(1, 2))
        alone = units < weights.width
        hidden = np.linalg.norm(product[:, :units, :units], 2, axis=(1, 2)) if alone else whole
        typical = np.linalg.norm(product, axis=(1, 2)) / np.sqrt(weights.width)
        norms.append(np.median([hidden, whole, typical], axis=1))
    return Reach(*np.array(norms).T)


def dead_units(weights: CellWeights, x: np.ndarray) -> float:
    """Share of units that are zero at every step of every sequence: no gradient can wake them.

    Args:
        weights: of a SimpleRNN with ReLU.
        x: ``<float>[batch, time, features]``.
    """
    h = states(weights, x)[1:, :, : weights.units]
    return float(np.mean(~(h != 0).any(axis=(0, 1))))


def saturated_share(weights: CellWeights, x: np.ndarray, limit: float = 0.95) -> float:
    """Share of values of h beyond ``limit`` in size, over all units, steps and sequences; tanh has
    a slope of less than 0.1 there.

    Args:
        weights: of the layer.
        x: ``<float>[batch, time, features]``.
        limit: from 0 to 1.
    """
    h = states(weights, x)[1:, :, : weights.units]
    return float(np.mean(np.abs(h) > limit))


def memory_network(
    cell: str, example: Batch, optimizer: keras.optimizers.Optimizer, units: int = 64, **changes
) -> keras.Model:
    """A recurrent layer, called "recurrent", and a linear one, compiled for batches of one form.

    Args:
        cell: one of ``LAYERS``.
        example: inputs ``<float32>[any, steps, features]`` and targets. Targets ``<float32>[any,
            numbers]`` are answered after the last step, by mean squared error; classes
            ``<int32>[any, answers]``, all of which must occur, at the last ``answers`` steps, by
            log loss in nats.
        optimizer: of the training, with its clipping.
        units: of the recurrent layer.
        changes: further arguments of the recurrent layer.
    """
    inputs, targets = example
    answers = targets.shape[1] if np.issubdtype(targets.dtype, np.integer) else 0
    outputs = int(targets.max()) + 1 if answers else targets.shape[1]
    x = keras.Input(inputs.shape[1:])
    layer = memory_layer(cell, units, return_sequences=bool(answers), name="recurrent", **changes)
    h = layer(x)
    network = keras.Model(x, keras.layers.Dense(outputs)(h[:, -answers:] if answers else h))
    log_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # XLA compiles the loop over the steps into code that takes about two thirds of the time.
    network.compile(optimizer, log_loss if answers else "mean_squared_error", jit_compile=True)
    return network


def gradient_norm(network: keras.Model, batch: Batch) -> float:
    """Norm of the gradient of the loss by all weights together, before any clipping.

    Args:
        network: compiled.
        batch: inputs and targets.
    """
    import tensorflow as tf

    inputs, targets = batch
    with tf.GradientTape() as tape:
        loss = network.compute_loss(inputs, targets, network(inputs, training=True))
    gradients = tape.gradient(loss, [weight.value for weight in network.trainable_variables])
    return float(tf.linalg.global_norm(gradients))


@dataclass(frozen=True)
class Learned:
    """What a short training came to.

    Attributes:
        losses: ``(update, loss on validation)``, one for each look.
        seconds: of processor time that the training took, without compiling.
    """

    losses: list[tuple[int, float]]
    seconds: float

    @property
    def best(self) -> float:
        """The lowest loss on validation."""
        return min(loss for _, loss in self.losses)


def learn(
    network: keras.Model,
    batch: Callable[[], Batch],
    validation: Batch,
    solved: float,
    seconds: float,
    updates: int = 1_000_000,
    every: int = 50,
) -> Learned:
    """Trains on new batches until validation's loss is below ``solved``, or time or updates end.

    A loss that is not a number ends it too: the training has diverged.

    Args:
        network: compiled.
        batch: makes the next batch.
        validation: inputs and targets.
        solved: the loss that is enough.
        seconds: of processor time at most.
        updates: at most.
        every: updates from look to look.
    """
    first = batch()
    losses = [(0, float(network.evaluate(*validation, verbose=0)))]
    network.train_on_batch(*first)
    began, done = time.process_time(), 1
    while done < updates and time.process_time() - began < seconds:
        network.train_on_batch(*batch())
        done += 1
        if done % every == 0 or done == updates:
            losses.append((done, float(network.evaluate(*validation, verbose=0))))
            if not np.isfinite(losses[-1][1]) or losses[-1][1] < solved:
                break
    return Learned(losses, time.process_time() - began)
