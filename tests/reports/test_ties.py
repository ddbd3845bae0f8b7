"""Searches whose scores tie or differ by chance: no chart or sentence may read more into them."""

import pytest

from reports.charts import learning_curves, pareto, progress
from reports.hyperparameter_charts import parallel
from reports.importance import importance
from reports.search_report import search_page
from tests.reports.search_files import Whole, write_search


def tied(tmp_path, **about):
    """Four trials of equal score whose best epochs are 1, 1, 3 and 1 of 3."""
    curves = {0: (9, 9, 9), 1: (9, 8, 9), 2: (7, 8, 9), 3: (9, 9, 9)}

    def rows(number):
        lines = [f"{e}.0,0.{value}" for e, value in enumerate(curves[number])]
        return "epoch,val_accuracy\n" + "\n".join(lines) + "\n"

    costs = [(1, 90, 1.0), (1, 50, 0.7), (3, 70, 0.4), (1, 60, 0.9)]
    trials = [
        {"score": 0.9, "best_epoch": best, "parameters": size, "latency_ms": ms, "values": {"u": n}}
        for n, (best, size, ms) in enumerate(costs)
    ]
    return write_search(tmp_path / "s", trials, rows, **about)


def test_the_first_of_equal_epochs_is_the_best(tmp_path):
    chart = learning_curves(tied(tmp_path))
    assert "3 of 4 had their best score before their last epoch" in chart.caption
    lines = [mark for mark in chart.drawing.marks if mark.kind == "line" and mark.trial]
    others = {mark.style.stroke for mark in lines} - {"best"}
    assert len(others) == 1, "equal trials have one colour"


def test_of_equal_trials_the_smallest_is_the_best_and_the_front_has_no_two(tmp_path):
    search = tied(tmp_path)
    assert [row.trial for row in search.rows] == ["0001", "0003", "0002", "0000"]
    marked = [m for m in pareto(search).drawing.marks if m.kind == "circle" and m.size[0] == 5]
    assert [m.trial for m in marked] == ["0002", "0001"], "the fastest, and the smallest"
    caption = progress(search).caption
    assert "Trial 0001 is the best by its size" in caption
    assert "3 other trials reached the same score, the first of them after 25%" in caption
    assert "more trials are likely" not in caption


def test_equal_scores_decide_nothing_and_the_page_says_so(tmp_path):
    text = Whole(search_page(tied(tmp_path, proportion_of=80))).text
    assert "These scores decide nothing: none of the 4 trials can be told apart" in text
    unknown = Whole(search_page(tied(tmp_path / "other"))).text
    assert "--executions 3" in unknown
    clear = [{"score": 0.9}, {"score": 0.5}]
    text = Whole(search_page(write_search(tmp_path / "t", clear, proportion_of=80))).text
    assert "chance" not in text


@pytest.mark.parametrize(("second", "common"), [(0.96, True), (0.64, False)])
def test_what_is_clearly_worse_than_the_best_is_no_example_of_the_best(tmp_path, second, common):
    scores = [0.97, second, second, *([0.6] * 6)]
    trials = [{"score": s, "values": {"units": 64 if n < 3 else n}} for n, s in enumerate(scores)]
    search = write_search(tmp_path / "s", trials, proportion_of=400)
    caption = parallel(search, importance(search)).caption
    assert ("The best 3 have in common: units 64" in caption) == common
