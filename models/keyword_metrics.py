"""How well keywords are found in endless sound: misses against false alarms an hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

TOLERANCE = 0.75  # seconds after the end of a word within which it must be found


class Spoken(NamedTuple):
    """A keyword that was said: seconds from its beginning to its end."""

    start: float
    end: float
    label: str


def misses_and_alarms(
    spoken: Sequence[Spoken],
    found: Sequence[tuple[float, str]],
    seconds: float,
    tolerance: float = TOLERANCE,
) -> tuple[float, float]:
    """Share of spoken keywords that were not found, and false alarms an hour.

    A detection finds the first keyword of its label that no other detection has found, if it comes
    after its beginning and no later than ``tolerance`` after its end. All else is a false alarm:
    another label, a keyword found twice, or nothing said.

    Args:
        spoken: in order of time.
        found: time and label of each detection, in order of time.
        seconds: how long the sound is.
        tolerance: seconds.
    """
    left, alarms = list(spoken), 0
    for time, label in found:
        hit = next(
            (one for one in left
             if one.label == label and one.start <= time <= one.end + tolerance), None,
        )  # fmt: skip
        if hit is None:
            alarms += 1
        else:
            left.remove(hit)
    return len(left) / max(1, len(spoken)), alarms / seconds * 3600
