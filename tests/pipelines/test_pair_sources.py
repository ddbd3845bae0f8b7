"""Pairs of texts from parallel files, tables, translation memories and memory."""

import gzip
import json

import pandas as pd
import pytest

from common.errors import DataError
from pipelines.pair_sources import load_pairs, read_sources
from pipelines.pairs import TextPair
from pipelines.synthetic_translation import english, french, german, spanish, synthetic_pairs

EN = [f"sentence number {i}" for i in range(40)]
DE = [f"Satz Nummer {i}" for i in range(40)]
WAY = {"source_language": "en", "target_language": "de"}


def write(path, lines):
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def parallel(tmp_path):
    folder = tmp_path / "caps"
    folder.mkdir()
    for name, end in (("train", ".gz"), ("val", ""), ("test_2016", ""), ("test_2017", ".gz")):
        write(folder / f"{name}.en{end}", [f"{name} {one}" for one in EN])
        write(folder / f"{name}.de{end}", [f"{name} {one}" for one in DE])
    (folder / "README.md").write_text("about")
    return folder


def test_parallel_files_of_a_directory(parallel):
    splits = load_pairs(str(parallel), **WAY)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (40, 40, 40)
    assert splits.train[3] == TextPair("train sentence number 3", "train Satz Nummer 3")
    assert splits.train[3].where.endswith("train.en.gz:4")
    assert splits.test[0].source.startswith("test_2016")
    assert "--test-set" in splits.notes[0]
    assert splits.name == "caps-en-de"
    back = load_pairs(str(parallel), source_language="de")
    assert back.train[3].source == "train Satz Nummer 3"
    assert back.fingerprint != splits.fingerprint


def test_another_test_set(parallel):
    splits = load_pairs(str(parallel), **WAY, test_set="test_2017")
    assert splits.test[0].source.startswith("test_2017")
    with pytest.raises(DataError, match="test_2016, test_2017"):
        load_pairs(str(parallel), **WAY, test_set="test_2018")


def test_sets_without_a_part_and_the_beginning_of_names(tmp_path):
    write(tmp_path / "corpus.src", EN)
    write(tmp_path / "corpus.tgt", DE)
    for place in (tmp_path, tmp_path / "corpus"):
        splits = load_pairs(str(place))
        assert (len(splits.train), len(splits.validation), len(splits.test)) == (32, 4, 4)
    assert not {p.source for p in splits.train} & {p.source for p in splits.test}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({}, "--source-language de --target-language en"),
        ({"source_language": "fr"}, "--source-language is one of de, en"),
        ({"source_language": "en", "target_language": "en"}, "both 'en'"),
    ],
)
def test_languages_that_are_not_clear_are_one_sentence(parallel, flags, said):
    with pytest.raises(DataError, match=said):
        load_pairs(str(parallel), **flags)


def test_files_of_different_length_are_refused_with_both_counts(parallel):
    write(parallel / "val.de", DE[:-1])
    with pytest.raises(DataError, match=r"val\.en has 40 lines and val\.de has 39"):
        load_pairs(str(parallel), **WAY)


def test_a_line_that_is_empty_on_one_side_is_left_out_and_counted(parallel):
    write(parallel / "val.en", ["", *EN[1:]])
    write(parallel / "val.de", ["Ja", "  ", *DE[2:]])
    splits = load_pairs(str(parallel), **WAY)
    assert len(splits.validation) == 38
    assert any("2 pairs with nothing on one side" in n and "val.en:1, 2" in n for n in splits.notes)


def test_separators_inside_a_line_do_not_shift_the_lines_below(tmp_path):
    write(tmp_path / "x.en", ["a\u2028b", "c\x0cd", *EN])
    write(tmp_path / "x.de", ["A", "C", *DE])
    splits = load_pairs(str(tmp_path), **WAY, validation_fraction=0, test_fraction=0)
    assert splits.train[1].target == "C"
    assert len(splits.train) == 42


def test_windows_line_ends(tmp_path):
    (tmp_path / "x.en").write_bytes("\r\n".join(EN).encode())
    (tmp_path / "x.de").write_bytes("\r\n".join(DE).encode() + b"\r\n")
    splits = load_pairs(str(tmp_path), **WAY, validation_fraction=0, test_fraction=0)
    assert splits.train[0] == TextPair(EN[0], DE[0])


def test_a_line_of_thousands_of_words_is_left_out_of_train_and_counted(parallel):
    gz = [f"train {one}" for one in EN]
    write(parallel / "train.en.gz", ["word " * 5000, "字" * 5000, *gz[2:]])
    splits = load_pairs(str(parallel), **WAY)
    assert len(splits.train) == 38
    assert any("2 pairs" in note and "--max-words" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["word " * 400] * 40, r"no example is left in the train part.*40 pairs.*max-words"),
        ([" "] * 39 + ["x"], r"1 pair is too few.*39 pairs with nothing on one side.*x\.en:1, 2"),
        (EN[:1], r"x\.en has 1 lines and x\.de has 40"),
    ],
)
def test_where_hardly_a_pair_is_left_what_was_left_out_is_said(tmp_path, lines, said):
    write(tmp_path / "x.en", lines)
    write(tmp_path / "x.de", DE)
    with pytest.raises(DataError, match=said):
        load_pairs(str(tmp_path), **WAY)


def test_a_file_of_one_pair_is_refused(tmp_path):
    write(tmp_path / "x.en", EN[:1])
    write(tmp_path / "x.de", DE[:1])
    with pytest.raises(DataError, match="1 pair is too few to split a test part off; give more"):
        load_pairs(str(tmp_path), **WAY)


@pytest.mark.parametrize("header", ["source\ttarget", "en\tde", "English\tGerman", None])
def test_tables_with_and_without_a_header(tmp_path, header):
    rows = [f"{a}\t{b}" for a, b in zip(EN, DE, strict=True)]
    path = tmp_path / ("pairs.tsv" if header else "pairs.txt")
    write(path, [*([header] if header else []), *rows])
    splits = load_pairs(str(path), **WAY if header == "en\tde" else {})
    every = [*splits.train, *splits.validation, *splits.test]
    assert sorted(pair.source for pair in every) == sorted(EN)
    assert any("taken as source" in note for note in splits.notes) == (
        header in ("English\tGerman", None)
    )


def test_columns_by_name_and_number(tmp_path):
    frame = pd.DataFrame({"id": range(40), "A": EN, "B": DE})
    frame.to_csv(tmp_path / "a.csv", index=False)
    splits = load_pairs(str(tmp_path / "a.csv"), source_column="B", target_column="A")
    assert splits.train[0].source.startswith("Satz")
    frame.to_csv(tmp_path / "b.csv", index=False, header=False)
    splits = load_pairs(str(tmp_path / "b.csv"), source_column="2", target_column="3")
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 40
    with pytest.raises(DataError, match="--source-column"):
        load_pairs(str(tmp_path / "a.csv"), target_column="A")


def test_json_lines_with_a_dict_of_languages(tmp_path):
    rows = [{"translation": {"en": a, "de": b}} for a, b in zip(EN, DE, strict=True)]
    write(tmp_path / "train.jsonl", [json.dumps(row) for row in rows])
    splits = load_pairs(str(tmp_path), source_language="de", target_language="en")
    assert splits.train[0].target.startswith("sentence")


def test_data_in_memory():
    frame = pd.DataFrame({"source": EN, "target": DE})
    splits = load_pairs(frame)
    assert len(splits.train) == 32
    parts = {"train": frame, "dev": frame[:3], "test": [{"src": "a", "tgt": "b"}]}
    splits = load_pairs(parts)
    assert splits.test == [TextPair("a", "b")]
    with pytest.raises(DataError, match="DataFrame, row 0"):
        load_pairs(pd.DataFrame({"source": [1], "target": ["a"]}))


TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header/><body>
{units}
</body></tmx>
"""
UNIT = """<tu><tuv xml:lang="EN-us"><seg>{a} <bpt i="1">&lt;b&gt;</bpt>bold<ept i="1"/> &amp;
more</seg></tuv><tuv xml:lang="de"><seg>{b}</seg></tuv></tu>"""


def test_translation_memories(tmp_path):
    units = [UNIT.format(a=a, b=b) for a, b in zip(EN, DE, strict=True)]
    (tmp_path / "m.tmx").write_text(TMX.format(units="\n".join(units)), encoding="utf-8")
    splits = load_pairs(str(tmp_path / "m.tmx"), **WAY, validation_fraction=0, test_fraction=0)
    assert splits.train[1] == TextPair("sentence number 1 bold & more", "Satz Nummer 1")
    assert splits.train[1].line == 6
    texts, _ = read_sources(tmp_path / "m.tmx", source_language="de")
    assert texts == DE
    with pytest.raises(DataError, match="en-us, de"):
        load_pairs(str(tmp_path / "m.tmx"), source_language="fr", target_language="de")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<tmx><body><tu></body></tmx>", r"m\.tmx:1: this is not well-formed"),
        ('<!DOCTYPE t [<!ENTITY x "y">]>\n<tmx>&x;</tmx>', r"m\.tmx:1: the file declares"),
        ("<tmx></tmx>", "holds no pair"),
    ],
)
def test_broken_translation_memories_are_one_sentence(tmp_path, text, said):
    (tmp_path / "m.tmx").write_text(text)
    with pytest.raises(DataError, match=said):
        load_pairs(str(tmp_path / "m.tmx"), **WAY)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "one line\nanother line\n", "holds lines without columns"),
        ("a.tsv", "source\ttarget\n", "holds no pair"),
        ("a.csv", "source,other\na,b\n", "--target-column"),
    ],
)
def test_files_without_pairs_are_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        load_pairs(str(tmp_path / name))


def test_texts_to_translate(parallel, tmp_path):
    texts, _ = read_sources(parallel / "val.en")
    assert texts == [f"val {one}" for one in EN]
    write(tmp_path / "more.csv", ["source,note", "a b,1", "c d,2"])
    assert read_sources(tmp_path / "more.csv")[0] == ["a b", "c d"]
    with pytest.raises(DataError, match="--file"):
        read_sources(tmp_path / "nothing.txt")


def test_synthetic_pairs_are_different_and_follow_from_the_seed():
    pairs = synthetic_pairs(3000, 1)
    assert pairs == synthetic_pairs(3000, 1)
    assert len({pair.source for pair in pairs}) == 3000
    assert pairs != synthetic_pairs(3000, 2)
    splits = load_pairs("synthetic:500")
    parts = [{p.source for p in part} for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [400, 50, 50]
    assert len(set.union(*parts)) == 500
    with pytest.raises(DataError, match="synthetic:5000"):
        load_pairs("synthetic:many")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (71, ("seventy-one", "einundsiebzig", "soixante et onze", "setenta y uno")),
        (80_000, ("eighty thousand", "achtzigtausend", "quatre-vingt mille", "ochenta mil")),
        (
            200_101,
            (
                "two hundred thousand one hundred and one",
                "zweihunderttausendeinhunderteins",
                "deux cent mille cent un",
                "doscientos mil ciento uno",
            ),
        ),
        (
            21_016,
            (
                "twenty-one thousand and sixteen",
                "einundzwanzigtausendsechzehn",
                "vingt et un mille seize",
                "veintiún mil dieciséis",
            ),
        ),
    ],
)
def test_numbers_in_words(number, words):
    assert (english(number), german(number), french(number), spanish(number)) == words
