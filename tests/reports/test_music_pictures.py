"""Music as pictures: bars are notes that are held, and means are by place."""

from xml.etree import ElementTree

import numpy as np
import pytest

from pipelines.piano_roll import PianoRoll
from reports.music import by_step, draw_music, nats_by_step, piano_roll

PIECE = PianoRoll(((60, 64), (60,), (60, 67)))


def bars(drawing):
    """Name of the note, first and last step of each bar, and its colour."""
    tips = [mark.tip.replace(", steps", "").split(" to ") for mark in boxes(drawing)]
    colors = [mark.style.fill for mark in boxes(drawing)]
    return sorted((*tip, color) for tip, color in zip(tips, colors, strict=True))


def boxes(drawing):
    return [mark for mark in drawing.marks if mark.kind == "box"]


def test_a_held_note_is_one_bar_and_the_opening_is_cut_off():
    assert bars(piano_roll(PIECE)) == [
        ("C4 1", "3", "accent"), ("E4 1", "1", "accent"), ("G4 3", "3", "accent"),
    ]  # fmt: skip
    assert bars(piano_roll(PIECE, opening=1)) == [
        ("C4 1", "1", "line"), ("C4 2", "3", "accent"), ("E4 1", "1", "line"),
        ("G4 3", "3", "accent"),
    ]  # fmt: skip
    short, *_, long = sorted(mark.size[0] for mark in boxes(piano_roll(PIECE)))
    assert long == pytest.approx(3 * short)
    assert not bars(piano_roll(PianoRoll(((), ()))))


def test_nats_are_means_of_the_pieces_that_are_that_long():
    rows = [np.array([-4.0, -1.0]), np.array([-2.0, -3.0]), np.array([-6.0])]
    assert nats_by_step(rows) == ([1], [4.0])  # fewer pieces say too little
    assert by_step(rows).marks
    assert nats_by_step([]) == ([], [])
    assert not by_step([]).marks


def test_pictures_of_a_test_part(tmp_path):
    names = draw_music([PIECE], [np.array([-4.0, -1.0, -2.0])], tmp_path)
    assert names == ["piano_roll.svg", "nll_by_step.svg"]
    assert all(ElementTree.parse(tmp_path / name) for name in names)
    assert draw_music([], [], tmp_path / "none") == []
