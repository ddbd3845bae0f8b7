"""One version of one model, from wanted to gone, and the policies that say which are wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from serving.errors import RequestError
from serving.runtime.loading import ModelLocation
from serving.runtime.runners import Backend


class State(IntEnum):
    """State of a version; the numbers are those of TensorFlow Serving's protocol."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class Policy:
    """Selects the versions to serve from those that exist.

    Attributes:
        kind: "latest", "all" or "specific".
        count: how many versions "latest" selects.
        versions: those that "specific" selects.
    """

    kind: str = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()

    def chosen(self, present: list[int]) -> list[int]:
        """The versions to serve, newest first."""
        ordered = sorted(present, reverse=True)
        if self.kind == "all":
            return ordered
        if self.kind == "specific":
            return [version for version in ordered if version in self.versions]
        return ordered[: self.count]


@dataclass(frozen=True)
class ModelSettings:
    """One model of the server.

    Attributes:
        name: the name in requests.
        location: where its versions are.
        policy: which of them are served.
        labels: versions by label.
        platform: the platform as a config file has it; it may not change while the model is served.
    """

    name: str
    location: ModelLocation
    policy: Policy = field(default_factory=Policy)
    labels: dict[str, int] = field(default_factory=dict)
    platform: str = "tensorflow"


class Servable:
    """One version of one model.

    Args:
        name: the model's name.
        version: the version's number.
        path: the version's directory.

    Attributes:
        state: the current state.
        error: status code and message of a load that failed.
        attempts: how often loading was tried.
        retry_at: time of the next try, by ``time.monotonic``.
    """

    def __init__(self, name: str, version: int, path: Path) -> None:
        self.name, self.version, self.path = name, version, path
        self.state = State.START
        self.error: tuple[str, str] = ("OK", "")
        self.attempts, self.retry_at = 0, 0.0
        self.backend: Backend | None = None
        self.batcher: Any = None
        self._users, self._stamp = 0, 0
        self._changed = threading.Condition()

    @property
    def key(self) -> tuple[str, int]:
        """Unique among versions that live at one time."""
        return self.name, self.version

    def enter(self) -> bool:
        """Keeps it loaded until ``leave``; False where it is not served any more."""
        with self._changed:
            if self.state is not State.AVAILABLE:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """After ``enter``."""
        with self._changed:
            self._users -= 1
            self._changed.notify_all()

    def is_stale(self, path: Path) -> bool:
        """Whether the directory is a new one, or was written after the last attempt."""
        return self.error[0] == "OK" or path != self.path or _stamp(path) != self._stamp

    def load(self, load: Callable[[Path], tuple[Backend, Any]]) -> None:
        """Makes it available, or remembers why it is not.

        Args:
            load: directory to backend and batcher.
        """
        self.state, self.attempts = State.LOADING, self.attempts + 1
        self._stamp = _stamp(self.path)
        try:
            self.backend, self.batcher = load(self.path)
        except Exception as error:  # noqa: BLE001 a broken model must not take the server along
            message = str(error).strip() or type(error).__name__
            self.error = ("UNKNOWN", message)
            return
        self.error = ("OK", "")
        with self._changed:
            self.state = State.AVAILABLE

    def leave_service(self) -> None:
        """Takes no more requests; those under way go on until ``unload``."""
        with self._changed:
            if self.state is State.AVAILABLE:
                self.state = State.UNLOADING

    def unload(self, timeout: float | None = None) -> bool:
        """Takes no more requests, waits for those under way and frees the model.

        Args:
            timeout: seconds to wait; no limit if None.

        Returns:
            Whether all requests ended in time.
        """
        until = None if timeout is None else time.monotonic() + timeout
        self.leave_service()
        with self._changed:
            while self._users:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            self.state = State.END
            # Taken by one: the end of the server may unload what is being unloaded already.
            backend, batcher = self.backend, self.batcher
            self.backend = self.batcher = None
        if batcher is not None:
            batcher.close()
        if backend is not None:
            backend.close()
        return True

    def give_up(self) -> None:
        """After the last load that failed."""
        self.state = State.END


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def not_found(name: str, version: int | None = None) -> RequestError:
    """NOT_FOUND in TensorFlow Serving's words."""
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return RequestError(f"Servable not found for request: {wanted}", code="NOT_FOUND")
