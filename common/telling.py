"""What a person was told last, and a reminder where nothing was said for a while."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SILENCE_SECONDS = 10.0


class _Said:
    """The last thing that was said; a bar that moves counts as saying something all the time."""

    def __init__(self) -> None:
        self.what, self.bars = "", 0
        self.at = self.reminded = time.monotonic()


_said = _Said()


def told(what: str) -> None:
    """Takes down that a line about this was just written."""
    _said.what, _said.at = what, time.monotonic()
    _said.reminded = _said.at


def bar_shown(shown: bool) -> None:
    """Takes down that something that moves was put on the screen, or taken off."""
    _said.bars += 1 if shown else -1
    _said.at = _said.reminded = time.monotonic()


def silent_for() -> float:
    """Seconds since the last line."""
    return 0.0 if _said.bars else time.monotonic() - _said.reminded


@contextmanager
def reminding() -> Iterator[None]:
    """Within, says on stderr what is going on whenever nothing was said for ten seconds."""
    ended = threading.Event()
    _said.what, _said.at = "", time.monotonic()
    _said.reminded = _said.at

    def work() -> None:
        while not ended.wait(0.5):
            if silent_for() >= SILENCE_SECONDS:
                _said.reminded = time.monotonic()
                seconds = time.monotonic() - _said.at
                about = f": {_said.what}" if _said.what else ""
                print(f"... {seconds:.0f} s{about}", file=sys.stderr, flush=True)

    threading.Thread(target=work, name="reminder", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
