"""Scales, colours and marks of the pictures in reports."""

import doctest
from xml.etree import ElementTree

import pytest

import reports.axes
import reports.page
import tuning.hyperparameters
from reports.axes import Scale, fitted, score_scale, tenths
from reports.drawing import COLORS, Drawing, Style, color


@pytest.mark.parametrize("module", [reports.axes, tuning.hyperparameters, reports.page])
def test_examples_in_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0


def test_text_can_be_read_on_both_screens():
    def luminance(name, theme):
        parts = [int(color(name, theme)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for theme in (0, 1):
        for name in ("foreground", "muted", "accent", "best", "bad"):
            for ground in ("background", "panel"):
                high, low = sorted((luminance(name, theme), luminance(ground, theme)))[::-1]
                # WCAG 2.1, AA: 4.5 for text.
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground, theme)
    assert COLORS["background"][0] == "#ffffff"


def test_a_canvas_draws_the_same_in_both_forms(tmp_path):
    drawing = Drawing(40, 20, "a <title>")
    drawing.box((0, 0), 20, 20, Style(fill="bad"), tip="a < b", trial="0001")
    drawing.line([(0, 10), (40, 10)], Style("foreground", width=2, dash=(4, 2), opacity=0.5))
    drawing.text((20, 10), "x < y & $z$", anchor="middle", bold=True)
    svg = ElementTree.fromstring(drawing.svg())
    space = "{http://www.w3.org/2000/svg}"
    box = svg.find(f"{space}rect")
    assert box.get("data-t") == "0001"
    assert box.find(f"{space}title").text == "a < b"
    assert svg.find(f"{space}text").text == "x < y & $z$"
    assert svg.find(f"{space}path").get("d") == "M0.0 10.0L40.0 10.0"
    drawing.save_png(tmp_path / "a.png")
    import matplotlib.image

    pixels = matplotlib.image.imread(tmp_path / "a.png")
    assert pixels.shape[:2] == (40, 80)
    left, right = pixels[4, 4, :3], pixels[4, 76, :3]
    assert [round(255 * float(v)) for v in left] == [0xB3, 0x26, 0x1E]
    assert [round(255 * float(v)) for v in right] == [255, 255, 255]


def test_scales_place_values_and_ticks():
    scale = Scale(0.0, 10.0)
    assert [scale.position(v) for v in (-5, 0, 2.5, 10, 50)] == [0, 0, 0.25, 1, 1]
    assert [label for _, label in scale.ticks(5)] == ["0", "2", "4", "6", "8", "10"]
    assert [label for _, label in Scale(0.68, 0.83).ticks(4)] == ["0.70", "0.75", "0.80"]
    log = Scale(1e-4, 1e-2, log=True)
    assert log.position(1e-3) == pytest.approx(0.5)
    assert [label for _, label in log.ticks(4)] == ["1e-4", "0.001", "0.01"]
    assert [label for _, label in Scale(1, 3, whole=True).ticks(6)] == ["1", "2", "3"]
    assert fitted([2.0, 2.0]).low < 2 < fitted([2.0, 2.0]).high


def test_a_diverged_trial_does_not_flatten_the_axis():
    scale = score_scale([*range(100, 120), 1e9], "min")
    assert scale.high < 130
    assert scale.position(1e9) == 1
    assert scale.outside(1e9)
    # Where many are far apart, the axis is logarithmic.
    assert score_scale([10.0, 100.0, 1000.0, 10000.0], "min").log


def test_tenths_rank_the_scores():
    scores = [float(i) for i in range(11)]
    assert tenths(scores, "max") == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert tenths(scores, "min") == [9, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert tenths([0.5], "max") == [9]
