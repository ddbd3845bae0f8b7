"""Which columns hold the time: stamps in one, their parts in several, counters, or none at all."""

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from pipelines.frequency import DAY, HOUR, WEEK, Frequency, iso
from pipelines.named_columns import named_columns
from pipelines.series_columns import SeriesColumns
from pipelines.series_reader import read_series
from tasks.kinds.forecasting import ForecastReading

STEP = Frequency(1, counter=True)


@pytest.fixture
def read(tmp_path):
    def read(header, rows, **wanted):
        path = tmp_path / "a.csv"
        path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
        return read_series(path, SeriesColumns(**wanted))

    return read


def hourly(cell, days=(1, 2)):
    """Rows of a date, a clock time and a value."""
    return [(f"2020-01-{day:02}", cell(hour), hour * day % 5) for day in days for hour in range(24)]


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("Date,Time,y", hourly(lambda hour: f"{hour:02}:00:00")),
        ("date,clock,y", hourly(lambda hour: f"{hour % 12 or 12}:00 {'AP'[hour > 11]}M")),
        ("date,Hour,y", hourly(lambda hour: hour)),
        ("date,hour,y", hourly(lambda hour: f"{hour}.0")),
        ("date,time,y", hourly(lambda hour: f"{hour:02}00")),
        ("date,at,y", hourly(lambda hour: f"{hour}:00")),
        ("日期,时间,y", hourly(lambda hour: f"{hour}:00")),
        ("year,month,day,hour,y", [(2020, 1, d, h, h * d % 5) for d in (1, 2) for h in range(24)]),
        ("Year,Month,Day,Time,y",
         [(2020, "Jan", d, f"{h}:00", h * d % 5) for d in (1, 2) for h in range(24)]),
        ("yr,doy,hr,y", [(2020, d, h, h * d % 5) for d in (1, 2) for h in range(24)]),
    ],
)  # fmt: skip
def test_date_and_clock_are_joined_by_themselves(read, header, rows):
    (series,), notes = read(header, rows)
    assert series.frequency == Frequency(HOUR)
    assert iso(series.times[[0, -1]]) == ["2020-01-01T00:00:00", "2020-01-02T23:00:00"]
    assert series.columns == ("y",)
    assert any("were joined to the time" in note for note in notes)


@pytest.mark.parametrize(
    ("header", "rows", "first", "step"),
    [
        ("year,month,y", [(2020, m, m * m) for m in range(1, 9)], "2020-01-01", "month"),
        ("year,quarter,y", [(2020, q, q * q) for q in range(1, 5)], "2020-01-01", "3 months"),
        ("year,week,y", [(2021, w, w * w) for w in range(1, 9)], "2021-01-04", "week"),
        ("year,month,day,y", [(2020, 1, d, d * d) for d in range(1, 9)], "2020-01-01", "day"),
    ],
)
def test_parts_of_dates(read, header, rows, first, step):
    (series,), _ = read(header, rows)
    assert (iso(series.times)[0][:10], str(series.frequency)) == (first, step)
    assert series.columns == ("y",)


def test_the_24th_hour_is_the_next_day(read):
    rows = [(f"2020-01-{day:02}", hour, hour % 5) for day in (1, 2) for hour in range(1, 25)]
    (series,), _ = read("date,hour,y", rows)
    assert iso(series.times[[0, 23]]) == ["2020-01-01T01:00:00", "2020-01-02T00:00:00"]
    assert np.diff(series.times).tolist() == [HOUR] * 47


def test_other_clock_times_are_not_joined(read):
    rows = [(f"2020-01-{day:02}", f"07:{day:02}", day * day % 7) for day in range(1, 20)]
    (series,), _ = read("date,sunrise,y", rows)
    assert series.frequency == Frequency(DAY)
    shops = (("a", "07:00"), ("b", "08:00"))
    rows = [(f"2020-01-{day:02}", *shop, day * day % 7) for day in range(1, 20) for shop in shops]
    with pytest.raises(DataError, match="tell the series apart with --id-column store"):
        read("date,store,opened,y", rows)
    assert len(read("date,store,opened,y", rows, id="store")[0]) == 2


def test_named_columns_are_joined(read):
    rows = [(f"0{1 + h // 24}/13/2020", f"{h % 24}:30", h % 5) for h in range(24)]
    (series,), notes = read("d,h,y", rows, time="d,h")
    assert iso(series.times)[0] == "2020-01-13T00:30:00"
    assert notes == []
    with pytest.raises(DataError, match=r"'25:00'|2020-01-02 25:00"):
        read("d,h,y", [("2020-01-01", "1:00", 1), ("2020-01-02", "25:00", 2),
                       ("2020-01-03", "1:00", 3)], time="d,h")  # fmt: skip
    with pytest.raises(DataError, match="--time-column a,b: read were 'a' as clock"):
        read("a,b,y", [("1:00", "2:00", 1), ("1:00", "3:00", 2)], time="a,b")


def test_clock_times_are_refused_as_ids(read):
    rows = hourly(lambda hour: f"{hour:02}:00")
    with pytest.raises(DataError, match=r"--time-column Date,Time \(if it does"):
        read("Date,Time,y", rows, id="Time")
    series, _ = read("Date,Time,y", rows, id="Time", time="Date")  # if that is what is wanted
    assert len(series) == 24


def test_several_columns_make_the_id(read):
    rows = [(f"2020-01-{day:02}", store, item, day * store + item)
            for store in (1, 2) for item in (1, 2, 3) for day in range(1, 9)]  # fmt: skip
    series, _ = read("date,store,item,y", rows, id="store,item")
    assert [one.name for one in series] == ["1/1", "1/2", "1/3", "2/1", "2/2", "2/3"]
    assert series[4].columns == ("y",)
    assert series[4].values[:, 0].tolist() == [day * 2 + 2 for day in range(1, 9)]
    for wanted in ({}, {"id": "store"}):
        with pytest.raises(DataError, match="with --id-column store,item"):
            read("date,store,item,y", rows, **wanted)
    with pytest.raises(DataError, match="column 'shop' is not there.*--id-column"):
        read("date,store,item,y", rows, id="store,shop")


def test_ids_that_join_to_one_name_stay_two_series(read):
    rows = [(f"2020-01-{day:02}", *pair, day * day)
            for pair in (("a/b", "c"), ("a", "b/c")) for day in (1, 2, 3)]  # fmt: skip
    assert [len(one) for one in read("date,p,q,y", rows, id="p,q")[0]] == [3, 3]


def test_a_name_with_a_comma_is_one_column():
    assert named_columns("Temp, C", "--target", ["Temp, C", "Temp", "C"]) == ("Temp, C",)
    assert named_columns("Temp, C", "--target", ["Temp", "C"]) == ("Temp", "C")


@pytest.mark.parametrize("role", ["time", "id"])
def test_a_list_that_names_no_column_is_refused(read, role):
    with pytest.raises(DataError, match=f"--{role}-column , names no column"):
        read("date,y", [("2020-01-01", 1), ("2020-01-02", 2)], **{role: ","})


@pytest.mark.parametrize("flag", ["target", "covariates", "known"])
def test_a_setting_that_names_no_column_is_refused(flag):
    with pytest.raises(DataError, match=f"--{flag} , ,  names no column"):
        _ = ForecastReading(**{flag: ", , "}).columns


def test_frames():
    days = np.repeat(pd.date_range("2020-01-01", periods=2), 24)
    clocks = [pd.Timestamp(2020, 1, 1, hour).time() for hour in range(24)] * 2
    frame = pd.DataFrame({"date": days, "time": clocks, "y": np.arange(48) % 5})
    (series,), _ = read_series(frame, SeriesColumns())
    assert series.frequency == Frequency(HOUR)
    index = pd.MultiIndex.from_product(
        [["a", "b"], [1, 2], pd.date_range("2020-01-01", periods=9)], names=["store", "item", "day"]
    )
    series, _ = read_series(
        pd.DataFrame({"y": range(36)}, index=index), SeriesColumns(id="store,item")
    )
    assert [one.name for one in series] == ["a/1", "a/2", "b/1", "b/2"]


# ---- counters, and no time at all


@pytest.mark.parametrize("name", ["t", "step", "time", "cycle", "month", "Index"])
def test_a_counter_is_the_time(read, name):
    rows = [(10 * i, i * i % 7) for i in range(20) if i != 7]
    (series,), notes = read(f"{name},y", rows)
    assert series.frequency == Frequency(10, counter=True)
    assert series.times.tolist() == list(range(0, 200, 10))
    assert series.columns == ("y",)
    assert any("counts the rows" in note for note in notes)
    assert any("1 missing row was inserted" in note for note in notes)


def test_each_series_has_its_own_counter(read):
    rows = [(unit, i, i * i % 7) for unit in "ab" for i in range(1, 9)]
    series, _ = read("unit,cycle,y", rows, id="unit")
    assert [one.times.tolist() for one in series] == [list(range(1, 9))] * 2


def test_years_and_seconds_are_no_counters(read):
    assert read("year,y", [(1950 + i, i * i % 7) for i in range(9)])[0][0].frequency.months
    rows = [(1_500_000_000 + 60 * i, i * i % 7) for i in range(9)]
    assert read("time,y", rows)[0][0].frequency == Frequency(60)


@pytest.mark.parametrize(
    ("header", "rows", "wanted"),
    [
        ("a,y", [(i * i % 5, i * i % 7) for i in range(20)], {}),
        ("y", [(i * i % 7,) for i in range(20)], {}),
        ("time,y", [(i / 2, i * i % 7) for i in range(20)], {}),
        ("date,y", [("2020-01-01", i * i % 7) for i in range(20)], {"time": "none"}),
        ("when,y", [(f"on day {i}", i * i % 7) for i in range(20)], {"time": "none"}),
    ],
)
def test_without_a_time_rows_follow_one_another(read, header, rows, wanted):
    (series,), _ = read(header, rows, **wanted)
    assert series.frequency == STEP
    assert series.times.tolist() == list(range(20))
    assert series.values[:, -1].tolist() == [i * i % 7 for i in range(20)]
    assert "time" not in series.columns


def test_a_column_that_may_be_the_time_is_not_passed_over(read):
    with pytest.raises(DataError, match="no column holds dates.*--time-column none"):
        read("when,y", [(f"on day {i}", i) for i in range(20)])
    with pytest.raises(DataError, match="column 'time': '13:00'.*--time-column none"):
        read("time,y", [(f"13:{i:02}", i) for i in range(20)])


def test_a_trained_step_is_asked_of_other_files(read):
    days = [(f"2020-01-{day:02}", day * day % 7) for day in range(1, 20)]
    with pytest.raises(DataError, match="has a step of day, where hour is expected"):
        read("date,y", days, step=Frequency(HOUR))
    assert read("date,y", days[:2] + days[4:], step=Frequency(DAY))[0][0].times.size == 19
    with pytest.raises(DataError, match="where step is expected.*none"):
        read("date,y", days, step=STEP)
    assert read("date,y", days, step=STEP, time="none")[0][0].frequency == STEP
    assert (
        read("date,y", [days[0], days[7]], step=Frequency(WEEK), flat=True)[0][0].frequency.count
        == WEEK
    )
