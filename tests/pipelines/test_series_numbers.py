"""Numbers in every notation: one cell by itself, whole columns, and the other columns' evidence."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.series import Written
from pipelines.series_columns import SeriesColumns
from pipelines.series_numbers import number_cell
from pipelines.series_reader import read_series

NARROW, NO_BREAK = "\u202f", "\u00a0"


@pytest.fixture
def read(tmp_path):
    def read(*columns, header="y", **wanted):
        """Cells of one column, or of several."""
        rows = list(zip(*columns, strict=True))
        names = [header, "z", "w"][: len(columns)]
        text = "\t".join(["date", *names]) + "\n"
        for day, row in enumerate(rows, 1):
            text += "\t".join([f"2020-01-{day:02}", *row]) + "\n"
        path = tmp_path / "a.tsv"
        path.write_text(text)
        (series,), notes = read_series(path, SeriesColumns(**wanted))
        return series, notes

    return read


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("998", 998, 998),
        ("1,020", 1020, 1.02),
        ("1.020", 1.02, 1020),
        ("0.123", 0.123, None),
        ("0,123", None, 0.123),
        ("1,020.5", 1020.5, None),
        ("1.020,5", None, 1020.5),
        ("1 020,5", None, 1020.5),
        (f"1{NARROW}020,5", None, 1020.5),
        (f"1{NO_BREAK}020{NO_BREAK}300", 1020300, 1020300),
        ("1'020.5", 1020.5, None),
        ("1\u2019020", 1020, 1020),
        ("1,00,000", 100000, None),
        ("12,34,567.8", 1234567.8, None),
        ("1.234.567", None, 1234567),
        ("(1,020)", -1020, -1.02),
        ("1,020-", -1020, -1.02),
        ("\u22125", -5, -5),
        ("$ -5", -5, -5),
        ("-$5", -5, -5),
        ("1.020,50 \u20ac", None, 1020.5),
        ("R$ 1.020,50", None, 1020.5),
        ("EUR 5", 5, 5),
        ("5 %", 5, 5),
        (",25", None, 0.25),
        ("1,5e3", None, 1500),
        ("\u0661\u066c\u0660\u0662\u0660\u066b\u0665", 1020.5, 1020.5),
        ("\uff11\uff12", 12, 12),
    ],
)
def test_one_cell(text, point, comma):
    found = number_cell(text)
    assert (found.point, found.comma) == (point, comma)


@pytest.mark.parametrize(
    "text",
    ["", "x", "1,02,03", "1,0200,000.5", "1.2.3", "1,2,3", "--5", "-5-", "(5", "(-5)", "5 kg",
     "2020-01-01", "1 5", "1e", "12:30", "%", "$", ".", ",", "0,123,456", "192.168.1.1"],
)  # fmt: skip
def test_no_number(text):
    assert number_cell(text) is None


NOTATIONS = [(",", "."), (".", ","), (" ", ","), (NARROW, ","), (NO_BREAK, "."), ("'", "."),
             ("\u2019", "."), ("", ","), ("", ".")]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=4, max_size=12, unique=True),
    st.sampled_from(NOTATIONS),
    st.integers(0, 3),
)
def test_every_notation_reads_back(tmp_path_factory, numbers, notation, digits):
    group, decimal = notation
    values = [number / 10**digits for number in numbers]
    # A last row that leaves no doubt which mark is which.
    cells = [f"{value:,.{digits}f}" for value in values] + ["1,234,567.5"]
    swap = str.maketrans({",": group, ".": decimal})
    rows = [f"2020-01-{day:02}\t{cell.translate(swap)}\n" for day, cell in enumerate(cells, 1)]
    path = tmp_path_factory.mktemp("notation") / "a.tsv"
    path.write_text("date\ty\n" + "".join(rows))
    (series,), _ = read_series(path, SeriesColumns())
    np.testing.assert_array_equal(series.values[:, 0], np.array([*values, 1234567.5], np.float32))


def test_marks_of_thousands_beside_small_numbers(read):
    series, notes = read(["1,020", "998", "1,100", "950"])
    assert series.values[:, 0].tolist() == [1020, 998, 1100, 950]
    assert notes == [
        "The commas in column 'y' were read as marks of thousands (1020, not 1.02); add "
        "--decimal , if that is wrong."
    ]
    assert read(["1.020", "998", "1.100"])[0].values[:, 0].tolist() == [1020, 998, 1100]
    assert read(["1,025", "998", "1,137"])[0].values[:, 0].tolist() == [1025, 998, 1137]


def test_one_cell_decides_for_those_before_and_after(read):
    series, _ = read(["1,020", "998", "1,020.5", "2,000"])
    assert series.values[:, 0].tolist() == [1020, 998, 1020.5, 2000]
    series, notes = read(["1,020", "0,5", "2,000"])
    assert series.values[:, 0].tolist() == np.array([1.02, 0.5, 2], np.float32).tolist()
    assert notes == ["The commas in column 'y' were read as decimal marks."]


def test_a_late_cell_decides_beyond_the_chunk(read, monkeypatch):
    monkeypatch.setattr("pipelines.series_reader.CHUNK_ROWS", 2)
    series, _ = read(["1.020", "998", "1.500", "7", "2.500", "1.020,5"])
    assert series.values[:, 0].tolist() == [1020, 998, 1500, 7, 2500, 1020.5]


def test_another_column_decides_even_one_that_is_not_read(read):
    columns = ["1.020", "1.998"], ["1,5", "2,5"]
    expected = [[1020, 1.5], [1998, 2.5]]
    assert read(*columns)[0].values.tolist() == expected
    assert read(*columns, targets=("y",))[0].values[:, 0].tolist() == [1020, 1998]
    # Points are decimal marks, as programs write them, where nothing speaks against it.
    assert read(columns[0])[0].values[0, 0] == np.float32(1.02)


@pytest.mark.parametrize(
    "cells", [["1,020", "1,998"], ["1,234", "5", "2,345"], ["1,020", "1500"], ["1,020", "1.030"]]
)
def test_what_nothing_decides_is_refused_with_the_flag(read, cells):
    with pytest.raises(DataError, match=r"a\.tsv:2: column .y.*--decimal \. or --decimal ,"):
        read(cells)
    assert read(cells, decimal=".")[0].values[0, 0] in (1020, 1234)


def test_the_flag_and_the_training_data_decide(read):
    cells = ["1,020", "1,998"]
    series, _ = read(cells, decimal=",")
    assert series.values[:, 0].tolist() == np.array([1.02, 1.998], np.float32).tolist()
    assert series.written == Written(",")
    assert read(cells, like=Written("."))[0].values[:, 0].tolist() == [1020, 1998]
    # What the file proves counts more than what training data was like.
    series, _ = read(["1,020", "0,5"], like=Written("."))
    assert series.values[1, 0] == 0.5


@pytest.mark.parametrize(
    ("cells", "wanted", "parts"),
    [
        (["1,5", "1.5"], {}, ["a.tsv:3", "'1.5' has a decimal point", "'1,5' on line 2"]),
        (["1,000.5", "1,5"], {}, ["a.tsv:3", "'1,5' has a decimal comma", "'1,000.5' on line 2"]),
        (["1.5", "2.5"], {"decimal": ","}, ["a.tsv:2", "--decimal says otherwise"]),
        (["5 %", "0.05"], {}, ["a.tsv:3", "no sign", "on line 2 the sign %"]),
        (["$5", "\u20ac6"], {}, ["a.tsv:3", "the sign \u20ac", "the sign $"]),
        (["5", "6 kg"], {}, ["a.tsv:3", "'6 kg' is not a number"]),
        (["5", "1,02,3"], {}, ["a.tsv:3", "'1,02,3' is not a number"]),
    ],
)
def test_columns_that_contradict_themselves(read, cells, wanted, parts):
    with pytest.raises(DataError) as caught:
        read(cells, **wanted)
    assert [part for part in parts if part not in str(caught.value)] == [], str(caught.value)


def test_signs_are_left_out_with_a_note(read):
    series, notes = read(["$1,020", "-$998", "($1,100.50)", "NA"])
    assert series.values[:3, 0].tolist() == [1020, -998, -1100.5]
    assert "The sign $ of the numbers in column 'y' was left out." in notes


def test_numbers_that_have_a_type_are_taken_as_they_are():
    days = pd.date_range("2020-01-01", periods=4)
    (series,), notes = read_series(
        pd.DataFrame({"date": days, "y": [1.025, 998, 1100, 950]}), SeriesColumns()
    )
    assert series.values[:, 0].tolist() == np.array([1.025, 998, 1100, 950], np.float32).tolist()
    assert notes == []
    texts = pd.DataFrame({"date": days, "y": ["1,020", "998", "1,100", "950"]})
    assert read_series(texts, SeriesColumns())[0][0].values[:, 0].tolist() == [1020, 998, 1100, 950]
