"""The page of a search: what it says, that it is whole, and that it loads nothing."""

import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports.charts import learning_curves, pareto, progress
from reports.drawing import color_names
from reports.hyperparameter_charts import parallel
from reports.importance import importance
from reports.page import collapsible, escape, table
from reports.search_report import save_pictures, search_page
from tests.reports.search_files import Whole, write_search
from tuning.leaderboard import read_search
from tuning.search_lock import SearchLock

EVIL = "<script>alert('x')</script>\"&$\x00\ud800"


def some_trials(count=12):
    """Scores 0.700, 0.701, ... but for trial 3, which is best; two hyperparameters."""
    return [
        {
            "values": {"cell": ("lstm", "gru")[i % 2], "learning_rate": 0.001 * (i + 1)},
            "score": 0.95 if i == 3 else 0.7 + 0.001 * i,
            "parameters": 1000 * (i + 1),
            "latency_ms": 0.5 + 0.1 * i,
        }
        for i in range(count)
    ]


def history(number):
    rows = [f"{e}.0,0.5,{0.6 + 0.01 * e + 0.001 * number}" for e in range(3)]
    return "epoch,loss,val_accuracy\n" + "\n".join(rows) + "\n"


def drawings(page):
    found = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    return [ElementTree.fromstring(svg) for svg in found]


def loads(page):
    """Addresses outside of the page; the name of SVG's namespace is none."""
    return re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"'<>]*", page.replace(
        'xmlns="http://www.w3.org/2000/svg"', ""))  # fmt: skip


def test_the_page_tells_the_search(tmp_path):
    plan = {"strategy": "bayesian", "epochs": 3, "trials": 12, "seed": 7}
    data = {"source": "reviews.csv"}
    search = write_search(tmp_path / "s", some_trials(), history, **plan, data=data)
    page = search_page(search, [("Export the best", "seqloom export s/best")])
    whole = Whole(page)
    for words in (
        "sentiment", "reviews.csv", "bayesian search", "seed 7", "validation accuracy", "0.9500",
        "seqloom export s/best", "What mattered", "Learning curves",
    ):  # fmt: skip
        assert words in whole.text, words
    assert ("div", "class", "eyebrow") in whole.attributes
    board = next(i for i, row in enumerate(whole.rows) if row[:1] == ["rank"])
    assert whole.rows[board + 1][:4] == ["1", "0003", "completed", "0.9500"]
    assert whole.rows[board + 2][:4] == ["2", "0011", "completed", "0.7110"]
    assert len(whole.rows) - board - 1 == 12
    assert "Failed trials" not in whole.text
    # Each picture is there, and is XML.
    names = {svg.get("aria-label") for svg in drawings(page)}
    assert len(names) == 6
    assert loads(page) == []
    assert not re.search(r"<(?:link|img|iframe|script src)", page)
    assert "@import" not in page
    assert "url(" not in page


def test_every_colour_that_is_drawn_is_defined_for_both_screens(tmp_path):
    page = search_page(write_search(tmp_path / "s", some_trials(), history))
    marks = [mark for svg in drawings(page) for mark in svg.iter()]
    used = {name for mark in marks for name in mark.get("class", "").split()}
    used -= {"chart"}
    light, dark = page.split("@media screen and (prefers-color-scheme:dark)", 1)
    assert {name[2:] for name in used} <= set(color_names())
    for name in used:
        assert f"--{name[2:]}:#" in light
        assert f"--{name[2:]}:#" in dark.split("}}")[0]
        assert f".{name}{{" in page


def test_what_comes_from_data_is_escaped(tmp_path):
    trials = [
        {"values": {EVIL: EVIL if i % 2 else "b"}, "score": 0.5 + 0.01 * i, "parameters": 5 + i}
        for i in range(12)
    ]
    trials[4] = {"state": "FAILED", "values": {EVIL: EVIL}, "message": f"{EVIL}\n{EVIL}"}
    search = write_search(
        tmp_path / "s", trials, history, task=EVIL, strategy=EVIL, metric=EVIL, seed=EVIL,
        data={"source": EVIL},
    )  # fmt: skip
    page = search_page(search, [(EVIL, EVIL)])
    assert page.count("<script") == 1
    assert "alert('x')" not in page
    whole = Whole(page)
    assert "<script>alert('x')</script>" in whole.text
    assert drawings(page)
    assert "\x00" not in page
    page.encode("utf-8")
    assert save_pictures(search, tmp_path / "pictures")


def test_failed_trials_are_listed_with_their_messages(tmp_path):
    trials = some_trials(4)
    trials[1] = {"state": "FAILED", "message": "Traceback\n  line\nMemoryError: too large",
                 "attempts": [{}, {}]}  # fmt: skip
    trials[2] = {"state": "RUNNING"}
    search = write_search(tmp_path / "s", trials, trials=9)
    lock = SearchLock(tmp_path / "s")  # somebody runs it
    page = search_page(read_search(tmp_path / "s"))
    lock.close()
    whole = Whole(page)
    assert "1 failed, 1 running" in whole.text
    assert "of 9 planned" in whole.text
    assert "<summary>MemoryError: too large</summary>" in page
    assert ["0001", "2"] in [row[:2] for row in whole.rows]
    assert "Running now: " in whole.text
    assert search.rows[-1].state == "INTERRUPTED"  # before, nobody did
    text = Whole(search_page(search)).text
    assert "1 failed, 1 interrupted" in text
    assert "Running when the search was interrupted: " in text


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [{"state": "RUNNING"}],
        [{"state": "FAILED", "message": "no memory"}, {"state": "SKIPPED"}],
        [{"score": 0.5}],
        [{"score": 0.5, "values": {"units": 3}}],
        [{"state": "STOPPED", "score": 0.0, "values": {"units": 3}, "ended_at": None}],
        [{"score": 0.5, "values": {"units": i}, "parameters": None} for i in range(9)],
        [{"score": 0.5, "values": {"units": None}} for i in range(9)],
        [{"score": -1e9 * i, "values": {"kernel": [3, i], "x": 1}} for i in range(9)],
    ],
)
@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_page_comes_of_any_search(tmp_path, trials, mode):
    search = write_search(tmp_path / "s", trials, mode=mode)
    page = search_page(search)
    whole = Whole(page)
    drawings(page)
    assert "nan" not in page
    finished = any(row.state in ("COMPLETED", "STOPPED") for row in search.rows)
    assert finished == ("No trial has finished yet" not in whole.text)
    if trials and trials[0].get("message"):
        assert "The first message: no memory" in whole.text
    save_pictures(search, tmp_path / "pictures")


def test_only_the_mode_needs_to_be_known(tmp_path):
    (tmp_path / "search.json").write_text('{"mode": "min"}', encoding="utf-8")
    whole = Whole(search_page(read_search(tmp_path)))
    assert "lower is better" in whole.text
    assert tmp_path.name in whole.text


def test_a_history_with_a_nan_or_half_a_row_is_no_obstacle(tmp_path):
    def rows(number):
        if number == 0:
            return "epoch,val_accuracy\n0.0,nan\n1.0,0.5\n2.0,inf\n"
        return "epoch,val_accuracy\n0.0,0.5\n1.0" if number == 1 else "epoch,loss\n0.0,1.0\n"

    search = write_search(tmp_path / "s", some_trials(3), rows)
    chart = learning_curves(search)
    marks = [mark for mark in chart.drawing.marks if mark.trial]
    # One epoch of trial 0 is a number: a dot. The others have none.
    assert [mark.kind for mark in marks] == ["circle"]
    assert marks[0].trial == "0000"


def test_conditional_hyperparameters_are_absent_where_they_are(tmp_path):
    trials = some_trials(10)
    for i in range(0, 10, 2):
        trials[i]["values"]["heads"] = 1 + i % 4
    search = write_search(tmp_path / "s", trials)
    drawn = parallel(search, importance(search)).drawing
    assert "absent" in [mark.text for mark in drawn.marks]
    lines = [mark for mark in drawn.marks if mark.kind == "curve"]
    assert {mark.trial for mark in lines} == {f"{i:04d}" for i in range(10)}
    assert lines[-1].trial == "0003"  # the best, above all others
    assert lines[-1].style.stroke == "best"


def test_best_so_far_climbs_in_the_order_of_time(tmp_path):
    scores, times = [0.5, 0.9, 0.7, 0.8], [40, 30, 10, 20]
    trials = [
        {"score": s, "ended_at": float(t)} for s, t in zip(scores, times, strict=True)
    ]  # fmt: skip
    search = write_search(tmp_path / "s", trials)
    chart = progress(search)
    line = next(m for m in chart.drawing.marks if m.style.stroke == "best" and m.kind == "line")
    heights = [y for _, y in line.points]
    # 0.7, 0.8, 0.9 and then flat, each as a step: upwards is less.
    assert len(set(heights)) == 3
    assert heights == sorted(heights, reverse=True)
    assert "Trial 0001 is the best, found after 75% of the time" in chart.caption
    assert "only one trial came after it" not in chart.caption
    assert "one trial after it found nothing better" in chart.caption


def test_the_front_is_marked_and_listed(tmp_path):
    costs = [(0.9, 100), (0.8, 50), (0.7, 60), (0.6, 10)]
    trials = [{"score": s, "parameters": p, "values": {"u": p}} for s, p in costs]
    search = write_search(tmp_path / "s", trials)
    chart = pareto(search)
    marked = [m for m in chart.drawing.marks if m.kind == "circle" and m.size[0] == 5]
    assert [m.trial for m in marked] == ["0000", "0001", "0003"]
    assert [m.style.fill for m in marked] == ["best", "accent", "accent"]
    rows = Whole(search_page(search)).rows
    head = next(i for i, row in enumerate(rows) if "on the front of" in row)
    front = [dict(zip(rows[head], row, strict=True)) for row in rows[head + 1 : head + 4]]
    assert [row["trial"] for row in front] == ["0000", "0001", "0003"]
    assert [row["parameters"] for row in front] == ["100", "50", "10"]
    assert [row["difference to the best"] for row in front] == ["–", "0.1000", "0.3000"]
    assert {row["on the front of"] for row in front} == {"parameters"}


def test_the_best_of_hyperband_is_drawn_from_its_first_epoch(tmp_path):
    def rows(number):
        epochs = range(0, 2) if number == 0 else range(2, 4)
        return "epoch,val_accuracy\n" + "".join(f"{e}.0,0.{5 + e}\n" for e in epochs)

    trials = [
        {"score": 0.6, "values": {"u": 1}, "bracket": 1, "round": 0, "epochs": 2},
        {"score": 0.8, "values": {"u": 1}, "bracket": 1, "round": 1, "epochs": 4, "parent": "0000"},
    ]
    chart = learning_curves(write_search(tmp_path / "s", trials, rows))
    line = next(m for m in chart.drawing.marks if m.style.stroke == "best" and m.kind == "line")
    assert len(line.points) == 4
    assert "1 of 1 had their best score in their last epoch" in chart.caption


def test_importance_says_what_it_was_computed_from(tmp_path):
    trials = [
        {"score": 0.7 + 0.1 * (i % 2), "values": {"cell": ("lstm", "gru")[i % 2], "units": i % 3}}
        for i in range(24)
    ]
    text = Whole(search_page(write_search(tmp_path / "s", trials))).text
    assert "By itself cell explains 100% of the variation" in text
    assert "a random forest of the 24 trials" in text
    assert "For cell they" not in text
    assert "For cell it predicts the best score with gru (0.8000 on average)" in text
    assert "cell gru" in text  # in common of the best


def test_500_trials_make_a_page_that_opens(tmp_path):
    trials = [
        {**some_trials(1)[0], "score": 0.5 + (i * 37 % 101) / 300, "parameters": 10 + i,
         "values": {"a": i % 7, "b": (i * i) % 11 / 10, "c": "xyz"[i % 3]}}
        for i in range(500)
    ]  # fmt: skip
    search = write_search(tmp_path / "s", trials, history)
    began = time.process_time()
    page = search_page(search)
    assert time.process_time() - began < 20
    assert len(page) < 3_000_000
    assert len(Whole(page).rows) > 500


def test_pictures_are_saved_as_png(tmp_path):
    search = write_search(tmp_path / "s", some_trials(), history)
    paths = save_pictures(search, tmp_path / "docs" / "pictures")
    names = ["progress", "parallel", "importance", "slices", "curves", "pareto"]
    assert [path.name for path in paths] == [f"{name}.png" for name in names]
    for path in paths:
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(content[16:20], "big") == 2240  # two pixels a pixel


def test_cells_sort_by_what_they_stand_for():
    page = table(
        [{"name": "a", "n": 10_000}, {"name": "<b>", "n": None}],
        sort_by={0: {"n": 10_000.4}}, trials=["1", "2"], sortable=True,
    )  # fmt: skip
    whole = Whole(page)
    assert whole.rows == [["name", "n"], ["a", "10,000"], ["<b>", ""]]
    assert ("td", "data-v", "10000.4") in whole.attributes
    assert whole.attributes.count(("td", "class", "n")) == 2
    assert collapsible("short & sweet") == "short &amp; sweet"
    assert escape(collapsible("a\nb")).startswith("<details>")


def test_a_report_needs_neither_tensorflow_nor_what_it_draws_with_at_once():
    heavy = ("tensorflow", "keras", "sklearn", "matplotlib")
    code = (
        "import sys, reports.search_report, reports.importance, tasks.stages.reporting;"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
