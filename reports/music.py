"""Music as pictures and files: piano rolls, what was not expected, MIDI and sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.midi import held_notes, write_midi
from pipelines.piano_roll import PianoRoll, note_name
from reports.axes import Frame, Scale
from reports.drawing import Drawing, Style
from reports.plots import Line, lines
from reports.synthesiser import rendered, write_wav

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
        piano_roll(piece, opening).save_png(path)
    else:
        write_midi(path, piece)
    return path


def draw_music(
    pieces: Sequence[PianoRoll], log_probabilities: Sequence[np.ndarray], directory: Path
) -> list[str]:
    """Writes ``piano_roll.svg``, the first piece with the nats of each step, and
    ``nll_by_step.svg``."""
    directory.mkdir(parents=True, exist_ok=True)
    if not pieces:
        return []
    first = PianoRoll(pieces[0].steps[:MOST_STEPS], pieces[0].per_beat)
    nats = -log_probabilities[0][:MOST_STEPS]
    piano_roll(first, nats=nats).save_svg(directory / "piano_roll.svg")
    by_step(log_probabilities).save_svg(directory / "nll_by_step.svg")
    return ["piano_roll.svg", "nll_by_step.svg"]


def piano_roll(piece: PianoRoll, opening: int = 0, nats: np.ndarray | None = None) -> Drawing:
    """Notes over time; what was given in grey, what was written in colour.

    Args:
        piece: what is drawn.
        opening: steps that were given.
        nats: how little each step was expected, ``<float>[steps]``, drawn below; None for no such.
    """
    notes = [note for step in piece.steps for note in step] or [60]
    low, high = min(notes) - 1.5, max(notes) + 1.5
    row = 7.0 if high - low < 40 else 4.5
    steps = max(1, len(piece.steps))
    drawing = Drawing(900, 60 + row * (high - low) + (0 if nats is None else 90), "piano roll")
    frame = Frame(44, 12, 844, row * (high - low), Scale(0, steps), Scale(low, high))
    for note in range(min(notes), max(notes) + 1):
        if note % 12 in (0, 7):
            y = frame.down(frame.y.position(note))
            drawing.line([(44, y), (888, y)], Style("grid"))
            drawing.text((38, y + 4), note_name(note), size=11, anchor="end")
    for note, first, last in held_notes(piece):
        for begin, end, color in ((first, min(last, opening), "line"),
                                  (max(first, opening), last, "accent")):  # fmt: skip
            if begin < end:
                left, top = frame.at(begin, note + 0.4)
                width = frame.across(frame.x.position(end)) - left
                tip = f"{note_name(note)}, steps {begin + 1} to {end}"
                look = Style("background", color, 0.4)
                drawing.box((left, top), width, 0.8 * row, look, tip=tip)
    if opening:
        x = frame.across(frame.x.position(opening))
        drawing.line([(x, 12), (x, 12 + frame.height)], Style("muted", dash=(4, 4)))
    bottom = 12 + frame.height
    if nats is not None and len(nats):
        below = Frame(44, bottom + 12, 844, 70, frame.x, Scale(0, max(float(max(nats)), 1e-6)))
        for t, value in enumerate(nats):
            left, top = below.at(t + 0.05, float(value))
            width, height = 0.9 * 844 / steps, bottom + 82 - top
            tip = f"step {t + 1}: {value:.2f} nats"
            drawing.box((left, top), width, height, Style(fill="best"), tip=tip)
        drawing.text((38, bottom + 22), f"{below.y.high:.0f}", size=11, anchor="end")
        drawing.text((38, bottom + 84), "nats", size=11, anchor="end")
        bottom += 82
    drawing.line([(44, bottom), (888, bottom)], Style("line"))
    for position, label in Scale(0, steps, whole=True).ticks(8):
        drawing.text((frame.across(position), bottom + 17), label, size=11, anchor="middle")
    drawing.text((888, bottom + 34), "step", size=12, anchor="end")
    return drawing


def by_step(log_probabilities: Sequence[np.ndarray]) -> Drawing:
    """Nats per step by its place in the piece: how much the past is worth."""
    places, means = nats_by_step(log_probabilities)
    drawn = [Line("", places, means)] if places else []
    return lines("nats by step", ("step of a piece", "nats"), drawn)


def nats_by_step(log_probabilities: Sequence[np.ndarray]) -> tuple[list[int], list[float]]:
    """Places from 1 on that enough pieces have, and their mean negative log-likelihood."""
    longest = max(map(len, log_probabilities), default=0)
    each = [[-float(row[t]) for row in log_probabilities if len(row) > t] for t in range(longest)]
    enough = min(LEAST, len(log_probabilities))
    places = [t for t, values in enumerate(each) if len(values) >= max(1, enough)]
    return [t + 1 for t in places], [float(np.mean(each[t])) for t in places]
