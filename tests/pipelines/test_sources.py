"""Labelled text from every layout."""

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from common.errors import DataError
from pipelines.layout import locate_parts, part_of
from pipelines.sources import Splits, load_labelled_text

EIGHT = [(f"{word} film", label) for word, label in zip("abcdefgh", "01010101", strict=True)]


def write(folder, files):
    """Writes {relative name: text or bytes} under a folder; *.gz is compressed."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") and data[:1] else data)
    return folder


def table(pairs, form):
    """Writes (text, label) pairs in one of the formats."""
    if form == "jsonl":
        return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in pairs)
    if form == "json":
        return json.dumps([{"text": text, "label": label} for text, label in pairs])
    if form == "txt":
        return "".join(f"{label} {text}\n" for text, label in pairs)
    mark = {"csv": ",", "tsv": "\t"}[form]
    return f"text{mark}label\n" + "".join(f"{text}{mark}{label}\n" for text, label in pairs)


def counts(splits):
    return len(splits.train), len(splits.validation), len(splits.test)


def labels(splits):
    return sorted({example.label for example in splits.train})


def pairs(examples):
    return [(example.text, example.label) for example in examples]


# ---- layouts


@pytest.mark.parametrize("compressed", ["", ".gz"])
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json", "txt"])
@pytest.mark.parametrize("validation", ["valid", "validation", "dev", "val"])
def test_three_part_files(tmp_path, form, compressed, validation):
    write(
        tmp_path,
        {
            f"train.{form}{compressed}": table(EIGHT, form),
            f"{validation}.{form}{compressed}": table(EIGHT[:3], form),
            f"test.{form}{compressed}": table([("z", "1")], form),
            "README.md": "about",
            ".hidden.csv": "x",
            "LICENSE": "free",
        },
    )
    splits = load_labelled_text(str(tmp_path))
    assert pairs(splits.train) == EIGHT
    assert pairs(splits.validation) == EIGHT[:3]
    assert pairs(splits.test) == [("z", "1")]
    assert labels(splits) == ["0", "1"]
    assert splits.name == tmp_path.name
    assert splits.notes == [
        "3 of 3 validation texts occur in train too; they were kept, so the validation score may "
        "flatter."
    ]


def test_formats_may_differ_between_parts(tmp_path):
    write(tmp_path, {"train.csv": table(EIGHT, "csv"), "test.jsonl": table(EIGHT[:1], "jsonl")})
    assert counts(load_labelled_text(str(tmp_path))) == (7, 1, 1)


def test_two_data_sets_in_one_folder(tmp_path):
    for group in ("b.fine", "a.binary"):
        for part, count in (("train", 8), ("dev", 3), ("test", 2)):
            write(tmp_path, {f"{group}.{part}": table(EIGHT[:count], "txt")})
    first = load_labelled_text(str(tmp_path))
    assert first.name == "a.binary"
    assert f"--data {tmp_path / 'b.fine'}" in first.notes[0]
    assert load_labelled_text(str(tmp_path / "b.fine")).name == "b.fine"


@pytest.mark.parametrize(
    "names", [("rt-polarity.pos", "rt-polarity.neg"), ("pos.txt", "neg.txt"), ("pos", "neg")]
)
def test_one_file_per_class(tmp_path, names):
    write(tmp_path, {names[0]: "caf\xe9 good\n\nfine\n".encode("latin-1"), names[1]: "bad\ndull\n"})
    splits = load_labelled_text(str(tmp_path), validation_fraction=0, test_fraction=0)
    assert pairs(splits.train) == [
        ("bad", "neg"), ("dull", "neg"), ("café good", "pos"), ("fine", "pos")
    ]  # fmt: skip
    assert [(Path(e.file).name, e.line) for e in splits.train[2:]] == [(names[0], 1), (names[0], 3)]
    assert splits.notes[0] == "The labels are file names: neg, pos."
    assert f"1 file is not UTF-8 and read as cp1252: {names[0]} (line 1)" in splits.notes[1]


def test_directory_per_class_as_in_aclimdb(tmp_path):
    documents = {
        f"{part}/{label}/{index}_{index}.txt": f"{part} {label}\n{index}"
        for part in ("train", "test")
        for label in ("pos", "neg")
        for index in range(5)
    }
    extra = {"train/unsup/1_0.txt": "who", "train/labeledBow.feat": "0:1", "imdb.vocab": "the",
             "train/urls_pos.txt": "http", "README": "about"}  # fmt: skip
    splits = load_labelled_text(str(write(tmp_path, documents | extra)))
    assert counts(splits) == (9, 1, 10)
    assert pairs(splits.test)[0] == ("test neg\n0", "neg")
    assert any("unsup" in note for note in splits.notes)


def test_directory_per_class_without_parts(tmp_path):
    for label in ("sci.space", "rec.autos"):
        write(tmp_path, {f"{label}/{index}": f"{label} {index}" for index in range(10)})
    splits = load_labelled_text(str(tmp_path))
    assert counts(splits) == (16, 2, 2)
    assert labels(splits) == ["rec.autos", "sci.space"]


def test_part_directories_with_one_file_each(tmp_path):
    write(tmp_path, {"train/data.csv": table(EIGHT, "csv"), "test/data.csv": table(EIGHT, "csv")})
    assert counts(load_labelled_text(str(tmp_path))) == (7, 1, 8)


def test_shards_are_joined_in_order(tmp_path):
    write(
        tmp_path,
        {
            "train-00001-of-00002.jsonl": table(EIGHT[4:], "jsonl"),
            "train-00000-of-00002.jsonl": table(EIGHT[:4], "jsonl"),
        },
    )
    splits = load_labelled_text(str(tmp_path), validation_fraction=0, test_fraction=0)
    assert pairs(splits.train) == EIGHT


def test_one_file_names_the_parts_it_leaves_out(tmp_path):
    write(tmp_path, {"train.csv": table(EIGHT, "csv"), "test.csv": table(EIGHT, "csv")})
    splits = load_labelled_text(str(tmp_path / "train.csv"))
    assert counts(splits) == (6, 1, 1)
    assert splits.notes[0].startswith("Only train.csv was read, not test.csv")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train.csv", ("train", "")),
        ("stsa.binary.dev", ("validation", "stsa.binary")),
        ("en_ewt-ud-test.unknown.gz", ("test", "en_ewt-ud.unknown")),
        ("Test.TSV.gz", ("test", "")),
        ("train-00000-of-00002.jsonl", ("train", "")),
        ("attestation.csv", None),
        ("train_test.csv", None),
    ],
)
def test_part_of(name, expected):
    assert part_of(name) == expected


# ---- columns and lines


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", "id,Sentence,Sentiment\n" + "1,good,pos\n2,bad,neg\n" * 2, {}),
        ("a.csv", "title,what\n" + "good,pos\nbad,neg\n" * 2,
         {"text_column": "title", "label_column": "what"}),
        ("a.csv", "text,body,label\n" + "x,good,pos\ny,bad,neg\n" * 2, {"text_column": "body"}),
        ("a.csv", "good one,pos\nbad one,neg\nnice one,pos\npoor one,neg\n", {}),
        ("a.tsv", "pos\tgood one\nneg\tbad one\npos\tnice one\nneg\tpoor one\n", {}),
        ("a.csv", "good,x,pos\nbad,y,neg\n", {"text_column": "1", "label_column": "3"}),
        ("a.csv", "good,pos\nbad,neg\n", {"label_column": "2"}),
        ("a.txt", "pos\tgood\nneg\tbad\npos\tnice\nneg\tpoor\n", {}),
        ("a.txt", "good one\tpos\nbad one\tneg\nnice one\tpos\npoor one\tneg\n", {}),
        ("a.txt", "__label__pos good\n__label__neg bad\n", {}),
        ("a.txt", "pos good one\nneg bad one\nneg poor one\npos nice one\n", {}),
    ],
)  # fmt: skip
def test_text_and_label_are_found(tmp_path, name, content, options):
    write(tmp_path, {name: content})
    splits = load_labelled_text(
        str(tmp_path / name), validation_fraction=0, test_fraction=0, **options
    )
    assert labels(splits) == ["neg", "pos"]
    assert pairs(splits.train)[0][0].startswith("good")
    assert pairs(splits.train)[0][1] == "pos"


def test_labels_of_json_become_strings(tmp_path):
    labels = [0, 1, 2.0, 2.5, True, False, " x "]
    lines = [json.dumps({"text": f"t{n}", "label": label}) for n, label in enumerate(labels)]
    write(tmp_path, {"a.jsonl": "\n".join(lines)})
    splits = load_labelled_text(str(tmp_path / "a.jsonl"), validation_fraction=0, test_fraction=0)
    assert [e.label for e in splits.train] == ["0", "1", "2", "2.5", "true", "false", "x"]


def test_rows_without_text_are_dropped_and_counted(tmp_path):
    write(tmp_path, {"train.csv": table([*EIGHT, (" ", "1"), ("", "0")], "csv")})
    splits = load_labelled_text(str(tmp_path))
    assert sum(counts(splits)) == 8
    assert f"2 examples without text were dropped: {tmp_path}/train.csv:10, 11." in splits.notes


def test_broken_surrogates_are_replaced(tmp_path):
    write(tmp_path, {"a.jsonl": '{"text": "a\\ud83d b", "label": 1}\n{"text": "b", "label": 0}'})
    splits = load_labelled_text(str(tmp_path / "a.jsonl"), validation_fraction=0, test_fraction=0)
    assert splits.train[0].text == "a? b"


# ---- identity


def test_fingerprint_is_that_of_the_content(tmp_path):
    one = load_labelled_text(str(write(tmp_path / "one", {"train.csv": table(EIGHT, "csv")})))
    two = load_labelled_text(str(write(tmp_path / "two", {"all.jsonl": table(EIGHT, "jsonl")})))
    assert one.fingerprint == two.fingerprint
    assert len(one.fingerprint) == 64


# ---- the same input in other clothes


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data,
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: data.replace(b"\n", b"\n\n"),
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.decode().encode("latin-1"),
        gzip.compress,
    ],
    ids=["plain", "BOM", "CRLF", "CR", "empty lines", "UTF-16", "latin-1", "gzip"],
)
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "txt"])
def test_encodings_and_line_ends_do_not_matter(tmp_path, form, change):
    content = table([(f"{text} é", label) for text, label in EIGHT], form)
    if form == "jsonl":
        content = content.encode().decode("unicode_escape")
    (tmp_path / f"train.{form}").write_bytes(change(content.encode("utf-8")))
    splits = load_labelled_text(str(tmp_path), validation_fraction=0, test_fraction=0)
    assert pairs(splits.train) == [(f"{text} é", label) for text, label in EIGHT]


def test_text_of_a_megabyte(tmp_path):
    long = "word " * 250_000 + "end"
    write(tmp_path, {"train.csv": table([*EIGHT, (long, "1")], "csv")})
    splits = load_labelled_text(str(tmp_path), validation_fraction=0, test_fraction=0)
    assert splits.train[-1].text == long


# ---- real data


def test_movie_reviews(shared_data):
    splits = load_labelled_text(str(shared_data / "mr"))
    # Of 10662 a tenth is 1066 (1066.2), half of it of each label.
    assert counts(splits) == (8530, 1066, 1066)
    assert Counter(e.label for e in splits.test) == {"neg": 533, "pos": 533}
    everything = splits.train + splits.validation + splits.test
    assert Counter(e.label for e in everything) == {"neg": 5331, "pos": 5331}
    assert any("cp1252" in note for note in splits.notes)
    assert any("é" in e.text for e in everything)


def test_stanford_sentiment(shared_data):
    splits = load_labelled_text(str(shared_data / "sst"))
    assert counts(splits) == (6920, 872, 1821)
    assert (splits.name, labels(splits)) == ("stsa.binary", ["0", "1"])
    assert "stsa.fine" in splits.notes[0]
    fine = load_labelled_text(str(shared_data / "sst" / "stsa.fine"))
    assert counts(fine) == (8544, 1101, 2210)
    assert labels(fine) == ["0", "1", "2", "3", "4"]


def test_imdb(shared_data):
    splits = load_labelled_text(str(shared_data / "imdb"))
    assert counts(splits) == (6300, 700, 2000)
    assert Counter(e.label for e in splits.validation) == {"0": 350, "1": 350}
    assert Counter(e.label for e in splits.test) == {"0": 1000, "1": 1000}


def test_fingerprint_does_not_depend_on_the_path(shared_data, tmp_path):
    shutil.copytree(shared_data / "sst", tmp_path / "elsewhere")
    here = load_labelled_text(str(shared_data / "sst"))
    there = load_labelled_text(str(tmp_path / "elsewhere"))
    assert isinstance(here, Splits)
    assert here.fingerprint == there.fingerprint


def test_locating_parts_opens_no_file(tmp_path):
    write(tmp_path, {"train.csv": b"\0", "dev.csv": b"\0"})
    layout = locate_parts(tmp_path)
    assert {part: [f.path.name for f in files] for part, files in layout.parts.items()} == {
        "train": ["train.csv"],
        "validation": ["dev.csv"],
    }


@pytest.mark.parametrize(("names", "parts"), [
    (["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"],
     {"train", "validation", "test"}),
    (["my train 1.conll", "latest.conll"], {"train"}),
    (["train01.csv.conll", "contest.conll", "interval.conll"], {"train"}),
])  # fmt: skip
def test_words_of_parts_that_stand_by_themselves_in_a_name(names, parts, tmp_path):
    for name in names:
        (tmp_path / name).write_text("a O\n")
    assert set(locate_parts(tmp_path).parts) == parts


def test_a_name_that_merely_holds_the_word_is_no_part(tmp_path):
    for name in ("retrained.conll", "latest.conll"):
        (tmp_path / name).write_text("a O\n")
    with pytest.raises(DataError, match="no data in a known layout"):
        locate_parts(tmp_path)
