"""Whether this is a notebook, and output there that changes in place."""

from __future__ import annotations

import sys
import time
from typing import Any


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this, whose outputs are HTML; not so in a terminal."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class LiveOutput:
    """One output of a notebook's cell, shown anew in its place.

    Args:
        seconds: least time between two changes; what comes in between is left out.
    """

    def __init__(self, seconds: float = 0.5) -> None:
        self.seconds, self._shown, self._handle = seconds, 0.0, None

    def show(self, html: str, text: str, at_once: bool = False) -> None:
        """Puts this in place of what was shown.

        Args:
            html: for notebooks.
            text: for what shows no HTML.
            at_once: show it though something was shown just now.
        """
        now = time.perf_counter()
        if self._handle is not None and not at_once and now - self._shown < self.seconds:
            return
        self._shown, bundle = now, {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = _display(bundle)
        else:
            self._handle.update(bundle, raw=True)


def _display(bundle: dict[str, str]) -> Any:
    from IPython.display import display

    return display(bundle, raw=True, display_id=True)
