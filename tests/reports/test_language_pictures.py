"""Pictures of language models: positions by hand, and a page that holds what it is given."""

import numpy as np
import pytest

from reports.language import draw_language, positions


def test_positions_are_binned_by_doubling():
    """Fifty documents of three units that cost 1, 2 and 4 bits."""
    rows = [np.log(2) * np.array([-1, -2, -4], np.float32)] * 50
    assert positions(rows) == [
        (1, 1, pytest.approx(1), 50),
        (2, 3, pytest.approx(3), 100),
    ]
    assert positions([]) == []


def test_pictures_are_drawn_of_any_text(tmp_path):
    nats = [np.full(3, -0.1, np.float32), np.zeros(0, np.float32), np.full(1, -20, np.float32)]
    tokens = [["a", "\n", "<b>"], [], ["\U0001f600"]]
    names = draw_language(tokens, nats, False, tmp_path / "pictures")
    assert all((tmp_path / "pictures" / name).stat().st_size for name in names)
    page = (tmp_path / "pictures" / "surprise.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page
    assert "28.9 bits" in page
    draw_language([], [], True, tmp_path / "none")
