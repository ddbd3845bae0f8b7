"""Reading series: what is understood, what is mended and told, what is refused, by hand."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.frequency import DAY, HOUR, Frequency, iso
from pipelines.series import Written
from pipelines.series_columns import SeriesColumns
from pipelines.series_reader import read_series, read_windows
from pipelines.series_times import in_order, on_grid, some_rows

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NAN = float("nan")


@pytest.fixture
def read(tmp_path):
    def read(content, name="a.csv", regular=True, open_end=False, **wanted):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_series(path, SeriesColumns(**wanted), regular=regular, open_end=open_end)

    return read


def one(result):
    (series,), notes = result
    assert series.values.dtype == np.float32
    assert series.times.dtype == np.int64
    assert series.values.shape == (len(series.times), len(series.columns))
    return series, notes


def days(*values, first=1, header="date,y"):
    rows = [f"2020-01-{day:02},{value}\n" for day, value in enumerate(values, first)]
    return header + "\n" + "".join(rows)


def told(notes, *parts):
    return any(all(part in note for part in parts) for note in notes)


# ---- what is understood


def test_plain_file(read):
    series, notes = one(read("date,y,z\n2020-01-01,1,4\n2020-01-02,2,5\n2020-01-03,3,7\n"))
    assert (series.name, series.columns, series.windows) == ("a.csv", ("y", "z"), ())
    assert iso(series.times) == [
        "2020-01-01T00:00:00",
        "2020-01-02T00:00:00",
        "2020-01-03T00:00:00",
    ]
    assert series.values.tolist() == [[1, 4], [2, 5], [3, 7]]
    assert series.frequency == Frequency(DAY)
    assert notes == []


def test_targets_come_first_then_the_others_as_asked(read):
    text = "b,a,when,c,d\n1,5,2020-01-01,9,x\n2,6,2020-01-02,8,y\n3,7,2020-01-03,7,z\n"
    series, notes = one(read(text, targets=("c",), others=("a", "b")))
    assert series.columns == ("c", "a", "b")
    assert series.values.tolist() == [[9, 5, 1], [8, 6, 2], [7, 7, 3]]
    assert notes == []
    series, notes = one(read(text, others=("a",)))
    assert series.columns == ("b", "c", "a")
    assert told(notes, "left out", "'d' (not numeric)")


@pytest.mark.parametrize(
    ("stamps", "expected", "noted"),
    [
        (("1949-01", "1949-02"), ("1949-01-01T00:00:00", "1949-02-01T00:00:00"), ""),
        (("Jan 1949", "Feb 1949"), ("1949-01-01T00:00:00", "1949-02-01T00:00:00"), ""),
        (("1949", "1950"), ("1949-01-01T00:00:00", "1950-01-01T00:00:00"), ""),
        (("194901", "194902"), ("1949-01-01T00:00:00", "1949-02-01T00:00:00"), ""),
        (("20160701", "20160702"), ("2016-07-01T00:00:00", "2016-07-02T00:00:00"), ""),
        (("2016/07/01", "2016/07/02"), ("2016-07-01T00:00:00", "2016-07-02T00:00:00"), ""),
        (("01/02/2016 13:00", "01/02/2016 14:00"),
         ("2016-01-02T13:00:00", "2016-01-02T14:00:00"), "month first"),
        (("12/02/2016 13:00", "13/02/2016 13:00"),
         ("2016-02-12T13:00:00", "2016-02-13T13:00:00"), ""),
        (("02/12/2016", "02/13/2016"), ("2016-02-12T00:00:00", "2016-02-13T00:00:00"), ""),
        (("1/2/2016 1:00 PM", "1/2/2016 2:00 PM"),
         ("2016-01-02T13:00:00", "2016-01-02T14:00:00"), "month first"),
        (("01.02.2016", "02.02.2016"), ("2016-02-01T00:00:00", "2016-02-02T00:00:00"), "day first"),
        (("05/05/2016", "06/06/2016"), ("2016-05-05T00:00:00", "2016-06-06T00:00:00"), ""),
        (("1467331200", "1467334800"), ("2016-07-01T00:00:00", "2016-07-01T01:00:00"), ""),
        (("1467331200000", "1467334800000"), ("2016-07-01T00:00:00", "2016-07-01T01:00:00"), ""),
        (("2016-07-01T02:00+02:00", "2016-07-01T01:00:00Z"),
         ("2016-07-01T00:00:00", "2016-07-01T01:00:00"), "UTC"),
        (("2016-07-01 00:00:00 UTC", "2016-07-01 01:00:00 UTC"),
         ("2016-07-01T00:00:00", "2016-07-01T01:00:00"), "UTC"),
        (("2020年1月1日", "2020年1月2日"), ("2020-01-01T00:00:00", "2020-01-02T00:00:00"), ""),
        (("2020年01月01日 10时", "2020年01月01日 11时"),
         ("2020-01-01T10:00:00", "2020-01-01T11:00:00"), ""),
        (("2020年1月1日 下午1时5分", "2020年1月1日 下午2时5分"),
         ("2020-01-01T13:05:00", "2020-01-01T14:05:00"), ""),
        (("２０２０年１月", "２０２０年２月"), ("2020-01-01T00:00:00", "2020-02-01T00:00:00"), ""),
        (("2020년 1월 1일", "2020년 1월 2일"), ("2020-01-01T00:00:00", "2020-01-02T00:00:00"), ""),
        (("2020. 1. 1.", "2020. 1. 2."), ("2020-01-01T00:00:00", "2020-01-02T00:00:00"), ""),
        (("2020.01.01", "2020.01.02"), ("2020-01-01T00:00:00", "2020-01-02T00:00:00"), ""),
        (("2020-1-1", "2020-1-2"), ("2020-01-01T00:00:00", "2020-01-02T00:00:00"), ""),
        (("2020Q1", "2020Q2"), ("2020-01-01T00:00:00", "2020-04-01T00:00:00"), ""),
        (("Q3 2020", "Q4 2020"), ("2020-07-01T00:00:00", "2020-10-01T00:00:00"), ""),
        (("2020年第1季度", "2020年第2季度"), ("2020-01-01T00:00:00", "2020-04-01T00:00:00"), ""),
        (("2020-H1", "2020-H2"), ("2020-01-01T00:00:00", "2020-07-01T00:00:00"), ""),
        (("1981-W05", "1981-W06"), ("1981-01-26T00:00:00", "1981-02-02T00:00:00"), ""),
        (("20160701130000", "20160701140000"), ("2016-07-01T13:00:00", "2016-07-01T14:00:00"), ""),
        (("01-Jul-16", "02-Jul-16"), ("2016-07-01T00:00:00", "2016-07-02T00:00:00"), ""),
        (("2016-07-01 00:00:00.250", "2016-07-01 01:00:00.900"),
         ("2016-07-01T00:00:00", "2016-07-01T01:00:00"), ""),
    ],
)  # fmt: skip
def test_stamps(read, stamps, expected, noted):
    series, notes = one(read(f"date,y\n{stamps[0]},1\n{stamps[1]},2\n"))
    assert tuple(iso(series.times)) == expected
    assert told(notes, noted) if noted else notes == []


def test_a_late_row_decides_that_days_come_first(read):
    text = "date,y\n" + "".join(f"{day:02}/02/2016,{day}\n" for day in range(1, 14))
    series, notes = one(read(text))
    assert iso(series.times)[::12] == ["2016-02-01T00:00:00", "2016-02-13T00:00:00"]
    assert notes == []


def test_the_order_with_fewer_jumps_is_taken(read):
    stamps = [f"{day:02}/02/2020 {hour}:00" for day in range(3, 9) for hour in range(24)]
    series, notes = one(read(stamped(stamps)))
    assert np.diff(series.times).tolist() == [HOUR] * (6 * 24 - 1)
    assert iso(series.times)[0] == "2020-02-03T00:00:00"
    assert series.written.date_order == "dmy"
    assert notes == []


def test_an_order_on_which_the_step_depends_is_refused(read):
    text = stamped(f"{day:02}/01/2020" for day in range(1, 12))
    with pytest.raises(DataError, match="a.csv:2: column 'date'.*--date-order dmy or"):
        read(text)
    assert one(read(text, date_order="dmy"))[0].frequency == Frequency(DAY)
    assert one(read(text, date_order="mdy"))[0].frequency == Frequency(1, months=True)
    # As the training data was written; but a cell that proves it counts more.
    assert one(read(text, like=Written("", "dmy")))[0].frequency == Frequency(DAY)
    series, _ = one(read(text + "12/01/2020,1\n13/01/2020,2\n", like=Written("", "mdy")))
    assert iso(series.times)[-1] == "2020-01-13T00:00:00"


def test_steps_of_months(read):
    series, _ = one(read("month,y\n2020-01,1\n2020-02,2\n2020-03,4\n"))
    assert series.frequency == Frequency(1, months=True)
    series, _ = one(read("date,y\n2020-01-31,1\n2020-02-29,2\n2020-03-31,4\n2020-05-31,6\n"))
    assert series.frequency == Frequency(1, months=True, month_end=True)
    assert iso(series.times)[3] == "2020-04-30T00:00:00"
    # April's end lies 30 of the 61 days from March's to May's.
    assert series.values[3, 0] == np.float32(4 + 2 * 30 / 61)


def test_the_time_column_by_name_by_looks_and_as_asked(read):
    text = "other,n,Timestamp\n2019-01-01,1,2020-01-01\n2019-03-01,2,2020-01-02\n"
    assert iso(one(read(text))[0].times)[0] == "2020-01-01T00:00:00"
    assert iso(one(read(text, time="other"))[0].times)[0] == "2019-01-01T00:00:00"
    series, _ = one(read("n,when\n2000,2020-01-01\n2001,2020-01-02\n"))
    assert series.columns == ("n",)


ENCODINGS = {
    "BOM": ("a.csv", lambda text: text.encode("utf-8-sig")),
    "CRLF": ("a.csv", lambda text: text.replace("\n", "\r\n").encode()),
    "gz": ("a.csv.gz", lambda text: gzip.compress(text.encode())),
    "UTF-16": ("a.csv", lambda text: text.encode("utf-16")),
    "latin-1": ("a.csv", lambda text: text.encode("latin-1")),
    "tsv": ("a.tsv", lambda text: text.replace(",", "\t").encode()),
    "semicolons": ("a.csv", lambda text: text.replace(",", ";").encode()),
    "blank lines": ("a.csv", lambda text: ("\n" + text.replace("\n", "\n\n")).encode()),
    "quotes": ("a.txt", lambda text: text.replace("date", '"date"').encode()),
}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_encodings(read, kind):
    name, encode = ENCODINGS[kind]
    series, notes = one(read(encode(days(1, 2, 4, header="date,größe")), name))
    assert series.columns == ("größe",)
    assert series.values[:, 0].tolist() == [1, 2, 4]
    assert notes == ([] if kind != "latin-1" else [
        "1 file is not UTF-8 and read as cp1252: a.csv (line 1); if that is wrong, name the "
        "encoding with --encoding."
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "date;y\n2020-01-01;1,5\n2020-01-02;-2\n2020-01-03;,25\n"),
        ("a.tsv", "date\ty\n2020-01-01\t1,5\n2020-01-02\t-2\n2020-01-03\t,25\n"),
        ("a.csv", 'date,y\n2020-01-01,"1,5"\n2020-01-02,-2\n2020-01-03,",25"\n'),
    ],
)
def test_decimal_commas(read, name, text):
    series, notes = one(read(text, name))
    assert series.values[:, 0].tolist() == [1.5, -2, 0.25]
    assert notes == ["The commas in column 'y' were read as decimal marks."]


# ---- what is mended


def test_rows_out_of_order_are_sorted(read):
    series, notes = one(
        read("date,y\n2020-01-01,1\n2020-01-04,4\n2020-01-02,2\n2020-01-03,3\n2020-01-05,5\n")
    )
    assert series.values[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert notes == ["2 rows were out of order and sorted (the first on line 4)."]


def test_the_last_of_rows_with_one_stamp_counts(read):
    series, notes = one(read(days(*range(1, 20)) + "2020-01-03,99\n"))
    assert series.values[:4, 0].tolist() == [1, 2, 99, 4]
    assert notes == [
        "1 row was out of order and sorted (the first on line 21).",
        "1 row was left out, as a later row has the same stamp (the first on line 21).",
    ]


def test_missing_rows_are_inserted(read):
    text = "date,y\n2020-01-01,1\n2020-01-02,2\n2020-01-04,6\n2020-01-05,7\n2020-01-08,1\n"
    series, notes = one(read(text))
    assert series.values[:, 0].tolist() == [1, 2, 4, 6, 7, 5, 3, 1]
    assert np.diff(series.times).tolist() == [DAY] * 7
    assert notes == [
        "3 missing rows were inserted and interpolated (longest gap: 2, after 2020-01-05T00:00:00)."
    ]
    series, notes = one(read(text, regular=False))
    assert series.values[:, 0].tolist() == [1, 2, 6, 7, 1]
    assert series.frequency == Frequency(DAY)
    assert notes == []


def test_missing_values_are_interpolated_in_time(read):
    cells = ["", "1", "NA", "nan", "4", "6", "6", "7", ""]
    series, notes = one(read(days(*cells)))
    assert series.values[:, 0].tolist() == [1, 1, 2, 3, 4, 6, 6, 7, 7]
    assert notes == ["4 missing values of 'y' were interpolated (longest run: 2)."]
    # By time, not by row: the value is missing a day after the first row, two before the last.
    text = "date,y\n2020-01-01,0\n2020-01-02,\n2020-01-04,3\n2020-01-05,5\n"
    assert one(read(text, regular=False))[0].values[:, 0].tolist() == [0, 1, 3, 5]
    assert one(read(text))[0].values[:, 0].tolist() == [0, 1, 2, 3, 5]


def test_missing_values_of_two_columns(read):
    text = "date,y,z\n2020-01-01,0,5\n2020-01-02,,7\n2020-01-03,4,\n"
    series, notes = one(read(text))
    assert series.values.tolist() == [[0, 5], [2, 7], [4, 7]]
    assert notes == [
        "1 missing value of 'y' was interpolated (longest run: 1).",
        "1 missing value of 'z' was interpolated (longest run: 1).",
    ]


def minutes(*offsets):
    """Rows at minutes of the day, whose values are the minutes."""
    clock = [f"{int(m * 60) // 3600:02}:{int(m * 60) // 60 % 60:02}:{int(m * 60) % 60:02}"
             for m in offsets]  # fmt: skip
    rows = (f"2020-01-01 {c},{m}\n" for c, m in zip(clock, offsets, strict=True))
    return "date,y\n" + "".join(rows)


def test_a_row_beside_the_grid_is_moved_to_it(read):
    steps = [5.0 * step for step in range(40)]
    steps[7] = 37.0  # 2 of 5 minutes late: moved back to 35
    series, notes = one(read(minutes(*steps)))
    assert np.diff(series.times).tolist() == [300] * 39
    assert series.values[7, 0] == 37
    assert notes == ["1 row was between two steps and moved to the nearer one."]


def test_of_two_rows_moved_to_one_step_the_nearer_stays(read):
    steps = sorted([5.0 * step for step in range(40)] + [36.0])
    series, notes = one(read(minutes(*steps)))
    assert series.values[:, 0].tolist() == [5.0 * step for step in range(40)]
    assert told(notes, "1 row was left out, as another is nearer")


def test_constant_and_textual_columns_are_left_out(read):
    text = "date,a,b,c,e,y\n" + "".join(f"2020-01-0{d},3,up,{d},,{d * d}\n" for d in range(1, 5))
    series, notes = one(read(text))
    assert series.columns == ("c", "y")
    assert notes == ["Columns left out: 'b' (not numeric), 'a' (always 3), 'e' (empty)."]


def test_the_nameless_index_of_a_data_frame_is_left_out(read):
    series, notes = one(read(",date,y\n0,2020-01-01,5\n1,2020-01-02,6\n"))
    assert series.columns == ("y",)
    assert told(notes, "'1' (without a name)")


def test_a_constant_covariate_stays(read):
    text = "date,y,k\n2020-01-01,1,0\n2020-01-02,2,0\n"
    assert one(read(text, others=("k",)))[0].values.tolist() == [[1, 0], [2, 0]]


# ---- time zones


def local(*stamps):
    return "date,y\n" + "".join(f"{stamp},{number}\n" for number, stamp in enumerate(stamps))


def test_the_hour_that_comes_twice_in_autumn(read):
    # Berlin left summer time on 2020-10-25 at 3:00 (1:00 UTC): 2:00 and 2:30 come twice.
    stamps = [f"2020-10-25 {clock}" for clock in
              ("01:30", "02:00", "02:30", "02:00", "02:30", "03:00", "03:30")]  # fmt: skip
    series, notes = one(read(local(*stamps), timezone="Europe/Berlin"))
    assert iso(series.times)[0] == "2020-10-24T23:30:00"
    assert np.diff(series.times).tolist() == [1800] * 6
    assert series.values[:, 0].tolist() == list(range(7))
    assert notes == ["The stamps of column 'date' were read as Europe/Berlin and converted to UTC."]


def test_the_hour_that_comes_twice_in_autumn_newest_first(read):
    stamps = [f"2020-10-25 {clock}" for clock in ("03:00", "02:00", "02:00", "01:00")]
    series, _ = one(read(local(*stamps), timezone="Europe/Berlin"))
    assert iso(series.times)[0] == "2020-10-24T23:00:00"
    assert np.diff(series.times).tolist() == [3600] * 3
    assert series.values[:, 0].tolist() == [3, 2, 1, 0]


def test_each_series_has_its_own_autumn(read):
    rows = [f"2020-10-25 {clock},{name},{number}\n" for number, clock in enumerate(
            ("01:00", "02:00", "02:00", "03:00")) for name in "ab"]  # fmt: skip
    series, _ = read("date,unique_id,y\n" + "".join(rows), timezone="Europe/Berlin")
    assert [np.diff(each.times).tolist() for each in series] == [[3600] * 3] * 2


def test_the_hour_that_is_missing_in_spring(read):
    stamps = ["2020-03-29 00:00", "2020-03-29 01:00", "2020-03-29 03:00", "2020-03-29 04:00"]
    series, notes = one(read(local(*stamps), timezone="Europe/Berlin"))
    assert np.diff(series.times).tolist() == [3600] * 3
    assert len(notes) == 1
    stamps = ["2020-03-29 00:00", "2020-03-29 01:00", "2020-03-29 02:30", "2020-03-29 04:00"]
    series, notes = one(read(local(*stamps), timezone="Europe/Berlin", regular=False))
    assert iso(series.times)[2] == "2020-03-29T01:00:00"  # 3:00, the first that there is
    assert told(notes, "1 stamp was skipped by the clock in spring and moved forward")


def test_a_time_zone_does_not_touch_offsets_and_epochs(read):
    for stamps in (("2016-07-01T00:00Z", "2016-07-01T01:00Z"), ("1467331200", "1467334800")):
        series, _ = one(read(local(*stamps), timezone="Europe/Berlin"))
        assert iso(series.times)[0] == "2016-07-01T00:00:00"


# ---- several series


def test_interleaved_series(read):
    text = (
        "unique_id,date,y\nb,2020-01-01,1\na,2020-01-02,20\nb,2020-01-02,2\na,2020-01-01,10\n"
        "a,2020-01-03,30\nb,2020-01-03,\nb,2020-01-05,5\nb,2020-01-04,4\n"
    )
    series, notes = read(text)
    assert [each.name for each in series] == ["b", "a"]
    assert series[0].values[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert series[1].values[:, 0].tolist() == [10, 20, 30]
    assert notes == [
        "2 rows were out of order and sorted (the first on line 5).",
        "1 missing value of 'y' was interpolated (longest run: 1).",
    ]


def test_an_id_that_is_named_may_be_a_number(read):
    text = "date,shop,y\n2020-01-01,7,1\n2020-01-01,8,2\n2020-01-02,7,3\n2020-01-02,8,4\n"
    series, _ = read(text, id="shop")
    assert [(each.name, each.columns) for each in series] == [("7", ("y",)), ("8", ("y",))]
    assert series[1].values[:, 0].tolist() == [2, 4]


def long(**series):
    """One table of several series: dates and values of each."""
    rows = [f"{name},{when},{value}\n" for name, pairs in series.items() for when, value in pairs]
    return "unique_id,date,y\n" + "".join(rows)


def january(*numbers):
    return [(f"2020-01-{day:02}", day * day % 7) for day in numbers]


def weekdays(*numbers):
    every = np.datetime64("2020-01-01") + np.arange(60)
    some = [day for day in every if int((day.astype(int) + 3) % 7) in numbers]
    return [(day, number * number % 7) for number, day in enumerate(some)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (january(3), "has one row"),
        (january(3, 9), "5 are missing"),
        (january(3, 3, 4, 4, 4), "stamp of another row"),
        ([(when, "") for when, _ in january(*range(1, 20))], "'y' is missing in 19 of 19 rows"),
        (weekdays(0, 2, 4), "33 are missing"),
        (weekdays(0), "has a step of week, where day is expected"),
        ([(f"2020-01-01 {hour}:00", hour) for hour in range(9)], "a step of hour, where day"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_series_is_left_out_wherever_it_stands(read, bad, reason, first):
    good = {"a": january(*range(1, 25)), "b": january(*range(5, 29))}
    text = long(bad=bad, **good) if first else long(**good, bad=bad)
    series, notes = read(text)
    assert [one.name for one in series] == ["a", "b"]
    assert {one.frequency for one in series} == {Frequency(DAY)}
    assert [len(one) for one in series] == [24, 24]
    assert told(notes, "1 of 3 series were left out: 'bad'", reason)
    # What was mended in a series that is left out is no news.
    assert len(notes) == 1


def test_a_short_series_takes_the_step_of_the_others(read):
    series, notes = read(long(a=january(3, 5, 7), b=january(*range(1, 20))))
    assert [one.times.size for one in series] == [5, 19]
    assert not told(notes, "left out")


def test_rows_that_cannot_be_read_are_refused_in_any_series(read):
    with pytest.raises(DataError, match="a.csv:4: column 'y': 'x'"):
        read(long(a=january(1, 2), b=[("2020-01-03", "x")]))


def test_no_series_that_can_be_used(read):
    with pytest.raises(DataError, match="series 'a' has one row"):
        read(long(a=january(1), b=january(2)))


# ---- steps that are no fixed time


def stamped(stamps):
    rows = [f"{str(stamp).replace('T', ' ')},{i * i % 7}\n" for i, stamp in enumerate(stamps)]
    return "date,y\n" + "".join(rows)


@pytest.mark.parametrize(
    ("alias", "end", "business", "count"),
    [("BME", True, True, 1), ("BMS", False, True, 1), ("BQE", True, True, 3),
     ("ME", True, False, 1), ("BYE", True, True, 12)],
)  # fmt: skip
def test_business_days_of_months(read, alias, end, business, count):
    pd = pytest.importorskip("pandas")
    stamps = pd.date_range("2015-01-01", periods=40, freq=alias)
    series, notes = one(read(stamped(stamp.date() for stamp in stamps)))
    step = series.frequency
    assert (step.months, step.month_end, step.business, step.count) == (True, end, business, count)
    assert [stamp[:10] for stamp in iso(series.times)] == [str(stamp.date()) for stamp in stamps]
    assert notes == []
    # The future has the same days.
    assert iso(step.after(series.times[:1], np.arange(40))) == iso(series.times)


def test_holidays_among_the_last_business_days(read):
    pd = pytest.importorskip("pandas")
    stamps = [stamp.date() for stamp in pd.date_range("2015-01-01", periods=40, freq="BME")]
    stamps[11] = np.datetime64("2015-12-30")  # of the 31st
    series, notes = one(read(stamped(stamps)))
    assert (len(series), series.frequency.month_end) == (40, True)
    assert told(notes, "1 row was moved within the month to the day that is usual")


def bars(days=12, pauses=(), missing=()):
    """Minutes 9:30 to 15:59 of business days."""
    clock = [minute for minute in range(570, 960) if not any(a <= minute < b for a, b in pauses)]
    dates = [day for day in np.datetime64("2020-01-01") + np.arange(days) if np.is_busday(day)]
    stamps = [day.astype("datetime64[m]") + minute for day in dates for minute in clock]
    return [stamp for place, stamp in enumerate(stamps) if place not in missing], clock


@pytest.mark.parametrize("pauses", [(), ((690, 780),)])
def test_minute_bars_of_sessions(read, pauses):
    stamps, clock = bars(pauses=pauses)
    series, notes = one(read(stamped(stamps)))
    assert iso(series.times) == [str(stamp) + ":00" for stamp in stamps]
    assert series.frequency.season == len(clock)
    assert len(series.frequency.sessions) == 1 + len(pauses)
    assert notes == [
        "Rows pause at the same hours each day: the steps go from session to session, without "
        "calendar."
    ]
    # The steps go over nights and weekends, forwards and back.
    steps = np.arange(len(stamps))
    assert series.frequency.after(series.times[0], steps).tolist() == series.times.tolist()
    back = series.frequency.after(series.times[-1], -steps)[::-1]
    assert back.tolist() == series.times.tolist()


def test_holes_within_sessions_are_filled_and_nights_are_not(read):
    stamps, _ = bars(missing=(5, 6, 400))
    series, notes = one(read(stamped(stamps)))
    assert len(series) == len(stamps) + 3
    assert told(notes, "3 missing rows were inserted", "longest gap: 2")


# ---- days on some weekdays only


@pytest.mark.parametrize(
    ("mask", "season", "name"),
    [
        ("1111100", 5, "day (Monday to Friday)"),
        ("1111001", 5, "day (Sunday to Thursday)"),
        ("1111110", 6, "day (Monday to Saturday)"),
        ("1010100", 3, "day (Monday, Wednesday, Friday)"),
    ],
)
@given(holidays=st.sets(st.integers(1, 98), max_size=6), start=st.integers(17000, 17006))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_business_days_stay_as_given(read, mask, season, name, holidays, start):
    every = np.datetime64(start, "D") + np.arange(240)
    every = every[np.is_busday(every, weekmask=mask)]
    days = [day for place, day in enumerate(every[:-1]) if place not in holidays]
    series, notes = one(read(stamped(days)))
    assert iso(series.times) == [f"{day}T00:00:00" for day in days]
    assert series.values[:, 0].tolist() == [i * i % 7 for i in range(len(days))]
    step = series.frequency
    assert (step.weekdays, step.season, str(step)) == (mask, season, name)
    following = np.busday_offset(days[-1], 1, weekmask=mask)
    assert iso(step.after(series.times[-1:], 1)) == [f"{following}T00:00:00"]
    assert Frequency.from_json(vars(step)) == step
    assert not told(notes, "inserted and")


def test_holidays_are_told_and_a_worked_saturday_stays(read):
    days = [day for day in np.datetime64("2020-01-01") + np.arange(364) if np.is_busday(day)]
    days = sorted({*days, np.datetime64("2020-02-01")} - {np.datetime64("2020-05-01")})
    series, notes = one(read(stamped(days)))
    assert [stamp[:10] for stamp in iso(series.times)] == [str(day) for day in days]
    assert told(notes, "1 such day has no row")


def test_seven_days_with_gaps_stay_daily(read):
    days = np.delete(np.datetime64("2020-01-01") + np.arange(60), [3, 4, 17, 30, 31, 32])
    series, notes = one(read(stamped(days)))
    assert (series.frequency, len(series)) == (Frequency(DAY), 60)
    assert told(notes, "6 missing rows were inserted")


def test_a_series_of_seven_days_is_left_out_among_business_days(read):
    week = [(day, int(day.astype(int)) % 5) for day in np.datetime64("2020-01-01") + np.arange(40)]
    business = [pair for pair in week if np.is_busday(pair[0])]
    series, notes = read(long(a=business, b=business, c=week))
    assert [one.name for one in series] == ["a", "b"]
    assert told(notes, "1 of 3 series were left out: 'c'", "day (Monday to Friday) is expected")


# ---- an open end


def test_an_open_end_keeps_the_future_of_covariates(read):
    rows = ("01,1,0", "02,,1", "03,3,0", "04,,1", "06,,0")
    text = "date,y,holiday\n" + "".join(f"2020-01-{row}\n" for row in rows)
    series, notes = one(read(text, targets=("y",), others=("holiday",), open_end=True))
    expected = [[1, 0], [2, 1], [3, 0], [NAN, 1], [NAN, 0.5], [NAN, 0]]
    np.testing.assert_array_equal(series.values, np.array(expected, np.float32))
    assert told(notes, "1 missing value of 'y'")
    assert told(notes, "1 missing row was inserted")
    with pytest.raises(DataError, match="'y' is missing in 3 of 5 rows"):
        read(text, targets=("y",), others=("holiday",))


def test_an_open_end_is_only_where_covariates_go_on(read):
    text = "date,y,k\n2020-01-01,1,1\n2020-01-02,2,2\n2020-01-03,,\n"
    series, _ = one(read(text, targets=("y",), others=("k",), open_end=True))
    assert series.values.tolist() == [[1, 1], [2, 2], [2, 2]]
    assert one(read(text, open_end=True))[0].values.tolist() == [[1, 1], [2, 2], [2, 2]]


def test_targets_of_the_future_do_not_count_as_missing(read):
    text = "date,y,k\n2020-01-01,1,1\n2020-01-02,2,2\n" + "".join(
        f"2020-01-{day:02},,{day}\n" for day in range(3, 20)
    )
    series, notes = one(read(text, targets=("y",), others=("k",), open_end=True))
    assert np.isnan(series.values[2:, 0]).all()
    assert series.values[-1, 1] == 19
    assert notes == []


# ---- what is refused

BAD = {
    "missing target": (days(1, 2), {"targets": ("z",)}, ["a.csv", "'z'", "date, y", "--target"]),
    "missing time": (days(1, 2), {"time": "z"}, ["'z'", "date, y", "--time-column"]),
    "missing id": (days(1, 2), {"id": "z"}, ["'z'", "date, y", "--id-column"]),
    "missing covariate": (days(1, 2), {"others": ("z",)}, ["'z'", "date, y", "--covariates"]),
    "two roles": (days(1, 2), {"targets": ("y",), "others": ("y",)}, ["'y' has two roles"]),
    "constant target": (days(3, 3), {"targets": ("y",)}, ["a.csv", "'y' is always 3", "--target"]),
    "all constant": (
        days(3, 3, 3), {}, ["no columns to use as targets", "'y' (always 3)", "--target"]
    ),
    "only text": (days("a", "b"), {}, ["no columns to use as targets", "'y' (not numeric)"]),
    "only covariates": (days(1, 2), {"others": ("y",)}, ["no columns to use as targets"]),
    "no time": ("a,y\nx,1\nz,2\n", {}, ["no column holds dates", "a, y", "--time-column"]),
    "no stamps under a known name": (
        "date,y\nx,1\nz,2\n", {}, ["a.csv:2", "'date'", "'x'", "--time-column"]
    ),
    "bad stamp": (
        "date,y\n2020-01-01,1\n\n2020-02-30,2\n", {}, ["a.csv:4", "'date'", "'2020-02-30'"]
    ),
    "empty stamp": ("date,y\n2020-01-01,1\n,2\n", {}, ["a.csv:3", "'date'", "''"]),
    "days and months in both orders": (
        "date,y\n13/02/2020,1\n14/02/2020,2\n02/15/2020,3\n", {}, ["a.csv:4", "day and month"]
    ),
    "offsets mixed": (
        "date,y\n2020-01-01T00:00Z,1\n2020-01-01T01:00,2\n", {}, ["a.csv:3", "has no offset"]
    ),
    "offsets mixed, first without": (
        "date,y\n2020-01-01 00:00,1\n2020-01-01 01:00+01:00,2\n", {}, ["a.csv:3", "has an offset"]
    ),
    "unknown time zone": (days(1, 2), {"timezone": "Europa/Bonn"}, ["--timezone", "Europa/Bonn"]),
    "a zone that is a directory": (days(1, 2), {"timezone": "Europe"}, ["--timezone", "Europe"]),
    "a zone that is a path": (days(1, 2), {"timezone": "../x"}, ["--timezone", "../x"]),
    "word among numbers": (
        days(1, 2, "many", 4), {}, ["a.csv:4", "column 'y'", "'many' is not a number"]
    ),
    "textual target": (days("a", 2), {"targets": ("y",)}, ["a.csv:2", "'a' is not a number"]),
    "infinite": (days(1, "inf", 3), {}, ["a.csv:3", "column 'y'", "inf is infinite"]),
    "minus infinite": (days(1, "-Infinity", 3), {}, ["a.csv:3", "infinite"]),
    "beyond float32": (days(1, "1e39", 3), {}, ["a.csv:3", "1e39 is infinite"]),
    "points and commas": (
        "date;y\n2020-01-01;1,5\n2020-01-02;1.0\n", {}, ["a.csv:3", "'1.0'", "'1,5' on line 2"]
    ),
    "no separator": ("date!y\n2020-01-01!1\n", {}, ["a.csv:1", "'date!y'", "separate"]),
    "ragged": ("date,y\n2020-01-01,1\n2020-01-02,1,5\n", {}, ["a.csv:3", "3 cells"]),
    "cut off": ("date,y\n2020-01-01,1\n2020-01-02", {}, ["a.csv:3", "1 cells"]),
    "no header": ("2020-01-01,1\n2020-01-02,2\n", {}, ["a.csv:1", "first line is data"]),
    "empty": ("", {}, ["a.csv is empty"]),
    "header only": ("date,y\n", {}, ["a.csv has a header but no rows"]),
    "binary": (b"date,y\n\0\1,1\n", {}, ["a.csv", "not text", "NUL"]),
    "cut-off gz": (
        ("a.csv.gz", gzip.compress(days(1, 2).encode(), mtime=0)[:-9]), {}, ["a.csv.gz", "gzip"]
    ),
    "one row": (days(1), {}, ["a.csv", "targets"]),
    "one row of each series": (
        "date,y,unique_id\n2020-01-01,1,a\n2020-01-02,2,b\n", {}, ["series 'a' has one row"],
    ),
    "mixed frequencies": (
        minutes(0, 5, 10, 15, 22, 24, 31, 33, 40), {},
        ["mixed frequencies", "5 minutes (38%)", "7 minutes (38%)", "resample"],
    ),
    "rows between the steps": (
        minutes(*[5 * step + (1 if step > 30 else 0) for step in range(40)]), {},
        ["22.5% of the rows", "2020-01-01T02:36:00", "resample"],
    ),
    "a row halfway": (
        minutes(*range(0, 40, 2), 41, *range(42, 90, 2)), {}, ["2.2% of the rows", "00:41:00"]
    ),
    "mostly gaps": (minutes(0, 5, 10, 1000), {}, ["between 4 rows 197 are missing", "gaps"]),
    "many duplicates": (
        days(1, 2, 3, 4) + "2020-01-03,5\n", {}, ["a.csv:6", "1 of 5 rows", "--id-column"]
    ),
    "mostly missing": (
        days(1, 2, "", "", ""), {}, ["'y' is missing in 3 of 5 rows", "--target"]
    ),
    "empty covariate": (
        "date,y,k\n2020-01-01,1,\n2020-01-02,2,\n", {"others": ("k",)}, ["'k' is missing in 2 of 2"]
    ),
    "empty id": ("date,unique_id,y\n2020-01-01,a,1\n2020-01-02,,2\n", {}, ["a.csv:3", "unique_id"]),
    "column twice": ("date,y,y\n2020-01-01,1,2\n", {}, ["a.csv:1", "'y'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(read, case):
    content, wanted, parts = BAD[case]
    name, content = content if isinstance(content, tuple) else ("a.csv", content)
    with pytest.raises(DataError) as caught:
        read(content, name, **wanted)
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message
    assert "\n" not in message


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_series(tmp_path / "a.csv", SeriesColumns())


def test_lines_are_those_of_the_file_after_cells_of_several_lines(read):
    text = 'date,note,y\n2020-01-01,"two\nlines",1\n\n2020-01-02,x,2\n2020-01-03,x,bad\n'
    with pytest.raises(DataError, match="a.csv:6: column 'y'"):
        read(text)


def test_a_bad_cell_beyond_the_first_chunk(read, monkeypatch):
    monkeypatch.setattr("pipelines.series_reader.CHUNK_ROWS", 3)
    assert one(read(days(*range(1, 12))))[0].values[:, 0].tolist() == list(range(1, 12))
    with pytest.raises(DataError, match="a.csv:9: column 'y': 'x'"):
        read(days(*range(7), "x", 9))


# ---- properties, and size


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_shuffled_series_with_holes_reads_back(tmp_path_factory, data):
    step = data.draw(st.sampled_from([1, 60, 900, HOUR, DAY, 7 * DAY]))
    count = data.draw(st.integers(8, 60))
    start = data.draw(st.integers(-(10**9), 10**9))
    # Values that change, or else the column is constant and left out.
    cells = st.floats(-1e6, 1e6, width=32)
    values = np.array(data.draw(st.lists(cells, min_size=count, max_size=count, unique=True)))
    values = values.astype(np.float32)
    # Of every four rows at most the third: so the commonest step stays, and the ends.
    thirds = st.lists(st.sampled_from(range(2, count - 1, 4)), unique=True)
    holes = sorted(data.draw(thirds))
    times = start + step * np.arange(count)
    # An hour that is missing on each of several days is no hole, but when there is no session.
    clock = times % DAY
    alike = {row: np.flatnonzero(clock == clock[row]) for row in holes}
    paused = [row for row in holes if len(alike[row]) > 1 and np.isin(alike[row], holes).all()]
    holes = [row for row in holes if row not in paused or step >= DAY]
    kept = [row for row in range(count) if row not in holes]
    order = data.draw(st.permutations(kept))
    stamps = iso(times)
    path = tmp_path_factory.mktemp("property") / "a.csv"
    path.write_text("ds,y\n" + "".join(f"{stamps[row]},{values[row]!s}\n" for row in order))
    (series,), notes = read_series(path, SeriesColumns())
    expected = np.interp(times, times[kept], values[kept].astype(float)).astype(np.float32)
    np.testing.assert_array_equal(series.times, times)
    np.testing.assert_array_equal(series.values[:, 0], expected)
    assert series.frequency == Frequency(step)
    assert told(notes, f"{len(holes)} missing row") == bool(holes)


def test_a_large_file_is_mapped_and_equals_numpys_reading(tmp_path):
    count, path = 300_000, tmp_path / "large.csv"
    values = np.random.default_rng(0).normal(size=(count, 2))
    stamps = iso(np.arange(count) * 60)
    with path.open("w") as file:
        file.write("date,a,b\n")
        file.writelines(
            f"{stamps[i]},{values[i, 0]:.9g},{values[i, 1]:.9g}\n" for i in range(count)
        )
    (series,), notes = read_series(path, SeriesColumns())
    assert isinstance(series.values, np.memmap)
    assert notes == []
    expected = np.loadtxt(path, np.float32, delimiter=",", skiprows=1, usecols=(1, 2))
    np.testing.assert_array_equal(series.values, expected)
    np.testing.assert_array_equal(series.times, np.arange(count) * 60)


# ---- labelled windows


@pytest.fixture
def week(read):
    return one(read(days(*range(7)), "week.csv"))[0]


def windows(tmp_path, series, content, name="week.csv"):
    path = tmp_path / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_windows(path, series, name)


def test_windows(tmp_path, week):
    entries = {
        "x/week.csv": [["2020-01-05 12:00:00.000000", "2020-01-09 00:00:00.000000"],
                       ["2020-01-02 00:00:00.000000", "2020-01-03 00:00:00.000000"]],
        "x/this_week.csv": [],
    }  # fmt: skip
    assert windows(tmp_path, week, entries) == ((1, 2), (5, 6))
    assert windows(tmp_path, week, entries, "this_week.csv") == ()
    assert windows(tmp_path, week, {"week.csv": ["2020-01-04 00:00:00"]}) == ((3, 3),)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"x/other.csv": []}, "no entries for week.csv"),
        ({"x/week.csv": [], "y/week.csv": []}, "2 entries for week.csv"),
        ([], "no entries"),
        ("3", "no entries"),
        ('{"week.csv":\n[', "labels.json:2: broken JSON"),
        ({"week.csv": [["2020-01-01"]]}, "no pair of stamps"),
        ({"week.csv": [["2020-01-01", "soon"]]}, "no pair of stamps"),
        ({"week.csv": [["2020-01-03", "2020-01-02"]]}, "holds no row"),
        ({"week.csv": [["2021-01-01", "2021-01-02"]]}, "from 2020-01-01T00:00:00 to 2020-01-07"),
    ],
)
def test_bad_windows(tmp_path, week, content, part):
    with pytest.raises(DataError, match=part):
        windows(tmp_path, week, content)


# ---- real data


def real(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def test_ett():
    series, notes = one(read_series(real("ett", "ETTh1.csv"), SeriesColumns()))
    assert series.values.shape == (17420, 7)
    assert series.columns == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert series.frequency == Frequency(HOUR)
    assert iso(series.times[[0, -1]]) == ["2016-07-01T00:00:00", "2018-06-26T19:00:00"]
    assert series.values[0, 6] == np.float32(30.5310001373291)
    assert notes == []


def test_passengers():
    path = real("brownlee_series", "airline-passengers.csv")
    series, notes = one(read_series(path, SeriesColumns()))
    assert series.values.shape == (144, 1)
    assert series.frequency == Frequency(1, months=True)
    assert series.values[[0, -1], 0].tolist() == [112, 432]
    assert notes == []


def test_temperatures():
    path = real("brownlee_series", "daily-min-temperatures.csv")
    series, notes = one(read_series(path, SeriesColumns()))
    assert series.values.shape == (3652, 1)  # 3650, without the last days of two leap years
    assert series.frequency == Frequency(DAY)
    assert len(notes) == 1
    assert notes[0].startswith("2 missing rows were inserted and interpolated (longest gap: 1,")


NAB = {
    "ambient_temperature_system_failure": (7267, HOUR, 2),
    "cpu_utilization_asg_misconfiguration": (18050, 300, 1),
    "ec2_request_latency_system_failure": (4021, 300, 3),
    "machine_temperature_system_failure": (22683, 300, 4),
    "nyc_taxi": (10320, 1800, 5),
    "rogue_agent_key_hold": (1882, 300, 2),
    "rogue_agent_key_updown": (5315, 300, 2),
}


@pytest.mark.parametrize("name", NAB)
def test_nab(name):
    path = real("nab", "data", "realKnownCause", f"{name}.csv")
    labels = real("nab", "labels", "combined_windows.json")
    series, _ = one(read_series(path, SeriesColumns(), regular=False))
    rows, step, count = NAB[name]
    assert (len(series), series.frequency) == (rows, Frequency(step))
    found = read_windows(labels, series, path.name)
    assert len(found) == count
    stamps = json.loads(labels.read_text())[f"realKnownCause/{path.name}"]
    for (first, last), (begin, end) in zip(found, stamps, strict=True):
        begin, end = (np.datetime64(stamp).astype("datetime64[s]").astype(int)
                      for stamp in (begin, end))  # fmt: skip
        inside = np.flatnonzero((series.times >= begin) & (series.times <= end))
        assert (first, last) == (inside[0], inside[-1])
    points = read_windows(real("nab", "labels", "combined_labels.json"), series, path.name)
    assert all(first == last for first, last in points)


def test_rows_that_are_in_order_and_on_the_grid_are_not_copied():
    rows, times = slice(3, 9), np.arange(6, dtype=np.int64) * 3600
    kept, ordered = in_order(None, "here", rows, times, np.arange(9), None)
    assert kept is rows
    assert ordered is times
    found, grid, places = on_grid(None, "here", times, Frequency(3600))
    assert (found, places) == (None, None)
    assert grid is times
    assert some_rows(rows, None) is rows
    assert some_rows(rows, np.array([0, 2])).tolist() == [3, 5]


def test_series_that_take_turns_are_those_that_follow_one_another(tmp_path):
    lines = [f"2020-01-{day:02},{name},{day + 100 * (name == 'b')}" for day in range(1, 15)
             for name in "ab"]  # fmt: skip
    found = []
    for order in (lines, sorted(lines, key=lambda line: line.split(",")[1])):
        path = tmp_path / "a.csv"
        path.write_text("\n".join(["time,id,value", *order]))
        series, _ = read_series(path, SeriesColumns(id=("id",)))
        found.append([(one.name, one.times.tolist(), one.values.tolist()) for one in series])
    assert found[0] == found[1]
    assert [name for name, _, _ in found[0]] == ["a", "b"]
