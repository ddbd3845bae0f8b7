"""Encodings: UTF-8 with damage stays UTF-8, others are guessed and told, --encoding decides."""

import gzip
import json

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from pipelines.encodings import check_encoding
from pipelines.series_columns import SeriesColumns
from pipelines.series_reader import read_series
from pipelines.sources import load_labelled_text
from pipelines.textfile import inspect_file

SENTENCES = {
    "chinese": [
        "房间很干净，服务也很好",
        "早餐太差了，不会再来",
        "位置不错，离车站很近",
        "价格便宜，但是隔音不好",
        "前台小姐态度很差",
        "下次还会住这家酒店",
    ],
    "traditional": [
        "房間很乾淨，服務也很好",
        "早餐太差了，不會再來",
        "位置不錯，離車站很近",
        "價格便宜，但是隔音不好",
        "櫃檯人員態度很差",
        "下次還會住這家飯店",
    ],
    "japanese": [
        "とても良い映画でした",
        "話がつまらなくて眠くなった",
        "俳優の演技がすばらしい",
        "もう一度見たいと思います",
        "音楽は良いが脚本が悪い",
        "お金の無駄でした",
    ],
    "korean": [
        "정말 재미있는 영화였습니다",
        "이야기가 지루해서 잠이 왔다",
        "배우들의 연기가 훌륭하다",
        "다시 보고 싶은 작품입니다",
        "음악은 좋지만 대본이 나쁘다",
        "돈이 아까웠다",
    ],
    "russian": [
        "Очень хороший фильм, всем советую",
        "Скучно и слишком длинно",
        "Актёры играют прекрасно",
        "Жаль потраченного времени",
        "Музыка хорошая, а сценарий слабый",
        "Посмотрю ещё раз",
    ],
    "german": [
        "Ein schöner Film über große Gefühle",
        "Leider viel zu lang und öde",
        "Für Kinder nicht geeignet",
        "Die Musik gefällt, das Übrige weniger",
        "Größtes Kino seit Jahren",
        "Schlecht übersetzt, müde gespielt",
    ],
    "polish": [
        "Świetny film, gorąco polecam",
        "Nudny i zdecydowanie za długi",
        "Aktorzy grają znakomicie",
        "Szkoda straconego czasu",
        "Muzyka niezła, ale słaby scenariusz",
        "Obejrzę jeszcze raz",
    ],
    "greek": [
        "Πολύ καλή ταινία",
        "Βαρετή και μεγάλη",
        "Οι ηθοποιοί παίζουν υπέροχα",
        "Κρίμα για τον χρόνο μου",
        "Ωραία μουσική, αδύναμο σενάριο",
        "Θα την ξαναδώ",
    ],
}
ENCODINGS = [
    ("chinese", "gbk"), ("chinese", "gb18030"), ("chinese", "utf-16"), ("chinese", "utf-16-le"),
    ("chinese", "utf-16-be"), ("chinese", "utf-32"), ("traditional", "big5"),
    ("japanese", "shift_jis"), ("japanese", "euc_jp"), ("japanese", "iso2022_jp"),
    ("japanese", "cp932"), ("korean", "euc_kr"), ("korean", "cp949"), ("russian", "cp1251"),
    ("russian", "koi8-r"), ("russian", "cp866"), ("russian", "utf-16-le"), ("german", "latin-1"),
    ("german", "cp1252"), ("german", "utf-16-be"), ("polish", "cp1250"), ("polish", "iso8859-2"),
    ("greek", "cp1253"),
]  # fmt: skip
STRAY = (b"\xff", b"\xe9", b"\x80")


def rows(language, count):
    """(text, label) pairs."""
    sentences = SENTENCES[language]
    return [(f"{sentences[number % 6]} {number}", "ab"[number % 2]) for number in range(count)]


def written(pairs, form):
    if form == "jsonl":
        lines = [json.dumps({"text": t, "label": n}, ensure_ascii=False) for t, n in pairs]
        return "\n".join(lines) + "\n"
    if form == "json":
        return json.dumps([{"text": t, "label": n} for t, n in pairs], ensure_ascii=False)
    if form == "txt":
        return "".join(f"{label}\t{text}\n" for text, label in pairs)
    mark = {"csv": ",", "tsv": "\t"}[form]
    return f"text{mark}label\r\n" + "".join(f'"{t}"{mark}{n}\r\n' for t, n in pairs)


def load(path, **options):
    splits = load_labelled_text(str(path), validation_fraction=0, test_fraction=0, **options)
    notes = [note for note in splits.notes if not note.startswith("There is no")]
    return [(example.text, example.label) for example in splits.train], notes


@pytest.mark.parametrize("count", [6, 120])
@pytest.mark.parametrize(("language", "encoding"), ENCODINGS)
def test_an_encoding_is_found_and_told(tmp_path, language, encoding, count):
    pairs = rows(language, count)
    path = tmp_path / "a.csv"
    path.write_bytes(written(pairs, "csv").encode(encoding))
    found, notes = load(path)
    assert found == pairs
    if encoding in ("utf-16", "utf-32"):  # they have a byte order mark
        assert notes == []
    else:
        (note,) = notes
        assert "a.csv (line" in note
        assert "--encoding" in note


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "txt"])
@pytest.mark.parametrize(
    ("language", "encoding"),
    [("chinese", "gb18030"), ("russian", "koi8-r"), ("korean", "utf-16-le")],
)
def test_every_format_in_other_encodings(tmp_path, language, encoding, form, compressed):
    pairs = rows(language, 20)
    data = written(pairs, form).encode(encoding)
    path = tmp_path / f"a.{form}{'.gz' * compressed}"
    path.write_bytes(gzip.compress(data) if compressed else data)
    assert load(path)[0] == pairs
    assert load(path, encoding=encoding) == (pairs, [])


@pytest.mark.parametrize(
    ("language", "encoding", "stray"),
    [
        *(("chinese", name, byte) for name in ("utf-8", "utf-8-sig", "gb18030") for byte in STRAY),
        *(("korean", "euc_kr", byte) for byte in STRAY),
        ("japanese", "shift_jis", b"\xe9"),  # it has characters for the other bytes
    ],
)
def test_one_stray_byte_costs_one_character(tmp_path, language, encoding, stray):
    pairs = rows(language, 1001)
    lines = [
        line.encode(encoding.removesuffix("-sig"))
        for line in written(pairs, "csv").splitlines(keepends=True)
    ]
    lines[500] = b'"' + stray + lines[500][lines[500].index(b'",') :]
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" * (encoding == "utf-8-sig") + b"".join(lines))
    found, notes = load(path)
    assert len(found) == 1001
    assert [one for one, pair in zip(found, pairs, strict=True) if one != pair] == [
        ("\ufffd", pairs[499][1])
    ]
    assert any("1 broken character" in note and "a.csv (line 501)" in note for note in notes)


def test_a_stray_byte_among_western_texts(tmp_path):
    pairs = [(f"ein schöner Film {number}", "ab"[number % 2]) for number in range(1001)]
    data = written(pairs, "csv").encode().replace('schöner Film 7"'.encode(), b'sch\xf6ner Film 7"')
    (tmp_path / "a.csv").write_bytes(data)
    found, notes = load(tmp_path / "a.csv")
    assert sum(one != pair for one, pair in zip(found, pairs, strict=True)) == 1
    assert "utf-8" in notes[0]


def test_a_file_that_is_cut_within_a_character(tmp_path):
    (tmp_path / "a.txt").write_bytes("a\tgut\nb\tschön\na\tfür\nb\tgrün\na\tö".encode()[:-1])
    found, notes = load(tmp_path / "a.txt")
    assert found[1:] == [("schön", "b"), ("für", "a"), ("grün", "b"), ("\ufffd", "a")]
    assert "line 5" in notes[0]


def test_what_is_wanted_decides_where_bytes_are_not_utf8(tmp_path):
    pairs = rows("russian", 12)
    data = written(pairs, "csv").encode("cp1251")
    (tmp_path / "a.csv").write_bytes(data)
    assert load(tmp_path / "a.csv", encoding="Windows-1251") == (pairs, [])
    other, notes = load(tmp_path / "a.csv", encoding="latin-1")
    assert other[0][0] == pairs[0][0].encode("cp1251").decode("latin-1")
    assert notes == []
    (tmp_path / "b.csv").write_bytes(written(pairs, "csv").encode())
    assert load(tmp_path / "b.csv", encoding="cp1251") == (pairs, [])


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16-le", "iso2022_jp"])
def test_ascii_is_read_whatever_is_wanted(tmp_path, encoding):
    (tmp_path / "a.csv").write_text("text,label\ngood,1\nbad,0\n")
    assert load(tmp_path / "a.csv", encoding=encoding)[0] == [("good", "1"), ("bad", "0")]


def test_files_of_one_source_are_guessed_together(tmp_path):
    pairs = [
        (f"{text[:4].strip()}{number}", label)
        for number, (text, label) in enumerate(rows("korean", 60))
    ]
    for number, (text, label) in enumerate(pairs):
        folder = tmp_path / ("pos" if label == "a" else "neg")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_bytes(text.encode("euc_kr"))
    found, notes = load(tmp_path)
    assert sorted(found) == sorted(
        (text, "pos" if label == "a" else "neg") for text, label in pairs
    )
    assert any("60 files are not UTF-8 and read as cp949" in note for note in notes)


@pytest.mark.parametrize(
    ("data", "options", "parts"),
    [
        # Half of the bytes fit no encoding.
        (bytes(range(128, 256)) * 3, {}, ["a.txt:1", "--encoding"]),
        ("房间很好\n".encode("gbk") * 9, {"encoding": "ascii"}, ["a.txt:1", "ascii", "--encoding"]),
        (b"a b\n", {"encoding": "klingon"}, ["klingon", "cp1251"]),
        (b"a b\n", {"encoding": "base64"}, ["base64", "cp1251"]),
        (b"a\0b\0\0c", {}, ["a.txt", "NUL"]),
    ],
)  # fmt: skip
def test_what_fits_no_encoding_is_refused(tmp_path, data, options, parts):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError) as error:
        inspect_file(tmp_path / "a.txt", check_encoding(options.get("encoding", "")))
    assert all(part in str(error.value) for part in parts), error.value


def test_names_of_encodings():
    assert [check_encoding(name) for name in ("", "UTF8", "Shift-JIS")] == [
        "",
        "utf-8",
        "shift_jis",
    ]


@pytest.mark.parametrize(
    ("header", "encoding"),
    [("日期,销量", "gb18030"), ("日付,売上", "shift_jis"), ("Дата,Мощность", "cp1251"),
     ("Datum,Temperatur in °C", "cp1252"), ("fecha,tamaño", "utf-16-le")],
)  # fmt: skip
@pytest.mark.parametrize("wanted", [False, True])
def test_series_in_other_encodings(tmp_path, header, encoding, wanted):
    body = "".join(f"2020-01-{day:02d},{day % 5}\r\n" for day in range(1, 21))
    path = tmp_path / "a.csv"
    path.write_bytes(f"{header}\r\n{body}".encode(encoding))
    (series,), notes = read_series(path, SeriesColumns(encoding=encoding if wanted else ""))
    assert series.columns == (header.split(",")[1],)
    np.testing.assert_array_equal(series.values[:3, 0], [1, 2, 3])
    assert bool(notes) is not wanted


def test_latin_text_of_a_few_bytes_is_western(tmp_path):
    for text in ("café", "naïve", "£5", "25 °C", "© 2020", "it’s “good”"):
        (tmp_path / "a.txt").write_bytes(f"one good film {text}\n".encode("cp1252"))
        assert inspect_file(tmp_path / "a.txt").encoding == "cp1252"


@pytest.mark.parametrize("word", ["café", "naïve", "Größe", "25°C"])
def test_one_word_again_and_again_tells_no_language(tmp_path, word):
    pairs = [(f"{word} {number}", "ab"[number % 2]) for number in range(100)]
    (tmp_path / "a.csv").write_bytes(written(pairs, "csv").encode("cp1252"))
    assert load(tmp_path / "a.csv")[0] == pairs


def test_tasks_take_the_encoding():
    import tasks

    for name in ("sentiment", "forecast", "anomaly"):
        task = tasks.get(name)
        assert task.reading(task.data_options("a.csv", encoding="cp1251")).encoding == "cp1251"
        with pytest.raises(ConfigError):
            task.data_options("a.csv", encodng="cp1251")


def test_what_is_in_no_encoding_is_one_sentence_and_no_warning(tmp_path, recwarn):
    (tmp_path / "a.csv").write_bytes("text,label\nгод,1\n".encode() + b"\n\x00\x00\x00")
    with pytest.raises(DataError, match="a.csv is not text"):
        inspect_file(tmp_path / "a.csv")
    assert not recwarn.list
