"""Word vectors in every format that is read, and what is no such file."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.vectors import read_vectors

ROWS = {"the": [1.0, -2.5], "Ann": [0.25, 3e-5], "日本": [0.0, 7.0], "n't": [-1.0, 1e6]}


def text_rows(rows, end="\n"):
    return "".join(f"{w} {' '.join(map(repr, v))}{end}" for w, v in rows.items()).encode()


def binary_rows(rows, between=b"\n"):
    dim = len(next(iter(rows.values())))
    found = f"{len(rows)} {dim}\n".encode()
    for word, values in rows.items():
        found += word.encode() + b" " + struct.pack(f"<{dim}f", *values) + between
    return found


FORMATS = {
    "glove": text_rows,
    "word2vec text": lambda rows: f"{len(rows)} 2\n".encode() + text_rows(rows),
    "fasttext vec": lambda rows: f"{len(rows)} 2\n".encode() + text_rows(rows, " \n"),
    "windows": lambda rows: text_rows(rows, "\r\n"),
    "tabs": lambda rows: text_rows(rows).replace(b" ", b"\t"),
    "binary": binary_rows,
    "binary without newlines": lambda rows: binary_rows(rows, b""),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", FORMATS)
def test_each_format_gives_its_numbers(form, compressed, tmp_path):
    data = FORMATS[form](ROWS)
    path = tmp_path / "vectors"
    path.write_bytes(gzip.compress(data) if compressed else data)
    found = read_vectors(path, ["", "日本", "absent", "the", "n't"])
    assert found.found.tolist() == [False, True, False, True, True]
    want = np.array([[0, 0], ROWS["日本"], [0, 0], ROWS["the"], ROWS["n't"]], np.float32)
    assert np.array_equal(found.table, want)


WORDS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=8
).filter(lambda word: word.split() == [word])
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(WORDS, st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(["glove", "binary", "binary without newlines"]),
)
def test_what_is_written_is_read(tmp_path_factory, rows, form):
    # A word that is a number is one more number of a row before it to no reader, yet a first row
    # of numbers alone says nothing of its dimension.
    rows = {"w" + word: values for word, values in rows.items()}
    path = tmp_path_factory.mktemp("v") / "v"
    path.write_bytes(FORMATS[form](rows))
    found = read_vectors(path, list(rows))
    assert found.found.all()
    assert np.array_equal(found.table, np.array(list(rows.values()), np.float32))


def test_words_are_found_as_written_before_as_normalised(tmp_path):
    path = tmp_path / "v"
    path.write_text("THE 1 1\nthe 2 2\nThe 3 3\nAnn 4 4\nann 5 5\n1999 6 6\n2024 7 7\n")
    normal = lambda word: "".join("0" if c.isdigit() else c for c in word.lower())  # noqa: E731
    found = read_vectors(path, ["the", "0000", "bob"], normal)
    assert found.table.tolist() == [[2, 2], [6, 6], [0, 0]]
    assert read_vectors(path, ["ann"], str.lower).table.tolist() == [[5, 5]]


def test_each_spelling_gives_way_to_a_nearer_one_wherever_it_stands(tmp_path):
    path = tmp_path / "v"
    words = ["The", "1999", "x1"]
    rows = ["#### 1 1", "x0 2 2", "the 3 3", "0000 4 4", "1999 5 5", "The 6 6", "THE 7 7"]
    for order in (rows, rows[::-1]):
        path.write_text("\n".join(order))
        found = read_vectors(path, words)
        assert found.table.tolist() == [[6, 6], [5, 5], [2, 2]]
    path.write_text("\n".join(rows[:3]))
    assert read_vectors(path, words).table.tolist() == [[3, 3], [1, 1], [2, 2]]


def test_one_row_of_a_file_without_capitals_serves_all_spellings(tmp_path):
    path = tmp_path / "v"
    path.write_text("the 1 2\n")
    assert read_vectors(path, ["", "the", "The", "THE"]).found.tolist() == [False, True, True, True]


def test_the_mark_of_utf8_is_no_part_of_the_first_row(tmp_path):
    path = tmp_path / "v"
    for first in (b"", b"1 2\n"):
        path.write_bytes(b"\xef\xbb\xbf" + first + b"the 1 2\n")
        assert read_vectors(path, ["the"]).table.tolist() == [[1, 2]]


def test_words_of_a_binary_file_may_be_broken_utf8(tmp_path):
    path = tmp_path / "v"
    one = struct.pack("<2f", 1, 2)
    path.write_bytes(b"2 2\n\xff\xfe " + one + b"\nthe " + one + b"\n")
    assert read_vectors(path, ["the"]).table.tolist() == [[1, 2]]


def test_words_with_spaces_and_repeated_words(tmp_path):
    path = tmp_path / "v"
    path.write_text("a 1 2\nat name@x 3 4\n. . . 5 6\na 7 8\n")
    found = read_vectors(path, ["a", ". . .", "at name@x"])
    assert found.table[0].tolist() == [1, 2]
    assert found.found[0]


def test_a_few_broken_rows_are_left_out(tmp_path):
    path = tmp_path / "v"
    path.write_text("a 1 2\nb 1\nc 1 x\nd nan 1\ne 3 4\n")
    found = read_vectors(path, list("abcde"))
    assert found.found.tolist() == [True, False, False, False, True]
    assert found.broken == 3
    note = found.coverage(np.array([5, 1, 1, 1, 2]), "v")
    assert note == (
        "v has vectors of 2 numbers for 2 of the 5 words of training, 70% of its tokens; "
        "3 broken rows were left out."
    )


def test_the_share_is_of_words_that_training_has(tmp_path):
    path = tmp_path / "v"
    path.write_text("a 1 2\nb 3 4\n")
    found = read_vectors(path, ["", "", "a", "b", "c"])
    # Row 0 is padding, row 1 unknown: no word, yet a token without a vector.
    note = found.coverage(np.array([0, 2, 6, 0, 2]), "v")
    assert note == "v has vectors of 2 numbers for 1 of the 2 words of training, 60% of its tokens."


BAD = {
    "empty": (b"", "empty"),
    "blank": (b"\n\n", "empty"),
    "prose": (b"This is no table\nof numbers\n", "no word with numbers"),
    "fasttext model": ((793712314).to_bytes(4, "little") + b"\0" * 50, r"\.vec"),
    "numpy": (b"\x93NUMPY\x01\x00", "NumPy"),
    "zip": (b"PK\x03\x04....", "unpack"),
    "cut off": (binary_rows(ROWS)[:-9], "cut off in row 4"),
    "no word": (b"zzz 1 2\nyyy 3 4\n", "none of the 4 words"),
    "many broken": (b"the 1 2\n" + b"".join(b"w%d 1\n" % i for i in range(60)), ":2: this row"),
    "another dimension": (b"3 3\nthe 1 2\nAnn 1 2\n", ":2: this row is not a word and 3 numbers"),
    "no numbers": (b"the nan 1\nAnn 1 inf\nn't 1e300 1\n", ":1: this row"),
    "UTF-16": ("the 1 2\n".encode("utf-16"), "UTF-16"),
    "bzip2": (b"BZh91AY", "bzip2"),
    "table": (b"word,a,b\nthe,1,2\n", ":1: 'word,a,b' is no word"),
    "silly header": (b"3 0\na\nb\nc\n", "0 numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_said_in_one_sentence(name, tmp_path):
    data, words = BAD[name]
    path = tmp_path / "v.bin"
    path.write_bytes(data)
    vocabulary = [*ROWS] if name != "many broken" else ["the", *(f"w{i}" for i in range(60))]
    with pytest.raises(DataError, match=words) as error:
        read_vectors(path, vocabulary)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_and_a_broken_gzip(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_vectors(tmp_path / "none", ["a"])
    with pytest.raises(DataError, match="is a directory"):
        read_vectors(tmp_path, ["a"])
    path = tmp_path / "v.gz"
    path.write_bytes(gzip.compress(text_rows(ROWS) * 500)[:-40])
    with pytest.raises(DataError, match="cannot be read"):
        read_vectors(path, [*ROWS])


def test_memory_follows_from_the_vocabulary_and_not_from_the_file(tmp_path):
    path = tmp_path / "v"
    numbers = " ".join(["0.123456"] * 100)
    with path.open("w") as file:
        file.writelines(f"w{i} {numbers}\n" for i in range(20_000))  # 18 MB
    tracemalloc.start()
    found = read_vectors(path, [f"w{i}" for i in range(0, 20_000, 100)])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.found.all()
    assert most < 6_000_000
