"""Music as a piano roll: which notes sound in each step of time.

A note is a MIDI number; 60 is the C in the middle of a piano. A step is a fixed part of a beat.
What sounds in two steps after one another is one note that is held: a roll does not say where a
note is struck again (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392, whose models read the
same).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import DataError

LOWEST, HIGHEST = 21, 108  # of a piano
NOTES = HIGHEST - LOWEST + 1
SILENT, GONE = 0, -1  # numbers that are no note: nothing sounds; behind the end of a piece
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
Steps = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class PianoRoll:
    """A piece of music.

    Attributes:
        steps: the notes of each step, ascending.
        per_beat: how many steps are a beat.
    """

    steps: Steps
    per_beat: int = 1


def checked_steps(steps: Any, where: str) -> Steps:
    """Lists of MIDI numbers as the steps of a piece; SILENT is left out.

    Args:
        steps: one list for each step.
        where: what it is, for messages.

    Raises:
        DataError: it is nothing of the kind, or a note is not on the piano.
    """
    if not isinstance(steps, (list, tuple, np.ndarray)):
        raise DataError(f"{where} is no list of steps; give the MIDI numbers of each: "
                        "[[60, 64, 67], [60, 65, 69]]")  # fmt: skip
    found = []
    for number, step in enumerate(steps):
        if not isinstance(step, (list, tuple, np.ndarray)):
            raise DataError(f"{where}, step {number}: {step!r} is no list of notes; give MIDI "
                            "numbers, as [60, 64, 67], and [] where nothing sounds")  # fmt: skip
        notes = set()
        for note in step:
            whole = isinstance(note, (int, float, np.number)) and note == int(note)
            if not whole or isinstance(note, bool):
                raise DataError(f"{where}, step {number}: {note!r} is no MIDI number")
            if note != SILENT and not LOWEST <= note <= HIGHEST:
                raise DataError(
                    f"{where}, step {number}: note {int(note)} is not on the piano; transpose the "
                    f"piece into {LOWEST} to {HIGHEST}"
                )
            notes.add(int(note))
        found.append(tuple(sorted(notes - {SILENT})))
    return tuple(found)


def roll_of(steps: Sequence[Sequence[int]]) -> np.ndarray:
    """Steps as ``<float32>[time, 88]``, 1 where a note sounds.

    >>> roll_of([[21], [], [22, 23]])[:, :4]
    array([[1., 0., 0., 0.],
           [0., 0., 0., 0.],
           [0., 1., 1., 0.]], dtype=float32)
    """
    roll = np.zeros((len(steps), NOTES), np.float32)
    times = np.repeat(np.arange(len(steps)), [*map(len, steps)])
    notes = np.array([note for step in steps for note in step], np.int64)
    roll[times, notes - LOWEST] = 1
    return roll


def notes_of(steps: Sequence[Sequence[int]], time: int, voices: int) -> np.ndarray:
    """Steps as numbers ``<int32>[time, voices]``, with SILENT and GONE where there is no note."""
    found = np.full((time, voices), GONE, np.int32)
    for t, step in enumerate(steps):
        found[t] = SILENT
        found[t, : len(step)] = step
    return found


def steps_of(notes: np.ndarray) -> list[list[int]]:
    """The opposite of ``notes_of``, without what is behind the end.

    >>> steps_of(np.array([[60, 64], [0, 0], [-1, -1]]))
    [[60, 64], []]
    """
    there = np.flatnonzero((notes >= SILENT).any(1))
    count = int(there[-1]) + 1 if len(there) else 0
    return [[int(note) for note in step if note >= LOWEST] for step in notes[:count]]


def note_name(note: int) -> str:
    """As musicians call it.

    >>> note_name(60), note_name(21), note_name(70)
    ('C4', 'A0', 'A#4')
    """
    return f"{NAMES[note % 12]}{note // 12 - 1}"


def chord_names(steps: Sequence[Sequence[int]]) -> str:
    """Steps in one line.

    >>> chord_names([[48, 64], []])
    'C3 E4 | -'
    """
    return " | ".join(" ".join(map(note_name, step)) or "-" for step in steps)
