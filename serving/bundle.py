"""The bundle: an exported model's directory, published version by version, never half."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from common.files import write_json
from serving.errors import ServingError

FORMAT = 1


def read_manifest(bundle: str | Path) -> dict[str, Any]:
    """``manifest.json`` of a bundle.

    Raises:
        ServingError: the directory is no bundle, or one of a later format.
    """
    path = Path(bundle) / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServingError(
            f"{bundle} is no bundle: manifest.json is missing or broken; make one with "
            "`seqloom export RUN --out BUNDLE`"
        ) from error
    if not known:
        raise ServingError(f"{path} has format {manifest['format']}; this Seqloom reads {FORMAT}")
    return manifest


def next_version(bundle: Path) -> int:
    """One more than the highest version of any artefact."""
    names = [p.name for p in bundle.glob("*/*") if p.is_dir() and p.name.isdecimal()]
    return max(map(int, names), default=0) + 1


class Publication:
    """One version on its way into a bundle.

    Artefacts are written under a name that no server reads, flushed, renamed into place, and the
    manifest is replaced last.
    """

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle

    def __enter__(self) -> Publication:
        self.made = [path for path in (self.bundle, *self.bundle.parents) if not path.exists()]
        self.placed: list[Path] = []
        self.bundle.mkdir(parents=True, exist_ok=True)
        # A lock on the directory itself: it goes with the process, whatever ends it.
        self.lock = os.open(self.bundle, os.O_RDONLY)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.lock)
            raise ServingError(
                f"another export is writing to {self.bundle}; wait for it, or name another --out"
            ) from error
        for left_over in self.bundle.glob(".writing-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        self.version = next_version(self.bundle)
        self.staging = self.bundle / f".writing-{self.version}-{os.getpid()}"
        try:
            self.staging.mkdir()
        except OSError:
            self.__exit__(OSError)
            raise
        return self

    def __exit__(self, failure: type[BaseException] | None = None, *_: object) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)
        # What ends the process leaves the same as a kill does, which costs a number only.
        if failure is not None and issubclass(failure, Exception):
            self._take_back()
        os.close(self.lock)

    def _take_back(self) -> None:
        """Removes what a version that failed has left, and the directories made for it."""
        for path in self.placed:
            shutil.rmtree(path, ignore_errors=True)
        for path in [*(path.parent for path in self.placed), *self.made]:
            with contextlib.suppress(OSError):  # it holds something else
                path.rmdir()

    def directory(self, artefact: str) -> Path:
        """Directory to write an artefact such as "savedmodel" to; it is not made."""
        return self.staging / artefact

    def publish(self, manifest: dict[str, Any]) -> None:
        """Renames every artefact to its version and then writes the manifest."""
        for source in sorted(self.staging.iterdir()):
            _flush(source)
            if source.name == "triton":
                self._publish_repository(source)
                continue
            target = self.bundle / source.name / str(self.version)
            self.placed.append(target)
            target.parent.mkdir(exist_ok=True)
            os.replace(source, target)
        write_json(self.bundle / "manifest.json", {"format": FORMAT, **manifest})

    def _publish_repository(self, source: Path) -> None:
        """Triton's own layout: ``triton/<model>/<version>`` and one ``config.pbtxt`` per model."""
        for model in sorted(source.iterdir()):
            target = self.bundle / source.name / model.name
            self.placed.append(target / str(self.version))
            target.mkdir(parents=True, exist_ok=True)
            os.replace(model / str(self.version), target / str(self.version))
            os.replace(model / "config.pbtxt", target / "config.pbtxt")


def checksums(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below ``directory``, by relative path."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def size_on_disk(directory: Path) -> int:
    """Bytes of all files below ``directory``."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _flush(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
