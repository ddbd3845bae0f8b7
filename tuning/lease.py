"""Who owns a search: one process at a time, and every trial's process can tell who.

``SEARCH/lock`` is held by ``flock`` for as long as the owner lives, on this machine or on one that
shares the directory. ``SEARCH/owner.json`` names the owner by a token and is written anew every few
seconds; a trial on another machine ends itself when the token is another's or the file grows old.
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

# Seconds between two signs of life, and without one until trials elsewhere give up.
BEAT, PATIENCE = 3.0, 60.0


class Ownership:
    """Of a search's directory, until closed or dead.

    Args:
        directory: of the search.
        told: called with the path of ``owner.json`` whenever it was written.

    Raises:
        SearchError: another process owns it.
    """

    def __init__(self, directory: Path, told: Callable[[Path], None] | None = None) -> None:
        self.told = told
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "owner.json"
        self._lock = (directory / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise owned(directory) from error
        self.token = uuid.uuid4().hex
        # Spent by owners before this one.
        self._spent = float(read_owner(self.path).get("spent_seconds", 0.0))
        self._began = self._beaten = time.monotonic()
        self.stopping = False
        self._write()

    @property
    def spent(self) -> float:
        """Seconds that the search has taken, earlier starts counted in."""
        return self._spent + time.monotonic() - self._began

    def beat(self) -> None:
        """A sign of life, where one is due."""
        if time.monotonic() - self._beaten >= BEAT:
            self._write()

    def stop(self) -> None:
        """Asks all trials to end after their epoch."""
        if not self.stopping:
            self.stopping = True
            self._write()

    def close(self) -> None:
        """Gives the search up."""
        self._write()
        self._lock.close()

    def _write(self) -> None:
        self._beaten = time.monotonic()
        record = {
            "token": self.token,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "stopping": self.stopping,
            "spent_seconds": self.spent,
        }
        write_json(self.path, record)
        if self.told:
            self.told(self.path)


class Lessee:
    """What a trial's process knows of the owner.

    Args:
        path: of ``owner.json``; None for a trial that nobody owns.
        token: of the owner that began the trial.
    """

    def __init__(self, path: str | None, token: str | None) -> None:
        self.path, self.token = Path(path) if path else None, token
        self._seen, self._changed = None, time.monotonic()

    def orphaned(self) -> bool:
        """Whether the owner is another one by now, or has given no sign of life for long."""
        if self.path is None:
            return False
        owner = read_owner(self.path)
        if owner.get("token", self.token) != self.token:
            return True
        # Compared with what was seen before and not with the clock, which may differ by machine.
        if owner != self._seen:
            self._seen, self._changed = owner, time.monotonic()
        return time.monotonic() - self._changed > PATIENCE

    def stopping(self) -> bool:
        """Whether the owner wants the trial to end after its epoch."""
        return self.path is not None and bool(read_owner(self.path).get("stopping"))


def read_owner(path: Path) -> dict[str, Any]:
    """``owner.json``; empty where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def owned(directory: Path) -> SearchError:
    """What to tell one who finds a search owned by another process."""
    other = read_owner(directory / "owner.json")
    return SearchError(
        f"{directory} is being searched by process {other.get('pid')} "
        f"on {other.get('host')}; wait for it, stop it, or name another --out"
    )


def is_owned(directory: Path) -> bool:
    """Whether a living process searches there."""
    try:
        with (directory / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
