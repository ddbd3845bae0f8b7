"""Morse code in noise: the offline default data of speech recognition.

Words and groups of letters and figures (ITU-R M.1677) as an operator keys them: 25 to 45 words a
minute, dots and dashes and gaps longer or shorter than they should be by about 8 %, a tone between
450 and 950 Hz that may drift, fading, and white noise from 5 dB above the tone to 20 dB below it,
over the whole band.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.audio import Sound
from pipelines.audio_examples import SoundExample, generated_count

RATE = 8000
FEWEST, DEFAULT_SIZE, MAX_SIZE = 64, 6000, 100_000
_MARKS = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- "
    "-..- -.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
CODE: Mapping[str, str] = dict(
    zip("abcdefghijklmnopqrstuvwxyz0123456789", _MARKS.split(), strict=True)
)
_WORDS = (
    "the and cq de rst name is ur sig report here wx fine hw copy bk tnx fer call my rig ant pwr "
    "watts up dwn qrm qsb qth qsl pse agn ok om hpe cu es gud day dx test sun rain wind temp deg "
    "age yrs qrz all old new was long way north south east west best from near sea"
)
WORDS = tuple(_WORDS.split())
LOUDEST_NOISE, SOFTEST_NOISE = -5.0, 20.0  # decibels of the tone above the noise
SPEEDS = (25.0, 45.0)
MOST_LETTERS = 8
JITTER = 0.08


def synthetic_morse(size: int | None, seed: int) -> list[SoundExample]:
    """Keyed texts; of those with five characters or more no two are the same.

    Args:
        size: how many, from 64; ``DEFAULT_SIZE`` if None.
        seed: any integer; the same seed gives the same sounds.

    Raises:
        DataError: the size is out of range.
    """
    size = generated_count(size, DEFAULT_SIZE, FEWEST, MAX_SIZE)
    draw = np.random.default_rng([19, abs(seed), seed < 0])
    found: list[SoundExample] = []
    seen: set[str] = set()
    while len(found) < size:
        text = some_text(draw)
        if text in seen and len(text) > 4:
            continue
        seen.add(text)
        decibels = draw.uniform(LOUDEST_NOISE, SOFTEST_NOISE)
        sound = Sound(keyed(text, decibels, draw), RATE)
        found.append(SoundExample(text, memory=sound, file="synthetic", line=len(found) + 1))
    return found


def some_text(draw: np.random.Generator) -> str:
    """One to three words or groups, such as call signs; every third text is one short group.

    Short texts are what a model of CTC learns its first symbols from.
    """
    letters = list(CODE)

    def group(most: int) -> str:
        return "".join(letters[i] for i in draw.integers(len(letters), size=draw.integers(1, most)))

    if draw.random() < 1 / 3:
        return group(4)
    text = ""
    for _ in range(draw.integers(1, 4)):
        part = WORDS[draw.integers(len(WORDS))] if draw.random() < 0.5 else group(6)
        longer = f"{text} {part}".strip()
        text = longer if len(longer) <= MOST_LETTERS else text
    return text


def keying(text: str, dot: float, draw: np.random.Generator | None = None) -> np.ndarray:
    """When the key is down: ``<float64>[samples]``, 0 or 1, without silence around.

    Args:
        text: of the characters of ``CODE`` and single spaces.
        dot: seconds of a dot.
        draw: makes lengths uneven; None for exact ones.
    """

    def stretch(units: float, down: float) -> np.ndarray:
        length = units * dot * (1 if draw is None else np.exp(draw.normal(0, JITTER)))
        return np.full(max(1, round(length * RATE)), down)

    pieces: list[np.ndarray] = []
    for word in text.split(" "):
        for letter in word:
            for mark in CODE[letter]:
                pieces += [stretch(1 if mark == "." else 3, 1.0), stretch(1, 0.0)]
            pieces[-1] = stretch(3, 0.0)
        pieces[-1] = stretch(7, 0.0)
    return np.concatenate(pieces[:-1])


def keyed(text: str, decibels: float, draw: np.random.Generator) -> np.ndarray:
    """A text as it is heard: ``<float32>[samples]`` of 16 bits.

    Args:
        text: what is keyed.
        decibels: power of the tone above that of the noise in the whole band.
        draw: decides on everything else.
    """
    dot = 1.2 / np.exp(draw.uniform(*np.log(SPEEDS)))  # PARIS: a word is fifty dots
    down = keying(text, dot, draw)
    around = [np.zeros(round(draw.uniform(0.05, 0.3) * RATE)) for _ in range(2)]
    down = np.concatenate([around[0], down, around[1]])
    edge = round(0.004 * RATE)
    down = np.convolve(down, np.hanning(2 * edge + 1) / edge, "same")  # no clicks
    time = np.arange(len(down)) / RATE
    hertz, drift = draw.uniform(450, 950), draw.uniform(-8, 8)
    phase = 2 * np.pi * (hertz * time + 0.5 * drift * time**2) + draw.uniform(0, 6.28)
    depth, pace = draw.uniform(0, 0.5), draw.uniform(0.1, 0.5)
    fading = 1 - depth * (0.5 + 0.5 * np.sin(2 * np.pi * pace * time))
    tone = np.sqrt(2) * fading * down * np.sin(phase)
    noise = draw.normal(size=len(tone)) * 10 ** (-decibels / 20)
    mixed = (tone + noise) * draw.uniform(0.1, 0.8) / np.abs(tone + noise).max()
    return (np.round(mixed * 32767) / 32768).astype(np.float32)
