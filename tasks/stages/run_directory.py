"""A run: the directory that holds all it takes to rebuild, judge and export one trained model."""

from __future__ import annotations

import json
import os
import pkgutil
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tasks
from common.errors import DataError
from common.files import write_json, write_text, writing
from models.network import Network
from models.own_code import fingerprint
from pipelines.preprocessor import Preprocessor, load_preprocessor
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.places import located, recorded

if TYPE_CHECKING:
    import keras

    from pipelines.splits import Splits

# Of config.json; a run of another format cannot be read.
FORMAT = 2
# The user's own network, as it was when the training began.
NETWORK_FILE = "network.py"
PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy", "onnx", "onnxruntime", "scikit-learn")


def register_layers(name: str) -> None:
    """Imports a module and its neighbours whose names begin so: Keras then knows all their layers.

    Args:
        name: of the module, such as ``models.forecasting``.
    """
    package, _, stem = name.rpartition(".")
    import_module(name)
    for found in pkgutil.iter_modules(import_module(package).__path__ if package else ()):
        if found.name.startswith(f"{stem}_"):
            import_module(f"{package}.{found.name}")


class Run:
    """Files of one run under ``path``; nothing is read or written before it is asked for."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether a training has begun here."""
        return (self.path / "config.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether the model is there."""
        return (self.path / "model.keras").is_file()

    def create(self, task: Task, data: DataOptions, settings: Settings, seed: int) -> None:
        """Writes ``config.json``; the run exists from here on."""
        config = {
            "format": FORMAT,
            "task": task.name,
            "data": asdict(data),
            "places": recorded(task, data, self.path),
            **settings.to_dict(),
            "metric": task.metric.name,
            "seed": seed,
        }
        if task.network is not None:
            write_text(self.path / NETWORK_FILE, task.network.source)
            config["network"] = {
                "function": task.network.name,
                "fingerprint": fingerprint(task.network.source),
            }
        write_json(self.path / "config.json", config)

    def config(self) -> dict[str, Any]:
        """``config.json``; a directory that is no run is a DataError."""
        config = self.read_json("config.json")
        needed = {"task", "data", "model", "preprocessor", "seed"}
        if not isinstance(config, dict) or not needed <= set(config):
            raise DataError(f"{self.path} is no run: config.json is incomplete; train again")
        if config.get("format") != FORMAT:
            raise DataError(
                f"{self.path} was written by another version of Seqloom (format "
                f"{config.get('format', 1)}, this one reads {FORMAT}): its bundles still serve; "
                f"train again with `seqloom train {config['task']}`"
            )
        return config

    def read_json(self, name: str) -> dict[str, Any]:
        """One of the run's JSON files."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path} is no finished run: {name} is missing or broken; "
                "give a directory that `seqloom train` wrote"
            ) from error

    def task(self) -> Task:
        """The task that was trained, with the metric that it was chosen by and the network that it
        was given."""
        config = self.config()
        metric, network = config.get("metric", ""), self.network()
        return replace(tasks.get(config["task"]), chosen_by=metric, network=network)

    def network(self) -> Network | None:
        """The user's own network that was trained; None for the task's.

        Raises:
            DataError: its copy is not what the training began with.
        """
        about = self.config().get("network")
        if about is None:
            return None
        path = self.path / NETWORK_FILE
        try:
            source = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}, the run's own network, cannot be read: {error}") from error
        if fingerprint(source) != about["fingerprint"]:
            raise DataError(
                f"{path} has changed since the training began; restore it: it is the run's copy, "
                "and another network is trained with --network and another --out"
            )
        return Network(source, about["function"], str(path))

    def settings(self) -> Settings:
        """The settings that were trained with."""
        return self.task().settings_of(self.config())

    def data(self) -> DataOptions:
        """Where the examples came from, by the path where they are now if that is known."""
        config, task = self.config(), self.task()
        reading = {**task.older_reading, **config["data"]["reading"]}
        data = DataOptions(**{**config["data"], "reading": reading})
        return located(task, data, config.get("places", {}), self.path)

    def check_data(self, splits: Splits) -> None:
        """Refuses other examples than those that the training began with."""
        before = self.read_json("environment.json")["data_fingerprint"]
        if before != splits.fingerprint:
            raise DataError(
                f"the data of {self.path} has changed since training began "
                f"(fingerprint {before[:12]}, now {splits.fingerprint[:12]}); restore it, "
                "or train anew with another --out"
            )

    def save_preprocessor(self, preprocessor: Preprocessor) -> None:
        """Writes ``preprocessor/``."""
        with writing(self.path / "preprocessor"):
            (self.path / "preprocessor").mkdir(parents=True, exist_ok=True)
            preprocessor.save(self.path / "preprocessor")

    def preprocessor(self) -> Preprocessor:
        """The preprocessor that the model was trained with."""
        return load_preprocessor(self.path / "preprocessor")

    def save_model(self, model: keras.Model) -> None:
        """Writes ``model.keras`` by a rename: its presence is what makes a run finished."""
        aside = self.path / "writing.keras"
        with writing(self.path / "model.keras"):
            try:
                model.save(aside)
                os.replace(aside, self.path / "model.keras")
            finally:
                aside.unlink(missing_ok=True)

    def model(self) -> keras.Model:
        """The trained model, not compiled."""
        import keras

        task = self.task()
        register_layers(task.model_module)
        if task.network is not None:
            task.network.function  # noqa: B018  the layers of its source are known then
        if not self.finished:
            raise DataError(
                f"{self.path} holds no finished training; "
                "go on with `seqloom train --resume --out` of that directory"
            )
        return keras.saving.load_model(self.path / "model.keras", compile=False)

    def check_vectors(self, fingerprint: str) -> None:
        """Refuses other word vectors than those that the training began with."""
        if self.read_json("environment.json").get("vectors_fingerprint", "") != fingerprint:
            raise DataError(
                f"the vectors of {self.path} have changed since training began; restore the file "
                f"{self.config()['model']['vectors']}, or train anew with another --out"
            )

    def save_environment(self, seed: int, fingerprint: str, vectors: str = "") -> None:
        """Writes ``environment.json``.

        Args:
            seed: of the training.
            fingerprint: of the data.
            vectors: fingerprint of the word vectors; "" without.
        """
        about = {**environment(), "seed": seed, "data_fingerprint": fingerprint}
        if vectors:
            about["vectors_fingerprint"] = vectors
        write_json(self.path / "environment.json", about)


def pattern(task: Task, like: Path | None) -> tuple[Settings, DataOptions, int]:
    """Settings, data and seed that a training begins from: a run's, or the task's own.

    Raises:
        DataError: the run is of another task, or none.
    """
    if like is None:
        return task.settings, DataOptions(), 0
    run = Run(like)
    if run.config()["task"] != task.name:
        raise DataError(f"--like: {like} is a run of {run.config()['task']}, not of {task.name}")
    return run.settings(), run.data(), run.config()["seed"]


def resumed(task: Task, run: Run, changes: Mapping[str, Any]) -> tuple[Settings, DataOptions, int]:
    """Settings, data and seed of a training that was begun, to go on with.

    Raises:
        DataError: nothing was begun there, it is finished, it is another task's, or ``changes``
            are not what it was begun with.
    """
    if not run.exists:
        raise DataError(f"--resume: {run.path} holds no run; name one with --out, or begin anew")
    if run.finished:
        raise DataError(f"--resume: {run.path} is finished; see `seqloom evaluate {run.path}`")
    config = run.config()
    if config["task"] != task.name:
        raise DataError(f"--resume: {run.path} is a run of {config['task']}, not of {task.name}")
    settings, metric = run.settings(), run.task().metric.name
    if task.chosen_by not in ("", metric):
        raise DataError(
            f"--resume: {run.path} was begun with --metric {metric}; give none, or that"
        )
    check_network(task, run)
    if task.with_settings(settings, changes) != settings:
        raise DataError(f"--resume: {run.path} was begun with other settings; give none, or those")
    return settings, run.data(), config["seed"]


def check_network(task: Task, run: Run) -> None:
    """Refuses to go on with another network than the run was begun with; none given is the same.

    Raises:
        DataError: they differ.
    """
    begun = run.network()
    if task.network is None or task.network == begun:
        return
    was = f"with the network {begun.label}" if begun else "without a network of its own"
    raise DataError(
        f"--resume: {run.path} was begun {was}; now {task.network.place} is "
        f"{task.network.label}: give none, or another --out"
    )


def environment() -> dict[str, Any]:
    """Versions, revision and machine that a result depends on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "git_revision": _git_revision(),
        "packages": versions,
    }


def _git_revision() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def next_free(parent: Path, stem: str) -> Path:
    """The first of ``stem-1``, ``stem-2``... that is not there yet."""
    number = 1
    while (parent / f"{stem}-{number}").exists():
        number += 1
    return parent / f"{stem}-{number}"
