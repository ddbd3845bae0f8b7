"""DataFrames, lists of dicts and dicts of parts as sources."""

import datetime
import gzip
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from pipelines.records import Records, plain
from pipelines.series_columns import SeriesColumns
from pipelines.series_reader import read_series
from pipelines.series_sources import load_series
from pipelines.sources import load_labelled_text

EIGHT = pd.DataFrame({"text": list("abcdefgh"), "label": [0, 1] * 4})
WHOLE = {"validation_fraction": 0, "test_fraction": 0}


def pairs(examples):
    return [(example.text, example.label) for example in examples]


def refused(source, load=load_labelled_text, **options):
    with pytest.raises(DataError) as error:
        load(source, **options)
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# ---- labelled text


def test_a_frame_reads_as_the_csv_file_of_it(tmp_path):
    frame = pd.DataFrame(
        {"id": range(40), "Sentence": [f'no. {n}, "so"\nit is 🙂' for n in range(40)],
         "Sentiment": ["good", "bad"] * 20}
    )  # fmt: skip
    frame.to_csv(tmp_path / "a.csv", index=False)
    here, there = load_labelled_text(frame, seed=3), load_labelled_text(tmp_path / "a.csv", seed=3)
    assert here.fingerprint == there.fingerprint
    assert here.notes == there.notes
    assert here.train == there.train
    assert here.name == "data"


def test_columns_are_named_as_for_files():
    frame = EIGHT.rename(columns={"text": "words", "label": "stars"})
    assert "--text-column" in refused(frame)
    splits = load_labelled_text(frame, text_column="words", label_column="stars", **WHOLE)
    assert pairs(splits.train)[:2] == [("a", "0"), ("b", "1")]


def test_labels_have_the_text_form_of_other_readers():
    labels = [0, 1.0, 2.5, True, False, np.int8(3), np.float32(0.1), np.bool_(True), " x ",
              Decimal("1.5"), datetime.date(2020, 1, 2), b"bytes"]  # fmt: skip
    records = [{"text": f"t{n}", "label": label} for n, label in enumerate(labels)]
    expected = ["0", "1", "2.5", "true", "false", "3", "0.1", "true", "x", "1.5", "2020-01-02",
                "bytes"]  # fmt: skip
    for source in (records, pd.DataFrame(records)):
        assert [e.label for e in load_labelled_text(source, **WHOLE).train] == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, 0, None], "Int64"), ["1", "0"]),
        (pd.Series(["b", "a", None], dtype="category"), ["b", "a"]),
        (pd.Series([True, False, None], dtype="boolean"), ["true", "false"]),
        (np.array([1.0, 0.0, np.nan]), ["1", "0"]),
        (np.array([0.1, 0.25, np.nan], np.float32), ["0.1", "0.25"]),
    ],
)
def test_missing_labels_are_refused_whatever_the_columns_type(column, expected):
    frame = pd.DataFrame({"text": list("abc"), "label": column})
    assert refused(frame).startswith("DataFrame, row 2: the label is empty; give one, remove")
    assert [e.label for e in load_labelled_text(frame[:2], **WHOLE).train] == expected


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, "", "  "])
def test_rows_without_text_are_dropped_as_from_csv(missing):
    frame = pd.concat([EIGHT, pd.DataFrame({"text": [missing], "label": [1]})])
    splits = load_labelled_text(frame, **WHOLE)
    assert len(splits.train) == 8
    assert "1 example without text was dropped: DataFrame, row 8." in splits.notes


def test_parts_of_every_kind(tmp_path):
    (tmp_path / "test.csv").write_text("text,label\nx,1\n")
    records = [{"text": "v", "label": 0}, {"text": "w", "label": "1"}]
    splits = load_labelled_text({"train": EIGHT, "dev": records, "test": tmp_path / "test.csv"})
    assert pairs(splits.train) == pairs(load_labelled_text(EIGHT, **WHOLE).train)
    assert pairs(splits.validation) == [("v", "0"), ("w", "1")]
    assert pairs(splits.test) == [("x", "1")]
    assert splits.notes == []


def test_a_part_may_be_a_folder_of_classes(tmp_path):
    for label in "01":
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.txt").write_text(f"of {label}")
    splits = load_labelled_text({"train": EIGHT, "test": str(tmp_path)})
    assert pairs(splits.test) == [("of 0", "0"), ("of 1", "1")]
    assert splits.notes[0] == "The labels are folder names: 0, 1."


def test_an_index_with_a_name_is_a_column_and_row_numbers_are_not():
    assert pairs(load_labelled_text(EIGHT.set_index("text"), **WHOLE).train)[0] == ("a", "0")
    shuffled = EIGHT.iloc[::-1]
    assert next(Records.of(shuffled).rows()).values == {"text": "h", "label": 1}


def test_rows_are_numbered_by_position_across_chunks(monkeypatch):
    monkeypatch.setattr("pipelines.records._CHUNK", 3)
    frame = EIGHT.assign(label=[0, 1, 0, 1, 0, 1, 0, None])
    assert refused(frame).startswith("DataFrame, row 7: ")
    assert [row.line for row in Records.of(EIGHT[::2]).rows()] == [0, 1, 2, 3]


BAD = {
    "nothing": (None, ["NoneType", "DataFrame"]),
    "a series": (EIGHT["text"], ["Series", "DataFrame"]),
    "columns": ({"text": ["a"], "label": [1]}, ["'text'", "train", "DataFrame"]),
    "no train": ({"test": EIGHT}, ["parts test", "train is missing"]),
    "no part": ({}, ["train is missing"]),
    "a part twice": ({"train": EIGHT, "dev": EIGHT, "val": EIGHT}, ["validation", "'val'"]),
    "a part of another type": ({"train": EIGHT, "test": 5}, ["test part", "int"]),
    "a part that is nowhere": ({"train": EIGHT, "test": "no/such.csv"}, ["no/such.csv"]),
    "no rows": (EIGHT[:0], ["DataFrame is empty"]),
    "no records": ({"train": EIGHT, "test": []}, ["test records is empty"]),
    "texts alone": ({"train": ["a", "b"]}, ["train records, row 0", "'a'", "dict"]),
    "a record without its label": (
        [{"text": "a", "label": 1}, {"text": "b"}], ["records, row 1", "'label'", "text"]
    ),
    "a number for text": (
        {"train": EIGHT, "dev": pd.DataFrame({"text": ["a", 5], "label": [0, 1]})},
        ["dev DataFrame, row 1", "5, not a string"],
    ),
    "a list for label": (
        EIGHT.assign(label=[[1]] * 8), ["DataFrame, row 0", "one string or number"]
    ),
    "an unknown label": (
        {"train": EIGHT, "test": EIGHT.assign(label=[0, 1, 7] + [0] * 5)},
        ["test DataFrame, row 2", "'7'", "0, 1"],
    ),
    "one column twice": (
        pd.DataFrame([["a", 1, "b"]], columns=["text", "label", "text"]), ["'text'", "rename"]
    ),
    "the index like a column": (EIGHT.rename_axis("label"), ["'label'", "index"]),
    "a column that is not there": (EIGHT[["text"]], ["DataFrame", "label", "--label-column"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_with_part_row_and_column(case):
    source, parts = BAD[case]
    message = refused(source)
    assert all(part in message for part in parts), message


def test_parts_inside_a_part_are_refused(tmp_path):
    for part in ("train", "test"):
        EIGHT.to_csv(tmp_path / f"{part}.csv", index=False)
    assert "holds the parts" in refused({"train": EIGHT, "test": tmp_path})
    # One file of them is one part.
    assert len(load_labelled_text({"train": tmp_path / "train.csv"}, **WHOLE).train) == 8


# ---- series


def hours(rows=60, **options):
    index = pd.date_range("2020-03-28", periods=rows, freq="h", **options)
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "load": random.normal(size=rows),
            "heat": random.normal(size=rows).astype(np.float32),
            "holiday": [row % 24 < 12 for row in range(rows)],
        },
        index=index,
    )


ALL = SeriesColumns(targets=("load", "heat"), others=("holiday",))


def test_a_frame_with_dates_as_index():
    frame = hours()
    (series,), notes = read_series(frame, ALL)
    assert (notes, series.name, series.columns) == ([], "DataFrame", ("load", "heat", "holiday"))
    np.testing.assert_array_equal(series.times, frame.index.as_unit("s").asi8)
    np.testing.assert_array_equal(series.values, frame.to_numpy(np.float32))


def test_a_frame_reads_as_the_csv_file_of_it_too(tmp_path):
    frame = pd.concat([hours().assign(shop=shop) for shop in ("a", "b")]).drop(columns="holiday")
    frame = frame.rename_axis("when").reset_index()
    frame.iloc[5, 1] = np.nan
    frame = frame.drop(index=[7, 8]).sample(frac=1, random_state=0)
    frame.to_csv(tmp_path / "a.csv", index=False)
    wanted = SeriesColumns(id="shop")
    (here, notes), (there, _) = read_series(frame, wanted), read_series(tmp_path / "a.csv", wanted)
    assert [one.name for one in here] == [one.name for one in there]
    for one, two in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
        np.testing.assert_array_equal(one.times, two.times)
    assert any("out of order and sorted (the first in row " in note for note in notes)
    assert any("2 missing rows were inserted" in note for note in notes)


def test_time_zones_become_utc_over_a_change_of_the_clock():
    frame = hours(tz="Europe/Berlin")
    (series,), notes = read_series(frame, ALL)
    np.testing.assert_array_equal(series.times, frame.index.tz_convert("UTC").as_unit("s").asi8)
    assert notes == ["The stamps of column 'time' were converted to UTC."]
    local = frame.tz_localize(None)
    local = local[~local.index.duplicated()]
    (again,), _ = read_series(local, SeriesColumns(**{**vars(ALL), "timezone": "Europe/Berlin"}))
    np.testing.assert_array_equal(again.times, series.times)


@pytest.mark.parametrize(
    "times",
    [
        pd.period_range("2020-01", periods=3, freq="M"),
        pd.Index([datetime.date(2020, month, 1) for month in (1, 2, 3)]),
        pd.Index(["2020-01", "2020-02", "2020-03"], name="month"),
        pd.Index([202001.0, 202002.0, 202003.0], name="month"),
        pd.Index([1577836800, 1580515200, 1583020800], name="epoch"),
    ],
)
def test_dates_of_every_kind(times):
    (series,), _ = read_series(pd.DataFrame({"y": [1, 2, 4]}, index=times), SeriesColumns())
    assert str(series.frequency) == "month"
    assert series.times.tolist() == [1577836800, 1580515200, 1583020800]


def test_levels_of_an_index_tell_series_apart():
    frame = pd.concat({"a": hours(), "b": hours()}, names=["unique_id"])
    series, _ = read_series(frame, ALL)
    assert [one.name for one in series] == ["a", "b"]


def test_json_lines_hold_series_too(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    lines = [{"ds": f"2020-01-0{day}", "y": value} for day, value in ((1, 1), (2, None), (3, 3.5))]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    (series,), notes = read_series(path, SeriesColumns())
    assert series.values[:, 0].tolist() == [1, 2.25, 3.5]
    assert notes == ["1 missing value of 'y' was interpolated (longest run: 1)."]
    (tmp_path / "b.jsonl").write_text('{"ds": "2020-01-01", "y": 1}\n{"ds": "2020-01-02"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl:2: there is no 'y' here"):
        read_series(tmp_path / "b.jsonl", SeriesColumns())
    (tmp_path / "c.jsonl").write_text("")
    with pytest.raises(DataError, match=r"c\.jsonl is empty"):
        read_series(tmp_path / "c.jsonl", SeriesColumns())


def three(frame=None, cuts=(30, 45)):
    frame = hours() if frame is None else frame
    first, second = cuts
    return {"train": frame[:first], "valid": frame[first:second], "test": frame[second:]}


def test_three_parts_follow_one_another(tmp_path):
    whole, parts = load_series(hours(), ALL), load_series(three(), ALL)
    assert (whole.split, parts.split) == ("", "30,15,15")
    assert (parts.name, parts.targets) == ("data", 2)
    np.testing.assert_array_equal(parts.series[0].values, whole.series[0].values)
    for part, frame in three().items():
        frame.to_csv(tmp_path / f"{part}.csv", index_label="time")
    files = load_series(tmp_path, SeriesColumns(targets=("load", "heat")))
    assert files.split == "30,15,15"
    np.testing.assert_array_equal(files.series[0].values, whole.series[0].values[:, :2])


TWO = SeriesColumns(targets=("load",))


@pytest.mark.parametrize(
    ("source", "wanted", "parts"),
    [
        (hours()[:0], TWO, ["DataFrame is empty"]),
        (hours().reset_index(drop=True).assign(who=[f"x{i}" for i in range(60)]), TWO,
         ["DataFrame", "no column holds dates", "--time-column none"]),
        (hours(), SeriesColumns(targets=("x",)), ["DataFrame: column 'x'", "time, load, heat"]),
        (hours().assign(load=["?"] * 17 + ["many"] * 43), TWO,
         ["DataFrame, row 17: column 'load': 'many' is not a number"]),
        (hours().assign(load=[1.0] * 17 + [np.inf] * 43), TWO,
         ["DataFrame, row 17: column 'load'", "infinite"]),
        (hours().assign(load=1), TWO, ["'load' is always 1"]),
        (pd.concat([hours(), hours()]), TWO,
         ["DataFrame, row 60: 60 of 120 rows have the stamp of another row", "--id-column"]),
        (hours().assign(time=[*range(59), "soon"]).reset_index(drop=True),
         SeriesColumns(time="time", targets=("load",)), ["DataFrame, row 0: column 'time'"]),
        (hours().iloc[[0, 1, 2, 3, 5, 6, 7, 50]], TWO, ["DataFrame", "43 are missing"]),
        ({"train": hours(), "test": hours()}, TWO, ["train DataFrame, test DataFrame"]),
        (three(cuts=(30, 30)), TWO, ["valid DataFrame is empty"]),
        (dict(zip(("train", "valid", "test"), [*three().values()][::-1], strict=True)), TWO,
         ["valid DataFrame does not continue train DataFrame"]),
        ({**three(), "test": [{"time": "2020-03-30", "load": 1}, {"time": "x", "load": 1}]}, TWO,
         ["test records, row 1: column 'time': 'x'"]),
        ("tfds:imdb_reviews", TWO, ["tfds:imdb_reviews", "csv"]),
    ],
)  # fmt: skip
def test_bad_series_are_refused_with_part_row_and_column(source, wanted, parts):
    with pytest.raises(DataError) as error:
        load_series(source, wanted)
    message = str(error.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message


# ---- cells


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.str_("a"), "a"), (np.int64(3), 3), (np.float64(0.1), 0.1), (np.float32(0.1), 0.1),
        (np.float16(0.1), 0.1), (np.float32("nan"), ""), (pd.NaT, ""), (np.datetime64("NaT"), ""),
        (pd.Timestamp("2020-01-02 03:04", tz="UTC"), "2020-01-02T03:04:00+00:00"),
        (np.array([["a", "b"], ["c", None]], object), [["a", "b"], ["c", ""]]),
        (("a", 1), ["a", 1]), ({1: {"b": np.int8(2)}}, {"1": {"b": 2}}), (b"caf\xc3\xa9", "café"),
    ],
)  # fmt: skip
def test_plain(value, expected):
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    assert json.loads(json.dumps(found)) == found
