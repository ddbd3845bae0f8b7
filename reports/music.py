"""Music as pictures and files: piano rolls, what was not expected, MIDI and sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from common.files import write_aside
from pipelines.midi import held_notes, write_midi
from pipelines.piano_roll import PianoRoll, note_name
from reports.synthesiser import rendered, write_wav

BLUE, ORANGE, GREY = "#2c6fad", "#c2410c", "#8a8f98"
MOST_STEPS = 96  # of a picture in a report
LEAST = 10  # pieces that a place must have to be drawn


def write_music(path: Path, piece: PianoRoll, opening: int = 0) -> Path:
    """A piece as a file, by its extension: .mid, .wav, or .png for a piano roll.

    Args:
        path: of the file.
        piece: what is written.
        opening: how many of its steps were given; a picture tells them apart.
    """
    extension = path.suffix.lower()
    if extension == ".wav":
        write_wav(path, rendered(piece))
    elif extension == ".png":
        with write_aside(path, "wb") as file:
            piano_roll(piece, opening).savefig(file, dpi=110, format="png")
    else:
        write_midi(path, piece)
    return path


def draw_music(
    pieces: Sequence[PianoRoll], log_probabilities: Sequence[np.ndarray], directory: Path
) -> list[str]:
    """Writes ``piano_roll.png``, the first piece with the nats of each step, and
    ``nll_by_step.png``."""
    directory.mkdir(parents=True, exist_ok=True)
    if not pieces:
        return []
    first = PianoRoll(pieces[0].steps[:MOST_STEPS], pieces[0].per_beat)
    nats = -log_probabilities[0][:MOST_STEPS]
    piano_roll(first, nats=nats).savefig(directory / "piano_roll.png", dpi=110)
    by_step(log_probabilities).savefig(directory / "nll_by_step.png", dpi=110)
    return ["piano_roll.png", "nll_by_step.png"]


def piano_roll(piece: PianoRoll, opening: int = 0, nats: np.ndarray | None = None) -> Figure:
    """Notes over time; what was given in grey, what was written in colour.

    Args:
        piece: what is drawn.
        opening: steps that were given.
        nats: how little each step was expected, ``<float>[steps]``, drawn below; None for no such.
    """
    figure = Figure(figsize=(9, 3.4 if nats is None else 4.6), layout="constrained")
    if nats is None:
        axes = figure.subplots()
    else:
        axes, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        below.bar(np.arange(len(nats)) + 0.5, nats, width=0.9, color=ORANGE)
        below.set_ylabel("nats")
    for note, first, last in held_notes(piece):
        for begin, end, colour in ((first, min(last, opening), GREY),
                                   (max(first, opening), last, BLUE)):  # fmt: skip
            if begin < end:
                axes.broken_barh([(begin, end - begin)], (note - 0.4, 0.8), facecolor=colour,
                                 edgecolor="white", linewidth=0.4)  # fmt: skip
    if opening:
        axes.axvline(opening, color=GREY, linestyle="--", linewidth=1)
    notes = [note for step in piece.steps for note in step] or [60]
    ticks = [note for note in range(min(notes), max(notes) + 1) if note % 12 in (0, 7)]
    axes.set_yticks(ticks, [note_name(note) for note in ticks])
    axes.set_ylim(min(notes) - 1.5, max(notes) + 1.5)
    axes.set_xlim(0, max(1, len(piece.steps)))
    axes.grid(alpha=0.3)
    figure.supxlabel("step", fontsize=10)
    return figure


def by_step(log_probabilities: Sequence[np.ndarray]) -> Figure:
    """Nats a step by its place in the piece: how much the past is worth."""
    longest = max(map(len, log_probabilities), default=0)
    each = [[-float(row[t]) for row in log_probabilities if len(row) > t] for t in range(longest)]
    enough = min(LEAST, len(log_probabilities))
    places = [t for t, values in enumerate(each) if len(values) >= max(1, enough)]
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([t + 1 for t in places], [np.mean(each[t]) for t in places], color=BLUE)
    axes.set_xlabel("step of a piece")
    axes.set_ylabel("nats")
    axes.grid(alpha=0.3)
    axes.set_title("Test: how little each step was expected")
    return figure
