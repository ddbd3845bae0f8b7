"""What a search sends to the process of a trial, and what it gets back: all of it plain JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class TrainerSpec:
    """How a process creates the trainer that all trials share, with the data loaded.

    Attributes:
        target: "package.module:name" of a callable that returns a ``Trainer``.
        arguments: JSON values that the callable is called with.
    """

    target: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Hash of the spec; equal specs have equal keys."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def prepare(self) -> Trainer:
        """Calls the target, which must not initialise a device: trials are forked afterwards."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)(**self.arguments)


# Exit code of a trial whose files could not be written: no fault of its own.
UNWRITABLE = 74


@dataclass(frozen=True)
class TrialJob:
    """One trial to train, from its start or from where an earlier attempt ended.

    Attributes:
        trial: number of the trial, as four digits.
        directory: directory for ``result.json``, ``log.txt`` and the runs of the trial.
        values: hyperparameters.
        seeds: one seed per execution.
        until: total number of epochs to train, including the epochs of ``parent``.
        parent: directory of the trial whose training is continued here, epochs included.
        environment: environment variables of the process, such as which GPU it uses.
        owner_file: path of ``owner.json`` of the search; see ``tuning.search_lock``.
        token: token of the owner in that file.
        stall_seconds: the trial is stopped when it has sent no heartbeat for this long.
        store: URL for the trial's files when machines share no path; see ``tuning.store``.
        bounds: after each epoch the score that the trial needs to go on; see ``tuning.pruning``.
    """

    trial: str
    directory: str
    values: dict[str, Any]
    seeds: list[int]
    until: int
    parent: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    owner_file: str | None = None
    token: str | None = None
    stall_seconds: float = 600.0
    store: str | None = None
    bounds: list[float | None] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """``directory`` as a path."""
        return Path(self.directory)


class Trainer(Protocol):
    """The object that the target of a ``TrainerSpec`` returns."""

    def train(self, job: TrialJob, heartbeat: Callable[[], bool]) -> dict[str, Any]:
        """Trains every execution of a trial; continues what an earlier attempt left.

        Args:
            job: the trial.
            heartbeat: to be called after every batch, to show that the trial is alive. It returns
                False once the training should stop at the end of the current epoch.

        Returns:
            ``scores`` (one per execution), ``epochs``, ``best_epoch``, ``parameters``,
            ``latency_ms`` or None, ``stopped``: whether ``heartbeat`` ended it early, ``curve``:
            the score of each epoch where it is known, else None, and ``pruned``: whether
            ``job.bounds`` ended it.
        """
        ...
