"""Train one configuration and judge it: the stage behind ``seqloom train`` and ``evaluate``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.config import Config
from common.errors import ConfigError
from common.files import write_json, writing
from models.callbacks import SampleFile, read_history
from models.recurrent import rebuilt_without_cudnn
from models.replicas import idle_note, strategy_of
from models.training import Epochs, History, discard_state, fit, trainable_parameters
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.console import load_run
from tasks.stages.networks import built, network_notes
from tasks.stages.predicting import keras_responses
from tasks.stages.run_directory import Run
from tasks.stages.writing import sample

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from pipelines.encoded import Encoded
    from pipelines.preprocessor import Preprocessor
    from pipelines.splits import Splits


def train(
    task: Task,
    data: DataOptions,
    settings: Settings,
    run: Run,
    *,
    seed: int = 0,
    splits: Splits | None = None,
    title: str = "train",
    tell: Callable[[str], None] = lambda _: None,
    spent: float = 0.0,
    insight: bool = False,
    data_service: str = "",
) -> dict[str, Any]:
    """Trains, evaluates beside the baseline, and fills the run's directory.

    A run that was begun goes on where it stopped; the caller has checked that it is the same run.

    Args:
        task: what to learn.
        data: where from.
        settings: with which model.
        run: where to.
        seed: of weights, dropout and the order of examples.
        splits: the examples, where the caller has read them already.
        title: of the progress display.
        tell: takes a line about what is done after the last epoch.
        spent: seconds that the caller took to read the examples.
        insight: also write states, gates and gradients for TensorBoard, see ``models.insight``.
        data_service: see ``fit_run``.

    Returns:
        The content of ``metrics.json``, keys as in DESIGN: run, task, metrics, baseline... Of them
        ``seconds`` is the whole time, that of earlier starts included as far as their epochs took
        it, and ``epochs_seconds`` that of the epochs alone.

    Raises:
        ConfigError: settings that do not fit; nothing is written then.
        WriteError: the run's directory cannot be written; ``--resume`` goes on from the last epoch.
    """
    started = time.perf_counter() - spent
    task.check(settings, data)
    splits = splits or task.load(data)
    settings, data = task.resolve(settings, data, splits)
    if run.exists:
        run.check_data(splits)
    before = sum(row["seconds"] for row in read_history(run.path / "history.csv"))
    with writing(run.path):
        ready = prepare(task, settings, splits)
        if run.exists:
            run.check_vectors(ready.vectors_fingerprint)
        own = network_notes(task, settings, ready.preprocessor, ready.counts)
        if insight and settings.model.devices > 1:
            raise ConfigError("--insight looks at one device: leave --devices or --insight out")
        idle = idle_note(settings.model.devices)
        notes = [*getattr(ready.counts, "notes", ()), *own, *([idle] if idle else [])]
        for note in notes:
            tell(note)
        watchers = _samples(task, settings, run, ready.preprocessor)
        watchers += [insight_callback(task, settings, run, ready)] if insight else []
        done = fit_run(
            task, data, settings, run, ready,
            seed=seed, title=title, callbacks=watchers, data_service=data_service,
        )  # fmt: skip
        result = {
            "run": str(run.path),
            "task": task.name,
            **judge(task, done.model, done.preprocessor, splits, run.path, tell),
            "parameters": done.parameters,
            "epochs": len(done.history.rows),
            "best_epoch": done.history.best_epoch + 1,
            "seconds": before + time.perf_counter() - started,
            "epochs_seconds": done.history.seconds,
            "examples": {
                part: len(getattr(splits, part)) for part in ("train", "validation", "test")
            },
        }
        result["remarks"] = [*notes, *result["remarks"]]
        write_json(run.path / "metrics.json", result)
        run.save_model(done.model)
    discard_state(run.path)
    return result


def _samples(
    task: Task, settings: Settings, run: Run, preprocessor: Preprocessor
) -> list[keras.callbacks.Callback]:
    """What writes a text after each epoch, for kinds that write."""
    wanted = task.sample(settings)
    if wanted is None:
        return []
    path = run.path / "samples.jsonl"
    return [SampleFile(path, lambda model: sample(task, model, preprocessor, wanted))]


def insight_callback(
    task: Task, settings: Settings, run: Run, ready: Ready
) -> keras.callbacks.Callback:
    """What writes the states and gradients of each epoch for TensorBoard."""
    from models.insight import Insight

    batches = ready.validation.batches(2 * settings.model.batch_size)
    plain = {name: value for group in settings.to_dict().values() for name, value in group.items()}
    words = task.vocabularies(ready.preprocessor)
    return Insight(run.path / "tensorboard", batches, words, {"task": task.name, **plain})


@dataclass(frozen=True)
class Ready:
    """What every training on the same data shares; made without waking a device.

    Attributes:
        splits: the raw examples.
        preprocessor: adapted on train.
        counts: what was counted on train, for ``build``.
        train: encoded examples.
        validation: encoded examples.
    """

    splits: Splits
    preprocessor: Preprocessor
    counts: Any
    train: Encoded
    validation: Encoded

    @property
    def vectors_fingerprint(self) -> str:
        """Of the word vectors that the model begins with; "" without."""
        return getattr(self.counts, "vectors_fingerprint", "")


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        model: with the weights of its best epoch, and what ``after_training`` set.
        preprocessor: likewise.
        history: of its epochs.
        parameters: how many numbers were trained.
    """

    model: keras.Model
    preprocessor: Preprocessor
    history: History
    parameters: int


def prepare(task: Task, settings: Settings, splits: Splits) -> Ready:
    """Adapts the preprocessor, and counts what the model needs, on train alone."""
    preprocessor = task.adapt(settings, splits.train)
    train, validation = (preprocessor.encoded(part) for part in (splits.train, splits.validation))
    train = task.weighted(settings, train)
    counts = task.count(settings, preprocessor, train)
    return Ready(splits, preprocessor, counts, train, validation)


def fit_run(
    task: Task,
    data: DataOptions,
    settings: Settings,
    run: Run,
    ready: Ready,
    *,
    seed: int,
    title: str,
    until: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    data_service: str = "",
) -> Trained:
    """Trains into a run's directory; the same seed, settings and data give the same model.

    Args:
        task: what to learn.
        data: where from.
        settings: with which model.
        run: where to.
        ready: the examples and what was counted of them.
        seed: of weights, dropout and the order of examples.
        title: of the progress display.
        until: see ``models.training.fit``.
        callbacks: of Keras, further ones.
        data_service: address ``grpc://host:port`` of the tf.data service that makes the training
            batches; "" makes them here.
    """
    import keras

    from models.progress import TrainingProgress

    size = settings.model.batch_size
    batches = ready.train.training_batches(size, seed)
    if data_service:
        batches = _served(batches, ready, data_service)
    keras.utils.set_random_seed(seed)
    with policy(settings), _strategy(settings, ready).scope():
        model = built(task, settings, ready.preprocessor, ready.counts)
    # Only now: settings that the model refuses leave nothing behind. In this order: a run exists
    # from its config.json on, and its fingerprint is then known.
    run.save_environment(seed, ready.splits.fingerprint, ready.vectors_fingerprint)
    run.create(task, data.in_files(run.path / "data"), settings, seed)
    progress = TrainingProgress(len(ready.train), task.watched.key, title=title)
    try:
        history = fit(
            model,
            batches,
            ready.validation.batches(2 * size),
            settings.model,
            run.path,
            monitor=task.watched.key,
            mode=task.watched.mode,
            callbacks=[progress, *callbacks],
            names={metric.logged: metric.name for metric in task.metrics if metric.logged},
            after_epoch=lambda model, batches: task.after_epoch(model, ready.preprocessor, batches),
            until=until,
        )
    finally:
        progress.close()
    parameters = trainable_parameters(model)
    if settings.model.devices > 1:  # what is judged and saved is on one
        with policy(settings):
            single = built(task, settings, ready.preprocessor, ready.counts)
        single.set_weights(model.get_weights())
        model = single
    model, preprocessor = task.after_training(model, settings, ready.preprocessor, ready.splits)
    if settings.model.mixed_precision:  # what is judged is what answers later
        uncompiled = keras.Model(model.input, model.output, name=model.name)
        model = rebuilt_without_cudnn(uncompiled)
    run.save_preprocessor(preprocessor)
    return Trained(model, preprocessor, history, parameters)


def judge(
    task: Task,
    model: keras.Model,
    preprocessor: Preprocessor,
    splits: Splits,
    directory: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Metrics on validation and test, the baseline's, and remarks.

    With a directory, ``pictures/`` and ``judged/`` of test are written there.
    """
    metrics, started = {}, time.perf_counter()
    tell("judging the model on validation and test")
    for part in ("validation", "test"):
        examples = getattr(splits, part)
        responses = keras_responses(task, model, preprocessor, preprocessor.raw(examples))
        metrics[part] = task.evaluate(preprocessor, responses, examples)
    if directory is not None:
        task.pictures(preprocessor, responses, examples, directory / "pictures")
    answered = time.perf_counter()
    tell(f"judged in {answered - started:.0f} s; now its baseline is fitted")
    baseline = task.baseline(preprocessor, splits)
    tell(f"baseline fitted in {time.perf_counter() - answered:.0f} s: {baseline['name']}")
    others = baseline.pop("answers", None)
    if directory is not None:
        judged = task.judged(preprocessor, responses, examples, others)
        if judged is not None:
            judged.save(directory / "judged")
    remarks = task.remarks(preprocessor, metrics, baseline)
    return {"metrics": metrics, "baseline": baseline, "remarks": remarks}


def evaluate(
    run: Run,
    data: DataOptions | None = None,
    *,
    splits: Splits | None = None,
    judging: Config | None = None,
    tell: Callable[[str], None] = lambda _: None,
    spent: float = 0.0,
) -> dict[str, Any]:
    """Judges a finished run anew, on its own data or on another test set.

    Args:
        run: a finished training.
        data: where else to take the examples from; the baseline is fitted on that data's own
            training part.
        splits: the examples, where the caller has read them already.
        judging: further ways to judge it, see ``Task.judge_otherwise``; the task's own if None.
        tell: takes a line about what is done.
        spent: seconds that the caller took to read the examples.

    Returns:
        As ``metrics.json`` has it; and where there are further ways their names as ``ways``, and
        what each gave under its name.
    """
    task, started = run.task(), time.perf_counter() - spent
    preprocessor = run.preprocessor()
    if splits is None:
        splits = task.as_trained(preprocessor).load(data) if data else load_run(run)
    model = run.model()
    # Refuses what the model could never answer, such as a label that training did not have.
    for part in (splits.validation, splits.test):
        preprocessor.validate(part)
    judged = judge(task, model, preprocessor, splits, tell=tell)
    ways = task.judge_otherwise(preprocessor, model, splits, judging or task.judging, tell)
    return {
        "run": str(run.path),
        "task": task.name,
        **judged,
        **({"ways": list(ways), **ways} if ways else {}),
        "parameters": trainable_parameters(model),
        "seconds": time.perf_counter() - started,
        "data": splits.name,
    }


def _strategy(settings: Settings, ready: Ready) -> tf.distribute.Strategy:
    """Over how many devices the model is made."""
    if settings.model.devices > 1 and ready.train.carried:
        raise ConfigError(
            "devices has to be 1 here: each batch goes on where the one before ended, and its rows "
            "would change from device to device"
        )
    return strategy_of(settings.model.devices)


def _served(batches: Epochs, ready: Ready, address: str) -> Epochs:
    """The same batches from a service."""
    from pipelines.service import ServedEpochs

    if ready.train.carried:
        raise ConfigError(
            "--data-service does not go here: each batch goes on where the one before ended, so "
            "one place has to make them all"
        )
    return ServedEpochs(batches, address)


@contextmanager
def policy(settings: Settings) -> Iterator[None]:
    """Layers made within compute in 16 bits where that was asked for."""
    import keras
    import tensorflow as tf

    before = keras.config.dtype_policy()
    if settings.model.mixed_precision:
        has_gpu = tf.config.list_physical_devices("GPU")
        keras.config.set_dtype_policy("mixed_float16" if has_gpu else "mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
