"""Trials' files where machines share no path: any place that fsspec reaches, such as a bucket.

Each machine has a directory of its own for a trial it runs; it begins as what the store holds and
is brought back there every few seconds. The search's owner takes finished trials from the store.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuning.errors import SearchError
from tuning.jobs import Job

# Seconds between two transfers of a trial that runs.
EVERY = 10.0
# What tells how a trial ended comes last, when all that it tells of is there.
LAST = ("result.json", "cut.json", "failure.json")


class Store:
    """Directories below a URL.

    Args:
        url: such as ``s3://bucket/search``; the protocol's own package must be installed.

    Raises:
        SearchError: fsspec does not know the protocol or cannot reach the place.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self.files, self.root = fsspec.core.url_to_fs(url)
            self.files.makedirs(self.root, exist_ok=True)
        except (ImportError, ValueError, OSError) as error:
            raise SearchError(f"--store {url}: {error}") from error

    def pull(self, name: str, directory: Path, without: Sequence[str] = ()) -> None:
        """Brings what lies under ``name`` here; a directory called as in ``without`` stays there.

        Files that are here and not there stay.
        """
        place = f"{self.root}/{name}"
        self.files.invalidate_cache()
        for path in self.files.find(place):
            inner = Path(path[len(place) :].lstrip("/"))
            if set(inner.parts[:-1]) & set(without) or inner.name.endswith(".part"):
                continue
            target = directory / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.with_name(f".{target.name}.part")
            with contextlib.suppress(FileNotFoundError):  # a newer one has taken its place
                self.files.get_file(path, str(aside))
                aside.replace(target)

    def push(self, directory: Path, name: str, known: dict[str, Any]) -> None:
        """Brings there what is new here, and removes there what is gone here.

        Args:
            directory: here.
            name: there.
            known: what was brought before; kept up to date.
        """
        here = files_of(directory)
        # A backup after the history that it belongs to: one without the other must be the history.
        for inner in sorted(here, key=lambda n: (Path(n).name in LAST, "backup/" in n, n)):
            try:
                stamp = _stamp(here[inner])
                if known.get(inner) != stamp:
                    self.put(here[inner], f"{name}/{inner}")
                    known[inner] = stamp
            except FileNotFoundError:
                return  # the trial has gone on meanwhile; the next time brings a whole state
        for inner in [inner for inner in known if inner not in here]:
            self.remove(f"{name}/{inner}")
            del known[inner]

    def remove(self, name: str) -> None:
        """Removes a file or a directory, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.files.rm(f"{self.root}/{name}", recursive=True)

    def put(self, source: Path, name: str) -> None:
        """Brings one file there; it is whole or absent at any moment."""
        target = f"{self.root}/{name}"
        self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self.files.put_file(str(source), f"{target}.part")
        self.files.mv(f"{target}.part", target)


class Mirror:
    """A trial's directory on this machine, for a job whose files lie in a store.

    Args:
        job: as the owner wrote it.
    """

    def __init__(self, job: Job) -> None:
        self.name = f"trials/{job.trial}"
        self.store = Store(job.store)
        self.scratch = Path(tempfile.mkdtemp(prefix="seqloom-"))
        self.synced = time.monotonic()
        parent = job.parent and str(self.scratch / "trials" / Path(job.parent).name)
        self.job = replace(
            job,
            directory=str(self.scratch / self.name),
            parent=parent,
            lease=str(self.scratch / "owner.json"),
        )
        self.store.pull("owner.json", self.scratch / "owner.json")
        self.store.pull(self.name, self.job.path)
        self.known = {inner: _stamp(path) for inner, path in files_of(self.job.path).items()}
        if parent:
            self.store.pull(f"trials/{Path(parent).name}", Path(parent))

    def sync(self) -> None:
        """Brings files to and fro, where it is time to."""
        if time.monotonic() - self.synced > EVERY:
            self._sync()

    def close(self) -> None:
        """Brings the rest, and leaves nothing here."""
        try:
            self._sync()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _sync(self) -> None:
        self.store.pull("owner.json", self.scratch / "owner.json")
        self.store.push(self.job.path, self.name, self.known)
        self.synced = time.monotonic()


def files_of(directory: Path) -> dict[str, Path]:
    """Files below a directory by their names within, those being written left out."""
    found = (path for path in directory.rglob("*") if not path.name.startswith("."))
    return {str(path.relative_to(directory)): path for path in found if path.is_file()}


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size
