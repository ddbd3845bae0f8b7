"""What recurrent layers do while they are trained, for TensorBoard.

After each epoch a fixed small batch of validation goes through the model step by step
(``models.stepwise``), with its gradients. It draws no random numbers and changes no weight, so that
the training gives the same model with it and without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from models.callbacks import averaged_weights
from models.projector import write_projector
from models.stepwise import RecurrentSteps, saturated, stepwise
from models.training import for_model

ROWS = 16  # of the batch that is looked at
DISTANCES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # in time, at which there are scalars


@dataclass(frozen=True)
class Measured:
    """One look at a model.

    Attributes:
        loss: of the batch.
        steps: of each recurrent layer that was called.
        norms: of the gradient of the loss by the weights of each layer.
        distances: by layer and state, such as ``lstm_0/h``: norm of the gradient of the loss by
            the state, the mean over the rows, by how many valid steps the layer still read after
            it: ``<float>[distance]``.
    """

    loss: float
    steps: Sequence[RecurrentSteps]
    norms: Mapping[str, float]
    distances: Mapping[str, np.ndarray]


def measure(model: keras.Model, inputs: Any, targets: Any, weights: Any = None) -> Measured:
    """Runs a batch forwards and backwards through a compiled model, at inference.

    Args:
        model: compiled.
        inputs: as the model takes them.
        targets: as its loss takes them.
        weights: of the examples, or None.
    """
    variables = model.trainable_variables
    with tf.GradientTape() as tape, stepwise(model) as calls:
        outputs = model(inputs, training=False)
        loss = model.compute_loss(
            x=inputs, y=targets, y_pred=outputs, sample_weight=weights, training=False
        )
    states = {f"{one.name}/{key}": (one, steps) for one in calls for key, steps in
              one.states.items()}  # fmt: skip
    sources = [[step for _, steps in states.values() for step in steps],
               [variable.value for variable in variables]]  # fmt: skip
    of_steps, of_weights = tape.gradient(
        loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    distances, first = {}, 0
    for name, (one, steps) in states.items():
        found = of_steps[first : first + len(steps)]
        distances[name] = norms_by_distance(one, found)
        first += len(steps)
    return Measured(float(loss), calls, _norms(variables, of_weights), distances)


def norms_by_distance(one: RecurrentSteps, gradients: Sequence[tf.Tensor]) -> np.ndarray:
    """Mean norm of the gradients ``[batch, units]`` of each step, by its distance from the last
    valid step of its row: ``<float>[distance]``."""
    norms = np.stack([np.linalg.norm(step, axis=-1) for step in gradients], 1)
    places, norms = one.distances[one.valid], norms[one.valid]
    count = np.bincount(places)
    return np.bincount(places, norms) / np.maximum(count, 1)


def _norms(variables: Sequence[Any], gradients: Sequence[Any]) -> dict[str, float]:
    """Norms by layer: all but the last part of a variable's path."""
    squares: dict[str, float] = {}
    for variable, gradient in zip(variables, gradients, strict=True):
        layer = variable.path.rpartition("/")[0] or variable.path
        square = float(tf.reduce_sum(tf.square(tf.convert_to_tensor(gradient))))
        squares[layer] = squares.get(layer, 0.0) + square
    return {layer: float(np.sqrt(square)) for layer, square in squares.items()}


class Insight(keras.callbacks.Callback):
    """Writes ``insight/`` and ``distance/`` into a directory of TensorBoard after each epoch.

    A training that goes on replaces what it wrote of the epochs that it repeats.

    Args:
        directory: of TensorBoard.
        validation: batches, of which the first rows of the first are looked at.
        words: what the rows of embeddings are, by the name of their layer.
        settings: of the run, plain values by name, for the HParams tab.
    """

    def __init__(
        self,
        directory: Path,
        validation: tf.data.Dataset,
        words: Mapping[str, Sequence[str]],
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.directory, self.validation = directory, validation
        self.words, self.settings = words, settings

    def on_train_begin(self, logs=None):
        """Takes the batch, and writes the settings."""
        batch = next(iter(for_model(self.validation, self.model).take(1)))
        self.batch = keras.tree.map_structure(lambda tensor: tensor[:ROWS], batch)
        plain = {name: value for name, value in self.settings.items()
                 if isinstance(value, bool | int | float | str)}  # fmt: skip
        with writing_events(self.directory, ".hparams"):
            hparams.hparams(plain, trial_id=self.directory.parent.name)

    def on_epoch_end(self, epoch, logs=None):
        """Looks at the weights that are validated."""
        with averaged_weights(self.model):
            found = measure(self.model, *self.batch)
            with writing_events(self.directory / "insight", f".insight-{epoch:06d}"):
                write_measured(found, epoch)
            count = epoch + 1
            if count & epoch == 0:  # 1, 2, 4, 8...: as many curves as one can tell apart
                place = self.directory / "distance" / f"epoch-{count:04d}"
                with writing_events(place, ".distance"):
                    write_distances(found)
            write_projector(self.directory / "insight", tables_of(self.model, self.words))


@contextmanager
def writing_events(directory: Path, suffix: str) -> Iterator[None]:
    """Within, summaries go to a file of this suffix, which replaces an earlier one."""
    for path in directory.glob(f"events.*{suffix}"):
        path.unlink()
    with tf.summary.create_file_writer(str(directory), filename_suffix=suffix).as_default():
        yield


def write_measured(found: Measured, epoch: int) -> None:
    """Histograms of states and gates, shares of saturated units, norms of gradients."""
    tf.summary.scalar("loss_of_batch", found.loss, epoch)
    for one in found.steps:
        values = {f"state/{key}": steps for key, steps in one.states.items()}
        values |= {f"gate/{key}": steps for key, steps in one.gates.items()}
        for key, steps in values.items():
            each = one.array(steps)[one.inside]
            tf.summary.histogram(f"{one.name}/{key}", each, epoch)
            name = key.rpartition("/")[2]
            ends = saturated(each, one.activations.get(name, ""))
            for end, there in zip(("low", "high"), ends or (), strict=False):
                share = float(np.mean(there)) if there.size else 0.0
                tf.summary.scalar(f"saturated/{one.name}/{name}_{end}", share, epoch)
    for layer, norm in found.norms.items():
        tf.summary.scalar(f"gradient_norm/{layer}", norm, epoch)
    for name, norms in found.distances.items():
        for distance in DISTANCES:
            if distance < len(norms):
                tag = f"gradient_by_distance/{name}/{distance:03d}"
                tf.summary.scalar(tag, float(norms[distance]), epoch)


def write_distances(found: Measured) -> None:
    """Curves of the norm of the gradient, whose horizontal axis ("step") is the distance."""
    for name, norms in found.distances.items():
        for distance, norm in enumerate(norms):
            tf.summary.scalar(f"gradient_against_distance/{name}", float(norm), distance)


def tables_of(
    model: keras.Model, words: Mapping[str, Sequence[str]]
) -> dict[str, tuple[np.ndarray, Sequence[str]]]:
    """Embeddings of a model with the words of their rows, by the name of the layer."""
    found = {}
    for layer in model._flatten_layers():
        if layer.name in words and hasattr(layer, "embeddings"):
            found[layer.name] = (keras.ops.convert_to_numpy(layer.embeddings), words[layer.name])
    return found
