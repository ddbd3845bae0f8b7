"""Rows as people have them: labels in many clothes, many bad rows told at once, files without
labels, and what training reads read again for predictions."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from pipelines.series_columns import SeriesColumns
from pipelines.series_sources import load_series
from pipelines.sources import load_labelled_text
from pipelines.text_examples import label_name
from pipelines.unlabelled import read_texts

WHOLE = {"validation_fraction": 0, "test_fraction": 0}
GOOD = "".join(f"film {number},{number % 2}\n" for number in range(20))


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def labels(source, **options):
    return [e.label for e in load_labelled_text(source, **WHOLE, **options).train]


def refused(source, **options):
    with pytest.raises(DataError) as error:
        load_labelled_text(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- labels


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (["0", "1", "0.0", "1.0", "1.", "0,0", "1,00", " 1 "], list("01011011")),
        (["-1", "-1.0", "+1", "1"], ["-1", "-1", "+1", "1"]),
        (["True", "FALSE", "true", "false"], ["true", "false"] * 2),
        (["1.5", "2.0", "3.10", "3.1"], ["1.5", "2", "3.10", "3.1"]),
        (["007", "7", "1,000", "1e3"], ["007", "7", "1,000", "1e3"]),
    ],
)
def test_one_label_in_many_spellings(tmp_path, spellings, expected):
    rows = "".join(f't{n};"{label}"\n' for n, label in enumerate(spellings))
    write(tmp_path, {"a.csv": "text;label\n" + rows})
    assert labels(str(tmp_path / "a.csv")) == expected


@pytest.mark.parametrize(
    "column",
    [
        [0, 1, 0, 1],
        [0.0, 1.0, 0.0, 1.0],
        ["0", "1", "0.0", "1.0"],
        np.array([0, 1, 0, 1], np.int8),
        np.array([0, 1, 0, 1], np.float32),
        pd.array([0, 1, 0, 1], "Int64"),
        pd.array([0, 1, 0, 1], "Float64"),
        pd.Categorical(["0", "1", "0", "1.0"]),
        pd.Series([0, 1.0, "0", "1"], dtype=object),
    ],
)
def test_labels_are_told_the_same_from_memory_and_from_every_file(tmp_path, column):
    frame = pd.DataFrame({"text": list("abcd"), "label": column})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    for source in (frame, frame.to_dict("records"), tmp_path / "a.csv", tmp_path / "a.jsonl"):
        assert labels(source) == ["0", "1", "0", "1"]


def test_truth_values_are_told_the_same_from_memory_and_from_csv(tmp_path):
    frame = pd.DataFrame({"text": list("abcd"), "label": [True, False] * 2})
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert labels(frame) == labels(tmp_path / "a.csv") == ["true", "false"] * 2


@pytest.mark.parametrize(
    "word", ["", "NaN", "nan", "NA", "N/A", "null", "None", "<NA>", "#N/A", "?", " "]
)
def test_words_for_missing_are_no_labels(tmp_path, word):
    write(tmp_path, {"a.csv": f'text,label\n{GOOD}x,"{word}"\ny,"{word}"\n'})
    message = refused(tmp_path / "a.csv")
    assert f"{tmp_path}/a.csv:22: the label is " in message
    assert "2 rows are so" in message
    assert "--drop-unlabelled" in message
    splits = load_labelled_text(tmp_path / "a.csv", drop_unlabelled=True, **WHOLE)
    assert {e.label for e in splits.train} == {"0", "1"}
    assert len(splits.train) == 20
    assert f"2 examples without a label were dropped: {tmp_path}/a.csv:22, 23." in splits.notes


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, "NaN", ""])
def test_missing_labels_in_memory_are_dropped_on_demand(missing):
    column = pd.Series([0, 1, missing, 1], dtype=object)
    frame = pd.DataFrame({"text": list("abcd"), "label": column})
    assert "DataFrame, row 2" in refused(frame)
    assert labels(frame, drop_unlabelled=True) == ["0", "1", "1"]


def test_a_folder_may_have_any_name(tmp_path):
    write(tmp_path, {f"{name}/{n}.txt": f"t {n}" for name in ("none", "1.0") for n in range(3)})
    assert set(labels(tmp_path)) == {"none", "1.0"}


def test_label_names_are_their_own_names():
    values = [1, 1.0, "1.0", True, "TRUE", "x", "NaN", None, 2.5, -0.0, "-0"]
    assert [label_name(label_name(value)) for value in values] == [
        label_name(value) for value in values
    ]


# ---- bad rows


BAD = {
    "missing labels": (
        "a.csv", f"text,label\n{GOOD}a,\nb,0\nc,\nd,\ne,\nf,\n",
        [":22: the label is empty", "5 rows are so", ":22, 24, 25, 26, 27."],
    ),
    "too few cells": (
        "a.csv", f"text,label\n{GOOD}a\nb\nc\nd\ne\n",
        [":22: this row has 1 cells", "5 rows are so"],
    ),
    "broken json": (
        "a.jsonl", '{"text": "a", "label": 1}\n' + '{"text": \n' * 5,
        [":2: this line is not valid JSON", "5 rows are so", ":2, 3, 4, 5, 6."],
    ),
    "other values in json": (
        "a.jsonl", '{"text": "a", "label": 1}\n' + "[1]\n3\n" * 3, [":2: expected", "6 rows are so"]
    ),
    "null texts": (
        "a.jsonl", '{"text": "a", "label": 1}\n' + '{"text": null, "label": 0}\n' * 5,
        [":2: the text is null", "5 rows are so"],
    ),
    "keys that are not there": (
        "a.json", json.dumps([{"text": "a", "label": 1}] + [{"text": "a"}] * 5),
        [": there is no 'label'", "5 rows are so"],
    ),
    "many": (
        "a.csv", f"text,label\n{GOOD}" + "a,\n" * 1000,
        [":22: the label", "1000 rows are so", ":22, 23, 24, 25, 26 and 995 more."],
    ),
    "two kinds": (
        "a.csv", f"text,label\n{GOOD}a\nb,\nc,\n",
        [":22: this row has 1 cells", "Besides, ", ":23: the label is empty", "2 rows are so"],
    ),
    "lines without a label": (
        "a.txt", "__label__a x\n__label__b y\n__label__a __label__b x\n__label__b __label__a x\n",
        [":3: this line has several labels", "2 rows are so"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_told_at_once(tmp_path, case):
    name, content, parts = BAD[case]
    write(tmp_path, {name: content})
    message = refused(tmp_path / name)
    assert [part for part in parts if part not in message] == [], message
    assert message.startswith(f"{tmp_path}/{name}:")


def test_bad_rows_of_all_parts_are_told(tmp_path):
    write(tmp_path, {"train.csv": f"text,label\n{GOOD}a,\n", "test.csv": "text,label\na,\nb,1\n"})
    assert f"2 rows are so: {tmp_path}/train.csv:22, {tmp_path}/test.csv:2." in refused(tmp_path)


def test_labels_that_train_does_not_have_are_counted(tmp_path):
    write(tmp_path, {"train.csv": f"text,label\n{GOOD}", "test.csv": "text,label\na,7\nb,1\nc,8\n"})
    message = refused(tmp_path)
    assert "test.csv:2: label '7'" in message
    assert "2 rows are so" in message


# ---- a test part without answers


@pytest.mark.parametrize(
    "name", ["sample_submission.csv", "gender_submission.csv", "sampleSubmission.csv.gz"]
)
def test_a_test_part_without_labels_beside_a_submission_is_left_out(tmp_path, name):
    submission = b"id,label\n7,0\n"
    rows = "".join(f"{number},{row}\n" for number, row in enumerate(GOOD.splitlines()))
    write(tmp_path, {
        "train.csv": f"id,text,label\n{rows}",
        "test.csv": "id,text\n7,a film\n8,no film\n",
        name: gzip.compress(submission) if name.endswith("gz") else submission,
    })  # fmt: skip
    splits = load_labelled_text(tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [16, 2, 2]
    assert f"test.csv has no column label, and {name} lies beside it" in splits.notes[0]
    assert any("There is no test part" in note for note in splits.notes)
    assert read_texts(tmp_path / "test.csv")[0] == ["a film", "no film"]


def test_a_test_part_with_labels_beside_a_submission_is_used(tmp_path):
    write(tmp_path, {"train.csv": f"text,label\n{GOOD}", "test.csv": "text,label\na,1\n",
                     "sample_submission.csv": "id,label\n"})  # fmt: skip
    assert len(load_labelled_text(tmp_path).test) == 1


def test_series_leave_such_a_test_part_out_too(tmp_path):
    days = "".join(f"2020-01-{day:02d},{day % 5}\n" for day in range(1, 21))
    write(tmp_path, {"train.csv": f"date,sales\n{days}", "test.csv": "date\n2020-02-01\n",
                     "sample_submission.csv": "date,sales\n2020-02-01,0\n"})  # fmt: skip
    loaded = load_series(str(tmp_path), SeriesColumns())
    assert len(loaded.series[0].times) == 20
    assert "test.csv has no column sales" in loaded.notes[0]


# ---- what training reads is read for predictions


PAIRS = [(f"film number {n}", ("neg", "pos")[n % 2]) for n in range(20)]
TEXTS = [text for text, _ in PAIRS]
FILES = {
    "csv": ("a.csv", "text,label\n" + "".join(f"{t},{n}\n" for t, n in PAIRS)),
    "csv without header": ("a.csv", "".join(f"{n},{t}\n" for t, n in PAIRS)),
    "semicolons": ("a.csv", "sep=;\nreview;label;\n" + "".join(f"{t};{n};\n" for t, n in PAIRS)),
    "tsv": ("a.tsv", "label\ttext\n" + "".join(f"{n}\t{t}\n" for t, n in PAIRS)),
    "jsonl": ("a.jsonl", "".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in PAIRS)),
    "json": ("a.json", json.dumps([{"text": t, "label": n} for t, n in PAIRS])),
    "first words": ("a.txt", "".join(f"{n} {t}\n" for t, n in PAIRS)),
    "fastText": ("a.txt", "".join(f"__label__{n} {t}\n" for t, n in PAIRS)),
    "tabs": ("a.txt", "".join(f"{t}\t{n}\n" for t, n in PAIRS)),
}
NAMES = ("", "questions.train.all", "questions.dat", "questions", "questions.txt", "my.train")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", FILES)
def test_train_and_predict_read_the_same(tmp_path, case, name):
    usual, content = FILES[case]
    write(tmp_path, {name or usual: content})
    path = tmp_path / (name or usual)
    splits = load_labelled_text(path, **WHOLE)
    assert [(e.text, e.label) for e in splits.train] == PAIRS
    assert read_texts(path, labels=["neg", "pos"])[0] == TEXTS


@pytest.mark.parametrize("name", ["a.all", "a.dat", "a"])
def test_evaluation_reads_directories_of_unknown_extensions(tmp_path, name):
    extension = name[1:]
    for part in ("train", "test"):
        write(tmp_path, {f"questions.{part}{extension}": FILES["first words"][1]})
    splits = load_labelled_text(tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [18, 2, 20]


def test_lines_that_only_begin_like_labels_keep_their_words(tmp_path):
    lines = ["pos cards are fine", "neg is short", "good one"]
    write(tmp_path, {"a.txt": "\n".join(lines)})
    assert read_texts(tmp_path / "a.txt", labels=["neg", "pos"])[0] == lines


def test_folders_of_classes_are_read_for_predictions(tmp_path):
    write(tmp_path, {f"{label}/{n}.txt": f"{label} {n}\n" for label in ("a", "b") for n in (1, 2)})
    assert read_texts(tmp_path)[0] == ["a 1", "a 2", "b 1", "b 2"]


@pytest.mark.parametrize("encoding", ["cp1251", "gb18030"])
def test_predictions_read_other_encodings(tmp_path, encoding):
    texts = ["Очень хороший фильм", "Скучно и слишком длинно"]
    data = "\n".join(["text", *texts]).encode(encoding)
    write(tmp_path, {"a.csv": data})
    assert read_texts(tmp_path / "a.csv", encoding=encoding) == (texts, [])
    if encoding == "cp1251":
        found, notes = read_texts(tmp_path / "a.csv")
        assert found == texts
        assert "cp1251" in notes[0]


def test_bad_rows_of_predictions_are_told_at_once(tmp_path):
    write(tmp_path, {"a.jsonl": '{"text": "a"}\n' + '{"text": 3}\n' * 5})
    with pytest.raises(DataError) as error:
        read_texts(tmp_path / "a.jsonl")
    assert f"{tmp_path}/a.jsonl:2: column 'text' holds 3" in str(error.value)
    assert "5 rows are so" in str(error.value)


@pytest.mark.parametrize(
    ("content", "parts"),
    [("id,title\n1,a\n", ["id, title", "--text-column"]), ("text,body\na,b\n", ["text, body"])],
)
def test_a_text_column_that_is_not_plain(tmp_path, content, parts):
    write(tmp_path, {"a.csv": content})
    with pytest.raises(DataError) as error:
        read_texts(tmp_path / "a.csv")
    assert all(part in str(error.value) for part in parts)
