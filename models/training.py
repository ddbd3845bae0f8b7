"""The training loop: callbacks around ``model.fit`` that survive a kill at any moment.

One directory holds the state of a training: ``backup/`` (the last finished epoch),
``best.weights.h5`` and ``history.csv``. Whatever the moment of death, the next start takes up the
last epoch whose backup is whole and ends with the model that an undisturbed training would give.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import tensorflow as tf
from keras import ops

from common.errors import SeqloomError
from models.acceleration import accelerate
from models.callbacks import (
    AfterEpoch,
    AveragedValidation,
    Backup,
    BestWeights,
    EpochSeeds,
    HistoryFile,
    LinearDecay,
    NamedMetrics,
    Replay,
    backup_epoch,
    newest_backup,
    read_history,
)
from models.config import RecurrentConfig
from models.replicas import keep_batches_whole

EARLY = 10  # the average of the weights after n steps goes over n / 10 of them, at most


class TrainingError(SeqloomError, RuntimeError):
    """Training that cannot give a usable model; the message says why and what to try."""


@dataclass(frozen=True)
class History:
    """What a training did: one row an epoch, and the epoch whose weights were kept."""

    rows: list[dict[str, float]]
    best_epoch: int
    seconds: float

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch."""
        return self.rows[self.best_epoch]


class Epochs(Protocol):
    """Training batches, as ``pipelines.batching.ShuffledEpochs`` has them."""

    steps: int

    def starting_with(self, epoch: int) -> tf.data.Dataset:
        """Batches of this epoch and all after it, ``steps`` an epoch."""


@keras.saving.register_keras_serializable("seqloom")
class RatedAdam(keras.optimizers.Adam):
    """Adam whose step size is multiplied by ``rate``, a number or an array for its elements, where
    a variable's value has such an attribute: TensorFlow's variable, which is what Keras hands
    on. Several replicas of a model move as one would that saw the whole batch."""

    def update_step(self, gradient, variable, learning_rate):
        """See Keras."""
        rate = getattr(_whole(variable), "rate", 1.0)
        super().update_step(gradient, variable, learning_rate * rate)

    def _use_weight_decay(self, variable) -> bool:
        # What was learnt elsewhere is not drawn towards zero: at rate 0 it has to stay as it is.
        return not hasattr(_whole(variable), "rate") and super()._use_weight_decay(variable)

    def _clip_gradients(self, gradients):
        # Keras clips what each replica found and adds up afterwards: that bounds something else.
        context = tf.distribute.get_replica_context()
        if context and context.num_replicas_in_sync > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        return super()._clip_gradients(gradients)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars  # they are sums since they were clipped

    def _update_model_variables_moving_average(self, trainable_variables):
        # Over fewer steps at first than its momentum says, as TensorFlow's own moving average has
        # it: weights that are nearly random would weigh in it for epochs.
        momentum, steps = self.ema_momentum, ops.cast(self.iterations, "float32")
        self.ema_momentum = ops.minimum(momentum, steps / (steps + EARLY))
        try:
            super()._update_model_variables_moving_average(trainable_variables)
        finally:
            self.ema_momentum = momentum


def _whole(variable: tf.Variable) -> tf.Variable:
    """The variable that this one is a replica of; itself if it is none."""
    container = getattr(variable.handle, "_distributed_container", None)
    return container() if container else variable


def compile_model(
    model: keras.Model, config: RecurrentConfig, loss, metrics, loss_weights=None
) -> None:
    """Adam with a clipped global norm; no XLA, which compiles again for every length of batch.

    ``weight_decay`` is that of AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), apart from the
    gradient. Biases, gains of normalisation and what was taken from an encoder are left out.
    """
    options = {"use_ema": True, "ema_momentum": config.average} if config.average else {}
    if config.weight_decay:
        options["weight_decay"] = config.weight_decay
    optimizer = RatedAdam(config.learning_rate, global_clipnorm=config.clipnorm, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    if config.fast_loops:
        accelerate(model)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        loss_weights=loss_weights,
        metrics=metrics,
        jit_compile=False,
    )


def fit(
    model: keras.Model,
    train: Epochs,
    validation: tf.data.Dataset,
    config: RecurrentConfig,
    directory: Path,
    *,
    monitor: str,
    mode: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    names: Mapping[str, str] | None = None,
    after_epoch: Callable | None = None,
    tensorboard: bool = True,
    until: int | None = None,
) -> History:
    """Trains a compiled model and leaves it with the weights of its best validation epoch.

    Started again on the same directory, it goes on after the last finished epoch.

    Args:
        model: compiled and built.
        train: batches of each epoch, which depend on the epoch's number alone.
        validation: batches on which every choice is made.
        config: epochs, patience and learning_rate are read.
        directory: where the state lies; made if need be.
        monitor: validation metric to choose by, such as "val_accuracy".
        mode: "max" or "min" of that metric.
        callbacks: further ones, such as a progress display.
        names: see ``NamedMetrics``.
        after_epoch: see ``AfterEpoch``; None where there is nothing to set.
        tensorboard: also write ``tensorboard/``.
        until: stop after that many epochs of the ``config.epochs`` that the learning rate is made
            for; a later call may go on to more of them.

    Raises:
        TrainingError: the loss became NaN before any epoch gave a usable model.
    """
    directory.mkdir(parents=True, exist_ok=True)
    backup, best_path = directory / "backup", directory / "best.weights.h5"
    newest = newest_backup(backup)
    done = backup_epoch(newest) if newest else 0
    rows = read_history(directory / "history.csv")[:done]
    best = BestWeights(
        best_path, monitor=monitor, mode=mode, save_best_only=True, save_weights_only=True
    )
    if rows:
        best.best = rows[best_row(rows, monitor, mode)][monitor]
    boards = [keras.callbacks.TensorBoard(directory / "tensorboard")] if tensorboard else []
    until = min(until or config.epochs, config.epochs)
    if not _finished(rows, until, config.patience, monitor, mode):
        batches = for_model(train.starting_with(done), model)
        with model.distribute_strategy.scope():
            make_variables(model, batches)
        keep_batches_whole(model)
        model.fit(
            batches,
            steps_per_epoch=train.steps,
            validation_data=for_model(validation, model),
            epochs=until,
            verbose=0,
            shuffle=False,  # the data set shuffles itself
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                NamedMetrics(names or {}),
                AveragedValidation(),
                *([AfterEpoch(after_epoch, validation)] if after_epoch else []),
                *_schedule(config, monitor, mode, rows),
                *boards,
                *callbacks,
                best,
                HistoryFile(directory / "history.csv", rows),
                # Last: once the backup is there, all that belongs to its epoch is too.
                Backup(backup, delete_checkpoint=False),
            ],
        )
    if not best_path.is_file():
        raise TrainingError(
            f"the loss became NaN in epoch {len(rows) + 1}; "
            f"try a smaller learning rate than {config.learning_rate:g} or a smaller clipnorm"
        )
    model.load_weights(best_path)
    return History(rows, best_row(rows, monitor, mode), sum(row["seconds"] for row in rows))


def _schedule(
    config: RecurrentConfig, monitor: str, mode: str, rows: Sequence[dict[str, float]]
) -> list[keras.callbacks.Callback]:
    """What ends the training and sets the step size, told of the epochs before this call."""
    stop = keras.callbacks.EarlyStopping(monitor, mode=mode, patience=config.patience)
    plateau = keras.callbacks.ReduceLROnPlateau(
        monitor, mode=mode, factor=0.5, patience=max(1, config.patience // 2), min_lr=1e-6
    )
    decay = LinearDecay(config.decay, config.epochs)
    return [stop, plateau, Replay(list(rows), [stop, plateau]), EpochSeeds(), decay]


def make_variables(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Makes the variables of optimizer, loss and metrics, which Keras leaves to the first step.

    TensorFlow traces a function that makes variables once more without: of a recurrent model with
    its gradients that takes seconds.

    Args:
        model: compiled and built.
        batches: ``(inputs, targets)``, or with weights.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    targets = keras.tree.map_structure(
        lambda spec: keras.KerasTensor(spec.shape, spec.dtype.name), batches.element_spec[1]
    )
    for part in (model._compile_loss, model._compile_metrics):
        if part is not None and not part.built:
            part.build(targets, model.output)


def for_model(batches: tf.data.Dataset, model: keras.Model) -> tf.data.Dataset:
    """Batches with the targets (and weights) of those outputs alone that a model has.

    Keras refuses targets of further names; encoded examples may have them, for another model.
    """
    if not isinstance(model.output, Mapping):
        return batches
    outputs = set(model.output)

    def matching(inputs, *named):
        return inputs, *({n: x for n, x in part.items() if n in outputs} for part in named)

    if all(set(part) <= outputs for part in batches.element_spec[1:]):
        return batches
    return batches.map(tf.autograph.experimental.do_not_convert(matching))


def discard_state(directory: Path) -> None:
    """Removes what only a resume needs, once the finished model is saved."""
    shutil.rmtree(directory / "backup", ignore_errors=True)
    (directory / "best.weights.h5").unlink(missing_ok=True)


def trainable_parameters(model: keras.Model) -> int:
    """Numbers that training adjusts; the constant tables of the linear path are not among them."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def best_row(rows: Sequence[dict[str, float]], monitor: str, mode: str) -> int:
    """Index of the best epoch, the first of equals.

    >>> best_row([{"v": 1.0}, {"v": 3.0}, {"v": 3.0}], "v", "max")
    1
    """
    choose: Callable = max if mode == "max" else min
    values = [row[monitor] for row in rows]
    return values.index(choose(values))


def _finished(
    rows: Sequence[dict[str, float]], until: int, patience: int, monitor: str, mode: str
) -> bool:
    """Whether the training had ended when the process died."""
    if not rows:
        return False
    waited = len(rows) - 1 - best_row(rows, monitor, mode)
    return len(rows) >= until or waited >= patience
