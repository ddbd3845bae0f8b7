"""Touch-tone digits in noise: the offline default data of keyword spotting.

A key of a telephone is two tones at once (ITU-T Q.23), here as lines of poor quality carry them:
off by up to 1.8 %, one louder than the other by up to 8 dB, 30 to 120 ms long somewhere in half a
second, in white or humming noise from 15 dB below to 8 dB above the tones, and sometimes after a
part of another key, too short to count.
"""

from __future__ import annotations

import numpy as np

from pipelines.audio import Sound
from pipelines.audio_examples import SoundExample, generated_count

RATE = 8000
FEWEST, DEFAULT_SIZE, MAX_SIZE = 64, 1600, 100_000
LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = "123A456B789C*0#D"
SECONDS = 0.5
SHORTEST, LONGEST = 0.03, 0.12
REMNANT = 0.012  # seconds of another key


def synthetic_keys(size: int | None, seed: int) -> list[SoundExample]:
    """Sounds of one key each, all keys equally often.

    Args:
        size: how many, from 64; ``DEFAULT_SIZE`` if None.
        seed: any integer; the same seed gives the same sounds.

    Raises:
        DataError: the size is out of range.
    """
    size = generated_count(size, DEFAULT_SIZE, FEWEST, MAX_SIZE)
    draw = np.random.default_rng([17, abs(seed), seed < 0])
    order = draw.permutation(np.arange(size) % len(KEYS))
    return [
        SoundExample(KEYS[key], memory=Sound(one_key(int(key), draw), RATE), file="synthetic",
                     line=i + 1)
        for i, key in enumerate(order)
    ]  # fmt: skip


def one_key(key: int, draw: np.random.Generator) -> np.ndarray:
    """A key in noise: ``<float32>[SECONDS * RATE]`` of 16 bits."""
    total = int(SECONDS * RATE)
    length = int(draw.uniform(SHORTEST, LONGEST) * RATE)
    start = int(draw.uniform(0.05 * RATE, total - length))
    sound = np.zeros(total)
    sound[start : start + length] = tones(key, length, draw)
    if draw.random() < 0.3:
        part = int(REMNANT * RATE)
        place = int(draw.uniform(0, start - part))
        sound[place : place + part] += tones(int(draw.integers(len(KEYS))), part, draw)
    loudness = np.sqrt(np.mean(sound[start : start + length] ** 2))
    noise = draw.normal(size=total)
    if draw.random() < 0.3:
        hum = draw.uniform(50, 60) * draw.integers(1, 6)
        noise += 2 * np.sin(2 * np.pi * hum * np.arange(total) / RATE + draw.uniform(0, 6))
    noise *= loudness * 10 ** (draw.uniform(-15, 8) / 20) / np.sqrt(np.mean(noise**2))
    mixed = (sound + noise) * draw.uniform(0.05, 0.4) / np.abs(sound + noise).max()
    return (np.round(mixed * 32767) / 32768).astype(np.float32)


def tones(key: int, length: int, draw: np.random.Generator) -> np.ndarray:
    """The two tones of a key: ``<float64>[length]``, faded in and out."""
    time = np.arange(length) / RATE
    pair = LOW[key // 4], HIGH[key % 4]
    found = np.zeros(length)
    for hertz in pair:
        off, loud, phase = draw.uniform(-0.018, 0.018), draw.uniform(-4, 4), draw.uniform(0, 6.28)
        found += 10 ** (loud / 20) * np.sin(2 * np.pi * hertz * (1 + off) * time + phase)
    edge = np.minimum(1, np.minimum(time, time[::-1]) / 0.003)
    return found * edge
