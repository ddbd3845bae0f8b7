"""How objects show themselves in a notebook."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def heading(what: str, path: Path, about: str) -> str:
    """The line above a table."""
    return f"<p><b>{escape(what)}</b> <code>{escape(str(path))}</code>: {escape(about)}</p>"


def frame_html(frame: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """A table, and sentences below it."""
    table = frame.to_html(index=False, na_rep="", float_format=lambda value: f"{value:.4g}")
    return table + "".join(f"<p>{escape(note)}</p>" for note in notes)


class Page:
    """A page that was written; a notebook shows it in a frame.

    Attributes:
        path: of the html file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _repr_html_(self) -> str:
        page = escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'


class Pictures(tuple[Path, ...]):
    """Files of pictures; a notebook shows them one below the other."""

    @classmethod
    def of(cls, directory: Path) -> Pictures:
        """Those in a directory, by name; none where there is no such directory."""
        return cls(sorted(path for path in directory.glob("*") if path.suffix in _TYPES))

    def _repr_html_(self) -> str:
        return "".join(
            f"<figure><img style='max-width:100%' alt='{escape(path.stem)}' src='data:"
            f"{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}'>"
            f"<figcaption>{escape(path.stem)}</figcaption></figure>"
            for path in self
        )
