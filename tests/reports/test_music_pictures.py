"""Music as pictures: bars are notes that are held, and means are by place."""

import numpy as np
import pytest

from pipelines.piano_roll import PianoRoll
from reports.music import by_step, draw_music, piano_roll

PIECE = PianoRoll(((60, 64), (60,), (60, 67)))


def bars(figure):
    """Begin, length and note of each bar."""
    found = []
    for collection in figure.axes[0].collections:
        for path in collection.get_paths():
            (left, bottom), (right, top) = path.get_extents().get_points()
            found.append((left, right - left, (bottom + top) / 2))
    return sorted(tuple(round(float(x), 6) for x in bar) for bar in found)


def test_a_held_note_is_one_bar_and_the_opening_is_cut_off():
    assert bars(piano_roll(PIECE)) == [(0, 1, 64), (0, 3, 60), (2, 1, 67)]
    assert bars(piano_roll(PIECE, opening=1)) == [(0, 1, 60), (0, 1, 64), (1, 2, 60), (2, 1, 67)]
    assert not bars(piano_roll(PianoRoll(((), ()))))


def test_nats_are_means_of_the_pieces_that_are_that_long():
    figure = by_step([np.array([-4.0, -1.0]), np.array([-2.0, -3.0]), np.array([-6.0])])
    (line,) = figure.axes[0].lines
    assert line.get_xdata() == pytest.approx([1])  # fewer pieces say too little
    assert line.get_ydata() == pytest.approx([4.0])
    assert not len(by_step([]).axes[0].lines[0].get_xdata())


def test_pictures_of_a_test_part(tmp_path):
    names = draw_music([PIECE], [np.array([-4.0, -1.0, -2.0])], tmp_path)
    assert names == ["piano_roll.png", "nll_by_step.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert draw_music([], [], tmp_path / "none") == []
