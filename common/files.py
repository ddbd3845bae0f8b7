"""Writing so that a reader never sees half a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def write_aside(path: Path) -> Iterator[IO[str]]:
    """A text file that takes the place of ``path``, by a rename, once all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
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
