"""Keywords in sound without an end: a decision every 100 ms. NumPy alone, no TensorFlow.

    watch = KeywordWatch(preprocessor, predictor.run, KeywordDecoding(threshold=0.9))
    for piece in pieces:                          # samples at watch.rate, as many as there are
        for detection in watch.push(piece): ...
    for detection in watch.end(): ...

The model classifies a window as long as its training sounds are, ending at each decision. The
probabilities of the last few windows are averaged (Chen et al. 2014, "Small-footprint keyword
spotting using deep neural networks"). A keyword at the threshold is reported once until it has been
below it, and for the refractory time after one there is none. The answers are the same whatever the
sizes of the pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common.config import Config, number
from pipelines.audio_background import BACKGROUND
from pipelines.audio_program import audio_request
from pipelines.ragged import Arrays

EVERY = 0.1  # seconds from decision to decision
NO_BACKGROUND = (
    f"this model takes every sound for a keyword, as it has no class '{BACKGROUND}': train it with "
    "--background 0.5 to follow endless sound"
)


@dataclass(frozen=True)
class KeywordDecoding(Config):
    """When a keyword counts as heard in endless sound."""

    threshold: float = number(0.8, 0.0, 1.0, "probability at which a keyword in a stream is found")
    smoothing: float = number(
        0.3, 0.0, 10.0, "seconds of a stream over which probabilities are averaged"
    )
    refractory: float = number(
        0.0, 0.0, 600.0, "seconds after a keyword without another; 0: as long as the window"
    )


@dataclass(frozen=True)
class Detection:
    """A keyword that was heard.

    Attributes:
        time: seconds from the beginning to the decision, at about the end of the word.
        label: the keyword.
        probability: averaged over the last windows.
    """

    time: float
    label: str
    probability: float

    @property
    def text(self) -> str:
        """A line for a person."""
        return f"{self.time:10.1f} s  {self.label}  {self.probability:.0%}\n"

    @property
    def answer(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class KeywordDetector:
    """Probabilities of windows to detections.

    Args:
        labels: classes; ``background`` among them is never detected.
        settings: thresholds and times.
        window: seconds of a window.
    """

    def __init__(self, labels: Sequence[str], settings: KeywordDecoding, window: float) -> None:
        self.labels = tuple(labels)
        self.threshold = settings.threshold
        self.wait = round((settings.refractory or window) / EVERY)  # in decisions, as all times
        self._keywords = np.array([label != BACKGROUND for label in labels])
        self._recent: deque = deque(maxlen=max(1, round(settings.smoothing / EVERY)))
        self._decision, self._last = 0, -self.wait
        self._free = np.ones(len(self.labels), bool)  # below the threshold since it was heard

    def decide(self, probabilities: np.ndarray) -> Detection | None:
        """What the window of the next decision says: ``<float>[classes]``."""
        self._recent.append(np.asarray(probabilities, np.float64))
        self._decision += 1
        mean = np.where(self._keywords, np.mean(self._recent, 0), -1.0)
        best = int(mean.argmax())
        self._free |= mean < self.threshold
        wait = self._decision - self._last < self.wait
        if wait or mean[best] < self.threshold or not self._free[best]:
            return None
        self._last, self._free[best] = self._decision, False
        return Detection(round(self._decision * EVERY, 3), self.labels[best], float(mean[best]))


class KeywordWatch:
    """Samples to detections.

    Args:
        preprocessor: a ``KeywordPreprocessor``.
        run: request tensors to response tensors of ``serving_default``: of a predictor, a Keras
            model or a client.
        settings: thresholds and times.
        batch: decisions that are made together; a detection is reported with the last of them.

    Attributes:
        rate: samples a second that it takes.
        notes: what a person has to know.
    """

    def __init__(
        self,
        preprocessor: Any,
        run: Callable[[Arrays], Arrays],
        settings: KeywordDecoding,
        batch: int = 1,
    ) -> None:
        self.rate, self._run, self._batch = preprocessor.features.rate, run, batch
        known = BACKGROUND in preprocessor.labels
        self.notes = () if known else (NO_BACKGROUND,)
        self._size = round(preprocessor.window * self.rate)
        self._hop = round(EVERY * self.rate)
        self._detector = KeywordDetector(preprocessor.labels, settings, preprocessor.window)
        self._past = np.zeros(self._size, np.float32)  # silence comes before the beginning
        self._pieces: list[np.ndarray] = []
        self._waiting = 0
        self._windows: list[np.ndarray] = []

    def push(self, samples: np.ndarray) -> list[Detection]:
        """The detections that further samples bring.

        Args:
            samples: ``<float32>[n]`` at ``rate``; any number of them, none too.
        """
        self._pieces.append(np.asarray(samples, np.float32))
        self._waiting += len(samples)
        if self._waiting < self._hop:
            return []
        found, sound = [], np.concatenate([self._past, *self._pieces])
        whole = self._waiting // self._hop
        for i in range(1, whole + 1):
            end = len(self._past) + i * self._hop
            self._windows.append(sound[end - self._size : end])
            if len(self._windows) == self._batch:
                found += self._decided()
        end = len(self._past) + whole * self._hop
        self._past, self._pieces = sound[end - self._size : end].copy(), [sound[end:].copy()]
        self._waiting -= whole * self._hop
        return found

    def end(self) -> list[Detection]:
        """The detections that are left: half a window of silence comes after the end."""
        rest = -(-(self._waiting + self._size // 2) // self._hop) * self._hop - self._waiting
        return [*self.push(np.zeros(rest, np.float32)), *self._decided()]

    def _decided(self) -> list[Detection]:
        if not self._windows:
            return []
        rows = [{"audio": window, "rate": self.rate} for window in self._windows]
        self._windows = []
        response = self._run(audio_request(rows, self.rate))
        found = [self._detector.decide(row) for row in response["probabilities"]]
        return [one for one in found if one is not None]
