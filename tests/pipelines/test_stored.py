"""Tables in memory that are stored as files give the same examples again."""

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.frames import located, stored
from pipelines.series_columns import SeriesColumns
from pipelines.series_sources import load_series
from pipelines.sources import load_labelled_text

EIGHT = pd.DataFrame({"text": list("abcdefgh"), "label": [0, 1] * 4})
WHOLE = {"validation_fraction": 0, "test_fraction": 0}


def pairs(examples):
    return [(example.text, example.label) for example in examples]


def hours(rows):
    index = pd.date_range("2020-03-28", periods=rows, freq="h")
    return pd.DataFrame({"y": np.sin(np.arange(rows))}, index=index)


any_text = st.text(st.characters(), min_size=1, max_size=12)  # NUL and lone surrogates as well
any_label = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.floats(width=32, allow_nan=False).map(np.float32),
    any_text.filter(str.strip),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(any_text, any_label), min_size=1, max_size=6), frame=st.booleans())
def test_any_texts_and_labels_come_back_from_files(tmp_path_factory, rows, frame):
    rows = [*rows, (' one\r\n\n\'"two"\t, 🙂\u2028 ', "x"), ("two", 1.0)]
    records = [{"text": text, "label": label} for text, label in rows]
    source = pd.DataFrame(records) if frame else records
    path = stored(source, tmp_path_factory.mktemp("stored") / "data")
    here, there = load_labelled_text(source, **WHOLE), load_labelled_text(path, **WHOLE)
    assert here.fingerprint == there.fingerprint
    assert pairs(here.train) == pairs(there.train)
    assert (here.name, here.notes) == (there.name, there.notes)


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.floats(-1e30, 1e30), min_size=4, max_size=20, unique=True),
    zone=st.sampled_from([None, "UTC", "Europe/Berlin", "Asia/Kathmandu"]),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_any_series_come_back_from_files(tmp_path_factory, values, zone, kind):
    values = np.array(values).astype(kind)
    index = pd.date_range("2020-03-28 22:15", periods=len(values), freq="15min", tz=zone)
    frame = pd.DataFrame({"y": values, "n": np.arange(len(values))}, index=index)
    wanted = SeriesColumns(targets=("y",), others=("n",), flat=True)
    here = load_series(frame, wanted)
    there = load_series(stored(frame, tmp_path_factory.mktemp("stored") / "data"), wanted)
    (one,), (two,) = here.series, there.series
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.values[:, 0], values.astype(np.float32))
    np.testing.assert_array_equal(one.times, two.times)
    assert (here.name, here.notes, one.frequency) == (there.name, there.notes, two.frequency)


def test_parts_of_every_kind_come_back(tmp_path):
    for label in "01":
        (tmp_path / "folder" / label).mkdir(parents=True)
        (tmp_path / "folder" / label / "a.txt.gz").write_bytes(gzip.compress(b"text"))
    (tmp_path / "set.fine.dev").write_text("0 good one\n1 bad one\n0 fine\n1 poor\n")
    source = {"train": EIGHT, "val": tmp_path / "set.fine.dev", "test": tmp_path / "folder"}
    path = stored(source, tmp_path / "run" / "data")
    assert sorted(os.listdir(path)) == ["test", "train", "validation"]
    assert [file.path.name for file in located(path).parts["validation"]] == ["data.txt"]
    here, there = load_labelled_text(source), load_labelled_text(path)
    assert here.fingerprint == there.fingerprint
    assert (here.name, here.notes) == (there.name, there.notes)
    frame = hours(60)
    three = {"train": frame[:30], "valid": frame[30:45], "test": frame[45:]}
    parts = stored(three, tmp_path / "series")
    assert load_series(parts, SeriesColumns(targets=("y",))).split == "30,15,15"


def test_shards_and_class_files_come_back(tmp_path):
    for number in range(2):
        EIGHT[number::2].to_csv(tmp_path / f"train-0000{number}-of-00002.csv", index=False)
    (tmp_path / "few").mkdir()
    for label in "01":
        (tmp_path / "few" / f"set.{label}").write_text(f"one {label}\ntwo\n")
    source = {"train": tmp_path, "test": tmp_path / "few"}
    here = load_labelled_text(source)
    there = load_labelled_text(stored(source, tmp_path / "stored"))
    assert len(here.test) == 4
    assert here.fingerprint == there.fingerprint


def test_paths_and_names_are_not_stored(tmp_path):
    for source in ("synthetic:100", "tfds:imdb_reviews", "reviews.csv"):
        assert stored(source, tmp_path / "data") == source
    assert stored(Path("a/b"), tmp_path / "data") == os.path.join("a", "b")
    assert not (tmp_path / "data").exists()


def test_storing_again_changes_only_what_differs(tmp_path):
    path = Path(stored(EIGHT, tmp_path / "data"))
    before = path.stat().st_ino
    stored(EIGHT.copy(), path)
    assert path.stat().st_ino == before
    stored({"train": EIGHT[:4], "test": EIGHT[4:]}, path)
    assert sorted(os.listdir(path)) == ["test", "train"]
    assert os.listdir(tmp_path) == ["data"]


def test_what_others_wrote_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"holds thesis\.tex"):
        stored(EIGHT, tmp_path)
    with pytest.raises(DataError, match="is a file"):
        stored(EIGHT, tmp_path / "thesis.tex")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_table_that_breaks_off_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="records, row 1"):
        stored([{"text": "a"}, "b"], tmp_path / "data")
    assert os.listdir(tmp_path) == []
