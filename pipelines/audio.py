"""Sound: read from files, mixed down to one channel, resampled, cut into pieces.

    sound = read_sound("clip.flac")             # Sound(samples <float32>[n], rate)
    sound.at(16_000)                            # the same, resampled

Files are what libsndfile reads (wav of any width, flac, ogg, mp3...), told by their content and not
by their name. Resampling is soxr's.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError
from pipelines.audio_headers import WavHeader

if TYPE_CHECKING:
    import soundfile

LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000
MISSING = "{0} is needed to read sound; install it with: pip install {0}"
MAX_SAMPLES = 2**27  # of one sound in memory: 2 hours and 20 minutes at 16000 a second
_BLOCK = 2**20  # frames that are read at a time


@dataclass(frozen=True, eq=False)
class Sound:
    """One channel of samples.

    Attributes:
        samples: ``<float32>[n]``; full scale is -1 to 1.
        rate: samples a second.
        name: of the file, for messages; "" if there is none.
    """

    samples: np.ndarray
    rate: int
    name: str = ""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate

    def at(self, rate: int) -> Sound:
        """The same at another rate."""
        return Sound(resampled(self.samples, self.rate, rate), rate, self.name)

    @classmethod
    def of(cls, raw: Any, rate: int) -> Sound:
        """Whatever a person has.

        Args:
            raw: a ``Sound``; the path of a file; the bytes of one; samples at ``rate``; or a dict
                with ``audio``, samples, and ``rate``.
            rate: of samples that come without one.

        Raises:
            DataError: it is nothing of the kind, cannot be read, or holds NaN or infinity.
        """
        if isinstance(raw, Sound):
            return raw
        if isinstance(raw, (str, Path)):
            return read_sound(raw)
        if isinstance(raw, (bytes, bytearray)):
            return read_sound(io.BytesIO(raw))
        if isinstance(raw, Mapping):
            if "audio" not in raw:
                raise DataError("a sound given as a dict has its samples in 'audio'")
            raw, rate = raw["audio"], raw.get("rate", rate)
        return cls(checked_samples(raw), checked_rate(rate))


def checked_rate(rate: Any, where: str = "") -> int:
    """A rate as a whole number.

    Args:
        rate: samples a second.
        where: the file, for the message.

    Raises:
        DataError: it is none, or no rate at which sound is recorded.
    """
    try:
        whole = int(rate)
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if not LOWEST_RATE <= whole <= HIGHEST_RATE or whole != rate:
        raise DataError(
            f"{where + ': ' if where else ''}the rate is {rate!r}; give samples a second, from "
            f"{LOWEST_RATE} to {HIGHEST_RATE}"
        )
    return whole


def checked_samples(values: Any, where: str = "audio") -> np.ndarray:
    """Samples as ``<float32>[n]``; whole numbers of 8, 16 or 32 bits are scaled to -1 to 1.

    Raises:
        DataError: they are no row of finite numbers.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind in "iu" and isinstance(values, np.ndarray):
            half = 2.0 ** (8 * array.dtype.itemsize - 1)
            array = array / half - (1 if array.dtype.kind == "u" else 0)
        with np.errstate(over="ignore"):
            samples = array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is no row of numbers ({error})") from error
    if samples.ndim != 1:
        raise DataError(f"{where} has shape {list(samples.shape)}; give one channel: [samples]")
    if not np.isfinite(samples).all():
        raise DataError(f"{where} holds NaN or infinity; leave such samples out")
    return samples


def read_sound(
    source: str | Path | io.BytesIO, start: float = 0.0, end: float | None = None
) -> Sound:
    """Reads a file, or a part of one.

    Args:
        source: a path, or the bytes of a file.
        start: seconds at which the part begins.
        end: seconds at which it ends; the end of the file if None.

    Raises:
        DataError: there is no such file, it is no sound, is cut off, is too long to be held in
            memory, or the part is not in it.
    """
    with opened(source) as file:
        name, rate = _name(source), file.samplerate
        first, last = round(start * rate), file.frames if end is None else round(end * rate)
        if not 0 <= first <= last:
            raise DataError(f"{name}: a part from {start:g} to {end} seconds ends before it begins")
        if end is not None and last > file.frames + rate // 10:
            raise DataError(
                f"{name} lasts {file.frames / rate:.2f} seconds; a part from {start:g} to {end:g} "
                "is not in it"
            )
        last = max(first, min(last, file.frames))
        if last - first > MAX_SAMPLES:
            raise DataError(
                f"{name}: {(last - first) / rate / 3600:.1f} hours are more than one sound may "
                f"have, which is {MAX_SAMPLES} samples; cut it up, or follow it with --stream"
            )
        samples, at = np.empty(last - first, np.float32), 0
        for block in _blocks(file, name, first, last):
            samples[at : at + len(block)] = block
            at += len(block)
    return Sound(samples, rate, name)


def sound_blocks(source: str | Path, seconds: float = 60.0) -> Iterator[Sound]:
    """A file piece by piece, so that one of any length fits into memory.

    Args:
        source: path of the file.
        seconds: length of a piece.
    """
    with opened(source) as file:
        name, rate = _name(source), file.samplerate
        size = max(1, round(seconds * rate))
        for first in range(0, file.frames, size):
            blocks = list(_blocks(file, name, first, min(first + size, file.frames)))
            yield Sound(np.concatenate(blocks), rate, name)


def opened(source: str | Path | io.BytesIO) -> soundfile.SoundFile:
    """A file of sound, open for reading, at a rate at which sound is recorded.

    Raises:
        DataError: there is no such file, it is no sound that libsndfile knows, or its header lies.
    """
    try:
        import soundfile
    except ImportError as error:
        raise DataError(MISSING.format("soundfile")) from error
    name = _name(source)
    _check_header(source, name)
    try:
        file = soundfile.SoundFile(source)
    except (RuntimeError, OSError, TypeError) as error:
        raise DataError(
            f"{name} is no sound that can be read ({_reason(error)}); give a wav, flac, ogg or mp3 "
            "file"
        ) from error
    try:
        checked_rate(file.samplerate, name)
    except DataError:
        file.close()
        raise
    return file


def _check_header(source: str | Path | io.BytesIO, name: str) -> None:
    if isinstance(source, io.BytesIO):
        header = WavHeader.read(source)
        source.seek(0)
    else:
        if not Path(source).is_file():
            raise DataError(f"{name}: there is no such file; check the path")
        if not Path(source).stat().st_size:
            raise DataError(f"{name} is empty; leave it out, or record it again")
        try:
            with open(source, "rb") as file:
                header = WavHeader.read(file)
        except OSError as error:
            raise DataError(f"{name} cannot be read ({error.strerror})") from error
    if header is not None:
        header.check(name)


def _blocks(file: soundfile.SoundFile, name: str, first: int, last: int) -> Iterator[np.ndarray]:
    try:
        file.seek(first)
        while first < last:
            block = file.read(min(_BLOCK, last - first), dtype="float32", always_2d=True)
            if not len(block):
                raise DataError(
                    f"{name} is cut off: its header promises {file.frames} samples, and reading "
                    f"ended at {first}; record it again or repair its header"
                )
            mixed = block[:, 0] if block.shape[1] == 1 else block.mean(1, dtype=np.float32)
            if not np.isfinite(mixed).all():
                raise DataError(f"{name} holds NaN or infinity near sample {first}; repair it")
            first += len(block)
            yield mixed
    except (RuntimeError, OSError) as error:
        raise DataError(f"{name} cannot be read to its end ({_reason(error)})") from error


def _name(source: Any) -> str:
    return "the sound" if isinstance(source, io.BytesIO) else str(source)


def _reason(error: Exception) -> str:
    return str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at another rate, by soxr in its high quality: ``<float32>[n]`` to
    ``<float32>[about n * wanted / rate]``.

    Raises:
        DataError: soxr is not installed.
    """
    if rate == wanted or not len(samples):
        return samples
    try:
        import soxr
    except ImportError as error:
        raise DataError(MISSING.format("soxr")) from error
    return soxr.resample(samples, rate, wanted).astype(np.float32)


# ---- as a server resamples, with the same result in NumPy and in a graph

ZEROS = 16  # of the kernel, on each side
ROLL_OFF = 0.94  # where the pass band ends, as a share of half the lower rate


@lru_cache(maxsize=16)
def kernel_reach(rate: int, wanted: int) -> tuple[float, int]:
    """Cut-off in cycles a sample of the source, and taps on each side of the kernel."""
    cutoff = 0.5 * ROLL_OFF * min(1.0, wanted / rate)
    return cutoff, math.ceil(ZEROS / (2 * cutoff))


def length_at(length: int, rate: int, wanted: int) -> int:
    """Samples that ``interpolated`` gives for ``length``."""
    return -(-length * wanted // rate)


def interpolated(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at another rate, by a windowed sinc (Smith 1984, "bandlimited interpolation").

    A request may hold sound of any rate, and what answers it may be NumPy or a TensorFlow graph:
    this can be written in both, with one result (``pipelines.audio_graph.interpolated``). The
    kernel has ``ZEROS`` zero crossings on each side and a Hann window.
    """
    if rate == wanted or not len(samples):
        return samples
    cutoff, taps = kernel_reach(rate, wanted)
    found = np.zeros(length_at(len(samples), rate, wanted), np.float32)
    around = np.arange(-taps + 1, taps + 1)
    data = np.pad(samples.astype(np.float64), taps)
    for first in range(0, len(found), _BLOCK // (2 * taps)):
        n = np.arange(first, min(first + _BLOCK // (2 * taps), len(found)))
        whole, left = np.divmod(n * rate, wanted)
        distance = around - (left / wanted)[:, None]  # of each tap, in samples of the source
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / taps, -1, 1))
        weights = 2 * cutoff * np.sinc(2 * cutoff * distance) * window
        found[n] = np.sum(data[whole[:, None] + around + taps] * weights, 1)
    return found
