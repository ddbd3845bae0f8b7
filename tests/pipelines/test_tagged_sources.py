"""Tagged sentences in every layout, and what is no tagged sentence."""

import gzip
import json
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.tag_schemes import spans_of
from pipelines.tagged_sources import load_tagged, read_sentences

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ANN = ("Ann", "Lee", "met", "Bob", ".")
BIO = ("B-PER", "I-PER", "O", "B-PER", "O")


def lines(tokens=ANN, tags=BIO, between="\t"):
    return [f"{a}{between}{b}" for a, b in zip(tokens, tags, strict=True)]


def repeated(sentence, end="\n"):
    """Enough sentences to split, all of them different by one token."""
    parts = [[*sentence, sentence[-1].replace(".", f"w{i}", 1)] for i in range(20)]
    return end.join(end.join(part) + end for part in parts)


def loaded(path, **more):
    return load_tagged(str(path), **more)


def first(path, **more):
    splits = loaded(path, **more)
    return min((*splits.train, *splits.validation, *splits.test), key=lambda one: one.line)


@pytest.mark.parametrize("between", ["\t", " ", "   ", "\t\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.conll", "a.bio", "a.txt", "a.tsv", "a.train"])
def test_tokens_and_tags_in_columns(between, end, name, tmp_path):
    if between == "\t\t":
        between = "\t"
    text = "\ufeff" + repeated(lines(between=between), end)
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    one = first(tmp_path / name)
    assert (one.tokens[:5], one.tags[:5], one.line) == (ANN, BIO, 1)
    assert one.tokens[5] == "w0"


def test_gzip_document_starts_blank_lines_with_space_and_no_line_end(tmp_path):
    text = "-DOCSTART- -X- O\n\n \t \n" + repeated([f"{a} NN x {b}" for a, b in
                                                    zip(ANN, BIO, strict=True)])  # fmt: skip
    (tmp_path / "a.conll.gz").write_bytes(gzip.compress((text + "\n\t\nLast NN x O").encode()))
    splits = loaded(tmp_path / "a.conll.gz")
    every = [*splits.train, *splits.validation, *splits.test]
    assert len(every) == 21
    assert max(every, key=lambda one: one.line).tokens == ("Last",)
    assert first(tmp_path / "a.conll.gz", tags_column="2").tags[:2] == ("NN", "NN")


def test_columns_in_another_order_and_an_index_in_front(tmp_path):
    rows = [f"{i}\t{tag}\t{token}" for i, (token, tag) in enumerate(zip(ANN, BIO, strict=True), 1)]
    (tmp_path / "a.conll").write_text(repeated([*rows[:-1], "5\tO\t."]))
    one = first(tmp_path / "a.conll", tokens_column="3", tags_column="2")
    assert (one.tokens[:5], one.tags[:5]) == (ANN, BIO)
    rows = [f"{i}\t{token}\t{tag}" for i, (token, tag) in enumerate(zip(ANN, BIO, strict=True), 1)]
    text = "\n".join("\n".join([*rows, f"6\tw{i}\tO"]) + "\n" for i in range(20))
    (tmp_path / "b.conll").write_text(text)
    assert first(tmp_path / "b.conll").tokens[:5] == ANN


@pytest.mark.parametrize(
    "rows",
    [
        ["12 O", "1 O", "", "Ann B-PER", "", "7 O", "8 O"],
        ["12 NUM O", "", "Ann NNP B-PER", "met VBD O", "", "1 NUM O"],
        ["1 Yes O", "", "1 Ann B-PER", "2 met O", "", "1 12 O"],  # with an index
    ],
)
def test_a_number_alone_is_no_index_unless_the_file_has_one(rows, tmp_path):
    path = tmp_path / "train.conll"
    path.write_text("\n".join(rows).replace(" ", "\t") + "\n")
    sentences = "\n".join(rows).split("\n\n")
    cells = [[row.split() for row in sentence.split("\n")] for sentence in sentences]
    tokens_at = 1 if rows[0].startswith("1 ") else 0
    everything = load_tagged({"train": str(path), "validation": str(path), "test": str(path)})
    found = [list(one.tokens) for one in everything.train]
    assert found == [[cell[tokens_at] for cell in sentence] for sentence in cells]


def test_a_token_may_be_a_hash(tmp_path):
    (tmp_path / "a.conll").write_text(repeated(lines(("#", "Lee", "met", "#x", "."))))
    assert first(tmp_path / "a.conll").tokens[:4] == ("#", "Lee", "met", "#x")


CONLLU = """# sent_id = {i}
# text = Vamos al mar, y {i}
1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2-3\tal\t_\t_\t_\t_\t_\t_\t_\t_
2\ta\ta\tADP\t_\t_\t4\tcase\t_\t_
3\tel\tel\tDET\t_\t_\t4\tdet\t_\t_
4\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\tSpaceAfter=No
5\t,\t,\tPUNCT\t_\t_\t4\tpunct\t_\t_
5.1\tx\tx\tVERB\t_\t_\t_\t_\t_\t_
6\ty\ty\tCCONJ\t_\t_\t4\tcc\t_\t_
7\t{i}\t{i}\tNUM\tCD\t_\t4\tnum\t_\t_
"""


def test_conllu_has_words_a_text_and_places(tmp_path):
    text = "\n".join(CONLLU.format(i=i) for i in range(20))
    (tmp_path / "a.conllu").write_text(text)
    one = first(tmp_path / "a.conllu")
    assert one.tokens == ("Vamos", "a", "el", "mar", ",", "y", "0")
    assert one.tags[1:4] == ("ADP", "DET", "NOUN")
    assert one.text == "Vamos al mar, y 0"
    assert one.starts == (0, 6, 6, 9, 12, 14, 16)
    assert first(tmp_path / "a.conllu", tags_column="deprel").tags[0] == "root"
    assert first(tmp_path / "a.conllu", tags_column="XPOS").tags[-1] == "CD"


TEXT = "\U0001f600 Ann Lee met Bob."
SPANS = [[2, 9, "PER"], [14, 17, "PER"]]
RECORDS = {
    "lists": {"tokens": list(ANN), "tags": list(BIO)},
    "hugging face": {"id": "0", "tokens": list(ANN), "ner_tags": list(BIO)},
    "text": {"words": " ".join(ANN), "labels": " ".join(BIO)},
    "doccano": {"id": 1, "text": TEXT, "label": SPANS},
    "doccano labels": {"text": TEXT, "labels": SPANS},
    "doccano entities": {"text": TEXT, "entities": [
        {"id": 1, "start_offset": a, "end_offset": b, "label": c} for a, b, c in SPANS]},
    "prodigy": {"text": TEXT, "spans": [
        {"start": a, "end": b, "label": c, "token_start": 0} for a, b, c in SPANS],
        "answer": "accept"},
    "rasa": {"text": TEXT, "entities": [
        {"start": a, "end": b, "entity": c, "value": "x"} for a, b, c in SPANS]},
    "label studio": {"id": 1, "data": {"text": TEXT}, "annotations": [{"result": [
        {"type": "labels", "value": {"start": a, "end": b, "text": "x", "labels": [c]}}
        for a, b, c in SPANS]}]},
    "label studio min": {"text": TEXT, "label": [
        {"start": a, "end": b, "text": "x", "labels": [c]} for a, b, c in SPANS]},
}  # fmt: skip


def numbered(record, i):
    """The record with a word of its own at the end."""
    found = json.loads(json.dumps(record))
    inner = found.get("data", found)
    if "text" in inner:
        inner["text"] += f" w{i}"
    for name, more in (("tokens", f"w{i}"), ("tags", "O"), ("ner_tags", "O")):
        if isinstance(found.get(name), list):
            found[name].append(more)
    if "words" in found:
        found["words"], found["labels"] = found["words"] + f" w{i}", found["labels"] + " O"
    return found


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("form", ["jsonl", "json", "memory", "frame"])
def test_records_of_annotation_tools(name, form, tmp_path):
    records = [numbered(RECORDS[name], i) for i in range(20)]
    if form == "jsonl":
        source = tmp_path / "a.jsonl"
        source.write_text("".join(json.dumps(one) + "\n" for one in records))
    elif form == "json":
        source = tmp_path / "a.json"
        source.write_text(json.dumps(records, indent=1))
    source = str(source) if form in ("json", "jsonl") else (
        records if form == "memory" else pd.DataFrame(records))  # fmt: skip
    splits = load_tagged(source)
    for one in splits.train:
        assert [t for t in one.tokens if t != "\U0001f600"][:5] == list(ANN)
        kinds = [(kind, " ".join(one.tokens[a:b])) for kind, a, b in spans_of(one.tags)]
        assert kinds == [("PER", "Ann Lee"), ("PER", "Bob")]
        if one.text:
            places = zip(one.starts, one.tokens, strict=True)
            assert all(one.text[a : a + len(token)] == token for a, token in places)


def write_jsonl(path, *records):
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def test_spans_over_others_white_space_and_borders_inside_tokens(tmp_path):
    records = [
        {"text": f"unhappyness of Ann Lee x{i}",
         "label": [[2, 7, "ADJ"], [14, 23, "PER"], [15, 18, "PER"], [15, 18, "PER"]]}
        for i in range(20)
    ]  # fmt: skip
    splits = loaded(write_jsonl(tmp_path / "a.jsonl", *records))
    one = splits.train[0]
    assert one.tokens[:6] == ("un", "happy", "ness", "of", "Ann", "Lee")
    assert one.tags[:6] == ("O", "B-ADJ", "O", "O", "B-PER", "I-PER")
    assert any("longer ones" in note for note in splits.notes)
    assert any("white space" in note for note in splits.notes)
    assert any("inside a token" in note and ": 20 (" in note for note in splits.notes)


KAGGLE = "Sentence #,Word,POS,Tag\n" + "".join(
    f'Sentence: {i},Ann,NNP,B-per\n,Lee,NNP,I-per\n,"x,{i}",VBD,O\n,caf\u00e9,NN,O\n'
    for i in range(20)
)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_token_a_row_as_on_kaggle(encoding, tmp_path):
    (tmp_path / "ner.csv").write_text(KAGGLE, encoding=encoding)
    one = first(tmp_path / "ner.csv")
    assert one.tokens == ("Ann", "Lee", "x,0", "caf\u00e9")
    assert one.tags == ("B-per", "I-per", "O", "O")
    assert first(tmp_path / "ner.csv", tags_column="POS").tags[0] == "NNP"


def test_a_sentence_a_row_of_csv_with_intents(tmp_path):
    rows = "text,intent,slots\n" + "".join(
        f"play song {i},play,O O B-song\nwake me at {i},alarm,O O O B-time\n" for i in range(15)
    )
    (tmp_path / "a.csv").write_text(rows)
    splits = load_tagged(str(tmp_path / "a.csv"), intents=True)
    assert {one.intent for one in splits.train} == {"play", "alarm"}
    assert {one.tags[-1] for one in splits.train} == {"B-song", "B-time"}
    lists = "tokens;tags\n" + "".join(f"['a', \"b{i}\"];[\"O\", 'B-x']\n" for i in range(20))
    (tmp_path / "b.csv").write_text(lists)
    assert first(tmp_path / "b.csv").tags == ("O", "B-x")


def parallel(folder, tokens, tags, intents=None):
    folder.mkdir(parents=True)
    (folder / "seq.in").write_text("\n".join(tokens) + "\n")
    (folder / "seq.out").write_text("\n".join(tags) + "\n")
    if intents:
        (folder / "label").write_text("\n".join(intents) + "\n")


def test_lines_of_several_files_belong_together(tmp_path):
    for part in ("train", "valid", "test"):
        parallel(tmp_path / part, [f"play {part} {i}" for i in range(5)], ["O O B-n"] * 5,
                 ["play"] * 4 + ["stop"])  # fmt: skip
    splits = load_tagged(str(tmp_path), intents=True)
    assert [len(x) for x in (splits.train, splits.validation, splits.test)] == [5, 5, 5]
    assert splits.train[4].intent == "stop"
    assert splits.train[2].tokens == ("play", "train", "2")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sizes", "tokens", "spans"), [
    ("wnut17", (3394, 1009, 1287), 62_730, 1975),
    ("ud_english_ewt", (12_544, 2001, 2077), 204_577, 0),
    ("msra_ner", (15_000, 1500, 3000), None, None),
    ("atis", (4478, 500, 893), None, None),
])  # fmt: skip
def test_real_data_is_counted_as_its_readme_counts_it(name, sizes, tokens, spans):
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not beside this repository")
    splits = load_tagged(str(DATA / name), intents=name == "atis")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    if tokens is not None:
        assert sum(len(one.tokens) for one in splits.train) == tokens
        assert sum(len(spans_of(one.tags)) for one in splits.train) == spans


# ---- what is wrong


def refused(path, words, **more):
    with pytest.raises(DataError) as error:
        loaded(path, **more)
    message = str(error.value)
    assert "\n" not in message
    for word in [words] if isinstance(words, str) else words:
        assert word in message, message
    return message


def test_a_line_with_a_column_too_few(tmp_path):
    rows = lines()
    rows[3] = "Bob"
    (tmp_path / "a.conll").write_text(repeated(lines()) + "\n" + "\n".join(rows) + "\n")
    refused(tmp_path / "a.conll", ["a.conll:144:", "1 columns", "have 2"])


@pytest.mark.parametrize(("content", "words"), [
    ("", "empty"), ("\n\n \n", "empty"), ("Ann\nLee\n\nBob\n", "one column"),
])  # fmt: skip
def test_files_without_tags(content, words, tmp_path):
    (tmp_path / "a.conll").write_text(content)
    with pytest.raises(DataError) as error:
        loaded(tmp_path / "a.conll")
    assert words in str(error.value) or "no sentence" in str(error.value)
    assert "a.conll" in str(error.value)


@pytest.mark.parametrize(("tag", "told"), [("B", "'B'"), ("PER", "'PER'"), ("b-per", "'b-per'")])
def test_a_tag_that_spells_no_span_among_those_that_do(tag, told, tmp_path):
    rows = lines()
    rows[2] = f"met\t{tag}"
    (tmp_path / "a.conll").write_text(repeated(lines()) + "\n" + "\n".join(rows) + "\n")
    refused(tmp_path / "a.conll", ["a.conll:143:", told, "--tag-scheme plain"])
    assert loaded(tmp_path / "a.conll", scheme="plain")


def test_spans_without_a_b_are_mended_and_counted(tmp_path):
    tags = ("I-PER", "I-PER", "O", "I-PER", "O")
    text = repeated(lines()) * 3 + "\n" + "\n".join(lines(tags=tags)) + "\n"
    (tmp_path / "a.conll").write_text(text)
    splits = loaded(tmp_path / "a.conll")
    assert any("Spans began without a B" in note and ": 2 (" in note for note in splits.notes)
    (tmp_path / "b.conll").write_text(repeated(lines(tags=tags)))
    splits = loaded(tmp_path / "b.conll")
    assert any("IOB1" in note for note in splits.notes)
    assert first(tmp_path / "b.conll").tags[:5] == BIO


@pytest.mark.parametrize("tags", [
    ("B-PER", "E-PER", "O", "S-PER", "O"), ("B-PER", "L-PER", "O", "U-PER", "O"),
])  # fmt: skip
def test_other_schemes_are_read_as_bio(tags, tmp_path):
    (tmp_path / "a.conll").write_text(repeated(lines(tags=tags)))
    assert first(tmp_path / "a.conll").tags[:5] == BIO


def test_unequal_numbers_of_tokens_and_tags(tmp_path):
    records = [{"tokens": ["a", f"b{i}"], "tags": ["O", "B-x"]} for i in range(20)]
    records[6]["tags"] = ["O"]
    refused(write_jsonl(tmp_path / "a.jsonl", *records), ["a.jsonl:7:", "2 tokens but 1 tags"])
    parallel(tmp_path / "d", ["a b", "c"], ["O O", "O O"])
    refused(tmp_path / "d", ["seq.in:2:", "1 tokens but 2 tags"])
    parallel(tmp_path / "e", ["a b", "c"], ["O O"])
    refused(tmp_path / "e", ["seq.in has 2", "seq.out has 1"])


@pytest.mark.parametrize(("record", "words"), [
    ({"text": "Ann met", "label": [[0, 99, "PER"]]}, "not within its text of 7"),
    ({"text": "Ann met", "label": [[3, 3, "PER"]]}, "not within"),
    ({"text": "Ann met", "label": [["0", 3, "PER"]]}, "whole numbers"),
    ({"text": "Ann met", "label": [[0, 3]]}, "[start, end, label]"),
    ({"tokens": ["a"], "tags": [3]}, "the tags are"),
    ({"tokens": "a b", "tags": 7}, "the tags are"),
    ({"text": "Ann met"}, "--tags-column"),
    ({"label": [[0, 1, "X"]]}, "--tokens-column"),
])  # fmt: skip
def test_records_that_are_no_tagged_sentence(record, words, tmp_path):
    good = [{"text": f"Ann met b{i}", "label": [[0, 3, "PER"]]} for i in range(20)]
    if "tokens" in record:
        good = [{"tokens": ["a", f"b{i}"], "tags": ["O", "B-x"]} for i in range(20)]
    refused(write_jsonl(tmp_path / "a.jsonl", *good, record), ["a.jsonl:21", words])


def test_empty_sentences_and_tokens_are_left_out_and_counted(tmp_path):
    records = [{"tokens": ["a", f"b{i}"], "tags": ["O", "B-x"]} for i in range(20)]
    records += [{"tokens": [], "tags": []}, {"tokens": ["", "c", " "], "tags": ["O", "O", "O"]}]
    splits = loaded(write_jsonl(tmp_path / "a.jsonl", *records))
    assert any("Empty tokens were left out: 2 (" in note for note in splits.notes)
    assert any("Sentences without a token were left out: 1 (" in note for note in splits.notes)
    assert sum(map(len, (splits.train, splits.validation, splits.test))) == 21


def test_control_characters_in_tokens_are_replaced(tmp_path):
    records = [{"tokens": ["a\x1fb\n", f"b{i}"], "tags": ["O", "B-x"]} for i in range(20)]
    splits = loaded(write_jsonl(tmp_path / "a.jsonl", *records))
    assert splits.train[0].tokens[0] == "a b "
    assert any("control characters" in note for note in splits.notes)


def test_what_training_never_has_is_kept_and_said(tmp_path):
    (tmp_path / "train.conll").write_text(repeated(lines()))
    (tmp_path / "test.conll").write_text("\n".join(lines(tags=("B-LOC", *BIO[1:]))) + "\n")
    splits = loaded(tmp_path)
    assert splits.test[0].tags[0] == "B-LOC"
    note = next(note for note in splits.notes if "B-LOC" in note)
    assert "test.conll:1" in note
    assert "counted as wrong" in note


def test_a_very_long_sentence(tmp_path):
    long = "\n".join(f"w{i}\tO" for i in range(10_000))
    (tmp_path / "a.conll").write_text(repeated(lines()) + "\n" + long + "\n")
    splits = loaded(tmp_path / "a.conll")
    every = (*splits.train, *splits.validation, *splits.test)
    assert max(len(one.tokens) for one in every) == 10_000


def test_prodigy_examples_that_were_rejected_are_left_out(tmp_path):
    records = [{"text": f"Ann b{i}", "spans": [], "answer": "accept"} for i in range(20)]
    records.append({"text": "No", "spans": [], "answer": "reject"})
    splits = loaded(write_jsonl(tmp_path / "a.jsonl", *records))
    assert any(
        "Examples whose answer is 'reject' were left out: 1 (" in note for note in splits.notes
    )


def test_unknown_columns_ask_for_their_flag(tmp_path):
    (tmp_path / "a.csv").write_text("q,r\na b,O O\n")
    message = refused(tmp_path / "a.csv", "a.csv")
    assert "column" in message
    frame = pd.DataFrame({"q": ["a b"] * 20, "r": ["O B-x"] * 20})
    with pytest.raises(DataError, match="--tokens-column"):
        load_tagged(frame)
    frame["q"] = [f"a{i} b" for i in range(20)]
    assert load_tagged(frame, tokens_column="q", tags_column="r").train[0].tags == ("O", "B-x")


def test_intents_that_are_missing(tmp_path):
    records = [{"text": f"a b{i}", "slots": "O O", "intent": "x"} for i in range(20)]
    records[3]["intent"] = ""
    refused(write_jsonl(tmp_path / "a.jsonl", *records), ["a.jsonl:4", "no intent"], intents=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=60),
       st.sampled_from(["conll", "conllu", "txt", "tsv", "csv", "jsonl", "json"]))  # fmt: skip
def test_any_text_is_read_or_refused(tmp_path_factory, text, extension):
    path = tmp_path_factory.mktemp("t") / f"a.{extension}"
    path.write_text(text, encoding="utf-8", newline="")
    for read in (loaded, read_sentences):
        with suppress(DataError):
            read(path)


# ---- inputs of predict


def test_inputs_of_files(tmp_path):
    (tmp_path / "a.txt").write_text("Ann met Bob.\n\nIt rains.\n")
    assert read_sentences(tmp_path / "a.txt")[0] == ["Ann met Bob.", "It rains."]
    (tmp_path / "a.conll").write_text("\n".join(lines()) + "\n\nBob\tO\n")
    assert read_sentences(tmp_path / "a.conll")[0] == [list(ANN), ["Bob"]]
    write_jsonl(tmp_path / "a.jsonl", {"text": "Ann met.", "label": [[0, 3, "PER"]]})
    assert read_sentences(tmp_path / "a.jsonl")[0] == ["Ann met."]
    write_jsonl(tmp_path / "b.jsonl", {"tokens": ["Ann", "met"]})
    assert read_sentences(tmp_path / "b.jsonl")[0] == [["Ann", "met"]]
    (tmp_path / "c.conll").write_text("Ann\nmet\n\nBob\n")
    assert read_sentences(tmp_path / "c.conll")[0] == [["Ann", "met"], ["Bob"]]


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("play music\nstop alarm\n", ["play music", "stop alarm"]),  # each of two words
        ("wake me up\n\nplay the song\n", ["wake me up", "play the song"]),
        ("play music", ["play music"]),
        ("Ann B-person\nmet O\n\nBob B-person\n", [["Ann", "met"], ["Bob"]]),
        ("Ann NNP B-NP B-PER\nmet VBD B-VP O\n", [["Ann", "met"]]),
        ("it PRP\nrains VBZ\n. .\n", [["it", "rains", "."]]),
        ("play\tverb\nmusic\tnoun\n", [["play", "music"]]),  # with tabs whatever the tags
    ],
)
def test_lines_of_equally_many_words_are_no_tokens_with_tags(text, inputs, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    assert read_sentences(tmp_path / "a.txt")[0] == inputs
