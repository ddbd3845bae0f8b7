"""Sounds as pictures: what the wrongly answered ones look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.audio_features import AudioFeatures
from reports.axes import Frame, Scale
from reports.drawing import Drawing, shortened
from reports.plots import heat, stacked

MOST_SHOWN, COLUMNS = 12, 2


def draw_keywords(
    preprocessor: Any, examples: Sequence[Any], guesses: Sequence[str], directory: Path
) -> list[str]:
    """Writes ``spectrograms.svg`` of sounds that were answered wrongly, or of some others where all
    are right."""
    truth = [one.target for one in examples]
    wrong = [i for i, pair in enumerate(zip(truth, guesses, strict=True)) if pair[0] != pair[1]]
    shown = (wrong or list(range(len(examples))))[:MOST_SHOWN]
    titles = [
        truth[i] if truth[i] == guesses[i] else f"{truth[i]}, taken for {guesses[i]}" for i in shown
    ]
    sounds = [examples[i].at(preprocessor.features.rate) for i in shown]
    drawing = spectrograms(preprocessor.features, sounds, titles)
    drawing.save_svg(directory / "spectrograms.svg")
    return ["spectrograms.svg"]


def spectrograms(
    features: AudioFeatures, sounds: Sequence[np.ndarray], titles: Sequence[str]
) -> Drawing:
    """The frames of sounds as the model gets them, before they are standardised.

    Args:
        features: samples to frames.
        sounds: ``<float32>[n]`` each, at the rate of the model.
        titles: one of each.
    """
    drawn = [
        spectrogram(features, samples, title)[0]
        for samples, title in zip(sounds, titles, strict=True)
    ]
    return stacked("spectrograms", drawn, COLUMNS)


def spectrogram(
    features: AudioFeatures, samples: np.ndarray, title: str, size: tuple[float, float] = (250, 150)
) -> tuple[Drawing, Frame]:
    """One spectrogram, seconds to the right, bands upwards; and the frame that it fills.

    Args:
        features: samples to frames.
        samples: ``<float32>[n]``, at the rate of the model.
        title: above it.
        size: width and height of the drawing.
    """
    filled = int(features.filled(len(samples)))
    frames = features.frames(np.pad(samples, (0, filled - len(samples))))
    seconds = max(len(frames) * features.frame_hop / features.rate, 1e-3)
    drawing = Drawing(*size, title or "spectrogram")
    frame = Frame(4, 24, size[0] - 12, size[1] - 46, Scale(0, seconds), Scale(0, features.width))
    if len(frames):
        drawing.image((frame.left, frame.top), frame.width, frame.height, heat(frames.T[::-1]))
    drawing.text((4, 16), shortened(title, int(size[0] / 6.5)), "foreground", bold=True)
    for position, word in frame.x.ticks(3 if size[0] < 300 else 8):
        anchor = "start" if position < 0.05 else "end" if position > 0.95 else "middle"
        drawing.text((frame.across(position), size[1] - 8), word, size=10.5, anchor=anchor)
    drawing.text((size[0] - 8, size[1] - 8), "s", size=10.5, anchor="end")
    return drawing, frame
