"""What separates the cells of a table is told by its rows, for texts and for series alike."""

import csv
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.readers import read_rows
from pipelines.readers.delimited import first_cells
from pipelines.series_columns import SeriesColumns
from pipelines.series_reader import read_series
from pipelines.sources import load_labelled_text
from pipelines.textfile import inspect_file

EXPECTED = [("good, really", "1"), ("bad; no", "0"), ("so | so", "1"), ("a\ttab", "0")]


def write(folder, content, name="a.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(path, **options):
    return [list(row.values.values()) for row in read_rows(path, **options)]


def quoted(delimiter, header=("text", "label"), table=EXPECTED):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([header, *table])
    return stream.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_separator_within_quotes_separates_nothing(tmp_path, delimiter, name):
    path = write(tmp_path, quoted(delimiter), name)
    assert cells(path) == [list(pair) for pair in EXPECTED]


TABLES = {
    # Every text has a comma and the header none; without a header, every row has one.
    "prose": ("text;label\ngood, really;1\nbad, no;0\n", {},
              [["good, really", "1"], ["bad, no", "0"]]),
    "prose without header": (
        "pos;good, really\nneg;bad, no\npos;well, yes\nneg;oh, dear\n", {"header": False},
        [["pos", "good, really"], ["neg", "bad, no"], ["pos", "well, yes"], ["neg", "oh, dear"]],
    ),
    "decimal commas": (
        "date;load, MW\n2020-01-01;1,5\n2020-01-02;2,5\n", {},
        [["2020-01-01", "1,5"], ["2020-01-02", "2,5"]],
    ),
    "late commas": (
        "a;b\n1;2\n" + "x, y;z\n" * 20, {}, [["1", "2"], *[["x, y", "z"]] * 20]
    ),
    "a comma in the header only": ('"a, b";c\n1;2\n3;4\n', {}, [["1", "2"], ["3", "4"]]),
    "one more separator": ("text,label,\ngood,1,\nbad,0,\n", {}, [["good", "1"], ["bad", "0"]]),
    "one more in rows": ("text,label\ngood,1,\nbad,0\nso,1,,,\n", {},
                         [["good", "1"], ["bad", "0"], ["so", "1"]]),
    "one more in the header": ("text,label,\ngood,1\nbad,0\n", {}, [["good", "1"], ["bad", "0"]]),
    "separators alone": (",,\ntext,label,\n,,\ngood,1,\n , \nbad,0,\n,,,,\n", {},
                         [["good", "1"], ["bad", "0"]]),
    "an empty last column": ("text;label;note\ngood;1;\nbad;0;\n", {},
                             [["good", "1", ""], ["bad", "0", ""]]),
    "Excel's first line": ("sep=;\r\ntext;label\r\ngood, well;1\r\n", {}, [["good, well", "1"]]),
    "Excel's tab": ("SEP=\t\ntext\tlabel\ngood, well\t1\n", {}, [["good, well", "1"]]),
    "a first line of any sign": ('"sep=^"\ntext^label\ngood, well^1\n', {}, [["good, well", "1"]]),
    "a column called sep": ("sep,label\ngood,1\n", {}, [["good", "1"]]),
    "bars between spaces": ("text | label\ngood one | 1\nbad one | 0\n", {},
                            [["good one ", "1"], ["bad one ", "0"]]),
    "spaces before quotes": ('text, label\n"good, well", "1"\n"bad", "0"\n', {},
                             [["good, well", "1"], ["bad", "0"]]),
    "two spaces": ("date  when      y\n2020-01-01 00:00  a b   1\n2020-01-02 00:00  a    2\n", {},
                   [["2020-01-01 00:00", "a b", "1"], ["2020-01-02 00:00", "a", "2"]]),
    "one space": ("date y\n2020-01-01 1\n2020-01-02    2 \n", {},
                  [["2020-01-01", "1"], ["2020-01-02", "2"]]),
    "one column": ("some text\na b\nc d\ne f\n", {}, [["a b"], ["c d"], ["e f"]]),
    "marks twice": (b"\xef\xbb\xbf\xef\xbb\xbf\"text\",label\ngood,1\n", {}, [["good", "1"]]),
    "names of rows": ("text,label\n1,good,x\n2,bad,y\n3,so,x\n", {},
                      [["1", "good", "x"], ["2", "bad", "y"], ["3", "so", "x"]]),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_tables_as_people_have_them(tmp_path, case):
    content, options, expected = TABLES[case]
    path = write(tmp_path, content)
    assert cells(path, **options) == expected
    header = first_cells(inspect_file(path))
    assert len(header) == len(expected[0])


def test_lines_are_counted_from_the_line_above_the_table(tmp_path):
    path = write(tmp_path, "sep=;\n\ntext;label\n;\ngood;1\n")
    assert [row.where for row in read_rows(path)] == [f"{path}:5"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("text,label\ngood, really,1\n", [":2", "3 cells", "','", "quotes"]),
        ("text,label\ngood, really,1\nbad, no,0\nso, so,1\n", [":2", "3 cells"]),
        ("text;label;note\ngood;1\n", [":2", "2 cells", "';'"]),
    ],
)
def test_rows_of_another_width_are_refused(tmp_path, content, parts):
    path = write(tmp_path, content)
    with pytest.raises(DataError) as error:
        cells(path)
    assert all(part in str(error.value) for part in parts), error.value


def test_the_last_row_of_the_head_may_be_cut(tmp_path):
    long = '"' + "one; line\n" * 3000 + '"'
    path = write(tmp_path, f"text,label\nx,1\n{long},0\ny,1\n")
    assert [row[1] for row in cells(path)] == ["1", "0", "1"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.dat"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "    "])
def test_series_are_cut_in_the_same_way(tmp_path, separator, name):
    days = [f"2020-01-{day:02d}" for day in range(1, 21)]
    lines = [("date", "load"), *((day, str(at % 7 + 0.5)) for at, day in enumerate(days))]
    content = "".join(separator.join(pair) + separator.strip(" ") + "\n" for pair in lines)
    series, _ = read_series(write(tmp_path, content, name), SeriesColumns())
    assert series[0].columns == ("load",)
    np.testing.assert_array_equal(series[0].values[:, 0], [at % 7 + 0.5 for at in range(20)])


def test_dates_in_front_of_a_header_that_does_not_name_them(tmp_path):
    rows = "".join(f"2020-01-{day:02d},{day % 5},x\n" for day in range(1, 21))
    series, _ = read_series(write(tmp_path, "load,what\n" + rows), SeriesColumns())
    assert series[0].columns == ("load",)


def test_texts_are_cut_in_the_same_way(tmp_path):
    rows = "".join(
        f"film {number}, well;{'pos' if number % 2 else 'neg'};\n" for number in range(40)
    )
    splits = load_labelled_text(str(write(tmp_path, "sep=;\ntext;label;\n;;\n" + rows)))
    assert {example.label for example in splits.train} == {"pos", "neg"}
    assert all(example.text.endswith(", well") for example in splits.train)


words = st.text("abc ,;|\t\"'.\n0", min_size=1, max_size=12).filter(lambda text: text.strip())


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=st.lists(st.tuples(words, st.sampled_from("01")), min_size=3, max_size=12),
    delimiter=st.sampled_from(",;|"),
)
def test_any_table_that_csv_writes_is_read_back(tmp_path, table, delimiter):
    path = write(tmp_path, quoted(delimiter, table=table))
    assert cells(path) == [list(pair) for pair in table]
