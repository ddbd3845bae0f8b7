"""The training loop: callbacks around ``model.fit`` that survive a kill at any moment.

One directory holds the state of a training: ``backup/`` (the last finished epoch),
``best.weights.h5`` and ``history.csv``. Whatever the moment of death, the next start takes up the
last epoch whose backup is whole and ends with the model that an undisturbed training would give.
"""

from __future__ import annotations

import csv
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import tensorflow as tf
from keras import ops

from common.errors import SeqloomError
from models.config import RecurrentConfig


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


class Backup(keras.callbacks.BackupAndRestore):
    """BackupAndRestore whose files are whole or absent.

    Keras writes the weights and then, in a second file, the epoch that they belong to: a kill in
    between pairs new weights with an old epoch, a kill within leaves a torn file. Here the epoch is
    the file's name, and the file appears by a rename.
    """

    def _load_model(self) -> None:
        newest = newest_backup(Path(self.backup_dir))
        if newest is None:
            return
        self.model.optimizer.build(self.model.trainable_variables)
        self.model.load_weights(newest)
        self.model._initial_epoch = backup_epoch(newest)

    def _save_model(self) -> None:
        directory = Path(self.backup_dir)
        directory.mkdir(parents=True, exist_ok=True)
        # Keras looks at the suffix, hence a prefix for what is being written.
        aside = directory / "writing.weights.h5"
        self.model.save_weights(aside, overwrite=True)
        older = list(directory.glob("epoch-*.weights.h5"))
        os.replace(aside, directory / f"epoch-{self._current_epoch:06d}.weights.h5")
        for path in older:
            path.unlink(missing_ok=True)


def newest_backup(directory: Path) -> Path | None:
    """The last whole backup in ``directory``."""
    return max(directory.glob("epoch-*.weights.h5"), default=None)


def backup_epoch(path: Path) -> int:
    """Number of epochs finished when a backup was written."""
    return int(re.findall(r"epoch-(\d+)", path.name)[0])


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Within, the model has the running average of its weights, where its optimizer keeps one.

    Averages along the path of the weights generalise better than its last point (Polyak & Juditsky
    1992). The optimizer saves the average with its state, so a backup holds both.
    """
    averages = model.optimizer._model_variables_moving_average if model.optimizer.use_ema else []
    pairs = list(zip(model.trainable_variables, averages, strict=False))

    def swap() -> None:
        for weight, average in pairs:
            value = ops.copy(weight.value)
            weight.assign(average)
            average.assign(value)

    swap()
    try:
        yield
    finally:
        swap()


class AveragedValidation(keras.callbacks.Callback):
    """Validates the averaged weights, which are the ones that are kept."""

    def on_test_begin(self, logs=None):
        """Puts the average in."""
        self.swapped = averaged_weights(self.model)
        self.swapped.__enter__()

    def on_test_end(self, logs=None):
        """And takes it out again, for the next epoch."""
        self.swapped.__exit__(None, None, None)


class BestWeights(keras.callbacks.ModelCheckpoint):
    """ModelCheckpoint by rename, so that the best weights so far are always loadable.

    Weights that went through a NaN are never the best, whatever the metric says of them.
    """

    def _should_save_model(self, epoch, batch, logs, filepath):
        finite = all(math.isfinite(value) for value in (logs or {}).values())
        return finite and super()._should_save_model(epoch, batch, logs, filepath)

    def _save_model(self, epoch, batch, logs):
        final, aside = self.filepath, f"{self.filepath[: -len('.weights.h5')]}-new.weights.h5"
        self.filepath = aside
        try:
            with averaged_weights(self.model):
                super()._save_model(epoch, batch, logs)
        finally:
            self.filepath = final
        if Path(aside).exists():
            os.replace(aside, final)


class Replay(keras.callbacks.Callback):
    """After a resume, tells the callbacks that count epochs what they had already seen."""

    def __init__(self, rows: list[dict[str, float]], callbacks: Sequence[keras.callbacks.Callback]):
        super().__init__()
        self.rows, self.callbacks = rows, callbacks

    def on_train_begin(self, logs=None):
        """Replays each earlier epoch's metrics."""
        for epoch, row in enumerate(self.rows):
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, dict(row))


class HistoryFile(keras.callbacks.Callback):
    """``history.csv``, one row an epoch, written as it happens."""

    def __init__(self, path: Path, rows: list[dict[str, float]]):
        super().__init__()
        self.path, self.rows, self.started = path, rows, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock of the epoch."""
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Adds the epoch's row; the file is whole at any moment."""
        row = {"epoch": epoch, **(logs or {}), "seconds": time.perf_counter() - self.started}
        self.rows.append({key: float(value) for key, value in row.items()})
        aside = self.path.with_suffix(".csv.new")
        with aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(aside, self.path)


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of ``history.csv``; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


class Epochs(Protocol):
    """Training batches, as ``pipelines.batching.ShuffledEpochs`` has them."""

    steps: int

    def starting_with(self, epoch: int) -> tf.data.Dataset:
        """Batches of this epoch and all after it, ``steps`` an epoch."""


class EpochSeeds(keras.callbacks.Callback):
    """Lets dropout draw from (seed, epoch), so that a resumed epoch drops what it would have.

    Keras saves the state of its random generators neither with the weights nor with a backup.
    """

    def on_train_begin(self, logs=None):
        """Remembers the generators' seeds, which come from the global seed."""
        self.generators = [
            (variable, int(ops.convert_to_numpy(variable)[0]))
            for variable in self.model.non_trainable_variables
            if variable.path.endswith("seed_generator_state")
        ]

    def on_epoch_begin(self, epoch, logs=None):
        """Sets each counter far from those of other epochs."""
        for variable, seed in self.generators:
            variable.assign([seed, (epoch + 1) << 20])


class Calibration(keras.callbacks.Callback):
    """After each epoch, sets what is chosen on validation, and puts the changed metrics right.

    It must come before the callbacks that read those metrics.

    Args:
        calibrate: takes the model and the validation batches, gives metrics by name.
        validation: batches.
    """

    def __init__(self, calibrate: Callable, validation: tf.data.Dataset) -> None:
        super().__init__()
        self.calibrate, self.validation = calibrate, validation

    def on_epoch_end(self, epoch, logs=None):
        """Changes the epoch's metrics in place, as ReduceLROnPlateau does with the rate."""
        changed = self.calibrate(self.model, self.validation)
        logs.update({f"val_{name}": value for name, value in changed.items()})


class LinearDecay(keras.callbacks.Callback):
    """Lowers the learning rate in equal steps to ``share`` of itself at the last epoch.

    It multiplies what it finds, so that ReduceLROnPlateau may lower it further.
    """

    def __init__(self, share: float, epochs: int) -> None:
        super().__init__()
        self.share, self.epochs = share, epochs

    def on_epoch_begin(self, epoch, logs=None):
        """One step down, from the second epoch on."""
        if epoch and self.epochs > 1:
            rate = self.model.optimizer.learning_rate
            rate.assign(rate * self._at(epoch) / self._at(epoch - 1))

    def _at(self, epoch: int) -> float:
        return 1 - (1 - self.share) * epoch / (self.epochs - 1)


def compile_model(model: keras.Model, config: RecurrentConfig, loss, metrics) -> None:
    """Adam with a clipped global norm; no XLA, which compiles anew for every length of batch."""
    averaging = {"use_ema": True, "ema_momentum": config.average} if config.average else {}
    model.compile(
        optimizer=keras.optimizers.Adam(
            config.learning_rate, global_clipnorm=config.clipnorm, **averaging
        ),
        loss=loss,
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
    calibrate: Callable | None = None,
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
        calibrate: see ``Calibration``; None where there is nothing to set.
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
    stop = keras.callbacks.EarlyStopping(monitor, mode=mode, patience=config.patience)
    plateau = keras.callbacks.ReduceLROnPlateau(
        monitor, mode=mode, factor=0.5, patience=max(1, config.patience // 2), min_lr=1e-6
    )
    boards = [keras.callbacks.TensorBoard(directory / "tensorboard")] if tensorboard else []
    until = min(until or config.epochs, config.epochs)
    if not _finished(rows, until, config.patience, monitor, mode):
        model.fit(
            train.starting_with(done),
            steps_per_epoch=train.steps,
            validation_data=validation,
            epochs=until,
            verbose=0,
            shuffle=False,  # the data set shuffles itself
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                AveragedValidation(),
                *([Calibration(calibrate, validation)] if calibrate else []),
                stop,
                plateau,
                Replay(list(rows), [stop, plateau]),
                EpochSeeds(),
                LinearDecay(config.decay, config.epochs),
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
