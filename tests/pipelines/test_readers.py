"""Reading rows: encodings, lines, broken files, added readers, any Unicode there and back."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pipelines.readers
from common.errors import ConfigError, DataError
from pipelines.layout import locate_parts
from pipelines.readers import file_format, formats, listed_extensions, read_rows
from pipelines.textfile import inspect_file, read_document


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def rows(path, **options):
    return [(row.values, row.line) for row in read_rows(path, **options)]


@pytest.mark.parametrize(
    ("content", "encoding", "bad_line"),
    [
        (b"caf\xc3\xa9\n", "utf-8", 0),
        (b"\xef\xbb\xbfcaf\xc3\xa9\n", "utf-8-sig", 0),
        ("café\n".encode("utf-16"), "utf-16", 0),
        (b"one\ntwo\ncaf\xe9\n", "cp1252", 3),
        (b"one\nwait\x85\n", "cp1252", 2),
        # No encoding fits: a little is taken for damage.
        (b"one\n\x81 caf\xe9\n", "utf-8", 0),
        (b"one\nends within a character \xc3", "cp1252", 2),
        (b"x" * (1 << 20) + b"\n\xe9\n", "cp1252", 2),
        # A character that lies across the border of two chunks is no error.
        (b"x" * ((1 << 20) - 1) + "é\n".encode(), "utf-8", 0),
        (b"", "utf-8", 0),
    ],
)
def test_encoding_is_told(tmp_path, content, encoding, bad_line):
    found = inspect_file(write(tmp_path / "a.txt", content))
    assert (found.encoding, found.bad_line) == (encoding, bad_line)


def test_windows_quotes_and_dashes_are_read_as_such(tmp_path):
    path = write(tmp_path / "a.txt", b"caf\xe9 \x96 \x93good\x94\x85\n")
    assert rows(path) == [({"line": "caf\u00e9 \u2013 \u201cgood\u201d\u2026"}, 1)]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_line_numbers_are_those_of_the_source(tmp_path, name):
    content = b'\xef\xbb\xbftext,label\r\n\r\n"two\r\nlines",1\r\n\r\nthree,0\r\n'
    path = write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    assert rows(path) == [
        ({"text": "two\r\nlines", "label": "1"}, 3),
        ({"text": "three", "label": "0"}, 6),
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text;label\ngood, really;1\n", [({"text": "good, really", "label": "1"}, 2)]),
        ("a.csv", "text\tlabel\ngood;1\t1\n", [({"text": "good;1", "label": "1"}, 2)]),
        ("a.csv", ",text\n0,good\n", [({"1": "0", "text": "good"}, 2)]),
        ("a.csv", 'text,label\n"say ""hi""",1\n', [({"text": 'say "hi"', "label": "1"}, 2)]),
        ("old_mac.csv", "text,label\rgood,1\r", [({"text": "good", "label": "1"}, 2)]),
        # Quotes that wrap cells, and quotes that belong to the text.
        ("a.tsv", 'text\tlabel\n"a\tb"\t1\n', [({"text": "a\tb", "label": "1"}, 2)]),
        ("a.tsv", 'text\tlabel\n"so" he said\t1\n', [({"text": '"so" he said', "label": "1"}, 2)]),
        (
            "a.tsv",
            'label\ttext\n1\t"so\n0\tno"\n',
            [({"label": "1", "text": '"so'}, 2), ({"label": "0", "text": 'no"'}, 3)],
        ),
        ("a.jsonl", '\n{"a": [1]}\r\n\n{"a": null}', [({"a": [1]}, 2), ({"a": None}, 4)]),
        ("a.json", '[\n{"a": 1},\n\n {"a":\n2}]\n', [({"a": 1}, 2), ({"a": 2}, 4)]),
        ("a.json", '{"a": 1}\n{"a": 2}\n', [({"a": 1}, 1), ({"a": 2}, 2)]),
        ("a.json", "[]", []),
        ("a.txt", " one \r\n\n\ttwo\n", [({"line": "one"}, 1), ({"line": "two"}, 3)]),
        # The next-line character of Latin-1 does not end a line.
        ("a.txt", "one \x85 more\n", [({"line": "one \x85 more"}, 1)]),
    ],
)
def test_rows(tmp_path, name, content, expected):
    assert rows(write(tmp_path / name, content)) == expected


def test_columns_without_header_are_numbered(tmp_path):
    path = write(tmp_path / "a.csv", "good,1\nbad,0\n")
    assert rows(path, header=False)[1] == ({"1": "bad", "2": "0"}, 2)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt"])
def test_a_line_of_a_megabyte(tmp_path, name):
    text = "x" * (1 << 20)
    separator = "\t" if name == "a.tsv" else ","
    content = {
        "a.jsonl": json.dumps({"text": text}),
        "a.json": json.dumps([{"text": text}]),
        "a.txt": text,
    }.get(name, f"text{separator}label\n{text}{separator}1\n")
    (row,) = read_rows(write(tmp_path / name, content))
    assert next(iter(row.values.values())) == text


GZIPPED = gzip.compress(b"text,label\n" + b"good,1\nbad,0\n" * 1000, mtime=0)
CORRUPT = GZIPPED[:20] + b"\xff\xff\xff\xff" + GZIPPED[24:]


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.csv", "text,label\ngood,1\nbad\n", ["a.csv:3", "1 cells", "2"]),
        ("a.csv", "text,label\n\ngood, really,1\n", ["a.csv:3", "3 cells", "quotes"]),
        ("a.csv", 'text,label\ngood,1\n"bad,0\nso,1\n', ["a.csv:3", "never closed"]),
        ("a.csv", 'text,label\n"so" he,1\n', ["a.csv:2", "double the quotes"]),
        ("a.csv", "text,text\na,b\n", ["a.csv:1", "'text'"]),
        ("a.jsonl", '{"a": 1}\n{"a": \n', ["a.jsonl:2", "not valid JSON"]),
        ("a.jsonl", '{"a": 1}\n[1]\n', ["a.jsonl:2", "a list"]),
        ("a.jsonl", "[" * 100_000, ["a.jsonl:1"]),
        ("a.json", '[{"a": 1},\n{"a": 2]', ["a.json:2"]),
        ("a.json", '[{"a": 1}\n{"a": 2}]', ["a.json:2", "','"]),
        ("a.json", '[{"a": 1}] x', ["a.json:1", "closing"]),
        ("a.json", '[{"a": 1},\n3]', ["a.json:2", "a number"]),
        ("a.json", '"text"', ["a.json", "list of objects"]),
        ("a.csv", b"text,label\ngo\0od,1\n", ["a.csv", "NUL"]),
        ("a.csv", b"\x89PNG\r\n\x1a\n\xff", ["a.csv", "PNG"]),
        ("a.csv", b"PK\x03\x04\x00\x00", ["a.csv", "zip"]),
        ("a.txt", bytes(range(1, 256)), ["a.txt", "control"]),
        ("a.txt", b"\xff\xfea\x00\x00\xd8a", ["a.txt:1", "utf-16"]),
        ("a.csv.gz", GZIPPED[:-20], ["a.csv.gz", "gzip"]),
        ("a.csv.gz", CORRUPT, ["a.csv.gz", "gzip"]),
        ("a.csv.gz", b"text,label\n", ["a.csv.gz", "not gzip"]),
        ("a.xlsx", b"text", ["a.xlsx", "'.xlsx'", ".csv"]),
    ],
)
def test_what_cannot_be_read_is_said_with_file_and_line(tmp_path, name, content, parts):
    with pytest.raises(DataError) as error:
        list(read_rows(write(tmp_path / name, content)))
    assert all(part in str(error.value) for part in parts), error.value


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        inspect_file(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read"):
        inspect_file(tmp_path)


def test_gzip_is_recognised_without_its_extension(tmp_path):
    assert len(rows(write(tmp_path / "a.csv", GZIPPED))) == 2000


def test_document_keeps_blank_lines(tmp_path):
    assert read_document(write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\n\r\ntwo")) == "one\n\ntwo"


def test_rows_are_streamed(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"a": 1}\nbroken\n')
    stream = read_rows(path)
    assert next(stream).values == {"a": 1}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.CSV", "delimited"),
        ("a.b.tsv.gz", "delimited"),
        ("a.ndjson", "json_lines"),
        ("a.json", "json"),
        ("train", "lines"),
    ],
)
def test_file_format(name, form):
    assert file_format(name) == form


# ---- readers that are added

BLANK_LINE_READER = """
from pipelines.readers import Row

EXTENSIONS = ("conllish", "bioish")


def rows(source, *, column=0):
    words, line = [], 1
    with source.open() as stream:
        for number, text in enumerate([*stream, ""], 1):
            if text.strip():
                line = line if words else number
                words.append(text.split()[column])
            elif words:
                yield Row({"tokens": words}, str(source.path), line)
                words = []
"""


@pytest.fixture
def add_reader(tmp_path, monkeypatch):
    """Puts a module into a folder that readers are looked for in as well."""
    folder = tmp_path / "more_readers"
    folder.mkdir()
    monkeypatch.setattr(pipelines.readers, "__path__", [*pipelines.readers.__path__, str(folder)])
    before = set(sys.modules)

    def add(name, content):
        (folder / f"{name}.py").write_text(content)

    yield add
    for name in set(sys.modules) - before:
        if name.startswith("pipelines.readers."):
            del sys.modules[name]
            delattr(pipelines.readers, name.rpartition(".")[2])


def test_a_module_in_the_package_is_a_reader(tmp_path, add_reader):
    add_reader("blank_lines", BLANK_LINE_READER)
    add_reader("_helper", "")
    data = tmp_path / "data"
    data.mkdir()
    write(data / "en-train.conllish", "The DET\ncat NOUN\n\n\nSleeps VERB\n")
    write(data / "en-dev.conllish.gz", gzip.compress(b"No DET\n"))
    layout = locate_parts(data)
    assert {part: [file.form for file in files] for part, files in layout.parts.items()} == {
        "train": ["blank_lines"],
        "validation": ["blank_lines"],
    }
    assert rows(layout.parts["train"][0].path) == [
        ({"tokens": ["The", "cat"]}, 1),
        ({"tokens": ["Sleeps"]}, 5),
    ]
    assert rows(layout.parts["validation"][0].path, column=1) == [({"tokens": ["DET"]}, 1)]
    with pytest.raises(DataError, match=r"\.bioish"):
        file_format("a.parquet")
    (data / "en-dev.conllish.gz").unlink()
    assert locate_parts(data).name == "en"


def test_an_added_reader_is_gone_with_its_module():
    assert "conllish" not in formats()
    assert ".conllish" not in listed_extensions()
    assert ".csv, .tsv, .tab, .json, .jsonl, .ndjson, .txt, .text" in listed_extensions()


def test_two_readers_of_one_extension_are_refused_by_name(add_reader):
    add_reader("other_tables", "EXTENSIONS = ('xyz', 'tsv')")
    with pytest.raises(ConfigError) as error:
        file_format("a.csv")
    assert all(part in str(error.value) for part in ("delimited", "other_tables", ".tsv"))


@pytest.mark.parametrize("content", ["", "EXTENSIONS = 'xyz'"])
def test_a_reader_without_extensions_is_refused_by_name(add_reader, content):
    add_reader("nameless", content)
    with pytest.raises(ConfigError, match="readers.nameless declares no EXTENSIONS"):
        file_format("a.csv")


def test_reading_imports_neither_pandas_nor_tensorflow():
    code = (
        "import sys, pipelines.frames, pipelines.series_sources, pipelines.sources\n"
        "pipelines.sources.load_labelled_text('synthetic:50')\n"
        "pipelines.readers.file_format('a.csv')\n"
        "print([name for name in ('pandas', 'tensorflow', 'keras') if name in sys.modules])"
    )
    root = Path(pipelines.readers.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# ---- properties

# NUL marks binary files and lone surrogates have no UTF-8; all else must survive.
any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
round_trip = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_table(path, table, delimiter):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerows([["text", "label"], *((text, "x") for text in table)])


@round_trip
@given(table=st.lists(any_text, min_size=1, max_size=5))
def test_any_text_comes_back_from_csv(tmp_path, table):
    write_table(tmp_path / "a.csv", table, ",")
    assert [row.values["text"] for row in read_rows(tmp_path / "a.csv")] == table


@round_trip
@given(table=st.lists(any_text.map(lambda text: text.replace("\t", " ")), min_size=1, max_size=5))
def test_any_text_without_tabs_comes_back_from_tsv(tmp_path, table):
    # With tab and line end in one cell a quoted tsv can look exactly like one without quoting.
    write_table(tmp_path / "a.tsv", table, "\t")
    assert [row.values["text"] for row in read_rows(tmp_path / "a.tsv")] == table


@round_trip
@given(table=st.lists(any_text, min_size=1, max_size=5), ascii_only=st.booleans())
def test_any_text_comes_back_from_json(tmp_path, table, ascii_only):
    objects = [{"text": text} for text in table]
    lines = [json.dumps(value, ensure_ascii=ascii_only) for value in objects]
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode())
    (tmp_path / "a.json").write_bytes(json.dumps(objects, ensure_ascii=ascii_only).encode())
    for name in ("a.jsonl", "a.json"):
        assert [row.values["text"] for row in read_rows(tmp_path / name)] == table
