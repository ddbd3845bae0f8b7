"""Which process owns a search: only one at a time, and every trial's process can check which.

The owner holds ``SEARCH/lock`` with ``flock`` for as long as it lives, on this machine or on
another one that shares the directory. ``SEARCH/owner.json`` names the owner by a token, and the
owner rewrites it every few seconds as a heartbeat. A trial on another machine ends itself when the
file names another token, or has not changed for a while.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.files import write_json
from tuning.errors import SearchError

# Seconds between two heartbeats of the owner, and without one until trials elsewhere end.
HEARTBEAT_SECONDS, OWNER_TIMEOUT = 3.0, 60.0


class SearchLock:
    """Ownership of a search's directory, until it is closed or the process dies.

    Args:
        directory: directory of the search.
        on_write: called with the path of ``owner.json`` whenever the file was written.

    Raises:
        SearchError: another process owns the directory.
    """

    def __init__(self, directory: Path, on_write: Callable[[Path], None] | None = None) -> None:
        self.on_write = on_write
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "owner.json"
        self._lock = (directory / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise locked_error(directory) from error
        self.token = uuid.uuid4().hex
        # Seconds that earlier owners have spent.
        self._spent = float(read_owner(self.path).get("spent_seconds", 0.0))
        self._started = self._last_heartbeat = time.monotonic()
        self.stopping = False
        self._write()

    @property
    def spent(self) -> float:
        """Seconds that the search has taken so far, including earlier starts."""
        return self._spent + time.monotonic() - self._started

    def heartbeat(self) -> None:
        """Rewrites ``owner.json`` if the next heartbeat is due."""
        if time.monotonic() - self._last_heartbeat >= HEARTBEAT_SECONDS:
            self._write()

    def stop(self) -> None:
        """Asks all trials to stop at the end of their current epoch."""
        if not self.stopping:
            self.stopping = True
            self._write()

    def close(self) -> None:
        """Releases the search."""
        try:
            self._write()
        finally:
            self._lock.close()

    def _write(self) -> None:
        self._last_heartbeat = time.monotonic()
        record = {
            "token": self.token,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "stopping": self.stopping,
            "spent_seconds": self.spent,
        }
        write_json(self.path, record)
        if self.on_write:
            self.on_write(self.path)


class OwnerWatch:
    """The view that a trial's process has of the search's owner.

    Args:
        path: path of ``owner.json``; None for a trial without an owner.
        token: token of the owner that started the trial.
    """

    def __init__(self, path: str | None, token: str | None) -> None:
        self.path, self.token = Path(path) if path else None, token
        self._seen, self._changed = None, time.monotonic()

    def lost(self) -> bool:
        """Whether the search has another owner, or the heartbeat of this one has timed out."""
        if self.path is None:
            return False
        owner = read_owner(self.path)
        if owner.get("token", self.token) != self.token:
            return True
        # Compared with the content seen before, not with the clock, which may differ by machine.
        if owner != self._seen:
            self._seen, self._changed = owner, time.monotonic()
        return time.monotonic() - self._changed > OWNER_TIMEOUT

    def stopping(self) -> bool:
        """Whether the owner asks the trial to stop at the end of its current epoch."""
        return self.path is not None and bool(read_owner(self.path).get("stopping"))


def read_owner(path: Path) -> dict[str, Any]:
    """Content of ``owner.json``; empty if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def locked_error(directory: Path) -> SearchError:
    """The error for a search that another process owns; the message names that process."""
    other = read_owner(directory / "owner.json")
    return SearchError(
        f"{directory} is being searched by process {other.get('pid')} "
        f"on {other.get('host')}; wait for it, stop it, or name another --out"
    )


def is_locked(directory: Path) -> bool:
    """Whether a living process owns the search in this directory."""
    try:
        with (directory / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
