"""Anomalies in pictures and files: every column, the one to blame first, and its share."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks
from pipelines.anomaly_causes import causes, causing, shares
from pipelines.frequency import HOUR, Frequency
from pipelines.series import Series
from reports.anomaly_detection import LARGE, Detected, _outline, _spans, detection_drawing

ROWS = 40


def detected(columns=3, share=None, first=0, windows=()):
    """Anomalies in rows 10 and 11, an alarm in 10; and one alone in row 30."""
    values = np.random.default_rng(0).normal(size=(ROWS, columns)).astype(np.float32)
    names = tuple(f"c{i}" for i in range(columns))
    series = Series("s", HOUR * np.arange(ROWS), values, names, Frequency(HOUR), windows)
    anomaly, alarm = np.zeros(ROWS, bool), np.zeros(ROWS, bool)
    anomaly[[10, 11, 30]] = alarm[[10, 30]] = True
    score = np.where(anomaly, 3.0, 0.2)
    return Detected(series, score, anomaly, alarm, share, first)


def blaming(columns, row_10, row_30):
    """Shares of rows of which two are anomalies, each in one column above all."""
    share = np.full((ROWS, columns), 0.1 / columns)
    share[10:12, row_10] += 0.9
    share[30, row_30] += 0.9
    return share


def texts(drawing):
    return [mark.text for mark in drawing.marks if mark.kind == "text"]


def test_the_columns_to_blame_come_first():
    found = detected(4, blaming(4, row_10=2, row_30=2))
    assert found.blamed.tolist() == [0, 0, 2, 0]
    assert found.order.tolist() == [2, 0, 1, 3]
    once = detected(4, blaming(4, row_10=3, row_30=1))
    assert once.blamed.tolist() == [0, 1, 0, 1]
    # One alarm each, but the last column has more of the anomalous rows.
    assert once.order.tolist() == [3, 1, 0, 2]
    # Before row 20 nothing is judged.
    later = detected(4, blaming(4, row_10=3, row_30=1), first=20)
    assert later.alarms.tolist() == [30]
    assert later.order.tolist() == [1, 0, 2, 3]


def test_of_old_bundles_all_columns_are_marked_in_their_order():
    found = detected(3)
    assert found.order.tolist() == [0, 1, 2]
    assert found.marks.all()
    drawing = detection_drawing(found)
    assert not any("blame" in text for text in texts(drawing))
    assert sum(mark.kind == "area" for mark in drawing.marks) == 2 * 3


@pytest.mark.parametrize("columns", [1, 2, LARGE, LARGE + 1, 50])
def test_every_column_is_drawn(columns, tmp_path):
    last = columns - 1
    drawing = detection_drawing(detected(columns, blaming(columns, last, last), 5, ((9, 12),)))
    words = texts(drawing)
    assert [word for word in words if word == "score" or word.startswith("c")][0] == f"c{last}"
    assert {f"c{i}" for i in range(columns)} <= set(words)
    # Marks are on the one column that is to blame: an alarm's two, and a run and a dot of red.
    assert [mark.kind for mark in drawing.marks].count("area") == 2
    red = [m for m in drawing.marks if "bad" in (m.style.stroke, m.style.fill) and m.kind != "text"]
    assert [m.kind for m in red if m.kind == "circle"] == ["circle"]
    assert sum(m.style.dash is None and m.kind == "line" for m in red) == 1
    tips = [mark.tip for mark in drawing.marks if mark.kind == "area"]
    share = 0.9 + 0.1 / columns
    assert tips[0] == f"alarm at 1970-01-01T10:00:00: {share:.0%} of the score"
    assert ("first to blame for 2 of 2 alarms" in words) == (columns > 1)
    # Nothing is beyond the edge, and most columns are small where there are many.
    edges = np.array([point for mark in drawing.marks for point in mark.points])
    assert edges.min() >= 0
    assert (edges.max(0) <= (drawing.width, drawing.height)).all()
    assert drawing.height < 1200
    if columns == LARGE + 1:
        drawing.save_png(tmp_path / "drawn.png")
        assert (tmp_path / "drawn.png").stat().st_size > 1000


def test_spans_by_hand():
    assert _spans(np.array([1, 1, 0, 0, 1, 0, 1, 1, 1], bool)) == [(0, 1), (4, 4), (6, 8)]
    assert _spans(np.zeros(3, bool)) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=200), st.integers(1, 20))
def test_an_outline_keeps_what_is_lowest_and_highest(values, width):
    values = np.array(values)
    rows = _outline(values, width)
    assert len(rows) <= 3 * width
    assert (np.diff(rows) > 0).all()
    assert {values.min(), values.max()} <= set(values[rows])


def test_shares_and_causes_by_hand():
    share = shares(np.array([[6.0, 3.0, 1.0], [0, 0, 0]]))
    np.testing.assert_allclose(share, [[0.6, 0.3, 0.1], [0, 0, 0]])
    assert causing(share).tolist() == [[True, True, False], [False] * 3]
    assert causes(share[0], ("a", "b", "c")) == {"a": 0.6, "b": 0.3}
    assert causes(share[1], ("a", "b", "c")) == {}


def an_answer(contribution=True):
    """To four rows of two columns, of which the last two are anomalies."""
    answer = {
        "series": "s.csv", "score": [0.5, 0.5, 4.0, 2.0], "anomaly": [0, 0, 1, 1],
        "alarms": [2], "expected": {"x": [0.0] * 4, "y": [0.0] * 4},
    }  # fmt: skip
    if contribution:
        answer["contribution"] = {"x": [0.5, 0.5, 1.0, 1.2], "y": [0.0, 0.0, 3.0, 0.8]}
        answer["causes"] = [{"y": 0.75}]
    return answer


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_files_name_the_columns_of_anomalies_and_their_share(tmp_path, ending):
    task, path = tasks.get("anomaly"), tmp_path / f"scores.{ending}"
    raw = {"values": np.arange(8.0).reshape(4, 2)}
    files = task.write_answers(None, [raw], [an_answer()], path)
    assert files == [path, path.with_suffix(".png")]
    text = path.read_text()
    if ending == "csv":
        rows = list(csv.DictReader(text.splitlines()))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    assert list(rows[0]) == ["series", "time", "x", "y", "score", "anomaly", "alarm", "cause",
                             "x_share", "y_share", "x_expected", "y_expected"]  # fmt: skip
    assert [row["cause"] or "" for row in rows] == ["", "", "y", "x; y"]
    parts = [[float(row[name] or 0) for name in ("x_share", "y_share")] for row in rows]
    assert parts == [[0, 0], [0, 0], [0.25, 0.75], [0.6, 0.4]]
    # A bundle of an earlier version has none of it.
    task.write_answers(None, [raw], [an_answer(False)], path)
    assert "cause" not in path.read_text()


def test_an_answer_says_which_columns_are_to_blame():
    task, answer = tasks.get("anomaly"), an_answer()
    line = task.format_answer(None, answer)
    assert line.endswith("row 3: 4 (1 is the threshold); 1 alarm: 1 for y")
    answer |= {"alarms": [1, 2, 3], "causes": [{"x": 0.6, "y": 0.4}, {"y": 1.0}, {"y": 0.7}]}
    assert task.format_answer(None, answer).endswith("; 3 alarms: 2 for y, 1 for x")
    assert task.format_answer(None, an_answer(False)).endswith("(1 is the threshold)")
