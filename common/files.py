"""Writing so that a reader never sees half a file, and what to say where it fails."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from common.errors import WriteError

# The disk is full, read-only, broken or another's: nothing that a program could do about it.
_STORAGE = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR,
)  # fmt: skip
# Of these libraries in C and C++ keep the text and lose the number.
_IN_TEXT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_PROBE_BYTES = 1 << 16


def storage_reason(error: BaseException) -> str | None:
    """Why a place could not be written, such as "No space left on device"; None for other errors.

    >>> storage_reason(RuntimeError("h5 file: errno = 28, No space left on device"))
    'No space left on device'
    """
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return os.strerror(error.errno)
    if isinstance(error, (OSError, RuntimeError)) or hasattr(error, "error_code"):
        text = str(error)
        return next((os.strerror(n) for n in _IN_TEXT if os.strerror(n) in text), None)
    return None


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """What fails within because ``path`` cannot be written is a WriteError that says so."""
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        if (reason := storage_reason(error)) is None:
            raise
        raise WriteError(f"{path} cannot be written: {reason}") from error


def check_writable(path: Path) -> None:
    """Asks, before any work is done for it, whether a file or directory can be written.

    Nothing is left there: the file that is written for this has no name.

    Args:
        path: what will be written; it need not exist, nor the directories that it will be in.

    Raises:
        WriteError: it cannot.
    """
    place = path if path.is_dir() else path.absolute().parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise WriteError(f"{path} cannot be written: {place} is a file, not a directory")
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:  # of any kind: file systems such as /proc have reasons of their own
        reason = error.strerror or str(error)
        raise WriteError(f"{path} cannot be written: {reason}") from error


def check_file(path: Path) -> None:
    """``check_writable`` for a file.

    Raises:
        WriteError: it cannot be written, or is a directory.
    """
    if path.is_dir():
        raise WriteError(f"{path} cannot be written: it is a directory; name a file")
    check_writable(path)


@contextmanager
def write_aside(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file that takes the place of ``path``, by a rename, once all of it is on the disk.

    Args:
        path: of the file; its directories are made.
        mode: "w" for text, "wb" for bytes.

    Raises:
        WriteError: it cannot be written; what was there before is unchanged.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open(mode, **text) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """``text``, by ``write_aside``."""
    with write_aside(path) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON, by ``write_aside``."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
