"""Text of files, tables and the standard library as documents."""

import gzip

import pytest

from common.errors import DataError
from pipelines.corpus import load_corpus, read_prompts


def test_a_file_is_one_document_whose_end_is_cut_off(tmp_path):
    lines = [f"line {i}\n" for i in range(100)]
    (tmp_path / "book.txt").write_text("".join(lines))
    splits = load_corpus(tmp_path / "book.txt")
    parts = splits.train, splits.validation, splits.test
    assert [len(part) for part in parts] == [1, 1, 1]
    assert "".join(part[0] for part in parts) == "".join(lines)
    assert splits.test[0].startswith("line 90\n")
    assert splits.test[0].endswith("line 99\n")
    assert "cut off" in splits.notes[0]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_and_paragraphs_are_documents_where_told(tmp_path, ending):
    text = "".join(f"first {i}\nsecond {i}\n\n" for i in range(20)).replace("\n", ending)
    with gzip.open(tmp_path / "poems.txt.gz", "wb") as file:
        file.write(b"\xef\xbb\xbf" + text.encode())
    lines = load_corpus(tmp_path / "poems.txt.gz", documents="lines")
    assert len(lines.train) + len(lines.validation) + len(lines.test) == 40
    whole = load_corpus(tmp_path / "poems.txt.gz", documents="paragraphs")
    every = {*whole.train, *whole.validation, *whole.test}
    assert every == {f"first {i}\nsecond {i}" for i in range(20)}


def test_parts_are_found_by_their_names(tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / f"ptb.{part}.txt").write_text(f" {part} set \n")
    splits = load_corpus(tmp_path)
    assert (splits.train, splits.validation, splits.test) == (
        [" train set \n"], [" valid set \n"], [" test set \n"]
    )  # fmt: skip


def test_rows_of_tables_are_documents(tmp_path):
    rows = [{"text": f"row {i}", "n": i} for i in range(30)]
    assert len(load_corpus(rows).train) == 24
    (tmp_path / "a.csv").write_text("body,n\n" + "".join(f"row {i},{i}\n" for i in range(30)))
    assert len(load_corpus(tmp_path / "a.csv", text_column="body").train) == 24


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "holds no text"), ("one line\n", "too short to cut"), ("  \n \n", "holds no text")],
)
def test_too_little_text_is_refused(tmp_path, content, message):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        load_corpus(tmp_path / "a.txt")


@pytest.mark.slow
def test_the_default_corpus_is_the_library_s_source():
    splits = load_corpus("synthetic:40")
    every = [*splits.train, *splits.validation, *splits.test]
    assert len(every) == len(set(every)) == 40
    assert all(text.startswith(("def ", "class ", "@", "async ")) for text in every)
    assert load_corpus("synthetic:40").fingerprint == splits.fingerprint
    with pytest.raises(DataError, match="must be a number"):
        load_corpus("synthetic:many")


def test_prompts_are_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert read_prompts(tmp_path / "a.txt") == (["one", "two"], [])
    with pytest.raises(DataError, match="not there"):
        read_prompts(tmp_path / "b.txt")
