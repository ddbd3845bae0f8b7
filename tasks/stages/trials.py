"""Training of a task's trials in their processes: a ``tuning.jobs.Trainer``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner as kt
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

import tasks
from common.errors import DataError
from common.files import write_json
from models.callbacks import read_history
from models.network import Network
from models.recurrent import rebuilt_without_cudnn
from pipelines.program import DEFAULT
from serving.comparing import latency
from serving.errors import ServingError
from serving.export import right_padded
from serving.native_onnx import export_onnx
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.predicting import keras_responses
from tasks.stages.run_directory import Run
from tasks.stages.training import Trained, fit_run, prepare
from tuning.jobs import TrialJob
from tuning.pruning import pruned_after

if TYPE_CHECKING:
    from models.metric import Metric
    from models.training import History


def drawn_settings(task: Task, settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings that a trial's values stand for."""
    hp = kt.HyperParameters()
    hp.values = dict(values)
    return task.search_space(hp, settings)


class HeartbeatCallback(keras.callbacks.Callback):
    """Sends a heartbeat after each batch, and stops the training when it is asked to.

    Args:
        heartbeat: see ``tuning.jobs.Trainer``.
    """

    def __init__(self, heartbeat: Callable[[], bool]) -> None:
        super().__init__()
        self.heartbeat, self.ended = heartbeat, False

    def on_train_batch_end(self, batch, logs=None):
        """Sends a heartbeat."""
        self.ended = not self.heartbeat() or self.ended

    def on_test_batch_end(self, batch, logs=None):
        """Sends a heartbeat."""
        self.ended = not self.heartbeat() or self.ended

    def on_epoch_end(self, epoch, logs=None):
        """Stops the training if that was asked for and it has not stopped already."""
        if self.ended and not self.model.stop_training:
            self.model.stop_training = True


class PruneCallback(keras.callbacks.Callback):
    """Stops the training of a trial that is not worth going on with.

    Args:
        history: the training's ``history.csv``.
        metric: of the epochs.
        bounds: see ``tuning.jobs.TrialJob``.
    """

    def __init__(self, history: Path, metric: Metric, bounds: list[float | None]) -> None:
        super().__init__()
        self.history, self.metric, self.bounds = history, metric, bounds

    def curve(self) -> list[float]:
        """Score of each epoch so far."""
        return [row[self.metric.key] for row in read_history(self.history)]

    def epochs(self) -> int | None:
        """Number of epochs after which the trial is pruned; None if it is not, or not yet."""
        return pruned_after(self.curve(), self.bounds, self.metric.mode)

    def on_epoch_end(self, epoch, logs=None):
        """Stops the training if a bound is missed."""
        # The file lacks this epoch, and may have it from an attempt that died before its backup.
        scores = [*self.curve()[:epoch], logs[self.metric.key]]
        if pruned_after(scores, self.bounds, self.metric.mode):
            self.model.stop_training = True


class TaskTrainer:
    """Trains trials of one task on one set of examples.

    Args:
        task: name of it.
        source: of the examples.
        data_seed: of splits that are made.
        reading: how the examples are read.
        settings: those that the search does not choose, by group.
        fingerprint: of the examples where the search began.
        metric: name of the metric that decides; the task's usual one if "".
        network: the user's own, the fields of ``models.network.Network``; None without.

    Raises:
        DataError: the examples here are not those of the search.
    """

    def __init__(
        self,
        task: str,
        source: str,
        data_seed: int,
        reading: dict[str, Any],
        settings: dict[str, dict[str, Any]],
        fingerprint: str,
        metric: str = "",
        network: dict[str, str] | None = None,
    ) -> None:
        own = Network(**network) if network else None
        self.task = replace(tasks.get(task), chosen_by=metric, network=own)
        self.data = DataOptions(source, data_seed, reading)
        self.settings = self.task.settings_of(settings)
        splits = self.task.load(self.data)
        if splits.fingerprint != fingerprint:
            raise DataError(
                f"{source} holds other examples here than where the search began "
                f"(fingerprint {fingerprint[:12]}, here {splits.fingerprint[:12]}); "
                "put the same files in the same place on every machine"
            )
        self.ready = prepare(self.task, self.settings, splits)

    def train(self, job: TrialJob, heartbeat: Callable[[], bool]) -> dict[str, Any]:
        """See ``tuning.jobs.Trainer``."""
        settings = drawn_settings(self.task, self.settings, job.values)
        histories, scores = [], []
        callback = HeartbeatCallback(heartbeat)
        for execution, seed in enumerate(job.seeds):
            run = Run(job.path / f"run-{execution}")
            _take_up(run, seed, job.parent and Path(job.parent) / run.path.name)
            prune = PruneCallback(run.path / "history.csv", self.task.watched, job.bounds)
            done = fit_run(
                self.task, self.data, settings, run, self.ready, seed=seed,
                title=f"trial {job.trial}", until=prune.epochs() or job.until,
                callbacks=[callback, prune],
            )  # fmt: skip
            score = self._score(done)
            self._finish(run, done, score)
            _tell_tensorboard(run, job, score, len(done.history.rows))
            histories.append(done.history)
            scores.append(score)
            if callback.ended:
                break
        curve = prune.curve() if len(scores) == 1 and self._watched_decides() else None
        pruned = prune.epochs() is not None
        # Its model cannot be the best, so what it costs does not matter.
        latency = None if pruned else self._latency(done)
        return {
            "scores": scores,
            "epochs": max(len(history.rows) for history in histories),
            "best_epoch": histories[0].best_epoch + 1,
            "parameters": done.parameters,
            "latency_ms": latency,
            "curve": curve,
            "pruned": pruned,
            "stopped": callback.ended and not pruned and self._unfinished(histories, settings, job),
        }

    def _unfinished(self, histories: list[History], settings: Settings, job: TrialJob) -> bool:
        last = histories[-1]
        waited = len(last.rows) - 1 - last.best_epoch
        whole = len(last.rows) >= job.until or waited >= settings.model.patience
        return not whole or len(histories) < len(job.seeds)

    def _watched_decides(self) -> bool:
        """Whether trials are ranked by what epochs are watched by."""
        return self.task.watched == self.task.metric

    def _score(self, done: Trained) -> float:
        """The task's metric on validation; measured here where epochs are chosen by another."""
        task, metric = self.task, self.task.metric
        if self._watched_decides():
            return done.history.best[metric.key]
        examples = self.ready.splits.validation
        raw = done.preprocessor.raw(examples)
        responses = keras_responses(task, done.model, done.preprocessor, raw)
        return task.evaluate(done.preprocessor, responses, examples)[metric.name]

    def _finish(self, run: Run, done: Trained, score: float) -> None:
        """Makes a run of it; the test part stays unread while configurations are being chosen."""
        write_json(
            run.path / "metrics.json",
            {
                "run": str(run.path),
                "task": self.task.name,
                "metrics": {"validation": {self.task.metric.name: score}},
                "baseline": None,
                "remarks": self.task.remarks(done.preprocessor, {}, None),
                "parameters": done.parameters,
                "epochs": len(done.history.rows),
                "best_epoch": done.history.best_epoch + 1,
                "seconds": done.history.seconds,
            },
        )
        run.save_model(done.model)

    def _latency(self, done: Trained) -> float | None:
        """Median milliseconds of one answer at batch 1 by the exported model, on one thread."""
        # Not above: ONNX Runtime starts a thread, and trials are forked.
        from serving.predictor import OnnxModel

        preprocessor = done.preprocessor
        raw = preprocessor.raw(self.ready.splits.validation[:15])
        with tempfile.TemporaryDirectory() as place:
            try:
                known = right_padded(preprocessor)
                for name, core in self.task.cores(done.model).items():
                    path = Path(place) / f"{name}.onnx"
                    export_onnx(rebuilt_without_cudnn(core), path, "fp32", known)
            except ServingError:
                return None  # a layer that ONNX does not have yet
            preprocessor.save(Path(place))
            program = OnnxModel(place, threads=1).programs[DEFAULT]
            return latency(program.run, preprocessor.to_request, raw).get("1")


def _tell_tensorboard(run: Run, job: TrialJob, score: float, epochs: int) -> None:
    """Puts the trial among the rows of TensorBoard's HParams: ``--logdir SEARCH/trials``."""
    with tf.summary.create_file_writer(str(run.path / "tensorboard")).as_default():
        hparams.hparams(job.values, trial_id=f"{job.trial}/{run.path.name}")
        tf.summary.scalar("score", score, step=epochs)


def _take_up(run: Run, seed: int, parent: Path | None) -> None:
    """Leaves in a run's directory what this training may go on from, and nothing else."""
    if run.exists and run.config()["seed"] != seed:
        shutil.rmtree(run.path)  # of an attempt that failed, begun anew from another seed
    if run.exists or parent is None:
        return
    aside = run.path.with_name(f".{run.path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(parent, aside, ignore=shutil.ignore_patterns("model.keras", "tensorboard"))
    aside.rename(run.path)
