"""Long recordings in pieces, cut where they are quiet; they are never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.audio import Sound, sound_blocks

PIECE = 30.0  # seconds of a piece, at most
QUIET = 0.1  # seconds over which loudness is measured


def pieces_of(path: str | Path, longest: float = PIECE) -> Iterator[tuple[float, Sound]]:
    """A file in pieces.

    Args:
        path: of a file that libsndfile reads.
        longest: seconds of a piece, at most.

    Yields:
        Where each begins, in seconds, and its sound, which has the place in its name where the file
        has several.

    Raises:
        DataError: the file cannot be read.
    """
    return cut(sound_blocks(path), longest)


def cut(blocks: Iterable[Sound], longest: float) -> Iterator[tuple[float, Sound]]:
    """Sound that comes in blocks of any length, in pieces; each ends in the quietest moment of its
    second half."""
    waiting, start, rate, name = np.zeros(0, np.float32), 0, 1, ""
    for block in blocks:
        rate, name = block.rate, block.name
        waiting = np.concatenate([waiting, block.samples])
        size = max(2, round(longest * rate))
        while len(waiting) > size:
            end = quietest(waiting[:size], rate)
            yield start / rate, _named(waiting[:end], rate, name, start, True)
            waiting, start = waiting[end:], start + end
    if len(waiting) or not start:
        yield start / rate, _named(waiting, rate, name, start, start > 0)


def _named(samples: np.ndarray, rate: int, name: str, start: int, several: bool) -> Sound:
    seconds = start // rate
    place = f" {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}" if several else ""
    return replace(Sound(samples, rate), name=name + place)


def quietest(samples: np.ndarray, rate: int) -> int:
    """The middle of the quietest ``QUIET`` seconds of the second half."""
    width = max(1, min(round(QUIET * rate), len(samples) // 4))
    half = len(samples) // 2
    energy = np.concatenate([[0.0], np.cumsum(samples[half:].astype(np.float64) ** 2)])
    place = int((energy[width:] - energy[:-width]).argmin())
    return half + place + width // 2
