"""Errors of forecasts in the data's own units, by hand, and many series on one page."""

import csv

import numpy as np
import pytest

import tasks
from pipelines.frequency import HOUR, Frequency
from pipelines.series import Series
from pipelines.windows import Table, split_windows
from reports.forecasting import draw_forecasts, draw_future, panels
from reports.forecasting_errors import MOST_STEPS, error_rows

TASK = tasks.get("forecast")


def many(count, horizon=2):
    """Windows of so many series, a preprocessor, and forecasts that are wrong by hand."""
    hours = np.arange(60)
    series = [
        Series(f"s{n}<b>", hours * HOUR, np.float32([hours + n, hours * 0 + n]).T, ("up", "flat"),
               Frequency(HOUR))
        for n in range(count)
    ]  # fmt: skip
    parts, _ = split_windows(Table.of(series, 2, 2), 4, horizon, "40,10,10")
    pre, test = TASK.adapt(TASK.settings, parts["train"]), parts["test"]
    mean = test.future()
    number = np.array([int(name[1:-3]) for name in test.names])
    mean[..., 0] += number[:, None]  # off by the number of its series
    mean[:, 1, 1] -= 3  # and all of them by three at the second step of the other column
    spread = np.array([-2, -1, 0, 1, 2], np.float32)
    return pre, {"mean": mean, "quantiles": mean[..., None] + spread}, test


def test_errors_by_series_column_and_step_by_hand():
    pre, said, test = many(3)
    rows = {(row["series"], row["column"], row["step"]): row for row in error_rows(pre, said, test)}
    assert len(rows) == (1 + 3) * 2 * (1 + 2)
    assert rows["all", "up", "all"]["mae"] == 1
    assert rows["all", "up", 1]["rmse"] == pytest.approx(np.sqrt(5 / 3), rel=1e-5)
    assert rows["s2<b>", "up", 2] == {
        "series": "s2<b>", "column": "up", "step": 2, "windows": 9, "mae": 2, "rmse": 2, "bias": 2,
        "last_value_mae": 2, "coverage_80": 0,
    }  # fmt: skip
    assert rows["s1<b>", "up", "all"]["coverage_80"] == 1
    assert rows["s0<b>", "flat", "all"]["bias"] == -1.5
    assert rows["s0<b>", "flat", 1]["mae"] == 0
    assert rows["s0<b>", "flat", 2]["last_value_mae"] == 0


def test_of_many_series_the_steps_of_all_together_alone(monkeypatch):
    monkeypatch.setattr("reports.forecasting_errors.MOST_SERIES", 2)
    pre, said, test = many(3)
    rows = [(row["series"], row["step"]) for row in error_rows(pre, said, test)]
    assert [step for series, step in rows if series == "all"] == ["all", 1, 2] * 2
    assert [step for series, step in rows if series == "s1<b>"] == ["all"] * 2


@pytest.fixture
def few_panels(monkeypatch):
    """Pages that hold fewer than there are, as drawing takes long."""
    monkeypatch.setattr("reports.forecasting.MOST_PANELS", 2)


def test_pictures_of_many_series_and_the_errors_beside_them(tmp_path, few_panels):
    pre, said, test = many(4)
    names = draw_forecasts(pre, said, test, tmp_path)
    assert {"series.png", "errors.csv", "errors.html"} <= set(names)
    assert all((tmp_path / name).stat().st_size for name in names)
    with (tmp_path / "errors.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5 * 2 * 3
    page = (tmp_path / "errors.html").read_text()
    assert "s2&lt;b&gt;" in page
    assert "<b>" not in page


def test_one_series_has_no_page_of_many_and_a_long_horizon_some_of_its_steps(tmp_path):
    pre, said, test = many(1, horizon=9)
    assert "series.png" not in draw_forecasts(pre, said, test, tmp_path)
    pre, said, test = many(1, horizon=10)
    assert [row["step"] for row in error_rows(pre, said, test)][:3] == ["all", 1, 2]
    assert MOST_STEPS > 10


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (3, (3, 1)), (4, (2, 2)), (24, (6, 4))])
def test_panels_of_a_page(count, shape):
    assert panels(count) == shape


def test_forecasts_of_more_series_than_a_page_holds(tmp_path, few_panels):
    pre, said, test = many(2)
    raw = pre.raw(test)
    answers = pre.answers(said, raw)
    draw_future(raw, answers, tmp_path / "fans.png")
    assert (tmp_path / "fans.png").stat().st_size
