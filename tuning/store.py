"""Files of trials for machines that share no path: any URL that fsspec supports, such as a bucket.

Each machine has its own directory for a trial that it runs. The directory starts as a copy of what
the store holds, and is copied back to the store every few seconds. The owner of the search fetches
finished trials from the store.
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
from tuning.jobs import TrialJob

# Seconds between two transfers of a running trial.
SYNC_SECONDS = 10.0
# Files that say how a trial ended are uploaded last, when the files they describe are there.
UPLOADED_LAST = ("result.json", "stopped.json", "failure.json")


class RemoteStore:
    """Directories below a URL.

    Args:
        url: URL such as ``s3://bucket/search``; the protocol's own package must be installed.

    Raises:
        SearchError: fsspec does not know the protocol or cannot reach the URL.
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
        """Downloads everything below ``name``; local files that the store lacks are kept.

        Args:
            name: directory or file in the store.
            directory: local directory.
            without: names of directories that are not downloaded.
        """
        source = f"{self.root}/{name}"
        self.files.invalidate_cache()
        for path in self.files.find(source):
            inner = Path(path[len(source) :].lstrip("/"))
            if set(inner.parts[:-1]) & set(without) or inner.name.endswith(".part"):
                continue
            target = directory / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            with contextlib.suppress(FileNotFoundError):  # it has been replaced by a newer file
                self.files.get_file(path, str(part))
                part.replace(target)

    def push(self, directory: Path, name: str, known: dict[str, Any]) -> None:
        """Uploads files that are new or changed, and removes files that were deleted locally.

        Args:
            directory: local directory.
            name: directory in the store.
            known: stamps of the files that were uploaded before; updated by this call.
        """
        local = files_of(directory)
        # A backup after the history that it belongs to: one without the other must be the history.
        for inner in sorted(
            local, key=lambda n: (Path(n).name in UPLOADED_LAST, "backup/" in n, n)
        ):
            try:
                stamp = _stamp(local[inner])
                if known.get(inner) != stamp:
                    self.put(local[inner], f"{name}/{inner}")
                    known[inner] = stamp
            except FileNotFoundError:
                return  # the trial has gone on meanwhile; the next push uploads a complete state
        for inner in [inner for inner in known if inner not in local]:
            self.remove(f"{name}/{inner}")
            del known[inner]

    def remove(self, name: str) -> None:
        """Removes a file or a directory, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self.files.rm(f"{self.root}/{name}", recursive=True)

    def put(self, source: Path, name: str) -> None:
        """Uploads one file; at any moment it is either complete or absent."""
        target = f"{self.root}/{name}"
        self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self.files.put_file(str(source), f"{target}.part")
        self.files.mv(f"{target}.part", target)


class TrialMirror:
    """A trial's directory on this machine, for a job whose files are in a store.

    Args:
        job: the job as the owner sent it.

    Attributes:
        job: the same job with paths on this machine.
    """

    def __init__(self, job: TrialJob) -> None:
        self.name = f"trials/{job.trial}"
        self.store = RemoteStore(job.store)
        self.scratch = Path(tempfile.mkdtemp(prefix="seqloom-"))
        self.synced = time.monotonic()
        parent = job.parent and str(self.scratch / "trials" / Path(job.parent).name)
        self.job = replace(
            job,
            directory=str(self.scratch / self.name),
            parent=parent,
            owner_file=str(self.scratch / "owner.json"),
        )
        self.store.pull("owner.json", self.scratch / "owner.json")
        self.store.pull(self.name, self.job.path)
        self.known = {inner: _stamp(path) for inner, path in files_of(self.job.path).items()}
        if parent:
            self.store.pull(f"trials/{Path(parent).name}", Path(parent))

    def sync(self) -> None:
        """Downloads ``owner.json`` and uploads the trial's files, if the next transfer is due."""
        if time.monotonic() - self.synced > SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Uploads the rest and removes the local directory."""
        try:
            self._sync()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _sync(self) -> None:
        self.store.pull("owner.json", self.scratch / "owner.json")
        self.store.push(self.job.path, self.name, self.known)
        self.synced = time.monotonic()


def files_of(directory: Path) -> dict[str, Path]:
    """Files below a directory by relative name, without those that are still being written."""
    found = (path for path in directory.rglob("*") if not path.name.startswith("."))
    return {str(path.relative_to(directory)): path for path in found if path.is_file()}


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size
