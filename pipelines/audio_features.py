"""Sound to frames of a log-mel spectrogram or of cepstral coefficients: the NumPy implementation.

``pipelines.audio_graph`` is the same in TensorFlow ops. Both compute in float64: the floor of the
logarithm is far below the rounding of a loud frame in float32.

A *step* of the model is ``stack`` frames side by side, every ``stride`` frames one: a linear layer
behind them is a convolution over time. Step j is made of the samples from ``j * hop`` on alone
(``hop`` and ``span`` in samples), so a stream has the same steps as the whole file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from common.config import Config, choice, number
from common.errors import ConfigError

KINDS = ("log_mel", "mfcc")
FLOOR = 1e-6  # added to the energy of a band; sound at full scale has about 100
# Slaney's mel scale: linear below 1000 Hz, logarithmic above.
_HERTZ_PER_MEL, _CORNER = 200 / 3, 1000.0
_LOG_STEP = np.log(6.4) / 27


@dataclass(frozen=True)
class AudioPreprocessing(Config):
    """How sound becomes frames."""

    sample_rate: int = number(
        0, 0, 192_000, "samples a second; 0: those of most training files, 16000 at most"
    )
    features: str = choice("log_mel", KINDS, "what a frame is")
    bands: int = number(40, 2, 512, "mel bands")
    coefficients: int = number(20, 1, 512, "of them how many cepstral ones are kept for mfcc")
    window_ms: float = number(25.0, 1.0, 1000.0, "milliseconds that a frame looks at")
    hop_ms: float = number(10.0, 1.0, 1000.0, "milliseconds from frame to frame")
    stack: int = number(3, 1, 32, "frames that a step of the model sees side by side")
    stride: int = number(2, 1, 32, "frames from step to step")
    lowest_hz: float = number(20.0, 0.0, 96_000.0, "where the lowest band begins")
    highest_hz: float = number(0.0, 0.0, 96_000.0, "where the highest ends; 0: half the rate")


@dataclass(frozen=True)
class AudioFeatures:
    """Samples to steps of the model.

    Attributes:
        config: with a ``sample_rate`` that is not 0.
        mean: of each value of a frame over training; standardised by it and ``scale``.
        scale: likewise; one over the standard deviation.
    """

    config: AudioPreprocessing
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        one = self.config
        highest = one.highest_hz or one.sample_rate / 2
        if not one.lowest_hz < highest <= one.sample_rate / 2:
            raise ConfigError(
                f"bands from {one.lowest_hz:g} to {highest:g} Hz cannot be had from "
                f"{one.sample_rate} samples a second; mend --lowest-hz and --highest-hz"
            )
        if one.stride > one.stack or one.hop_ms > one.window_ms:
            raise ConfigError(
                f"between steps nothing may be left unread: --stride {one.stride} is at most "
                f"--stack {one.stack}, --hop-ms {one.hop_ms:g} at most --window-ms "
                f"{one.window_ms:g}"
            )
        if one.features == "mfcc" and one.coefficients > one.bands:
            raise ConfigError(
                f"--coefficients {one.coefficients} of --bands {one.bands}; take less"
            )
        empty = int((self.filters.sum(0) == 0).sum())
        if empty:
            raise ConfigError(
                f"{empty} of {one.bands} bands are narrower than the spectrum's lines; take fewer "
                "--bands or a longer --window-ms"
            )

    # ---- sizes, in samples

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self.config.sample_rate

    @property
    def window(self) -> int:
        """Samples that a frame looks at."""
        return max(1, round(self.config.window_ms * self.rate / 1000))

    @property
    def frame_hop(self) -> int:
        """Samples from frame to frame."""
        return max(1, round(self.config.hop_ms * self.rate / 1000))

    @property
    def transform(self) -> int:
        """Samples of the Fourier transform: the next power of two."""
        return 1 << (self.window - 1).bit_length()

    @property
    def hop(self) -> int:
        """Samples from step to step."""
        return self.frame_hop * self.config.stride

    @property
    def span(self) -> int:
        """Samples that a step is made of."""
        return self.window + self.frame_hop * (self.config.stack - 1)

    @property
    def seconds_a_step(self) -> float:
        """From step to step."""
        return self.hop / self.rate

    @property
    def width(self) -> int:
        """Values of a frame."""
        one = self.config
        return one.coefficients if one.features == "mfcc" else one.bands

    def steps(self, samples: Any) -> Any:
        """Number of steps of so many samples: the last is filled up with silence."""
        return np.where(samples > 0, 1 + -(-np.maximum(samples - self.span, 0) // self.hop), 0)

    def filled(self, samples: Any) -> Any:
        """Samples, the silence behind included, that so many samples take."""
        return np.where(samples > 0, (self.steps(samples) - 1) * self.hop + self.span, 0)

    # ---- constants of both implementations

    @cached_property
    def taper(self) -> np.ndarray:
        """A Hann window ``<float64>[window]``, periodic as librosa's and SciPy's for spectra."""
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)

    @cached_property
    def filters(self) -> np.ndarray:
        """Triangles of equal area: ``<float64>[transform / 2 + 1, bands]`` (Slaney 1998)."""
        one = self.config
        edges = _hertz(np.linspace(
            _mel(one.lowest_hz), _mel(one.highest_hz or self.rate / 2), one.bands + 2
        ))  # fmt: skip
        lines = np.arange(self.transform // 2 + 1) * self.rate / self.transform
        up = (lines[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        down = (edges[2:] - lines[:, None]) / (edges[2:] - edges[1:-1])
        return np.maximum(0, np.minimum(up, down)) * 2 / (edges[2:] - edges[:-2])

    @cached_property
    def cosines(self) -> np.ndarray:
        """The orthonormal DCT-II: ``<float64>[bands, coefficients]``."""
        bands = self.config.bands
        n, k = np.arange(bands)[:, None], np.arange(self.config.coefficients)
        found = np.sqrt(2 / bands) * np.cos(np.pi * (n + 0.5) * k / bands)
        found[:, 0] = np.sqrt(1 / bands)
        return found

    # ---- samples to frames to steps

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """Frames of ``<float32>[n]``, not standardised: ``<float32>[frames, width]``; what is
        left over behind the last whole frame is left aside."""
        count = (
            0
            if len(samples) < self.window
            else 1 + (len(samples) - self.window) // (self.frame_hop)
        )
        parts = [self._some_frames(samples, i, min(i + 4096, count)) for i in range(0, count, 4096)]
        return np.concatenate(parts) if parts else np.zeros((0, self.width), np.float32)

    def _some_frames(self, samples: np.ndarray, first: int, last: int) -> np.ndarray:
        hop = self.frame_hop
        part = samples[first * hop : (last - 1) * hop + self.window].astype(np.float64)
        cut = np.lib.stride_tricks.sliding_window_view(part, self.window)[::hop]
        spectrum = np.fft.rfft(cut * self.taper, self.transform)
        energy = (spectrum.real**2 + spectrum.imag**2) @ self.filters
        found = np.log(energy + FLOOR)
        if self.config.features == "mfcc":
            found = found @ self.cosines
        return found.astype(np.float32)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Steps of whole sound ``<float32>[n]``: ``<float32>[steps, stack * width]``."""
        samples = np.pad(samples, (0, int(self.filled(len(samples))) - len(samples)))
        return self.stacked(self.frames(samples))

    def stacked(self, frames: np.ndarray) -> np.ndarray:
        """Frames to steps, standardised; those left over behind the last step are left aside."""
        one = self.config
        if len(frames) < one.stack:
            return np.zeros((0, one.stack * self.width), np.float32)
        if self.mean:
            frames = (frames - np.float32(self.mean)) * np.float32(self.scale)
        cut = np.lib.stride_tricks.sliding_window_view(frames, one.stack, 0)[:: one.stride]
        return cut.transpose(0, 2, 1).reshape(len(cut), -1).astype(np.float32)

    def adapted(self, sounds: Iterable[np.ndarray]) -> AudioFeatures:
        """The same with mean and scale of the frames of training sounds."""
        count, total, squares = 0, np.zeros(self.width), np.zeros(self.width)
        for samples in sounds:
            filled = np.pad(samples, (0, int(self.filled(len(samples))) - len(samples)))
            frames = self.frames(filled).astype(np.float64)
            count, total = count + len(frames), total + frames.sum(0)
            squares += (frames**2).sum(0)
        mean = total / max(1, count)
        deviation = np.sqrt(np.maximum(squares / max(1, count) - mean**2, 1e-6))
        return replace(self, mean=tuple(mean.tolist()), scale=tuple((1 / deviation).tolist()))

    # ---- as plain values

    def state(self) -> dict[str, Any]:
        """For JSON."""
        return {"config": self.config.to_dict(), "mean": self.mean, "scale": self.scale}

    @classmethod
    def of(cls, state: dict[str, Any]) -> AudioFeatures:
        """What ``state`` gave."""
        config = AudioPreprocessing.from_dict(state["config"])
        return cls(config, tuple(state["mean"]), tuple(state["scale"]))


def _mel(hertz: Any) -> Any:
    log = _CORNER / _HERTZ_PER_MEL + np.log(np.maximum(hertz, _CORNER) / _CORNER) / _LOG_STEP
    return np.where(np.asarray(hertz) < _CORNER, np.asarray(hertz) / _HERTZ_PER_MEL, log)


def _hertz(mel: Any) -> Any:
    corner = _CORNER / _HERTZ_PER_MEL
    return np.where(
        mel < corner, mel * _HERTZ_PER_MEL, _CORNER * np.exp(_LOG_STEP * (mel - corner))
    )
