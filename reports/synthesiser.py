"""A plain additive synthesiser, so that one can listen to a piece without any further program."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from common.files import write_aside
from pipelines.midi import BEATS_A_MINUTE, held_notes
from pipelines.piano_roll import PianoRoll

RATE = 22_050  # samples a second
# Strength of each partial, the fundamental first: a soft organ pipe.
PARTIALS = (1.0, 0.45, 0.25, 0.12, 0.06)
ATTACK, RELEASE = 0.02, 0.12  # seconds in which a note rises and dies away
DECAY = 0.5  # per second, of a note that is held
A4, CONCERT_PITCH = 69, 440.0


def rendered(piece: PianoRoll, beats_a_minute: float = BEATS_A_MINUTE) -> np.ndarray:
    """A piece as sound: ``<float32>[samples]`` from -1 to 1, ``RATE`` a second.

    Each note is a sum of sine waves at multiples of its frequency, 440 Hz for the A above the
    middle, a semitone being the twelfth root of 2; partials that the rate cannot hold are left out.
    """
    seconds = 60 / beats_a_minute / piece.per_beat
    sound = np.zeros(int((len(piece.steps) * seconds + RELEASE) * RATE) + 1, np.float64)
    for note, first, last in held_notes(piece):
        begin = int(first * seconds * RATE)
        tone = _tone(note, (last - first) * seconds)[: len(sound) - begin]
        sound[begin : begin + len(tone)] += tone
    peak = np.abs(sound).max(initial=0.0)
    return (sound * (0.9 / peak) if peak else sound).astype(np.float32)


def frequency(note: int) -> float:
    """Hertz of a MIDI number.

    >>> frequency(69), round(frequency(60), 2)
    (440.0, 261.63)
    """
    return CONCERT_PITCH * 2 ** ((note - A4) / 12)


def _tone(note: int, seconds: float) -> np.ndarray:
    time = np.arange(int((seconds + RELEASE) * RATE)) / RATE
    base = frequency(note)
    waves = [
        strength * np.sin(2 * np.pi * base * number * time)
        for number, strength in enumerate(PARTIALS, 1) if base * number < RATE / 2
    ]  # fmt: skip
    rise = np.minimum(1.0, time / ATTACK)
    fall = np.clip((seconds + RELEASE - time) / RELEASE, 0.0, 1.0)
    return np.sum(waves, axis=0) * rise * fall * np.exp(-DECAY * time)


def write_wav(path: Path, sound: np.ndarray) -> None:
    """Sound ``<float32>[samples]`` as a file of 16 bits, one channel.

    Raises:
        WriteError: the file cannot be written; what was there before is unchanged.
    """
    samples = np.round(np.clip(sound, -1, 1) * 32767).astype("<i2")
    with write_aside(path, "wb") as file, wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
