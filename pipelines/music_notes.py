"""Notes as clients send and get them, and how pieces are continued."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.config import Config, number
from pipelines.piano_roll import GONE, HIGHEST, LOWEST, NOTES, SILENT

MAX_STEPS = 10_000
BAD_NOTES = (
    f"notes must be MIDI numbers from {LOWEST} to {HIGHEST}, {SILENT} where a voice is silent, and "
    f"{GONE} behind the end of a piece"
)
BAD_STEPS = f"steps must be from 1 to {MAX_STEPS}"
BAD_TEMPERATURE = "temperature must be from 0 to 100"


@dataclass(frozen=True)
class MusicDecoding(Config):
    """How pieces are continued."""

    temperature: float = number(1.0, 0.0, 100.0, "below 1 surer, above 1 wilder; 0: likeliest")
    steps: int = number(64, 1, MAX_STEPS, "steps that are written")
    seed: int = number(0, 0, 2**31 - 1, "seed of the random numbers")


def read_notes(notes: np.ndarray, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Numbers ``<int32>[batch, time, voices]`` as rows ``<float32>[batch, time, 88]`` and the
    length ``<int32>[batch]`` of each piece, up to its last step in which any number is no ``GONE``.

    Args:
        notes: numbers.
        whole: keep the steps behind the end of the longest piece.

    Raises:
        ValueError: a number is neither a note nor stands for none.
    """
    sounds = notes >= LOWEST
    if not (((notes <= HIGHEST) & sounds) | (notes == SILENT) | (notes == GONE)).all():
        raise ValueError(BAD_NOTES)
    there = (notes != GONE).any(2)
    length = (there * np.arange(1, notes.shape[1] + 1)).max(1, initial=0).astype(np.int32)
    rows = np.zeros((*notes.shape[:2], NOTES), np.float32)
    batch, time, _ = np.nonzero(sounds)
    rows[batch, time, notes[sounds] - LOWEST] = 1
    return (rows if whole else rows[:, : int(length.max(initial=0))]), length


def numbers_of(rows: np.ndarray, voices: int) -> np.ndarray:
    """Rows ``[batch, time, 88]`` as numbers ``<int>[batch, time, voices]``, the lowest first."""
    beyond = HIGHEST + 1
    numbers = np.where(rows > 0, np.arange(LOWEST, beyond), beyond)
    numbers = np.sort(numbers, -1)[..., :voices]
    return np.where(numbers < beyond, numbers, SILENT)


def checked_temperature(values: np.ndarray) -> np.ndarray:
    """``<float32>[batch]``, in the range of the setting.

    Raises:
        ValueError: it is not.
    """
    if values.size and not ((values >= 0) & (values <= 100)).all():
        raise ValueError(BAD_TEMPERATURE)
    return values.astype(np.float32)
