"""Sound that is answered as it comes: what ``seqloom predict --stream`` asks of a kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from common.errors import DataError
from pipelines.audio import MISSING
from pipelines.program import DEFAULT
from pipelines.ragged import Arrays


class Heard(Protocol):
    """One thing that was heard: a keyword, or more of a transcript.

    Attributes:
        text: for a person, as it is to be written, with its line break if it ends a line.
        answer: the same for JSON.
    """

    @property
    def text(self) -> str: ...

    @property
    def answer(self) -> dict[str, Any]: ...


class Live(Protocol):
    """Takes sound piece by piece; what it answers does not depend on the sizes of the pieces.

    Attributes:
        rate: samples a second that it takes.
        notes: sentences that a person has to read before.
    """

    rate: int
    notes: Sequence[str]

    def push(self, samples: np.ndarray) -> Sequence[Heard]:
        """What further samples bring: ``<float32>[n]``, any number of them."""

    def end(self) -> Sequence[Heard]:
        """What is left once the sound has ended; it takes no more then."""


class Answering(Protocol):
    """A model, wherever it is: in a bundle, in Keras, behind a server."""

    def run(self, request: Arrays, program: str = DEFAULT) -> Arrays:
        """Request tensors of a program, states among them, to its response tensors."""

    def initial(self, program: str) -> Arrays:
        """The states of a program before the first step of one row; none where it has none."""


class StreamResampler:
    """``pipelines.audio.resampled`` piece by piece: the same samples whatever the sizes of pieces.

    Args:
        rate: of what comes in.
        wanted: of what goes out.

    Raises:
        DataError: soxr is not installed.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        try:
            import soxr
        except ImportError as error:
            raise DataError(MISSING.format("soxr")) from error
        self._stream = soxr.ResampleStream(rate, wanted, 1) if rate != wanted else None
        # soxr is always given so many samples, whatever comes.
        self._size = max(1, rate // 10)
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """What is ready after further samples: ``<float32>[n]`` to ``<float32>[any number]``."""
        if self._stream is None:
            return samples
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // self._size * self._size
        self._rest = samples[whole:]
        parts = np.split(samples[:whole], range(self._size, whole, self._size)) if whole else []
        found = [self._stream.resample_chunk(part) for part in parts]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def end(self) -> np.ndarray:
        """What is left."""
        if self._stream is None:
            return self._rest
        return self._stream.resample_chunk(self._rest, last=True)
