"""Sounds as pictures: what is taken for what, and what the wrongly answered ones look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.audio_features import AudioFeatures
from reports.tagging import confusion

MOST_SHOWN = 12


def draw_keywords(
    preprocessor: Any, examples: Sequence[Any], guesses: Sequence[str], directory: Path
) -> list[str]:
    """Writes ``confusion.png``, and ``spectrograms.png`` of sounds that were answered wrongly, or
    of some others where all are right."""
    directory.mkdir(parents=True, exist_ok=True)
    truth = [one.target for one in examples]
    wrong = [i for i, pair in enumerate(zip(truth, guesses, strict=True)) if pair[0] != pair[1]]
    shown = (wrong or list(range(len(examples))))[:MOST_SHOWN]
    titles = [
        truth[i] if truth[i] == guesses[i] else f"{truth[i]}, taken for {guesses[i]}" for i in shown
    ]
    sounds = [examples[i].at(preprocessor.features.rate) for i in shown]
    figures = {
        "confusion.png": confusion(truth, guesses),
        "spectrograms.png": spectrograms(preprocessor.features, sounds, titles),
    }
    for name, figure in figures.items():
        figure.savefig(directory / name, dpi=110)
    return list(figures)


def spectrograms(
    features: AudioFeatures, sounds: Sequence[np.ndarray], titles: Sequence[str]
) -> Figure:
    """The frames of sounds as the model gets them, before they are standardised.

    Args:
        features: samples to frames.
        sounds: ``<float32>[n]`` each, at the rate of the model.
        titles: one of each.
    """
    columns = min(4, max(1, len(sounds)))
    rows = -(-max(1, len(sounds)) // columns)
    figure = Figure(figsize=(3 * columns, 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, samples, title in zip(grid, sounds, titles, strict=False):
        draw_frames(axes, features, samples)
        axes.set_title(title, fontsize=9)
    for axes in grid[len(sounds) :]:
        axes.axis("off")
    return figure


def draw_frames(axes: Any, features: AudioFeatures, samples: np.ndarray) -> None:
    """One spectrogram: seconds to the right, bands upwards."""
    filled = int(features.filled(len(samples)))
    frames = features.frames(np.pad(samples, (0, filled - len(samples))))
    seconds = len(frames) * features.frame_hop / features.rate
    extent = (0, max(seconds, 1e-3), 0, features.width)
    axes.imshow(frames.T, origin="lower", aspect="auto", extent=extent, cmap="magma")
    axes.set_xlabel("seconds", fontsize=8)
    axes.tick_params(labelsize=7)
