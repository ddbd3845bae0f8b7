"""Keras callbacks of the training loop; what they write survives a kill at any moment."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from keras.src.saving import saving_lib

from common.files import write_aside


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
        older = list(directory.glob("epoch-*.weights.h5"))
        newest = directory / f"epoch-{self._current_epoch:06d}.weights.h5"
        write_weights(self.model, newest)
        for path in older:
            if path != newest:
                path.unlink(missing_ok=True)


def write_weights(model: keras.Model, path: Path) -> None:
    """``model.save_weights`` by a rename, and through memory.

    HDF5 that meets a full disk while it writes a file ends the process by a segmentation fault; the
    bytes of a file in memory are written by Python, which raises an error.

    Raises:
        WriteError: the file cannot be written; what was there before is unchanged.
    """
    memory = io.BytesIO()
    store = saving_lib.H5IOStore(memory, mode="w")
    saving_lib._save_state(
        model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set()
    )
    store.close()
    with write_aside(path, "wb") as file:
        file.write(memory.getbuffer())


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
        if self._should_save_model(epoch, batch, logs, self.filepath):
            with averaged_weights(self.model):
                write_weights(self.model, Path(self.filepath))


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
        with write_aside(self.path) as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)


class SampleFile(keras.callbacks.Callback):
    """``samples.jsonl``, a line an epoch of what the model gives then, for people to look at.

    A training that goes on writes the lines of the epochs anew that it repeats.

    Args:
        path: of the file.
        sample: takes the model, with the weights that are validated; gives what JSON can hold.
    """

    def __init__(self, path: Path, sample: Callable[[keras.Model], Mapping]) -> None:
        super().__init__()
        self.path, self.sample = path, sample

    def on_epoch_end(self, epoch, logs=None):
        """Adds the epoch's line; the file is whole at any moment."""
        with averaged_weights(self.model):
            row = {"epoch": epoch + 1, **self.sample(self.model)}
        kept = [one for one in read_samples(self.path) if one["epoch"] <= epoch]
        lines = (json.dumps(one, ensure_ascii=False) for one in [*kept, row])
        with write_aside(self.path) as file:
            file.writelines(f"{line}\n" for line in lines)


def read_samples(path: Path) -> list[dict[str, Any]]:
    """Rows of ``samples.jsonl``; none where there is no file."""
    if not path.is_file():
        return []
    # Not by splitlines: JSON leaves line separators of other alphabets as they are.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of ``history.csv``; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


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


class NamedMetrics(keras.callbacks.Callback):
    """Gives metrics of single outputs plain names; it must come before all that read them.

    Args:
        names: plain name by the name that Keras logs.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self.names = {f"{part}{old}": f"{part}{new}" for part in ("", "val_")
                      for old, new in names.items()}  # fmt: skip

    def on_epoch_end(self, epoch, logs=None):
        """Changes the epoch's logs in place, as ReduceLROnPlateau does."""
        for old, new in self.names.items():
            if old in logs:
                logs[new] = logs.pop(old)


class AfterEpoch(keras.callbacks.Callback):
    """After each epoch, sets what is chosen on validation, and puts the changed metrics right.

    It must come before the callbacks that read those metrics.

    Args:
        change: takes the model and the validation batches, gives metrics by name.
        validation: batches.
    """

    def __init__(self, change: Callable, validation: tf.data.Dataset) -> None:
        super().__init__()
        self.change, self.validation = change, validation

    def on_epoch_end(self, epoch, logs=None):
        """Changes the epoch's metrics in place, as ReduceLROnPlateau does with the rate."""
        with averaged_weights(self.model):  # which are validated, and kept if they are the best
            changed = self.change(self.model, self.validation)
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
