"""Charts that kinds share, and the axis of dates, with places worked by hand."""

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest

from reports.axes import Scale
from reports.drawing import Drawing, Style, inside_page, png_of, text_width
from reports.plots import Line, bars, heat, lines, matrix, seconds_of, time_scale

SVG = "{http://www.w3.org/2000/svg}"


def words(drawing):
    return [mark.text for mark in drawing.marks if mark.kind == "text"]


@pytest.mark.parametrize(("first", "last", "labels"), [
    ("2024-01-01T00:00", "2024-01-01T12:00", ["01-01", "03:00", "06:00", "09:00", "12:00"]),
    ("2024-02-27T00:00", "2024-03-02T00:00",
     ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02"]),
    ("2023-11-15T00:00", "2024-03-20T00:00", ["2023-12", "2024-01", "2024-02", "2024-03"]),
    ("1950-01-01T00:00", "1992-01-01T00:00", ["1950", "1960", "1970", "1980", "1990"]),
])  # fmt: skip
def test_ticks_of_dates_are_at_whole_units(first, last, labels):
    scale = time_scale(np.array([first, last], "datetime64[s]"))
    assert [label for _, label in scale.ticks(4)] == labels


def test_a_date_has_its_place():
    times = np.array(["2024-01-01", "2024-01-03"], "datetime64[D]")
    scale = time_scale(times)
    assert [scale.position(value) for value in seconds_of(times)] == [0, 1]
    assert time_scale([3, 7]) == Scale(3.0, 7.0)
    assert time_scale([3]).high > 3


def test_pixels_are_a_png_file(tmp_path):
    import matplotlib.image

    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    read = matplotlib.image.imread(io.BytesIO(png_of(pixels)))
    assert np.array_equal(np.round(255 * read[..., :3]).astype(np.uint8), pixels)
    drawing = Drawing(30, 20, "pixels")
    drawing.image((0, 0), 30, 20, pixels)
    image = ElementTree.fromstring(drawing.svg()).find(f"{SVG}image")
    assert base64.b64decode(image.get("href").partition(",")[2]) == png_of(pixels)
    drawing.save_png(tmp_path / "a.png")
    assert matplotlib.image.imread(tmp_path / "a.png").shape[:2] == (40, 60)


def test_an_area_is_closed_and_a_text_is_turned():
    drawing = Drawing(10, 10, "")
    drawing.area([(0, 0), (10, 0), (10, 10)], Style(fill="accent"))
    drawing.text((5, 5), "up", angle=-90)
    svg = ElementTree.fromstring(drawing.svg())
    assert svg.find(f"{SVG}path").get("d") == "M0.0 0.0L10.0 0.0L10.0 10.0Z"
    assert svg.find(f"{SVG}text").get("transform") == "rotate(-90 5.0 5.0)"


def test_a_file_has_its_colours_and_a_page_its_own(tmp_path):
    drawing = Drawing(10, 10, "a <b>")
    drawing.circle((5, 5), 2, Style(fill="accent"))
    drawing.save_svg(tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert "prefers-color-scheme" in text
    assert ":root" not in text  # which would be the whole notebook
    assert inside_page(text).strip() == drawing.svg()


def test_a_matrix_shades_its_cells():
    values = np.array([[1.0, 0.0], [-0.25, np.nan]])
    drawing = matrix("m", ["<a>", "b"], ["c", "d"], values, texts=[["1", ""], ["", ""]])
    shaded = [m.style for m in drawing.marks if m.kind == "box" and m.style.fill != "panel"]
    assert [(s.fill, s.opacity) for s in shaded] == [("accent", 1), ("best", 0.25), ("line", 0.6)]
    assert {"<a>", "b", "c", "d", "1"} <= set(words(drawing))
    ElementTree.fromstring(drawing.svg())


def test_bars_end_where_their_values_do():
    drawing = bars("b", {"x": 1.0, "y": 0.5}, top=1.0, intervals={"y": (0.25, 0.75)}, axis="F1")
    full, half = [mark for mark in drawing.marks if mark.kind == "box"]
    assert half.size[0] == pytest.approx(full.size[0] / 2)
    whisker = next(mark for mark in drawing.marks if mark.kind == "line").points
    assert whisker[1][0] - whisker[0][0] == pytest.approx(full.size[0] / 2)
    assert {"1.00", "0.50", "F1"} <= set(words(drawing))
    assert bars("none", {}).marks


def test_lines_leave_out_what_is_no_number():
    one = Line("loss", [1, 2, 3], [1.0, np.nan, 0.5], dots=True)
    drawing = lines("l", ("epoch", "nats"), [one, Line("", [1, 3], [0.7, 0.7])])
    assert sum(mark.kind == "circle" for mark in drawing.marks) == 2
    assert {"loss", "epoch", "nats"} <= set(words(drawing))
    assert not lines("empty", ("", ""), [Line("a", [], [])]).marks


def test_heat_is_dark_for_the_smallest():
    colors = heat(np.array([[0.0, 1.0], [0.5, 0.5]]))
    assert colors[0].tolist() == [[0, 0, 4], [252, 253, 191]]
    assert colors[1].tolist() == [[183, 55, 121], [183, 55, 121]]
    assert heat(np.zeros((2, 2))).tolist()[0][0] == [0, 0, 4]


def test_chinese_text_is_wider():
    assert text_width("中文", 10) == 20
    assert text_width("ab", 10) == pytest.approx(11.2)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_every_line_of_a_legend_stands_within_the_drawing(count):
    names = [f"a stage of number {i}" for i in range(count)]
    drawing = lines("l", ("x", "y"), [Line(name, [1, 2], [i, 3]) for i, name in enumerate(names)])
    root = ElementTree.fromstring(drawing.whole_svg())
    width, height = (float(root.get("viewBox").split()[i]) for i in (2, 3))
    said = {text.text: text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    places = [(float(said[name].get("x")), float(said[name].get("y"))) for name in names]
    assert len(set(places)) == count
    assert all(
        x + text_width(name, 11) <= width for (x, _), name in zip(places, names, strict=True)
    )
    assert all(y <= height for _, y in places)
