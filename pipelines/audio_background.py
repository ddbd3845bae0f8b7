"""Sound that holds no keyword, and keywords within it: what endless sound is made of.

A model that has only met trimmed words takes everything for one. With ``--background`` its training
has examples as long as the window that ``pipelines.keyword_watch`` looks through: silence, noise,
pieces of words and words that are cut off, all of the class ``background``; and whole words in
silence and noise, of their own class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.audio import Sound
from pipelines.audio_examples import SoundExample, usual_rate
from pipelines.splits import Splits

BACKGROUND = "background"
SHORTEST_WINDOW, LONGEST_WINDOW = 0.3, 10.0  # seconds
COVERED = 0.9  # share of training sounds that fit into the window
PIECE = (0.03, 0.12)  # seconds of what is cut out of words
CUT = (0.15, 0.45)  # share of a word that is left where it is cut off
QUIETEST, LOUDEST = -90.0, -15.0  # decibels of noise, of full scale
FAINTEST, CLEAREST = 3.0, 40.0  # decibels of a word above its noise


def usual_seconds(examples: Sequence[SoundExample]) -> float:
    """How long a window must be to hold most of some sounds."""
    made = [one.seconds for one in examples if isinstance(one, MadeSound)]
    if made:
        return made[0]
    lasting = float(np.quantile([one.lasting for one in examples], COVERED))
    return min(max(lasting, SHORTEST_WINDOW), LONGEST_WINDOW)


@dataclass(frozen=True, eq=False)
class MadeSound(SoundExample):
    """A sound made from others each time that it is asked for, always the same.

    Attributes:
        how: the name of a function below.
        parts: recorded sounds that it may use.
        rate: samples a second.
        seconds: how long it is.
        seed: of its own draws.
    """

    how: str = ""
    parts: tuple[SoundExample, ...] = ()
    rate: int = 0
    seconds: float = 0.0
    seed: tuple[int, ...] = ()

    def sound(self) -> Sound:
        """Its samples."""
        draw = np.random.default_rng(self.seed)
        length = round(self.seconds * self.rate)
        words = [one.at(self.rate) for one in self.parts]
        return Sound(MAKERS[self.how](words, length, self.rate, draw).astype(np.float32), self.rate)

    @property
    def lasting(self) -> float:
        """Its seconds."""
        return self.seconds

    @property
    def digest(self) -> bytes:
        """Of what it is made of."""
        found = hashlib.sha256(repr((self.how, self.rate, self.seconds, self.seed)).encode())
        for one in self.parts:
            found.update(one.digest)
        return found.digest()


def with_background(splits: Splits[SoundExample], share: float, seed: int) -> Splits[SoundExample]:
    """Adds made sounds to train and validation; test stays as it was recorded.

    Args:
        splits: of classes.
        share: of a part that is added to it as background, and as much again as words within it.
        seed: of what is drawn.
    """
    rate, seconds = usual_rate(splits.train), usual_seconds(splits.train)
    parts = {
        name: [*whole, *_made(whole, share, rate, seconds, (abs(seed), number))]
        for number, (name, whole) in enumerate(
            [("train", splits.train), ("validation", splits.validation)]
        )
    }
    added = len(parts["train"]) - len(splits.train)
    note = (
        f"{added} training sounds were made: silence, noise and cut-up words of the class "
        f"'{BACKGROUND}', and words within them; a window is {seconds:.2f} seconds long."
    )
    fingerprint = hashlib.sha256(f"{splits.fingerprint} {share} {seed}".encode()).hexdigest()
    return replace(splits, **parts, notes=[*splits.notes, note], fingerprint=fingerprint)


def _made(
    examples: Sequence[SoundExample], share: float, rate: int, seconds: float, seed: tuple[int, ...]
) -> list[MadeSound]:
    draw = np.random.default_rng(seed)
    words = [one for one in examples if one.target != BACKGROUND]
    count = max(len(MAKERS) - 1, round(share * len(examples))) if words else 0
    none = [name for name in MAKERS if name != WHOLE]
    found = []
    for i in range(2 * count):
        how = none[i % len(none)] if i < count else WHOLE
        picks = draw.integers(len(words), size=1 if how == WHOLE else 4)
        parts = tuple(words[pick] for pick in picks) if how not in WITHOUT else ()
        target = parts[0].target if how == WHOLE else BACKGROUND
        found.append(MadeSound(
            target, file="made", line=i + 1, how=how, parts=parts, rate=rate, seconds=seconds,
            seed=(*seed, i),
        ))  # fmt: skip
    return found


# ---- from words, a length in samples, a rate and a generator to samples


def _silence(words: list, length: int, rate: int, draw: np.random.Generator) -> np.ndarray:
    if draw.random() < 0.3:
        return np.zeros(length)
    return coloured_noise(length, draw) * _level(draw, QUIETEST, -60.0)


def _noise(words: list, length: int, rate: int, draw: np.random.Generator) -> np.ndarray:
    return coloured_noise(length, draw) * _level(draw, -60.0, LOUDEST)


def _pieces(words: list, length: int, rate: int, draw: np.random.Generator) -> np.ndarray:
    found = np.zeros(length)
    at = int(draw.integers(max(1, length // 3)))
    while at < length:
        word = words[draw.integers(len(words))]
        size = min(int(draw.uniform(*PIECE) * rate), len(word), length - at)
        if not size:
            break
        start = int(draw.integers(len(word) - size + 1))
        found[at : at + size] = word[start : start + size] * _edges(size, rate)
        at += size
    return _in_noise(found, draw)


def _cut(words: list, length: int, rate: int, draw: np.random.Generator) -> np.ndarray:
    found, word = np.zeros(length), words[0]
    size = min(int(draw.uniform(*CUT) * len(word)), length)
    if draw.random() < 0.5:
        found[length - size :] = word[:size]
    else:
        found[:size] = word[len(word) - size :]
    return _in_noise(found, draw)


def _whole(words: list, length: int, rate: int, draw: np.random.Generator) -> np.ndarray:
    word = words[0]
    if len(word) >= length:
        return word
    found, start = np.zeros(length), int(draw.integers(length - len(word) + 1))
    found[start : start + len(word)] = word
    return _in_noise(found, draw)


WHOLE, WITHOUT = "whole", ("silence", "noise")
MAKERS = {"silence": _silence, "noise": _noise, "pieces": _pieces, "cut": _cut, WHOLE: _whole}


def coloured_noise(length: int, draw: np.random.Generator) -> np.ndarray:
    """Noise of mean square 1 whose power falls with frequency to a power of 0 (white) to 2."""
    spectrum = np.fft.rfft(draw.normal(size=max(2, length)))
    spectrum /= np.arange(1, len(spectrum) + 1) ** (draw.uniform(0, 2) / 2)
    noise = np.fft.irfft(spectrum, max(2, length))[:length]
    return noise / max(1e-9, float(np.sqrt(np.mean(noise**2)) if length else 1.0))


def _level(draw: np.random.Generator, low: float, high: float) -> float:
    return 10 ** (draw.uniform(low, high) / 20)


def _in_noise(found: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """As recorded half of the time, with noise below it otherwise."""
    heard = found[found != 0]
    if not len(heard) or draw.random() < 0.5:
        return found + coloured_noise(len(found), draw) * _level(draw, QUIETEST, -60.0)
    loud = np.sqrt(np.mean(heard**2)) * _level(draw, -CLEAREST, -FAINTEST)
    return found + coloured_noise(len(found), draw) * loud


def _edges(size: int, rate: int) -> np.ndarray:
    """Fades in and out within 3 ms."""
    place = np.arange(size)
    return np.minimum(1.0, (1 + np.minimum(place, place[::-1])) / max(1, 0.003 * rate))
