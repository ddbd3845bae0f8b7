"""Recognisers that learn nothing of time: the commonest text, and a decoder of keyed tones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

FRAME = 0.008  # seconds
THRESHOLD = 0.5  # between the noise's level and the tone's


def keyed_text(samples: np.ndarray, rate: int, code: Mapping[str, str]) -> str:
    """Morse code by a threshold and by timing, as programs without learning have it.

    The loudest tone is found on the whole spectrum, its envelope smoothed and cut at half between
    the levels of the key up and down; the lengths of marks are parted into dots and dashes where
    that explains them best, gaps likewise at 2 and 5 dots.

    Args:
        samples: ``<float32>[n]``.
        rate: samples a second.
        code: dots and dashes of each character.
    """
    hop = max(1, round(FRAME * rate))
    if len(samples) < 8 * hop:
        return ""
    window = np.hanning(4 * hop)
    cut = np.lib.stride_tricks.sliding_window_view(samples, 4 * hop)[::hop] * window
    spectrum = np.abs(np.fft.rfft(cut))
    band = spectrum[:, 2:].mean(0).argmax() + 2
    envelope = spectrum[:, max(0, band - 1) : band + 2].sum(1)
    low, high = np.percentile(envelope, 10), np.percentile(envelope, 90)
    down = envelope > low + THRESHOLD * (high - low)
    edges = np.flatnonzero(np.diff(down.astype(int))) + 1
    runs = np.diff(np.concatenate([[0], edges, [len(down)]]))
    states = down[np.concatenate([[0], edges])]
    keep = slice(int(not states[0]), len(states) - int(not states[-1]))
    runs, states = runs[keep], states[keep]
    marks = runs[states]
    if not len(marks):
        return ""
    dot = _dot(marks)
    letters = {marks: letter for letter, marks in code.items()}
    text, marks_so_far = "", ""
    for length, is_down in zip(runs, states, strict=True):
        if is_down:
            marks_so_far += "." if length < 2 * dot else "-"
        elif length > 2 * dot:
            text += letters.get(marks_so_far, "") + (" " if length > 5 * dot else "")
            marks_so_far = ""
    return " ".join((text + letters.get(marks_so_far, "")).split())


def _dot(marks: np.ndarray) -> float:
    """Length of a dot: marks are of one and of three dots, and this one fits their lengths best."""
    found = np.sort(marks.astype(float))
    guesses = np.unique(np.concatenate([found, found / 3]))
    guesses = guesses[guesses >= 1.5] if (guesses >= 1.5).any() else guesses

    def misfit(dot: float) -> float:
        return float(np.minimum(np.log(found / dot) ** 2, np.log(found / (3 * dot)) ** 2).mean())

    return float(min(guesses, key=misfit))
