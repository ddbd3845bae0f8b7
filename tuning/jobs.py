"""What a search tells the process of a trial, and what comes back: all of it plain JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Recipe:
    """How a process makes ready what every trial needs, the data above all.

    Attributes:
        target: "package.module:name" of a callable that gives a ``Trainer``.
        arguments: JSON values that it is called with.
    """

    target: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for the same recipe."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def prepare(self) -> Trainer:
        """Calls the target; nothing in it may wake a device, since trials are forked from here."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)(**self.arguments)


@dataclass(frozen=True)
class Job:
    """One trial, or the rest of one.

    Attributes:
        trial: its number, four digits.
        directory: where it leaves ``result.json``, ``log.txt`` and its runs.
        values: hyperparameters.
        seeds: one for each execution.
        until: epochs to train, those of ``parent`` counted in.
        parent: directory of the trial whose training goes on here, epochs and all.
        environment: variables of the process, such as which GPU it has.
        lease: file of the search's owner; see ``tuning.lease``.
        token: the owner's, in that file.
        stall_seconds: without a sign of life for so long, the trial is stopped.
        store: where checkpoints go when machines share no path; see ``tuning.store``.
    """

    trial: str
    directory: str
    values: dict[str, Any]
    seeds: list[int]
    until: int
    parent: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    lease: str | None = None
    token: str | None = None
    stall_seconds: float = 600.0
    store: str | None = None

    @property
    def path(self) -> Path:
        """``directory``."""
        return Path(self.directory)


class Trainer(Protocol):
    """What a recipe's target gives."""

    def train(self, job: Job, alive: Callable[[], bool]) -> dict[str, Any]:
        """Trains every execution of a trial; what an earlier attempt left is gone on with.

        Args:
            job: the trial.
            alive: to be called after every batch, as a sign of life; False once the training
                shall end after the epoch under way.

        Returns:
            ``scores`` (one an execution), ``epochs``, ``best_epoch``, ``parameters``,
            ``latency_ms`` or None, and ``cut``: whether ``alive`` ended it early.
        """
        ...
