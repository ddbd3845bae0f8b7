"""Programs that take sound: samples with their rate, or the bytes of a wav file."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.audio import HIGHEST_RATE, LOWEST_RATE, Sound, interpolated, read_sound
from pipelines.audio_features import AudioFeatures
from pipelines.encoded import EncodedRows
from pipelines.program import Cores, Program
from pipelines.ragged import Arrays, Field, Ragged, padded

SILENCE = 0.0
FIELDS = {
    "audio": Field(SILENCE, "length"),
    "frames": Field(0.0, "steps"),
    "inside": Field(0, "steps", unique=True),
}


def audio_inputs(rate: int) -> dict[str, dict[str, Any]]:
    """Request tensors of sound; ``rate`` is the model's, and may be left out."""
    return {
        "audio": {"dtype": "float32", "shape": [-1, -1]},
        "length": {"dtype": "int32", "shape": [-1]},
        "rate": {"dtype": "int32", "shape": [-1], "default": rate},
    }


def audio_request(raw: Sequence[Any], rate: int) -> Arrays:
    """Raw inputs, see ``Sound.of``, as ``audio``, ``length`` and ``rate``, resampled to it."""
    rows = [Sound.of(one, rate).at(rate).samples for one in raw]
    return {
        "audio": at_least_one(padded(rows, SILENCE) if rows else np.zeros((0, 0), np.float32)),
        "length": np.array([len(row) for row in rows], np.int32),
        "rate": np.full(len(rows), rate, np.int32),
    }


def at_least_one(audio: np.ndarray) -> np.ndarray:
    """``[batch, samples]`` with a sample of silence behind the end where there is none at all:
    servers refuse dimensions of nought, and lengths say what is there."""
    return audio if audio.shape[1] else np.zeros((len(audio), 1), np.float32)


def edge_sounds(rate: int) -> list[dict[str, Any]]:
    """Nothing, one sample, too little for a step, a loud tone, noise at another rate, a click."""
    time = np.arange(rate // 3) / rate
    draw = np.random.default_rng(0)
    other = 11_025 if rate != 11_025 else 8_000
    click = np.zeros(rate // 5, np.float32)
    click[rate // 10] = 1.0
    tone = np.clip(3 * np.sin(2 * np.pi * rate / 9 * time), -1, 1).astype(np.float32)
    noise = (0.1 * draw.normal(size=other // 4)).astype(np.float32)
    sounds = [(np.zeros(0, np.float32), rate), (click[:1] + 0.5, rate), (tone[: rate // 40], rate),
              (tone, rate), (noise, other), (click, rate)]  # fmt: skip
    return [{"audio": samples, "rate": at} for samples, at in sounds]


def checked_sounds(request: Arrays) -> list[tuple[np.ndarray, int]]:
    """The rows of a request without what is behind their ends, and their rates.

    Raises:
        ValueError: a length is not that of its row, a rate is none, or a sample is not finite.
    """
    audio, length, rate = request["audio"], request["length"], request["rate"]
    if len(length) and not 0 <= length.min() <= length.max() <= audio.shape[1]:
        raise ValueError(f"length must be from 0 to {audio.shape[1]}, the width of audio")
    if len(rate) and not LOWEST_RATE <= rate.min() <= rate.max() <= HIGHEST_RATE:
        raise ValueError(f"rate must be from {LOWEST_RATE} to {HIGHEST_RATE} samples a second")
    rows = [row[:n] for row, n in zip(audio, length, strict=True)]
    if not all(np.isfinite(row).all() for row in rows):
        raise ValueError("audio must be finite numbers")
    return list(zip(rows, map(int, rate), strict=True))


class SoundProgram(Program):
    """A program of sound: ``audio``, ``length``, ``rate`` to ``frames``, ``inside`` and ``steps``.

    Subclasses have a ``signature`` whose inputs begin with ``audio_inputs``.

    Attributes:
        features: samples to frames.
    """

    features: AudioFeatures
    fields = FIELDS

    def encode(self, request: Arrays) -> Arrays:
        """``frames <float32>[batch, steps, width]``, ``inside <int32>`` 1 in each, ``steps``."""
        sounds = checked_sounds(request)
        rows = [self.features(interpolated(x, rate, self.features.rate)) for x, rate in sounds]
        return batched(rows, self.features)


def batched(rows: Sequence[np.ndarray], features: AudioFeatures) -> Arrays:
    """Steps of sounds as model tensors; of at least one step, which may be outside."""
    steps = np.array([len(row) for row in rows], np.int32)
    width = features.config.stack * features.width
    longest = max(1, int(steps.max(initial=0)))
    blank = np.zeros((1, longest, width), np.float32)[:0]
    frames = padded([*rows, np.zeros((longest, width), np.float32)])[:-1] if rows else blank
    inside = (np.arange(longest) < steps[:, None]).astype(np.int32)
    return {"frames": frames, "inside": inside, "steps": steps}


def encoded_sounds(
    features: AudioFeatures, sounds: Sequence[np.ndarray], targets: dict[str, Any], **more: Any
) -> EncodedRows:
    """Sounds at the rate of the model as training takes them; at least a step of each."""
    rows = [features(samples) for samples in sounds]
    width = features.config.stack * features.width
    rows = [row if len(row) else np.zeros((1, width), np.float32) for row in rows]
    frames = Ragged.of(rows, np.float32, (width,))
    inside = Ragged(np.ones(len(frames.values), np.int32), frames.ends)
    return EncodedRows({"frames": frames, "inside": inside}, targets, **more)


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """A wav file of 16 bits of one channel."""
    import wave

    whole = io.BytesIO()
    with wave.open(whole, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        scaled = np.clip(np.round(samples * 32768.0), -32768, 32767)
        file.writeframes(scaled.astype("<i2").tobytes())
    return whole.getvalue()


class Wav(Program):
    """A program of sound that takes wav files: ``wav <string>[batch]``, in JSON base64.

    Args:
        inner: takes samples.
    """

    def __init__(self, inner: SoundProgram) -> None:
        self.inner = inner
        self.fields, self.shared, self.cores = inner.fields, inner.shared, inner.cores
        settings = {
            name: spec for name, spec in inner.signature["inputs"].items()
            if name not in audio_inputs(0)
        }  # fmt: skip
        wav = {"wav": {"dtype": "string", "shape": [-1]}}
        self.signature = {**inner.signature, "inputs": {**wav, **settings}}

    @property
    def labels_of(self) -> Mapping[str, Sequence[str]]:
        """Those of ``inner``."""
        return self.inner.labels_of

    def encode(self, request: Arrays) -> Arrays:
        """The samples of each file, and on as ``inner``."""
        sounds = [read_sound(io.BytesIO(one)) for one in request["wav"]]
        rows = [sound.samples for sound in sounds]
        audio = {
            "audio": padded(rows) if rows else np.zeros((0, 0), np.float32),
            "length": np.array([len(row) for row in rows], np.int32),
            "rate": np.array([sound.rate for sound in sounds], np.int32),
        }
        rest = {name: array for name, array in request.items() if name != "wav"}
        return self.inner.encode({**rest, **audio})

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """As ``inner``."""
        return self.inner.execute(cores, encoded)

    def decode(self, outputs: Arrays) -> Arrays:
        """As ``inner``."""
        return self.inner.decode(outputs)

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """The sounds as files."""
        files = [
            wav_bytes(np.clip(row[:n], -1, 1), int(rate))
            for row, n, rate in zip(
                request["audio"], request["length"], request["rate"], strict=True
            )
        ]
        whole = np.empty(len(files), object)
        whole[:] = files
        rest = {n: request[n] for n in self.signature["inputs"] if n != "wav" and n in request}
        yield {"wav": whole, **rest}

    def graph(self) -> Any:
        """The same as TensorFlow ops; wav files of 16 bits alone."""
        from pipelines.audio_program_graph import WavGraph

        return WavGraph(self.inner.graph())
