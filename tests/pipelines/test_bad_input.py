"""A table of bad input: each is refused in one sentence that names the place and the way out."""

import gzip

import pytest

from common.errors import DataError
from pipelines.sources import load_labelled_text

EIGHT = list(zip("abcdefgh", "01010101", strict=True))
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in EIGHT)
TXT = "".join(f"{label} {text}\n" for text, label in EIGHT)
JSONL = "".join(f'{{"text": "{text}", "label": {label}}}\n' for text, label in EIGHT)

BAD = {
    "missing column": ({"train.csv": "id,label\n1,0\n"}, {}, ["train.csv", "id", "--text-column"]),
    "missing label column": ({"train.csv": "text,stars\na,0\n"}, {}, ["stars", "--label-column"]),
    "two text columns": (
        {"train.csv": "text,body,label\na,b,0\n"}, {}, ["text, body", "--text-column"]
    ),
    "column that is not there": (
        {"train.csv": CSV}, {"text_column": "boody"}, ["'boody'", "text, label", "--text-column"]
    ),
    "one column twice": (
        {"train.csv": CSV}, {"text_column": "text", "label_column": "text"}, ["'text'"]
    ),
    "test without label": (
        {"train.csv": CSV, "test.csv": "text\na\n"}, {}, ["test.csv", "'label'"]
    ),
    "unknown label in test": (
        {"train.csv": CSV, "test.csv": "text,label\na,1\n\nb,7\n"}, {},
        ["test.csv:4", "'7'", "0, 1"],
    ),
    "unknown label in validation": (
        {"train.txt": TXT, "dev.txt": "0 a\nb c\n"}, {}, ["dev.txt:2", "'b'"]
    ),
    "one class only": ({"train.csv": "text,label\na,1\nb,1\n"}, {}, ["'1'", "two labels"]),
    "empty file": ({"train.csv": ""}, {}, ["train.csv", "empty"]),
    "header only": ({"train.csv": "text,label\n"}, {}, ["train.csv", "a header but no rows"]),
    "empty class file": ({"pos.txt": "a\n", "neg.txt": "\n"}, {}, ["neg.txt", "empty"]),
    "only empty texts": ({"train.csv": "text,label\n ,1\n"}, {}, ["no example is left"]),
    "test of empty texts": (
        {"train.csv": CSV, "test.csv": "text,label\n ,1\n"}, {}, ["no example", "test"]
    ),
    "binary file": ({"train.csv": b"text,label\n\0\1,1\n"}, {}, ["train.csv", "NUL"]),
    "truncated gz": (
        {"train.csv.gz": gzip.compress(CSV.encode(), mtime=0)[:-9]}, {}, ["train.csv.gz", "gzip"]
    ),
    "broken json line": ({"train.jsonl": '{"text": "a"\n'}, {}, ["train.jsonl:1", "JSON"]),
    "ragged csv": ({"train.csv": "text,label\na,1\nb\n"}, {}, ["train.csv:3"]),
    "null text": (
        {"train.jsonl": '{"text": null, "label": 1}\n'}, {}, ["train.jsonl:1", "null"]
    ),
    "number for text": ({"train.jsonl": '{"text": 5, "label": 1}\n'}, {}, ["train.jsonl:1", "5"]),
    "key missing later": (
        {"train.jsonl": JSONL + '{"text": "a"}'}, {}, ["train.jsonl:9", "'label'"]
    ),
    "empty label": ({"train.csv": "text,label\na,1\nb,\n"}, {}, ["train.csv:3", "label is empty"]),
    "null label": ({"train.jsonl": '{"text": "a", "label": null}'}, {}, ["label is empty"]),
    "NaN label": ({"train.jsonl": '{"text": "a", "label": NaN}'}, {}, ["label is empty"]),
    "list of labels": ({"train.jsonl": '{"text": "a", "label": [1]}'}, {}, ["train.jsonl:1"]),
    "unknown extension": ({"train.parquet": "x"}, {}, ["'.parquet'", ".csv"]),
    "no labels in text": (
        {"train.txt": "it is\nso be it\nwhy not\n"}, {}, ["train.txt", "<label> <text>"]
    ),
    "fastText line without label": (
        {"train.txt": "__label__a x\n__label__b y\n", "test.txt": "z\n"}, {}, ["test.txt:1"]
    ),
    "several labels": ({"train.txt": "__label__a __label__b x\n"}, {}, ["train.txt:1", "several"]),
    "line without tab": (
        {"train.txt": "1\ta b\n0\tb c\n1\tc d\n0\td e\n", "test.txt": "1 a\n"}, {},
        ["test.txt:1", "tab"],
    ),
    "nothing there": ({"README.md": "x"}, {}, ["README.md", "train.csv"]),
    "no train": ({"test.csv": CSV, "valid.csv": CSV}, {}, ["test.csv", "train.csv"]),
    "two train files": ({"train.csv": CSV, "train.jsonl": "{}"}, {}, ["train.csv, train.jsonl"]),
    "part folder of nothing": ({"train/a.bin": b"x"}, {}, ["train", "a.bin"]),
    "columns of txt": (
        {"train.txt": TXT}, {"text_column": "text"}, ["--text-column"]
    ),
    "too few to split": ({"train.csv": "text,label\na,1\nb,0\n"}, {}, ["too few"]),
    "fraction": ({"train.csv": CSV}, {"test_fraction": 1.5}, ["test_fraction", "1.5"]),
    "fractions": (
        {"train.csv": CSV}, {"test_fraction": 0.5, "validation_fraction": 0.5}, ["less than 1"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_sentence(tmp_path, case):
    files, options, parts = BAD[case]
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        load_labelled_text(str(tmp_path), **options)
    message = str(error.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message
    assert message.endswith((".", ")"))


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("no/such/place", ["no such file"]),
        ("", ["empty"]),
        ("synthetic:many", ["synthetic:5000"]),
        ("synthetic:3", ["10 to"]),
    ],
)
def test_bad_specification(spec, parts):
    with pytest.raises(DataError) as error:
        load_labelled_text(spec)
    assert all(part in str(error.value) for part in parts)


def test_missing_file_names_what_is_there(tmp_path):
    (tmp_path / "reviews.csv").write_text(CSV)
    (tmp_path / "more").mkdir()
    with pytest.raises(DataError, match=r"more/, reviews\.csv"):
        load_labelled_text(str(tmp_path / "revews.csv"))
